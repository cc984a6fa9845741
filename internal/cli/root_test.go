package cli

import (
	"strings"
	"testing"
)

const canary = "c0ffee-canary"

// sudo logs the variables that it preserves: secrets are read from stdin, and nothing
// else is.
func TestSecretsComeByStdin(t *testing.T) {
	getenv := func(name string) string {
		return map[string]string{"PATH": "/bin", "GITEA_TOKEN": "old"}[name]
	}
	stdin := "GITEA_TOKEN=" + canary + "=\nPATH=/evil\nnonsense\nGITEA_RUNNER_REGISTRATION_TOKEN=r\n"
	with := withSecrets(strings.NewReader(stdin), getenv)
	for name, want := range map[string]string{"GITEA_TOKEN": canary + "=", "GITEA_RUNNER_REGISTRATION_TOKEN": "r",
		"PATH": "/bin", "HOME": ""} {
		if got := with(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

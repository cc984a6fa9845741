package operate

import (
	"bytes"
	"strings"
	"testing"

	"hostguard/internal/cli"
)

// The runner's user writes the registration: one that named a server of his own got the
// tokens of the operator.
func TestARegistrationElsewhereGetsNoToken(t *testing.T) {
	theirs, askedTheirs := labelsServer(t, nil)
	ours, _ := labelsServer(t, nil)
	for name, registered := range map[string]string{
		"another server":   theirs,
		"user information": strings.Replace(ours, "//", "//x@", 1),
		"longer":           ours + ".example.com",
		"below":            ours + "/x",
		"other letters":    strings.ToUpper(ours),
		"a line":           ours + "\n::set-env name=x::y",
		"none":             "",
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			w := cli.World{Stdout: &out, Stderr: &out, Getenv: func(name string) string {
				return map[string]string{"GITEA_TOKEN": canary, cli.RegistrationVariable: canary}[name]
			}}
			v := newSplit()
			v.Session = cli.NewSession(w, nil)
			v.checkout = checkoutOf(t, map[string]string{"gitea": ours + "/wooo/awoooi"})
			v.h.Config.Server = registered
			err := v.checkServer(t.Context())
			if cli.StatusOf(err) != cli.StatusRefused || strings.Contains(err.Error(), "\n") ||
				!strings.Contains(err.Error(), "no token is sent to any other") {
				t.Errorf("%v, %s", err, out.String())
			}
		})
	}
	if n := askedTheirs(canary) + askedTheirs(""); n > 0 {
		t.Errorf("their server was asked %d times", n)
	}
}

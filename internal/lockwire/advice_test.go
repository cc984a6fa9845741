package lockwire

import (
	"io"
	"strings"
	"testing"

	"hostguard/internal/cli"
)

// Who gets advice can follow it: wait-pressure, for one, has no lock-backend.
func TestOnlyCommandsWithABackendAreAdvisedToChangeIt(t *testing.T) {
	environ := map[string]string{"DOCKER_HOST": "unix:///nowhere/docker.sock"}
	for name, inputs := range map[string][]cli.Input{"status": new(Options).Inputs(), "wait-pressure": nil} {
		s := cli.NewSession(cli.World{Stdout: io.Discard, Stderr: io.Discard,
			Getenv: func(name string) string { return environ[name] }}, nil)
		s.Name = name
		if _, err := s.Read(inputs, nil); err != nil {
			t.Fatal(err)
		}
		_, err := Open(t.Context(), s, BackendDocker, 0)
		if err == nil || strings.Contains(err.Error(), "lock-backend") != (name == "status") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Package hostile attacks hostguard as a job, a user without rights and a server would,
// on machines with an init, root and three users: ci, who may use sudo, and plain and
// eve, who may not.
package hostile

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"hostguard/e2e/rig/systemd"
)

var suite *systemd.Suite

func TestMain(m *testing.M) {
	status, err := systemd.Main(func(s *systemd.Suite) int {
		suite = s
		build := exec.Command("go", "build", "-o", s.Alone+"/", "hostguard/e2e/hostile/attack")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%v: %s\n", err, out)
			return 1
		}
		return m.Run()
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(status)
}

// boot boots a machine on whose Docker daemon nothing runs.
func boot(t *testing.T, options ...string) *systemd.Tested {
	t.Helper()
	m := suite.Boot(t, suite.Quiet, suite.Alone, options...)
	m.Want(0, "root", "useradd --create-home --shell /bin/sh --uid 1002 eve; chmod 700 /root")
	return m
}

// config is the configuration of a runner that has not been looked after.
const config = `runner:
  file: .runner
  capacity: 2
  labels: ["awoooi-host:host"]
`

// register gives a user a runner.
func register(m *systemd.Tested, user string) {
	m.T.Helper()
	dir := "/home/" + user + "/act-runner"
	m.Give(user, dir+"/config.yaml", config)
	m.Give(user, dir+"/.runner",
		`{"id": 1, "name": "host110", "uuid": "u", "token": "canary", "labels": ["awoooi-host"]}`)
}

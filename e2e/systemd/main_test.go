// Package systemd runs the operator's commands on machines whose init is a real systemd.
package systemd

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"hostguard/e2e/rig/engine"
	"hostguard/e2e/rig/systemd"
)

var suite *systemd.Suite

// What all tests share: the engine that runs the machines, a Docker daemon on
// which nothing runs, and two sets of the machines' programs.
var (
	quiet    *engine.Engine
	programs string // with a runner that needs no server
	runners  string // with those that speak with one
)

func TestMain(m *testing.M) {
	flag.Parse()
	// By default as many machines run at once as there are processors; most of the
	// time they wait for a runner to come online, or not to.
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	status, err := systemd.Main(func(s *systemd.Suite) int {
		suite, quiet, programs, runners = s, s.Quiet, s.Alone, s.Registered
		return m.Run()
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(status)
}

func boot(t *testing.T, options ...string) *machine {
	t.Helper()
	return bootWith(t, quiet, options...)
}

// bootWith boots a machine that has a Docker daemon to itself.
func bootWith(t *testing.T, docker *engine.Engine, options ...string) *machine {
	t.Helper()
	return bootPrograms(t, docker, programs, options...)
}

// bootPrograms boots one with a set of programs.
func bootPrograms(t *testing.T, docker *engine.Engine, programs string, options ...string) *machine {
	t.Helper()
	return &machine{suite.Boot(t, docker, programs, options...)}
}

// machine is one whose failures are those of a test.
type machine struct{ *systemd.Tested }

// oldConfig is one that was never looked after.
const oldConfig = `log:
  level: info # not debug

runner:
  file: .runner
  # how many jobs at once
  capacity: 2
  timeout: 3h
  shutdown_timeout: 0s
  labels:
    - "ubuntu-latest:docker://ci-runner:act-22.04"
    - "awoooi-host:host"
`

// newConfig is what becomes of it.
var newConfig = strings.NewReplacer(
	"capacity: 2", "capacity: 1", "shutdown_timeout: 0s", "shutdown_timeout: 1h",
).Replace(oldConfig)

// failingSystemctl is a systemctl whose call fails that is the last of so many in
// /run/calls.
const failingSystemctl = "#!/bin/sh\nn=$(cat /run/calls); echo $((n-1)) >/run/calls; " +
	"[ $n != 1 ] || exit 7; exec /bin/systemctl \"$@\"\n"

// register gives a user a runner that has not been looked after.
func (m *machine) register(user string) {
	m.T.Helper()
	dir := "/home/" + user + "/act-runner"
	m.Give(user, dir+"/config.yaml", oldConfig)
	m.Give(user, dir+"/.runner", `{"name": "host110", "uuid": "u", "token": "canary", "labels": ["awoooi-host"]}`)
}

// config wants the text of a user's config.yaml.
func (m *machine) config(user, want string) {
	m.T.Helper()
	m.Is("root", "cat /home/"+user+"/act-runner/config.yaml", strings.TrimSpace(want))
}

// Package systemd runs the operator's commands on machines whose init is a real systemd.
package systemd

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hostguard/e2e/rig/contend"
	"hostguard/e2e/rig/engine"
	"hostguard/e2e/rig/gitea"
	"hostguard/e2e/rig/systemd"
)

// What all tests share: the engine that runs the machines, a Docker daemon on
// which nothing runs, and two sets of the machines' programs.
var (
	machines, quiet *engine.Engine
	programs        string // with a runner that needs no server
	runners         string // with those that speak with one
)

func TestMain(m *testing.M) {
	flag.Parse()
	// By default as many machines run at once as there are processors; most of the
	// time they wait for a runner to come online, or not to.
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	status, err := setUp(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

func setUp(m *testing.M) (status int, err error) {
	binary, err := contend.Hostguard()
	if err != nil {
		return 1, err
	}
	all, err := os.MkdirTemp("/tmp", "hg-programs")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(all)
	if err := os.Chmod(all, 0o755); err != nil {
		return 1, err
	}
	programs, runners = filepath.Join(all, "alone"), filepath.Join(all, "registered")
	played, err := gitea.Programs()
	if err != nil {
		return 1, err
	}
	for dir, runner := range map[string][]string{
		programs: {"go", "build", "-o", programs + "/", "./act_runner"},
		runners:  {"cp", filepath.Join(played, gitea.ActRunner), filepath.Join(played, gitea.GiteaRunner), runners},
	} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return 1, err
		}
		for _, args := range [][]string{runner, {"cp", binary, dir}, {"go", "build", "-o", dir + "/", "./gitea"}} {
			command := exec.Command(args[0], args[1:]...)
			command.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := command.CombinedOutput(); err != nil {
				return 1, fmt.Errorf("%w: %s", err, out)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "git"), []byte(git), 0o755); err != nil {
			return 1, err
		}
	}
	if machines, err = engine.Start(engine.New); err != nil {
		return 1, err
	}
	defer machines.Stop()
	if quiet, err = engine.Start(engine.New); err != nil {
		return 1, err
	}
	defer quiet.Stop()
	if err := os.Chmod(quiet.Host()[len("unix://"):], 0o666); err != nil {
		return 1, err
	}
	if err := systemd.ImportImage(machines); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// git knows of any directory "awoooi" that its remote "gitea" is the machine's.
const git = `#!/bin/sh
cd "$2" && [ "${PWD##*/}" = awoooi ] || exit
[ "$3" = rev-parse ] || [ "$5" = gitea ] && echo http://127.0.0.1:3000/wooo/awoooi.git
`

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
	m, err := systemd.Boot(machines, programs, docker.Host(), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Stop(); err != nil {
			t.Error(err)
		}
	})
	return &machine{m, t}
}

// machine is one whose failures are those of a test.
type machine struct {
	*systemd.Machine
	t *testing.T
}

// run wants an exit status of a script, and texts in what it says.
func (m *machine) run(status int, user, script string, says ...string) string {
	m.t.Helper()
	out, got := m.Run(user, script)
	if got != status {
		m.t.Fatalf("%s: %s: exit status %d, want %d; it said:\n%s", user, script, got, status, out)
	}
	for _, want := range says {
		if !strings.Contains(out, want) {
			m.t.Fatalf("%s: %s: not a word of %q; it said:\n%s", user, script, want, out)
		}
	}
	return strings.TrimSpace(out)
}

// is wants a script to say just this.
func (m *machine) is(user, script, want string) {
	m.t.Helper()
	if got := m.run(0, user, script); got != want {
		m.t.Fatalf("%s: %s: %q, want %q", user, script, got, want)
	}
}

// until waits until a script of root's succeeds.
func (m *machine) until(script string) {
	m.t.Helper()
	tries := "for n in $(seq 1200); do if " + script + "; then exit 0; fi >/dev/null 2>&1; sleep 0.1; done; exit 1"
	if out, status := m.Run("root", tries); status != 0 {
		journal, _ := m.Run("root", "journalctl --no-pager -n 15")
		m.t.Fatalf("not within two minutes: %s\n%s\n%s", script, out, journal)
	}
}

// give puts a file of a user's on the machine.
func (m *machine) give(user, path, text string) {
	m.t.Helper()
	cmd := m.Command(user, "mkdir -p $(dirname "+path+") && cat >"+path)
	cmd.Args = slices.Insert(cmd.Args, 2, "--interactive")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Fatalf("%s: %v: %s", path, err, out)
	}
}

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
	m.t.Helper()
	dir := "/home/" + user + "/act-runner"
	m.give(user, dir+"/config.yaml", oldConfig)
	m.give(user, dir+"/.runner", `{"name": "host110", "uuid": "u", "token": "canary", "labels": ["awoooi-host"]}`)
}

// config wants the text of a user's config.yaml.
func (m *machine) config(user, want string) {
	m.t.Helper()
	m.is("root", "cat /home/"+user+"/act-runner/config.yaml", strings.TrimSpace(want))
}

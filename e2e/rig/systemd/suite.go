package systemd

import (
	"errors"
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
)

// Suite is what the tests of one process share.
type Suite struct {
	Machines   *engine.Engine // runs the machines
	Quiet      *engine.Engine // a Docker daemon on which nothing runs
	Alone      string         // programs for a machine, with a runner that needs no server
	Registered string         // programs with the runners that speak with one
}

// Main sets a suite up, runs its tests and takes it down.
func Main(run func(*Suite) int) (status int, err error) {
	all, err := os.MkdirTemp("/tmp", "hg-programs")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(all)
	s := &Suite{Alone: filepath.Join(all, "alone"), Registered: filepath.Join(all, "registered")}
	if err := errors.Join(os.Chmod(all, 0o755), s.build()); err != nil {
		return 1, err
	}
	if s.Machines, err = engine.Start(engine.New); err != nil {
		return 1, err
	}
	defer s.Machines.Stop()
	if s.Quiet, err = engine.Start(engine.New); err != nil {
		return 1, err
	}
	defer s.Quiet.Stop()
	if err := os.Chmod(s.Quiet.Host()[len("unix://"):], 0o666); err != nil {
		return 1, err
	}
	if err := ImportImage(s.Machines); err != nil {
		return 1, err
	}
	return run(s), nil
}

// build fills the directories of programs.
func (s *Suite) build() error {
	binary, err := contend.Hostguard()
	if err != nil {
		return err
	}
	played, err := gitea.Programs()
	if err != nil {
		return err
	}
	runners := []string{filepath.Join(played, gitea.ActRunner), filepath.Join(played, gitea.GiteaRunner)}
	for dir, runner := range map[string][]string{
		s.Alone:      {"go", "build", "-o", s.Alone + "/", "hostguard/e2e/systemd/act_runner"},
		s.Registered: slices.Concat([]string{"cp"}, runners, []string{s.Registered}),
	} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		server := []string{"go", "build", "-o", dir + "/", "hostguard/e2e/systemd/gitea"}
		for _, args := range [][]string{runner, {"cp", binary, dir}, server} {
			command := exec.Command(args[0], args[1:]...)
			command.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := command.CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "git"), []byte(git), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// git knows of any directory "awoooi" that its remote "gitea" is the machine's.
const git = `#!/bin/sh
cd "$2" && [ "${PWD##*/}" = awoooi ] || exit
[ "$3" = rev-parse ] || [ "$5" = gitea ] && echo http://127.0.0.1:3000/wooo/awoooi.git
`

// Boot boots a machine with a Docker daemon and a set of programs, for as long as the
// test lasts.
func (s *Suite) Boot(t *testing.T, docker *engine.Engine, programs string, options ...string) *Tested {
	t.Helper()
	m, err := Boot(s.Machines, programs, docker.Host(), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Stop(); err != nil {
			t.Error(err)
		}
	})
	return &Tested{m, t}
}

// Tested is a machine whose failures are those of a test.
type Tested struct {
	*Machine
	T *testing.T
}

// Want wants an exit status of a script, and texts in its output, which it returns.
func (m *Tested) Want(status int, user, script string, says ...string) string {
	m.T.Helper()
	out, got := m.Run(user, script)
	if got != status {
		m.T.Fatalf("%s: %s: exit status %d, want %d; it said:\n%s", user, script, got, status, out)
	}
	for _, want := range says {
		if !strings.Contains(out, want) {
			m.T.Fatalf("%s: %s: not a word of %q; it said:\n%s", user, script, want, out)
		}
	}
	return strings.TrimSpace(out)
}

// Is wants a script to print just this.
func (m *Tested) Is(user, script, want string) {
	m.T.Helper()
	if got := m.Want(0, user, script); got != want {
		m.T.Fatalf("%s: %s: %q, want %q", user, script, got, want)
	}
}

// Until waits until a script of root's succeeds.
func (m *Tested) Until(script string) {
	m.T.Helper()
	tries := "for n in $(seq 480); do if " + script + "; then exit 0; fi >/dev/null 2>&1; sleep 0.25; done; exit 1"
	if out, status := m.Run("root", tries); status != 0 {
		journal, _ := m.Run("root", "journalctl --no-pager -n 15")
		m.T.Fatalf("not within two minutes: %s\n%s\n%s", script, out, journal)
	}
}

// Give puts a file of a user's on the machine.
func (m *Tested) Give(user, path, text string) {
	m.T.Helper()
	cmd := m.Command(user, "mkdir -p $(dirname "+path+") && cat >"+path)
	cmd.Args = slices.Insert(cmd.Args, 2, "--interactive")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		m.T.Fatalf("%s: %v: %s", path, err, out)
	}
}

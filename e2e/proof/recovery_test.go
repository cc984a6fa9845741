package proof

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hostguard/e2e/rig/contend"
	"hostguard/e2e/rig/engine"
)

// within is how soon a waiter has to hold what a dead holder left.
const within = 3 * time.Second

// It is not parallel: the limit is that of a machine which is not busy with others'
// faults.
func TestADeadHoldersLockIsTakenOverBySight(t *testing.T) {
	onStores(t, func(t *testing.T, s contend.Store) {
		for _, death := range contend.Deaths(s) {
			t.Run(death.Name, func(t *testing.T) {
				rec, err := death.Recover(newRig(t, s), nil)
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("taken over after %s: %s", rec.Took.Round(time.Millisecond), rec.TookOverFrom)
				recovered(t, death, rec)
			})
		}
	})
}

// recovered expects that a waiter was fast enough, and told by what evidence.
func recovered(t *testing.T, death contend.Death, rec contend.Recovery) {
	t.Helper()
	if rec.Took > within {
		t.Errorf("the waiter held after %s, want at most %s; its output:\n%s", rec.Took, within, rec.Log)
	}
	if !strings.Contains(rec.TookOverFrom, "(orphan: ") || !strings.Contains(rec.TookOverFrom, death.Evidence) {
		t.Errorf("took-over-from is %q, want an orphan with %q", rec.TookOverFrom, death.Evidence)
	}
	_, notice, _ := strings.Cut(rec.Log, "::notice::hostguard: lock ")
	notice, _, _ = strings.Cut(notice, "\n")
	if !strings.Contains(notice, " taken over: ") ||
		!strings.Contains(notice, "; orphan because ") ||
		!strings.Contains(notice, death.Evidence) {
		t.Errorf("no annotation with %q; the waiter printed:\n%s", death.Evidence, rec.Log)
	}
}

func TestAHolderThatLivesOnInPartIsNotTakenOver(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, s contend.Store) {
		for _, death := range contend.Deaths(s) {
			if death.Alive == "" {
				continue
			}
			t.Run(death.Name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, s)
				h, err := death.Hold(r)
				if err != nil {
					t.Fatal(err)
				}
				defer h.End()
				w := wait(t, r, nil)
				says(t, w, "position 1 of 1")
				if err := h.HalfDie(); err != nil {
					t.Fatal(err)
				}
				says(t, w, death.Alive)
				if w.EndsWithin(within + time.Second) {
					t.Errorf("taken over from the living; the waiter printed:\n%s", w.Log())
				}
				start := time.Now()
				if err := h.Die(); err != nil {
					t.Fatal(err)
				}
				rec, err := w.Recovery(start)
				if err != nil {
					t.Fatal(err)
				}
				recovered(t, death, rec)
			})
		}
	})
}

// wait starts a waiter and has it leave in the end.
func wait(t *testing.T, r *contend.Rig, as *syscall.Credential, args ...string) *contend.Waiter {
	t.Helper()
	w, err := r.Wait(as, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Leave(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func says(t *testing.T, w *contend.Waiter, text string) {
	t.Helper()
	if err := w.Await(text, 10*time.Second); err != nil {
		t.Fatal(err)
	}
}

// nobody is a user of the Docker socket's group who is not root.
var nobody = &syscall.Credential{Uid: 65534, Gid: 65534}

// forNobody lets that user reach an engine.
func forNobody(t *testing.T, e *engine.Engine) {
	t.Helper()
	socket := strings.TrimPrefix(e.Host(), "unix://")
	err := errors.Join(
		os.Chmod(filepath.Dir(socket), 0o711), os.Chown(socket, 0, int(nobody.Gid)), os.Chmod(socket, 0o660),
	)
	if err != nil {
		t.Fatal(err)
	}
}

// TestWithoutRoot has a waiter who may not read the processes of others. The marks
// of with-lock's command it may. Where jobs run in a control group of their own, as
// under a service manager, it is enough that nobody is left in that; else it says
// what it cannot see, and who could.
func TestWithoutRoot(t *testing.T) {
	t.Parallel()
	onStores(t, func(t *testing.T, s contend.Store) {
		if s.Engine != nil {
			forNobody(t, s.Engine)
		}
		for i, death := range contend.Deaths(s)[:2] {
			for where, own := range map[string]bool{"in a control group of its own": true, "in that of all": false} {
				t.Run(death.Name+" "+where, func(t *testing.T) {
					t.Parallel()
					r := newRig(t, s)
					seen := own || i == 0
					if own {
						r.Group = controlGroup(t)
					}
					h, err := death.Hold(r)
					if err != nil {
						t.Fatal(err)
					}
					defer h.End()
					stranger(t)
					w := wait(t, r, nobody)
					says(t, w, "position 1 of 1")
					start := time.Now()
					if err := h.Die(); err != nil {
						t.Fatal(err)
					}
					if !seen {
						says(t, w, "of user 0, which may belong to it, could not be read; \"sudo hostguard status\" sees more")
						if w.EndsWithin(within) {
							t.Errorf("taken over unseen; the waiter printed:\n%s", w.Log())
						}
						if err := w.Leave(); err != nil {
							t.Error(err)
						}
						start, w = time.Now(), wait(t, r, nil) // root sees it
					}
					rec, err := w.Recovery(start)
					if err != nil {
						t.Fatal(err)
					}
					recovered(t, death, rec)
				})
			}
		}
	})
}

// controlGroup makes a group below that of this process.
func controlGroup(t *testing.T) *os.File {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	group := ""
	for line := range strings.Lines(string(own)) {
		if path, found := strings.CutPrefix(line, "0::"); found {
			group = strings.TrimSuffix(path, "\n")
		}
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); strings.Contains(line, " - cgroup2 ") && group != "" {
			dir, err := os.MkdirTemp(filepath.Join(fields[4], group), "hostguard-proof-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { removeGroup(t, dir) })
			f, err := os.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			return f
		}
	}
	t.Fatal("no unified control groups on this machine")
	return nil
}

// removeGroup waits until the last process of a group has been reaped.
func removeGroup(t *testing.T, dir string) {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := os.Remove(dir)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Error(err)
			return
		}
	}
}

// stranger runs a process of root whose environment others may not read.
func stranger(t *testing.T) {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

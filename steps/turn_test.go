package steps

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hostguard/internal/lockwire"
	"hostguard/internal/proc"
	"hostguard/lock"
	"hostguard/pressure"
)

func clearLook(context.Context) (pressure.Verdict, error) { return pressure.Verdict{}, nil }

func TestWhoHasNotTheTurnWaitsForIt(t *testing.T) {
	for name, tt := range map[string]struct {
		queued bool
		got    time.Duration // after the first look; 0: never
		failed error
		waits  time.Duration // until a look each second lets it go
	}{
		"nobody else waits":         {false, time.Millisecond, nil, 0},
		"there is no store":         {false, time.Millisecond, errors.New("no Docker"), 0},
		"the store does not answer": {false, 0, nil, turnPatience},
		"somebody goes first": {true, 5500 * time.Millisecond, nil,
			16 * time.Second}, // an interval after the turn
		"the store goes away":  {true, 5500 * time.Millisecond, errors.New("gone"), 6 * time.Second},
		"the turn never comes": {true, 0, nil, 90 * time.Second}, // the last attempt does not need it
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				turn := &turn{ready: make(chan struct{}), begin: time.Now(), limit: 100 * time.Second,
					interval: 10 * time.Second}
				turn.queued.Store(tt.queued)
				if tt.got > 0 {
					time.AfterFunc(tt.got, func() {
						turn.err, turn.acquired = tt.failed, time.Now()
						close(turn.ready)
					})
				}
				look := turn.guard(clearLook)
				for {
					v, err := look(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if v.Clear() {
						break
					}
					time.Sleep(time.Second)
				}
				if got := time.Since(turn.begin).Truncate(time.Second); got != tt.waits {
					t.Errorf("let go after %s, want %s", got, tt.waits)
				}
			})
		})
	}
}

func TestATurnMakesNoLookBetter(t *testing.T) {
	turn := &turn{ready: make(chan struct{}), begin: time.Now(), limit: time.Hour, interval: time.Second}
	turn.err = errors.New("no Docker")
	close(turn.ready)
	look := turn.guard(func(context.Context) (pressure.Verdict, error) {
		return pressure.Verdict{Blockers: []pressure.Blocker{{PID: 40}}}, nil
	})
	if v, err := look(t.Context()); err != nil || v.Clear() {
		t.Errorf("look = %+v, %v", v, err)
	}
	if turn.failure() != "no Docker" || turn.waitersBehind(t.Context(), "") != nil {
		t.Errorf("failure %q, waiters %v", turn.failure(), turn.waitersBehind(t.Context(), ""))
	}
}

// oneTicket is a store with one ticket for the turn, forged or not.
type oneTicket struct {
	lock.Engine
	entry lock.Entry
}

func (s oneTicket) List(_ context.Context, prefixes ...string) ([]lock.Entry, error) {
	if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s.entry.Name, p) }) {
		return []lock.Entry{s.entry}, nil
	}
	return nil, nil
}

// A ticket names a process and directories, which may be another job's: a build there
// would no longer count.
func TestATicketSpeaksForNoOtherJob(t *testing.T) {
	for name, tt := range map[string]struct {
		argv0 string
		want  bool // that it counts as a waiter
	}{
		"of a build": {"build", false}, "of one that waits": {"wait-pressure", true},
	} {
		cmd := exec.Command("sh", "-c", "read x", tt.argv0)
		in, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		place, process := proc.Local().Place(), proc.Local().Process(cmd.Process.Pid)
		sum, nonce := sha256.Sum256([]byte(turnName)), lock.NewNonce()
		labels := map[string]string{
			"version": "1", "kind": "ticket", "nonce": nonce, "number": "1", "workspace": "/victim/workspace",
			"job-dir": "/victim/0123456789abcdef",
			"boot":    place.Boot, "pid-namespace": place.PIDs, "machine": place.Machine,
			"time-namespace": place.Times, "mount-namespace": place.Mounts, "local": "true",
			"process": fmt.Sprintf("%d@%d", process.PID, process.Start),
		}
		entry := lock.Entry{ID: strings.Repeat("0", 64), Name: "hg-" + hex.EncodeToString(sum[:8]) + "-t-" + nonce,
			Created: time.Now(), Labels: map[string]string{}}
		for label, value := range labels {
			entry.Labels["hostguard."+label] = value
		}
		turn := &turn{ready: make(chan struct{}), store: &lockwire.Store{Space: &lock.Space{
			Engine: oneTicket{entry: entry}, Host: proc.Local(), Self: lock.Claim{Place: place},
		}}}
		close(turn.ready)
		owners := turn.waitersBehind(t.Context(), "/home/ci")
		if (len(owners) == 1) != tt.want || len(owners) == 1 && (len(owners[0].Dirs) > 0 || !owners[0].OneUser) {
			t.Errorf("%s: %+v", name, owners)
		}
		in.Close()
		_ = cmd.Wait()
	}
}

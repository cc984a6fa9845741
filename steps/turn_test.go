package steps

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

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

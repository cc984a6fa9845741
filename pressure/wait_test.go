package pressure

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// lookFor presses for so many looks.
func lookFor(pressed int) func(context.Context) (Verdict, error) {
	return func(context.Context) (Verdict, error) {
		if pressed--; pressed >= 0 {
			return Verdict{Blockers: []Blocker{{PID: 40}}}, nil
		}
		return Verdict{}, nil
	}
}

func TestWait(t *testing.T) {
	for name, tt := range map[string]struct {
		pressed, attempts int
		number            int
		waited            time.Duration
		clear             bool
	}{
		"clear at once":            {0, 60, 1, 0, true},
		"clear after a while":      {3, 60, 4, 30 * time.Second, true},
		"clear at the last look":   {59, 60, 60, 590 * time.Second, true},
		"still pressed at the end": {60, 60, 60, 590 * time.Second, false},
		"one look":                 {1, 1, 1, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reports := 0
				last, err := Wait(t.Context(), tt.attempts, 10*time.Second, lookFor(tt.pressed), func(a Attempt) {
					if reports++; a.Number != reports || a.Of != tt.attempts {
						t.Errorf("report %d is %d/%d", reports, a.Number, a.Of)
					}
				})
				jitter := last.Waited - tt.waited // of the second glance of who has waited
				uneven := jitter < 0 || jitter > 5*time.Second || jitter > 0 && (!tt.clear || tt.number == 1)
				if err != nil || last.Number != tt.number || uneven || last.Clear() != tt.clear ||
					reports != tt.number {
					t.Errorf("Wait() = %+v, %v after %d reports", last, err, reports)
				}
			})
		})
	}
}

func TestTheOnesThatWaitedDoNotAllGoAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Ten wait for one build. Who goes on builds at once, and is seen by
		// those who look after him.
		var mu sync.Mutex
		end := time.Now().Add(25 * time.Second)
		building, most := 0, 0
		var jobs sync.WaitGroup
		for range 10 {
			jobs.Go(func() {
				last, err := Wait(t.Context(), 600, 10*time.Second, func(context.Context) (Verdict, error) {
					mu.Lock()
					defer mu.Unlock()
					if building > 0 || time.Now().Before(end) {
						return Verdict{Blockers: []Blocker{{PID: 40}}}, nil
					}
					return Verdict{}, nil
				}, func(Attempt) {})
				if err != nil || !last.Clear() {
					t.Errorf("Wait() = %+v, %v", last, err)
				}
				mu.Lock()
				building++
				most = max(most, building)
				mu.Unlock()
				time.Sleep(time.Minute)
				mu.Lock()
				building--
				mu.Unlock()
			})
		}
		jobs.Wait()
		if most > 1 {
			t.Errorf("%d built at once", most)
		}
	})
}

func TestTheSecondGlanceSeesWhoWasFaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		last, err := Wait(t.Context(), 5, 10*time.Second, func(context.Context) (Verdict, error) {
			looks++
			if looks == 2 || looks > 4 { // clear, then another has begun
				return Verdict{}, nil
			}
			return Verdict{Blockers: []Blocker{{PID: 40}}}, nil
		}, func(Attempt) {})
		if err != nil || last.Number != 4 || looks != 6 || !last.Clear() {
			t.Errorf("Wait() = %+v, %v after %d looks", last, err, looks)
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signal := errors.New("signal")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(15*time.Second, func() { cancel(signal) })
		begin := time.Now()
		last, err := Wait(ctx, 60, 10*time.Second, lookFor(60), func(Attempt) {})
		if !errors.Is(err, signal) || last.Number != 2 || time.Since(begin) != 15*time.Second {
			t.Errorf("Wait() = %+v, %v after %v", last, err, time.Since(begin))
		}
	})
}

func TestACancelledLookIsNoVerdict(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Wait(ctx, 60, time.Hour, func(context.Context) (Verdict, error) {
		cancel()
		return Verdict{}, nil
	}, func(Attempt) { t.Error("reported") })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Wait(): %v", err)
	}
}

func TestALookThatFailsEndsTheWait(t *testing.T) {
	_, err := Wait(t.Context(), 60, time.Hour, func(context.Context) (Verdict, error) {
		return Verdict{}, errUnreadable
	}, func(Attempt) { t.Error("reported") })
	if !errors.Is(err, errUnreadable) {
		t.Errorf("Wait(): %v", err)
	}
}

package observe

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hostguard/history"
)

// host is what an observer looks at in a test.
type host struct {
	mu     sync.Mutex
	began  time.Time
	locks  []Lock
	err    error
	events chan bool
	looks  []time.Duration // when
}

// change changes what there is to see.
func (h *host) change(what func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	what()
}

func (h *host) Look(context.Context) (Look, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looks = append(h.looks, time.Since(h.began))
	return Look{At: time.Now(), Uptime: time.Since(h.began), Locks: h.locks,
		Stall: history.Stall{Time: h.began}}, h.err
}

func (h *host) Watch(context.Context) (<-chan bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.events == nil {
		return nil, errors.New("no events here")
	}
	return h.events, nil
}

// shelf keeps what is recorded.
type shelf struct{ looks, stalls int }

func (s *shelf) Look(_ time.Time, _, _ []history.Interval, stall *history.Stall) error {
	s.looks++
	if stall != nil {
		s.stalls++
	}
	return nil
}

func (s *shelf) Bytes() int64 { return 0 }

// observed runs an observer of a host for some time, in which act happens.
func observed(t *testing.T, h *host, d time.Duration, act func()) (reports []string, kept *shelf) {
	t.Helper()
	kept = &shelf{}
	synctest.Test(t, func(t *testing.T) {
		h.began = time.Now()
		if h.events != nil {
			h.events = make(chan bool, 1) // of this bubble
		}
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		o := Observer{Eyes: h, Recorder: kept, Metrics: NewMetrics(""),
			Changed: func(Look, []history.Interval, []history.Interval) {},
			Report:  func(format string, args ...any) { reports = append(reports, fmt.Sprintf(format, args...)) }}
		done := make(chan struct{})
		go func() { o.Run(ctx); close(done) }()
		act()
		<-done
	})
	return reports, kept
}

func TestObserverLooksRarelyWhileNothingHappens(t *testing.T) {
	h := &host{events: make(chan bool)}
	_, kept := observed(t, h, 41*time.Second, func() {})
	if n := len(h.looks); n != 11 {
		t.Errorf("%d looks in 41 s, want 11", n)
	}
	if kept.looks != 11 || kept.stalls != 1 {
		t.Errorf("%d looks and %d samples of one stall are kept", kept.looks, kept.stalls)
	}
}

func TestObserverLooksEachSecondWhileALockIsHeldOrNoEventsCome(t *testing.T) {
	for _, h := range []*host{
		{events: make(chan bool), locks: []Lock{held("a", claim(1, 0))}},
		{},
	} {
		_, kept := observed(t, h, 20500*time.Millisecond, func() {})
		if n := len(h.looks); n != 21 {
			t.Errorf("%d looks in 20.5 s, want 21", n)
		}
		if kept.looks < 6 || kept.looks > 9 { // they show nothing new
			t.Errorf("%d of them are kept", kept.looks)
		}
	}
}

func TestObserverLooksSoonAfterAnEvent(t *testing.T) {
	h := &host{events: make(chan bool)}
	observed(t, h, 3500*time.Millisecond, func() {
		time.Sleep(2 * time.Second)
		h.events <- false
	})
	if len(h.looks) != 2 || h.looks[1] != 2*time.Second+eventDelay {
		t.Errorf("looks at %v", h.looks)
	}
}

func TestObserverLooksAtOnceWhereThatIsUrgent(t *testing.T) {
	h := &host{events: make(chan bool)}
	observed(t, h, 3500*time.Millisecond, func() {
		time.Sleep(100 * time.Millisecond)
		h.events <- true
	})
	if len(h.looks) != 2 || h.looks[1] != 100*time.Millisecond {
		t.Errorf("looks at %v", h.looks)
	}
}

// Many events cost few looks.
func TestObserverIsNotRushedByEvents(t *testing.T) {
	h := &host{events: make(chan bool)}
	observed(t, h, 10*time.Second, func() {
		for range 3000 {
			time.Sleep(3 * time.Millisecond)
			h.events <- false
		}
	})
	if n := len(h.looks); n < 30 || n > 41 {
		t.Errorf("%d looks in 9 s of events, want about 36", n)
	}
}

func TestObserverReportsAStoreThatIsAwayOnceAndWhenItIsBack(t *testing.T) {
	h := &host{events: make(chan bool), err: errors.New("not reachable")}
	reports, kept := observed(t, h, 10*time.Minute, func() {
		time.Sleep(5 * time.Minute)
		h.change(func() {
			if n := len(h.looks); n > 16 {
				t.Errorf("%d looks in 5 min without an answer", n)
			}
			h.err = nil
		})
	})
	if len(reports) != 2 || !strings.Contains(reports[0], "not reachable") ||
		!strings.HasPrefix(reports[1], "the locks are seen again, after 5m") {
		t.Errorf("reports: %q", reports)
	}
	if kept.looks == 0 || kept.looks > 80 {
		t.Errorf("%d looks are kept", kept.looks)
	}
}

func TestObserverWatchesAgainAfterTheWatchHasEnded(t *testing.T) {
	h := &host{events: make(chan bool)}
	observed(t, h, 30*time.Second, func() {
		time.Sleep(5 * time.Second)
		close(h.events)
		time.Sleep(time.Second)
		h.change(func() { h.events = make(chan bool, 1) })
	})
	// 0, 4; then each second until it watches again at 10 s or later; then every 4 s.
	if n := len(h.looks); n < 10 || n > 16 {
		t.Errorf("looks at %v", h.looks)
	}
}

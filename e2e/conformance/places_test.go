package conformance

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hostguard/e2e/rig/contend"
	"hostguard/e2e/rig/engine"
)

// placesSections is how many critical sections a run of slots or readers must see.
const placesSections = 200

// placesStores are those on which slots and sharing are tried: each place is a lock by the
// protocol that TestNoTwoHold attacks on all.
func placesStores(t *testing.T, test func(*testing.T, *run)) {
	for _, s := range []func(*testing.T) contend.Store{
		func(t *testing.T) contend.Store { return start(t, engine.New) },
		func(*testing.T) contend.Store { return contend.Store{Name: "file"} },
	} {
		s := s(t)
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			r := newRun(t, s, placesSections)
			r.kills = placesSections / 20
			test(t, r)
		})
	}
}

// occupy runs contenders, each by one with-lock after another with flags and a section of its
// own, and kills some of them.
func (r *run) occupy(contender func(i int) (flags, section []string)) {
	begin, done := time.Now(), make(chan struct{})
	var attackers, contenders sync.WaitGroup
	attackers.Go(func() { r.killUntil(done) })
	for i := range places {
		contenders.Go(func() {
			for !r.over() {
				flags, section := contender(i)
				take := append([]string{"with-lock", "-timeout", "5m", "-lock-name", r.lock}, flags...)
				cmd := r.command(append(take, "--"), section...)
				var out bytes.Buffer
				cmd.Stderr = &out
				status := r.mortal(cmd)
				if status == 2 && strings.Contains(out.String(), "must give the same number") {
					r.refused.Add(1)
					time.Sleep(time.Duration(rand.N(200)) * time.Millisecond)
					continue
				}
				r.count(status, out.String())
			}
		})
	}
	contenders.Wait()
	close(done)
	attackers.Wait()
	r.t.Logf("%s: %d sections in %s, %d overlaps, %d killed, %d refused", r.store.Name, r.done.Load(),
		time.Since(begin).Round(time.Second), r.overlaps.Load(), r.killed.Load(), r.refused.Load())
	if r.overlaps.Load() != 0 {
		r.t.Errorf("%d overlaps", r.overlaps.Load())
	}
}

// killUntil kills a random process after every twentieth section.
func (r *run) killUntil(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-time.After(20 * time.Millisecond):
		}
		if r.done.Load() < 20*r.killed.Load() {
			continue
		}
		r.mu.Lock()
		for cmd := range r.running { // in random order
			if cmd.Process.Kill() == nil {
				r.killed.Add(1)
			}
			break
		}
		r.mu.Unlock()
	}
}

// pass is a section for one of so many: it takes a flock of the first of as many files that is
// free, and reports an overlap where all are taken.
func (r *run) pass(slots int) []string {
	var script strings.Builder
	for i := range slots {
		script.WriteString(fmt.Sprintf("flock --nonblock --conflict-exit-code %d %s.%d sleep 0.0%d; s=$?; "+
			"[ $s = %d ] || exit $s; ", contend.Overlap, r.detector, i, 1+rand.N(9), contend.Overlap))
	}
	return []string{"sh", "-c", script.String() + fmt.Sprintf("exit %d", contend.Overlap)}
}

func TestNoMoreHoldThanThereAreSlots(t *testing.T) {
	t.Parallel()
	placesStores(t, func(t *testing.T, r *run) {
		r.occupy(func(int) (flags, section []string) { return []string{"-slots", "3"}, r.pass(3) })
		if r.done.Load() < placesSections {
			t.Errorf("%d sections", r.done.Load())
		}
	})
}

// One that counts a slot more shows that the detector sees it.
func TestTheDetectorFindsOneMoreThanThereAreSlots(t *testing.T) {
	t.Parallel()
	r := newRun(t, contend.Store{Name: "file"}, 0)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			cmd := r.command([]string{"with-lock", "-timeout", "1m", "-lock-name", r.lock, "-slots", "4", "--"},
				r.pass(1)...)
			r.count(contend.Status(cmd.Run()), "")
		})
	}
	group.Wait()
	if r.overlaps.Load() == 0 {
		t.Error("four held together, and nobody saw it")
	}
}

// shared is the section of a reader.
func (r *run) shared() []string {
	return []string{"flock", "--shared", "--nonblock", "--conflict-exit-code", fmt.Sprint(contend.Overlap), r.detector,
		"sleep", fmt.Sprintf("0.0%d", 1+rand.N(9))}
}

func TestNoWriterHoldsBesideReaders(t *testing.T) {
	t.Parallel()
	placesStores(t, func(t *testing.T, r *run) {
		r.occupy(func(int) (flags, section []string) {
			if rand.N(3) > 0 {
				return []string{"-share"}, r.shared()
			}
			return nil, contend.Inside(r.detector, "0.01")
		})
	})
}

// Those that disagree are refused whenever the others hold, and never hold beside them.
func TestWhoCountsOtherSlotsDoesNotHoldBeside(t *testing.T) {
	t.Parallel()
	placesStores(t, func(t *testing.T, r *run) {
		two := filepath.Join(t.TempDir(), "two")
		r.occupy(func(i int) (flags, section []string) {
			if i < 4 {
				return []string{"-slots", "2"}, []string{"flock", "--shared", "--nonblock", "--conflict-exit-code",
					fmt.Sprint(contend.Overlap), r.detector, "flock", two, "sleep", "0.01"}
			}
			return nil, contend.Inside(r.detector, "0.01")
		})
		if r.refused.Load() == 0 {
			t.Error("nobody was refused")
		}
	})
}

package lock

import (
	"testing"
	"testing/synctest"
	"time"
)

// reserved returns the entry of a reservation for an hour, and a waiter on the same host.
func reserved(t *testing.T) (Entry, *Mutex, *machine) {
	t.Helper()
	host := newMachine()
	waiter := host.contender(newStore(true, faults{}, 1))
	c := waiter.space.Self
	c.JobDir, c.Runner, c.Parent = jobDir, host.start(), host.start()
	c.Job.RunID, c.Job.Task, c.Job.Repository, c.Container = "7", "9", "wooo/shop", "c"
	waiter.space.Self = c
	claim := waiter.space.fresh(c.Reserve(time.Hour, "root"))
	return Entry{ID: "1", Name: "l", Created: time.Now(), Labels: claim.labels(kindLock)}, waiter, host
}

func TestAReservationLastsUntilItsEndWhateverLives(t *testing.T) {
	for name, arrange := range map[string]func(*Entry, *Mutex, *machine){
		"as it was made": func(*Entry, *Mutex, *machine) {},
		"all that made it is gone": func(_ *Entry, m *Mutex, host *machine) {
			c := m.space.Self
			host.end(c.Process)
			host.end(c.Runner)
			host.gone[jobDir] = true
		},
		"the host was rebooted": func(_ *Entry, m *Mutex, host *machine) {
			host.booted = time.Now()
			m.space.Self.Place.Boot = "a later one"
		},
		"the clock of the store was set forth": func(e *Entry, _ *Mutex, _ *machine) {
			e.Created = e.Created.Add(-24 * time.Hour)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, waiter, host := reserved(t)
				arrange(&e, waiter, host)
				time.Sleep(time.Hour - time.Second)
				if v := waiter.space.Judge(t.Context(), e, true); v.Life != Alive {
					t.Errorf("before its end: %v, %s", v.Life, v.Evidence)
				}
				time.Sleep(2 * time.Second)
				if v := waiter.space.Judge(t.Context(), e, true); v.Life != Dead {
					t.Errorf("after its end: %v, %s", v.Life, v.Evidence)
				}
			})
		})
	}
}

func TestAnInventedReservationEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, waiter, _ := reserved(t)
		e.Labels = with(e.Labels, "reserved", "9999h")
		time.Sleep(MaxReservation + time.Second)
		if v := waiter.space.Judge(t.Context(), e, true); v.Life != Dead {
			t.Errorf("%v, %s", v.Life, v.Evidence)
		}
	})
}

// The job in which it was made, and its hooks, find locks by what a claim names of the job.
func TestNoReleaseOfAJobMatchesAReservation(t *testing.T) {
	e, waiter, _ := reserved(t)
	c, ours := e.Claim()
	self := waiter.space.Self
	if !ours || c.SameJob(self) || c.SameCaller(self) || c.Job.SameTask(self.Job) || c.Job.RunID != "" ||
		len(waiter.space.OwnedBySelf([]Entry{e})) > 0 || waiter.leftByThisJob(e) {
		t.Errorf("%+v", c)
	}
	if !c.OutsideJobs() { // release-lock -lock-id asks this
		t.Error("it cannot be given back by its ID")
	}
}

// A hostguard that knows no reservations takes it over by age, and no earlier.
func TestAnOlderHostguardSeesItsStaleAfter(t *testing.T) {
	e, waiter, _ := reserved(t)
	if got := e.label("stale-after"); got != "1h0m0s" {
		t.Errorf("stale-after %q", got)
	}
	if got := waiter.space.Self.Reserve(time.Minute, "root").StaleAfter; got != waiter.space.Self.StaleAfter {
		t.Errorf("while it waits it takes a lock made without hostguard over after %s", got)
	}
}

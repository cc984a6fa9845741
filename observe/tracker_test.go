package observe

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"hostguard/history"
)

// start is when the looks of these tests begin; times are seconds after it.
var start = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

// entryID returns the ID of an entry, whose first 16 digits are those of n.
func entryID(n int) string { return fmt.Sprintf("%016x%048x", n, n) }

// claim returns what an entry of the n-th process says.
func claim(n int, created float64) Claimant {
	return Claimant{ID: entryID(n), Nonce: fmt.Sprintf("nonce-%d", n), Created: at(created),
		Who: history.Who{Repository: fmt.Sprintf("wooo/r%d", n), Job: "build"}}
}

func (c Claimant) with(change func(*Claimant)) Claimant { change(&c); return c }

func gone(evidence string) func(*Claimant) {
	return func(c *Claimant) { c.Gone, c.Evidence = true, evidence }
}

// look returns a look at some second by both clocks.
func look(seconds float64, locks ...Lock) Look {
	return Look{At: at(seconds), Uptime: time.Duration(seconds * float64(time.Second)), Locks: locks}
}

func (l Look) building() Look {
	l.Builds = []Build{{PID: 7, Name: "next build", Since: at(1)}}
	return l
}

func held(name string, holders ...Claimant) Lock { return Lock{Name: name, Holders: holders} }

func (l Lock) waiting(waiters ...Claimant) Lock { l.Waiters = waiters; return l }

// ended runs looks through a tracker and returns what has ended, and what is open at the end,
// in one line each.
func follow(looks ...Look) (lines []string) {
	var t Tracker
	var open []history.Interval
	for _, l := range looks {
		var ended []history.Interval
		open, ended = t.Look(l)
		for _, i := range ended {
			lines = append(lines, line(i))
		}
	}
	for _, i := range open {
		lines = append(lines, line(i))
	}
	return lines
}

func line(i history.Interval) string {
	until := fmt.Sprint(i.Until.Sub(start).Seconds())
	if i.Open {
		until = "open"
	}
	text := fmt.Sprintf("%s %s %s %g-%s %s", i.Kind, i.Name, i.Who.Repository, i.From.Sub(start).Seconds(), until,
		i.End)
	if i.End == history.EndTakenOver {
		text += ": " + i.Evidence
	}
	return strings.Join(strings.Fields(text), " ")
}

func TestTrackerEndsIntervalsAsTheLooksShow(t *testing.T) {
	const died = "its container is gone"
	for _, test := range []struct {
		name  string
		looks []Look
		want  []string
	}{
		{"a hold begins when its entry was created, and ends at the first look without it", []Look{
			look(0), look(1, held("a", claim(1, 0.4))), look(2),
		}, []string{"hold a wooo/r1 0.4-2 released"}},
		{"a hold that was there at the start is as old as its entry", []Look{
			look(0, held("a", claim(1, -3600))), look(1),
		}, []string{"hold a wooo/r1 -3600-1 released"}},
		{"an entry from the future of the store's clock is new", []Look{
			look(0), look(1, held("a", claim(1, 500))), look(2),
		}, []string{"hold a wooo/r1 1-2 released"}},
		{"an entry from its past cannot be older than the look that did not show it", []Look{
			look(0), look(1), look(2, held("a", claim(1, -500))), look(3),
		}, []string{"hold a wooo/r1 1-3 released"}},
		{"a killed with-lock gives nothing back, so its lock is taken over once its command ends", []Look{
			look(0, held("a", claim(1, 0).with(func(c *Claimant) { c.Leaves, c.Evidence = true, "process 7 runs" }))),
			look(1, held("a", claim(2, 0.3))),
		}, []string{
			"hold a wooo/r1 0-0.3 taken over: its hostguard process had ended, and then its command",
			"hold a wooo/r2 0.3-open",
		}},
		{"the next hold ends the one before", []Look{
			look(0, held("a", claim(1, 0))), look(1, held("a", claim(2, 0.3))), look(2),
		}, []string{"hold a wooo/r1 0-0.3 released", "hold a wooo/r2 0.3-2 released"}},
		{"who waited and holds has acquired", []Look{
			look(0, held("a", claim(1, 0)).waiting(claim(2, 0))), look(1, held("a", claim(2, 0.5))),
		}, []string{"hold a wooo/r1 0-0.5 released", "wait a wooo/r2 0-0.5 acquired", "hold a wooo/r2 0.5-open"}},
		{"a ticket that stays for a moment is no second wait", []Look{
			look(0, held("a", claim(1, 0)).waiting(claim(2, 0))),
			look(1, held("a", claim(2, 0.5)).waiting(claim(2, 0))),
			look(2, held("a", claim(2, 0.5)).waiting(claim(2, 0))),
		}, []string{"hold a wooo/r1 0-0.5 released", "wait a wooo/r2 0-0.5 acquired", "hold a wooo/r2 0.5-open"}},
		{"a waiter that takes another ticket waits on", []Look{
			look(0, held("a", claim(1, 0)).waiting(claim(2, 0))),
			look(1, held("a", claim(1, 0)).waiting(claim(2, 1).with(func(c *Claimant) { c.ID = entryID(7) }))),
			look(2, held("a", claim(1, 0))),
		}, []string{"wait a wooo/r2 0-2 gave up", "hold a wooo/r1 0-open"}},
		{"another's hold does not end a wait", []Look{
			look(0, held("a", claim(1, 0)).waiting(claim(2, 0))), look(1, held("a", claim(3, 0.5))),
		}, []string{"hold a wooo/r1 0-0.5 released", "wait a wooo/r2 0-1 gave up", "hold a wooo/r3 0.5-open"}},
		{"the same process on another lock does not either", []Look{
			look(0, held("a", claim(1, 0)).waiting(claim(2, 0))),
			look(1, held("a", claim(1, 0)), held("b", claim(2, 0.5))),
		}, []string{"wait a wooo/r2 0-1 gave up", "hold a wooo/r1 0-open", "hold b wooo/r2 0.5-open"}},
		{"the lock of a holder that was gone is taken over", []Look{
			look(0, held("a", claim(1, 0))), look(1, held("a", claim(1, 0).with(gone(died)))),
			look(2, held("a", claim(2, 1.5))),
		}, []string{"hold a wooo/r1 0-1.5 taken over: " + died, "hold a wooo/r2 1.5-open"}},
		{"while contenders find out who holds, only one that stays does", []Look{
			look(0, held("a", claim(1, 0), claim(2, 0))), look(1, held("a", claim(2, 0))), look(2),
		}, []string{"hold a wooo/r2 0-2 released"}},
		{"two that stay both hold, as below Engine 25 with plain networks", []Look{
			look(0, held("a", claim(1, 0), claim(2, 0))), look(1, held("a", claim(1, 0), claim(2, 0))),
		}, []string{"hold a wooo/r1 0-open", "hold a wooo/r2 0-open"}},
		{"the jobs at the gate wait for pressure, whoever has the turn", []Look{
			look(0, held(Gate, claim(1, 0)).waiting(claim(2, 0))), look(1, held(Gate, claim(2, 1))), look(2),
		}, []string{"pressure wooo/r1 0-1 acquired", "pressure wooo/r2 0-2 acquired"}},
		{"a job at the gate whose time is over gave up", []Look{
			look(0, held(Gate, claim(1, 0).with(func(c *Claimant) { c.Limit = 5 * time.Second }))), look(5),
		}, []string{"pressure wooo/r1 0-5 gave up"}},
		{"a job that leaves the gate while a heavy build runs gave up", []Look{
			look(0, held(Gate, claim(1, 0))), look(1, held(Gate, claim(1, 0))).building(),
			look(2).building(),
		}, []string{"pressure wooo/r1 0-2 gave up", "build next build 1-open"}},
		{"a job at the gate that was killed gave up", []Look{
			look(0, held(Gate, claim(1, 0).with(gone("its process is gone")))), look(1),
		}, []string{"pressure wooo/r1 0-1 gave up"}},
		{"what ended while nobody looked ended at the last look", []Look{
			look(0, held("a", claim(1, 0)).waiting(claim(2, 0))), look(1, held("a", claim(1, 0)).waiting(claim(2, 0))),
			look(600),
		}, []string{"hold a wooo/r1 0-1 unseen", "wait a wooo/r2 0-1 unseen"}},
		{"what outlasts such a time goes on", []Look{
			look(0, held("a", claim(1, 0))), look(600, held("a", claim(1, 0))), look(601),
		}, []string{"hold a wooo/r1 0-601 released"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := follow(test.looks...)
			slices.Sort(got)
			want := slices.Sorted(slices.Values(test.want))
			if !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

func TestTrackerKeepsDurationsWhenTheClockSteps(t *testing.T) {
	for _, step := range []time.Duration{-time.Hour, time.Hour} {
		var tr Tracker
		tr.Look(look(0, held("a", claim(1, 0)).waiting(claim(2, 0))))
		l := look(10, held("a", claim(1, 0)).waiting(claim(2, 0)))
		l.At = l.At.Add(step)
		tr.Look(l)
		l = look(12)
		l.At = l.At.Add(step)
		_, ended := tr.Look(l)
		if len(ended) != 2 {
			t.Fatalf("%d intervals ended, want 2", len(ended))
		}
		for _, i := range ended {
			if got := i.Until.Sub(i.From); got != 12*time.Second {
				t.Errorf("step %s: %s lasted %s, want 12s", step, i.Kind, got)
			}
		}
	}
}

func TestTrackerNamesAnIntervalAfterItsEntry(t *testing.T) {
	var one, other Tracker // before and after a restart
	for _, tr := range []*Tracker{&one, &other} {
		open, _ := tr.Look(look(0, held("a", claim(0xabc, 0)).waiting(claim(2, 0))))
		if got := open[0].ID + " " + open[1].ID; got != "hold-0000000000000abc wait-0000000000000002" {
			t.Errorf("the IDs are %q", got)
		}
	}
	if a, b := idOf(history.Hold, "unreadable-1-2"), idOf(history.Hold, "unreadable-1-3"); a == b {
		t.Errorf("two entries that cannot be read have the ID %q", a)
	}
}

func TestTrackerFollowsBuildsContainersAndRunners(t *testing.T) {
	var tr Tracker
	l := look(0)
	l.Builds = []Build{{PID: 7, Name: "next build", Since: at(-30)}}
	l.Containers = []string{"GITEA-ACTIONS-TASK-1"}
	l.Runners = []Runner{{"a.service", Up}}
	open, _ := tr.Look(l)
	if len(open) != 3 {
		t.Fatalf("%d are open, want 3", len(open))
	}
	l = look(1)
	l.Runners = []Runner{{"a.service", Draining}}
	open, ended := tr.Look(l)
	var got []string
	for _, i := range append(ended, open...) {
		got = append(got, line(i))
	}
	want := []string{"build next build -30-1", "container GITEA-ACTIONS-TASK-1 0-1", "runner a.service 0-1 up",
		"runner a.service 1-open draining"}
	if !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What the history says of who held is what an outside list of sections says, but for what
// lasted less than a look: processes that release, and some that are killed and taken over,
// seen by looks of at most a second's distance.
func TestHistorySaysWhoHeldAsAnOutsideListDoes(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		between := func(least, most float64) float64 { return least + (most-least)*random.Float64() }
		type section struct {
			from, until, died float64 // died is after until if it was not killed
			waits             float64 // since when
		}
		var sections []section
		now := 1.0
		for range 100 { // 2,000 in all
			s := section{from: now, waits: max(0, now-between(0.2, 20))}
			s.until = s.from + between(0.02, 12)
			if s.died = s.until + 1; random.IntN(4) == 0 {
				s.died = max(s.from, s.until-between(1, 4)) // then it is taken over a while later
			}
			now = s.until + between(0, 0.4)
			sections = append(sections, s)
		}
		var tr Tracker
		got := map[string]history.Interval{}
		waits := map[string]history.Interval{}
		for second := 0.0; second < now+2; second += between(0.25, 1) {
			seen := Lock{Name: "a"}
			for n, s := range sections {
				if second < s.waits || second >= s.until {
					continue
				}
				c := claim(n, s.from)
				if second >= s.from && second < s.until {
					if second >= s.died {
						c = c.with(gone("its process is gone"))
					}
					seen.Holders = append(seen.Holders, c)
				}
				if second >= s.waits && second < s.from {
					c.Created = at(s.waits)
					c.ID = entryID(1000 + n)
					seen.Waiters = append(seen.Waiters, c)
				}
			}
			_, ended := tr.Look(look(second, seen))
			for _, i := range ended {
				if i.Kind == history.Hold {
					got[i.Who.Repository] = i
				} else {
					waits[i.Who.Repository] = i
				}
				if i.Until.Before(i.From) {
					t.Fatalf("seed %d: %s ended before it began", seed, i.ID)
				}
			}
		}
		for n, s := range sections {
			repository := claim(n, 0).Who.Repository
			i, found := got[repository]
			if !found {
				if s.until-s.from > 1 {
					t.Errorf("seed %d: section %d of %.2fs is missing", seed, n, s.until-s.from)
				}
				continue
			}
			delete(got, repository)
			from, until := i.From.Sub(start).Seconds(), i.Until.Sub(start).Seconds()
			if from < s.from-0.001 || from > s.from+1 || until < s.until-0.001 || until > s.until+1 {
				t.Errorf("seed %d: section %d is %.2f-%.2f in the history, was %.2f-%.2f", seed, n, from, until, s.from,
					s.until)
			}
			if killed := s.died < s.until; i.End == history.EndTakenOver && !killed ||
				killed && s.until-s.died > 1 && i.End != history.EndTakenOver {
				t.Errorf("seed %d: section %d, killed %v, ended as %q", seed, n, killed, i.End)
			}
			if w, waited := waits[repository]; waited && (w.End != history.EndAcquired || !w.Until.Equal(i.From)) {
				t.Errorf("seed %d: the wait of section %d ended as %q at %s", seed, n, w.End, w.Until.Sub(start))
			}
		}
		for who := range got {
			t.Errorf("seed %d: %s never held", seed, who)
		}
	}
}

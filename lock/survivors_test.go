package lock

import (
	"context"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// aSurvivor is a process of the name that has used so much CPU time by now.
func aSurvivor(name string, pid int, effort time.Duration) Survivor {
	return Survivor{Process: Process{pid, uint64(pid)}, Name: name, Effort: effort}
}

// daemon rests: in 50 s an idle JVM on a busy machine uses that much.
func daemon(since time.Duration) Survivor {
	return aSurvivor("java", 300, 20*time.Second+since*8/1000)
}

// waysToEnd are those in which a job of the holder can be over.
var waysToEnd = map[string]func(*scene){
	"its directory is gone": func(s *scene) { s.job(); s.host.gone[jobDir] = true },
	"its directory cannot be removed": func(s *scene) {
		s.job()
		s.holder.Actions, s.host.gone[jobDir+"/act"] = true, true
	},
	"its runner is gone":                    func(s *scene) { s.job(); s.host.end(s.holder.Runner) },
	"its worker of GitHub's runner is gone": func(s *scene) { s.worker(); s.host.end(s.holder.Runner) },
}

// worker makes the holder a job of GitHub's runner.
func (s *scene) worker() {
	s.job()
	s.holder.JobDir, s.holder.Tracking = "", "github_1"
}

// afterTheEnd lets a waiter look every second at a job that is over, while what
// is left of it is what the function returns, and reports when it is dead to it.
func afterTheEnd(t *testing.T, end func(*scene), left func(since time.Duration) []Survivor,
) (dead time.Duration, last Verdict) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		host := newMachine()
		holder := host.contender(nil).space.Self
		sc := &scene{&holder, host, host.contender(newStore(true, faults{}, 1))}
		end(sc)
		e := Entry{ID: "x", Created: time.Now(), Labels: holder.labels(kindLock)}
		for start := time.Now(); ; time.Sleep(time.Second) {
			dead = time.Since(start)
			host.leave(left(dead)...)
			last = sc.waiter.space.judge(t.Context(), e, false)
			if last.Life != Alive || dead > 10*time.Minute {
				return
			}
		}
	})
	return dead, last
}

func TestAnIdleDaemonHoldsNothingUpForMoreThanAMinute(t *testing.T) {
	for name, end := range waysToEnd {
		t.Run(name, func(t *testing.T) {
			after, v := afterTheEnd(t, end, func(since time.Duration) []Survivor { return []Survivor{daemon(since)} })
			if v.Life != Dead || after+endPatience+3*time.Second > time.Minute || after < 30*time.Second {
				t.Errorf("%s after %s (%s), want an orphan within a minute, with the wait of a release", v.Life, after, v.Evidence)
			}
		})
	}
}

func TestWhatWorksOfAJobThatIsOverHoldsItsLock(t *testing.T) {
	const works = 2 * time.Minute
	children := 0
	for name, left := range map[string]func(since time.Duration) []Survivor{
		"uses CPU": func(since time.Duration) []Survivor { return []Survivor{aSurvivor("tar", 300, since/30)} },
		"is a client of the engine": func(since time.Duration) []Survivor {
			return []Survivor{{Process: Process{300, 300}, Name: "docker", Busy: true}}
		},
		"beside an idle daemon": func(since time.Duration) []Survivor {
			return []Survivor{daemon(since), aSurvivor("tar", 301, since/30)}
		},
		"by its children, which end": func(since time.Duration) []Survivor {
			children++
			return []Survivor{daemon(since), aSurvivor("cc1", 1000+children, 50*time.Millisecond)}
		},
		"works now and then": func(since time.Duration) []Survivor {
			return []Survivor{aSurvivor("sh", 300, time.Second*(since/(30*time.Second)))}
		},
	} {
		t.Run(name, func(t *testing.T) {
			for way, end := range waysToEnd {
				after, v := afterTheEnd(t, end, func(since time.Duration) []Survivor {
					if since >= works {
						return nil
					}
					return left(since)
				})
				if v.Life != Dead || after < works || after > works+time.Second {
					t.Errorf("%s: %s after %s (%s), want an orphan when the work is over, after %s",
						way, v.Life, after, v.Evidence, works)
				}
			}
		})
	}
}

// A daemon that is asked something before anybody takes the lock counts again,
// and so does a process that got the pid of one that rested.
func TestWhoWakesCountsAgain(t *testing.T) {
	for name, wake := range map[string]func(s Survivor) Survivor{
		"the same process": func(s Survivor) Survivor { s.Effort += 5 * time.Second; return s },
		"another of its pid": func(s Survivor) Survivor {
			return Survivor{Process: Process{s.PID, s.Start + 9}, Name: "tar", Effort: 5 * time.Second}
		},
	} {
		t.Run(name, func(t *testing.T) {
			after, v := afterTheEnd(t, waysToEnd["its directory is gone"], func(since time.Duration) []Survivor {
				if since >= 39*time.Second {
					return []Survivor{wake(daemon(since))}
				}
				return []Survivor{daemon(since)}
			})
			if v.Life != Dead || after != 39*time.Second+restTime {
				t.Errorf("%s after %s (%s)", v.Life, after, v.Evidence)
			}
		})
	}
}

func TestWhatCannotBeReadIsNotAtRest(t *testing.T) {
	after, v := afterTheEnd(t, func(s *scene) { s.job(); s.host.gone[jobDir], s.host.hidden = true, true },
		func(since time.Duration) []Survivor { return []Survivor{daemon(since)} })
	if v.Life != Unknown {
		t.Errorf("%s after %s (%s), want unknown", v.Life, after, v.Evidence)
	}
}

// A single look proves no rest: one that only looks does not get "orphan".
func TestOneLookFindsNobodyAtRest(t *testing.T) {
	after, v := afterTheEnd(t, waysToEnd["its runner is gone"], func(since time.Duration) []Survivor {
		if since > 0 {
			return nil
		}
		return []Survivor{daemon(since)}
	})
	if after != time.Second || v.Life != Dead {
		t.Errorf("%s after %s", v.Life, after)
	}
}

// A waiter takes the lock over when the work of a cancelled job is over, at most
// 3 s later, and reports it in words that stay the same while it waits.
func TestAWaiterTakesOverWhenTheWorkIsOver(t *testing.T) {
	for name, c := range map[string]struct {
		left           func(since time.Duration) []Survivor
		earliest, most time.Duration
	}{
		"a build that left the session": {func(since time.Duration) []Survivor {
			if since > 100*time.Second {
				return nil
			}
			return []Survivor{aSurvivor("tar\x1b[2J", 300, since)}
		}, 100 * time.Second, 103 * time.Second},
		"an idle daemon": {func(since time.Duration) []Survivor {
			return []Survivor{daemon(since)}
		}, restTime, restTime + 3*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host, s := newMachine(), newStore(true, faults{}, 1)
				holder := host.contender(nil).space.Self
				sc := &scene{&holder, host, host.contender(s)}
				waysToEnd["its directory is gone"](sc)
				if err := s.insert(strings.Repeat("a", 64), "build", holder.labels(kindLock)); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				host.leave(c.left(0)...)
				ctx, stop := context.WithCancel(t.Context())
				var passing sync.WaitGroup
				passing.Go(func() {
					for ctx.Err() == nil {
						host.leave(c.left(time.Since(start))...)
						time.Sleep(100 * time.Millisecond)
					}
				})
				defer passing.Wait()
				defer stop()
				defer sc.waiter.Finish()
				seen := map[string]bool{}
				sc.waiter.OnWait = func(w Wait) { seen[w.Holder.Verdict.Evidence] = true }
				if _, err := sc.waiter.Acquire(ctx); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); took < c.earliest || took > c.most {
					t.Errorf("it took over after %s, want %s to %s", took, c.earliest, c.most)
				}
				if len(seen) != 1 {
					t.Errorf("while it waited it reported %v", seen)
				}
				for evidence := range seen {
					if strings.ContainsRune(evidence, '\x1b') {
						t.Errorf("a process wrote into a message: %q", evidence)
					}
				}
			})
		})
	}
}

// What a release at a job's end does about what is left of that job.
func TestTheEndOfAJobWaitsForWhatIsLeft(t *testing.T) {
	for name, c := range map[string]struct {
		arrange func(*scene)
		lasts   time.Duration
		waits   time.Duration
		left    bool
	}{
		"nothing is left":             {(*scene).job, 0, 0, false},
		"it ends soon":                {(*scene).job, 8 * time.Second, 8 * time.Second, false},
		"it goes on":                  {(*scene).job, time.Hour, endPatience, true},
		"GitHub's runner, it goes on": {(*scene).worker, time.Hour, endPatience, true},
		"GitHub's runner, no mark":    {func(s *scene) { s.worker(); s.holder.Tracking = "" }, time.Hour, 0, false},
		"in the container of the release": {func(s *scene) {
			s.container(Alive)
			s.waiter.space.Self.Place, s.waiter.space.Self.Container = s.holder.Place, s.holder.Container
		}, time.Hour, endPatience, true},
		"in a container":            {func(s *scene) { s.container(Alive) }, time.Hour, 0, false},
		"outside any job":           {func(s *scene) { s.holder.Command = false }, time.Hour, 0, false},
		"a command under with-lock": {func(*scene) {}, time.Hour, 0, false},
		"on another host":           {func(s *scene) { s.job(); s.holder.Place.Boot = "other" }, time.Hour, 0, false},
		"what else there is is unreadable": {func(s *scene) {
			s.job()
			s.host.unreadable, s.host.hidden = fs.ErrPermission, true
		}, 0, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := newMachine()
				holder := host.contender(nil).space.Self
				sc := &scene{&holder, host, host.contender(newStore(true, faults{}, 1))}
				c.arrange(sc)
				if c.lasts > 0 {
					host.leave(daemon(0), aSurvivor("make", 200, 0))
					time.AfterFunc(c.lasts, func() { host.leave() })
				}
				start := time.Now()
				e := Entry{ID: "x", Created: time.Now(), Labels: holder.labels(kindLock)}
				s, left := sc.waiter.space.AwaitEnd(t.Context(), e)
				if took := time.Since(start); left != c.left || took < c.waits || took > c.waits+time.Second {
					t.Errorf("%v (%s) after %s, want %v after %s", left, s, took, c.left, c.waits)
				}
				if left && s.PID != 200 {
					t.Errorf("it names %s, want the oldest", s)
				}
			})
		})
	}
}

func TestACancelledReleaseLeavesTheLockAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := newMachine()
		holder := host.contender(nil).space.Self
		sc := &scene{&holder, host, host.contender(newStore(true, faults{}, 1))}
		sc.job()
		host.leave(daemon(0))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start := time.Now()
		_, left := sc.waiter.space.AwaitEnd(ctx, Entry{Labels: holder.labels(kindLock)})
		if !left || time.Since(start) > 3*time.Second {
			t.Errorf("left %v after %s", left, time.Since(start))
		}
	})
}

package lock

import (
	"testing"
	"testing/synctest"
	"time"
)

// What is seen of one holder, and what must follow from it.
func TestOnlyProofMakesAnOrphan(t *testing.T) {
	type scene struct {
		holder *Holder
		host   *machine
		waiter *Mutex
	}
	cases := map[string]struct {
		arrange func(*scene)
		want    Life
	}{
		"with-lock runs":                   {func(*scene) {}, Alive},
		"with-lock and its command gone":   {func(s *scene) { s.host.end(s.holder.Process) }, Dead},
		"with-lock killed, command runs":   {func(s *scene) { s.host.end(s.holder.Process); s.host.holds[s.holder.Nonce] = true }, Alive},
		"its pid is another's now":         {func(s *scene) { s.host.alive[s.holder.Process.PID] = 1 }, Dead},
		"processes are hidden":             {func(s *scene) { s.host.end(s.holder.Process); s.host.hidden = true }, Unknown},
		"another pid namespace":            {func(s *scene) { s.host.end(s.holder.Process); s.holder.Place.PIDs = "x" }, Unknown},
		"pid namespace unknown":            {func(s *scene) { s.host.end(s.holder.Process); s.holder.Place.PIDs = "" }, Unknown},
		"another machine":                  {func(s *scene) { s.host.end(s.holder.Process); s.holder.Place.Machine = "x" }, Unknown},
		"machine unknown (remote daemon)":  {func(s *scene) { s.host.end(s.holder.Process); s.holder.Place.Machine = "" }, Unknown},
		"no start time":                    {func(s *scene) { s.host.end(s.holder.Process); s.holder.Process.Start = 0 }, Unknown},
		"no nonce":                         {func(s *scene) { s.host.end(s.holder.Process); s.holder.Nonce = "" }, Unknown},
		"acquire-lock, process gone":       {func(s *scene) { s.host.end(s.holder.Process); s.holder.Command = false }, Unknown},
		"rebooted":                         {func(s *scene) { s.holder.Place.Boot = "before"; s.holder.Command = false }, Dead},
		"rebooted, another machine":        {func(s *scene) { s.holder.Place.Boot = "before"; s.holder.Place.Machine = "x" }, Unknown},
		"rebooted, machine unknown":        {func(s *scene) { s.holder.Place.Boot = "before"; s.holder.Place.Machine = "" }, Unknown},
		"boot id of a container (own VM?)": {func(s *scene) { s.holder.Place.Boot = "vm"; s.holder.Place.Container = true }, Unknown},
		"boot id seen from a container":    {func(s *scene) { s.holder.Place.Boot = "vm"; s.waiter.Self.Place.Container = true }, Unknown},
		"boot id unknown":                  {func(s *scene) { s.holder.Place.Boot = ""; s.holder.Command = false }, Unknown},
		"old, nothing known": {func(s *scene) {
			s.holder.Command, s.holder.StaleAfter = false, time.Hour
			time.Sleep(time.Hour + time.Second)
		}, Stale},
		"old, but alive": {func(s *scene) { s.holder.StaleAfter = time.Hour; time.Sleep(3 * time.Hour) }, Alive},
		"not older than its holder allows": {func(s *scene) {
			s.holder.Command, s.holder.StaleAfter, s.waiter.Self.StaleAfter = false, 3*time.Hour, time.Minute
			time.Sleep(2 * time.Hour)
		}, Unknown},
		"older than anyone may ask for": {func(s *scene) {
			s.holder.Command, s.holder.StaleAfter = false, 1000*time.Hour
			time.Sleep(MaxStaleAfter + time.Second)
		}, Stale},
		"no stale-after": {func(s *scene) {
			s.holder.Command, s.holder.StaleAfter = false, 0
			time.Sleep(3 * time.Hour)
		}, Unknown},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := newMachine()
				s := newStore(true, faults{}, 1)
				holder := host.contender(s).Self
				holder.Uptime = host.Uptime()
				created := time.Now()
				sc := &scene{&holder, host, host.contender(s)}
				c.arrange(sc)
				v := sc.waiter.judge(Entry{ID: "x", Created: created, Labels: holder.labels(kindLock)})
				if v.Life != c.want {
					t.Errorf("%s (%s), want %s", v.Life, v.Evidence, c.want)
				}
				if v.Evidence == "" {
					t.Error("the verdict gives no evidence")
				}
			})
		})
	}
}

func TestLabelsOfANewerVersionAreUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := newMachine()
		m := host.contender(newStore(true, faults{}, 1))
		holder := host.contender(nil).Self
		host.end(holder.Process)
		e := Entry{ID: "x", Created: time.Now(), Labels: with(holder.labels(kindLock), "version", "2")}
		if v := m.judge(e); v.Life != Unknown {
			t.Errorf("%s (%s), want unknown", v.Life, v.Evidence)
		}
	})
}

func TestAClockStepMakesNobodyOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := newMachine()
		m := host.contender(newStore(true, faults{}, 1))
		holder := Holder{Place: host.place, StaleAfter: time.Hour, Uptime: host.Uptime()}
		e := Entry{ID: "x", Created: time.Now().Add(-24 * time.Hour), Labels: holder.labels(kindLock)} // the daemon's clock was behind
		if v := m.judge(e); v.Life != Unknown {
			t.Errorf("%s (%s), want unknown", v.Life, v.Evidence)
		}
	})
}

func TestTheSameJobIsNeverToldByNamesAlone(t *testing.T) {
	place := Place{Machine: "m", Boot: "b", PIDs: "p", Mounts: "n"}
	job := Job{Repository: "wooo/x", RunID: "7", Job: "build"}
	leg := func(dir string) Holder { return Holder{Place: place, Job: job, JobDir: dir} }
	worker := func(pid int) Holder { return Holder{Place: place, Job: job, Runner: Process{pid, 5}} }
	for name, c := range map[string]struct {
		a, b Holder
		want bool
	}{
		"same directory":        {leg("/p/0123456789abcdef"), leg("/p/0123456789abcdef"), true},
		"other leg of a matrix": {leg("/p/0123456789abcdef"), leg("/p/fedcba9876543210"), false},
		"names only":            {leg(""), leg(""), false},
		"same container":        {Holder{Container: "c"}, Holder{Container: "c"}, true},
		"other container":       {Holder{Container: "c"}, Holder{Container: "d"}, false},
		"host and container":    {leg("/p/0123456789abcdef"), Holder{Container: "c", Place: place, JobDir: "/p/0123456789abcdef"}, false},
		"same worker":           {worker(3), worker(3), true},
		"other worker":          {worker(3), worker(4), false},
	} {
		if got := c.a.SameJob(c.b); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	shell := Holder{Place: place, Parent: Process{9, 9}}
	if !shell.SameCaller(shell) || shell.SameCaller(Holder{Place: place, Parent: Process{9, 10}}) || (Holder{Place: place}).SameCaller(Holder{Place: place}) {
		t.Error("SameCaller mistakes one shell for another")
	}
}

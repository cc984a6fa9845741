package lock

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const jobDir = "/p/0123456789abcdef"

// scene is a holder, a with-lock on the waiter's host unless it is changed.
type scene struct {
	holder *Claim
	host   *machine
	waiter *Mutex
}

// end ends the holder's own process.
func (s *scene) end() { s.host.end(s.holder.Process) }

// job makes the holder an acquire-lock of a job of act_runner.
func (s *scene) job() {
	s.end()
	s.holder.Command, s.holder.JobDir, s.holder.Runner = false, jobDir, s.host.start()
}

// removed makes the holder a job whose directory is gone.
func (s *scene) removed() { s.job(); s.host.gone[jobDir] = true }

// container makes the holder a job in its own container, for which the store answers
// life.
func (s *scene) container(life Life) {
	s.end()
	s.holder.Command, s.holder.Container, s.holder.Job.RunID = false, strings.Repeat("c", 64), "7"
	s.holder.Place.Container, s.holder.Place.PIDs = true, "of the container"
	s.waiter.space.Engine = containers{s.waiter.space.Engine, life, "now"}
}

// tools makes the holder a with-lock in a container that runs on.
func (s *scene) tools() {
	s.container(Alive)
	s.holder.Command, s.holder.Job.RunID = true, ""
}

// bare takes the machine ids away.
func (s *scene) bare() {
	for _, place := range []*Place{&s.holder.Place, &s.waiter.space.Self.Place} {
		place.Machine, place.Local = "", true
	}
}

// shared has the store on no machine in particular.
func (s *scene) shared() {
	s.waiter.space.Shared = true
	s.waiter.space.Self.Place.Local, s.holder.Place.Local = false, false
}

// ended reports whether the waiter sees an end of the holder's job.
func (s *scene) ended() bool {
	if !s.waiter.space.Self.Place.same(s.holder.Place) {
		return false
	}
	if s.holder.Command {
		_, err := s.host.Start(s.holder.Process.PID)
		return errors.Is(err, fs.ErrNotExist)
	}
	_, err := s.host.Start(s.holder.Runner.PID)
	return s.host.gone[s.holder.JobDir] && s.host.unreadable == nil || errors.Is(err, fs.ErrNotExist)
}

// reboot makes the machine's boot later than the entry.
func (s *scene) reboot() { time.Sleep(time.Minute); s.host.booted = time.Now() }

// run makes the holder a job of the waiter's server, which answers life for it.
func (s *scene) run(life Life) {
	s.job()
	s.holder.Job.Server, s.waiter.space.Self.Job.Server = "https://gitea", "https://gitea"
	s.waiter.space.Runs = runs(life)
}

type containers struct {
	Engine
	life    Life
	started string
}

func (c containers) Container(_ context.Context, _, started string) (Life, string) {
	if started != "" && started != c.started {
		return Dead, "the store reports a later start"
	}
	return c.life, "by the store's answer"
}

type runs Life

func (r runs) Run(context.Context, Job) (Life, string) { return Life(r), "by the server's answer" }

// What is seen of one holder, and what must follow from it.
func TestOnlyProofMakesAnOrphan(t *testing.T) {
	cases := map[string]struct {
		arrange func(*scene)
		want    Life
	}{
		"with-lock runs":                 {func(*scene) {}, Alive},
		"with-lock and its command gone": {func(s *scene) { s.end() }, Dead},
		"with-lock killed, command runs": {func(s *scene) { s.end(); s.host.holds[s.holder.Nonce] = true }, Alive},
		"with-lock killed, its socket held": {func(s *scene) {
			s.end()
			s.holder.Net = "n"
			s.host.sockets[s.holder.Nonce] = true
		}, Alive},
		"a nonce of another form":  {func(s *scene) { s.end(); s.holder.Nonce = "x" }, Unknown},
		"its pid is another's now": {func(s *scene) { s.host.alive[s.holder.Process.PID] = 1 }, Dead},
		"processes are hidden":     {func(s *scene) { s.end(); s.host.hidden = true }, Unknown},
		"a turn's process gone": {func(s *scene) {
			s.end()
			s.holder.Alone = true
			s.host.unread = true
		}, Dead},
		"a turn's process runs":           {func(s *scene) { s.holder.Alone = true }, Alive},
		"another pid namespace":           {func(s *scene) { s.end(); s.holder.Place.PIDs = "x" }, Unknown},
		"pid namespace unknown":           {func(s *scene) { s.end(); s.holder.Place.PIDs = "" }, Unknown},
		"another machine":                 {func(s *scene) { s.end(); s.holder.Place.Machine = "x" }, Unknown},
		"machine unknown (remote daemon)": {func(s *scene) { s.end(); s.holder.Place.Machine = "" }, Unknown},
		"no start time":                   {func(s *scene) { s.end(); s.holder.Process.Start = 0 }, Unknown},
		"no nonce":                        {func(s *scene) { s.end(); s.holder.Nonce = "" }, Unknown},
		"acquire-lock, process gone":      {func(s *scene) { s.end(); s.holder.Command = false }, Unknown},
		"rebooted": {func(s *scene) {
			s.holder.Place.Boot = "before"
			s.holder.Command = false
		}, Dead},
		// Machines that are made of one image have one id.
		"rebooted, or another machine of its image": {func(s *scene) {
			s.waiter.space.Shared = true
			s.holder.Place.Boot = "before"
			s.holder.Command = false
		}, Unknown},
		"in a shared store, on this machine": {func(s *scene) { s.shared(); s.end() }, Dead},
		"in a shared store, no machine id": {func(s *scene) {
			s.shared()
			s.holder.Place.Machine = ""
			s.end()
		}, Unknown},
		"in a shared store, its run ended": {func(s *scene) {
			s.shared()
			s.run(Dead)
			s.holder.Place.Machine, s.holder.Place.Boot = "x", "x"
			s.waiter.space.Server, s.waiter.space.Self.Job.Server = "https://gitea/", ""
		}, Dead},
		"in a shared store, its run at another server": {func(s *scene) {
			s.shared()
			s.run(Dead)
			s.holder.Place.Machine, s.holder.Place.Boot = "x", "x"
			s.waiter.space.Server = "https://other"
		}, Unknown},
		"rebooted, another machine": {func(s *scene) {
			s.holder.Place.Boot = "before"
			s.holder.Place.Machine = "x"
		}, Unknown},
		"rebooted, machine unknown": {func(s *scene) {
			s.holder.Place.Boot = "before"
			s.holder.Place.Machine = ""
		}, Unknown},
		"boot id of a container (own VM?)": {func(s *scene) {
			s.holder.Place.Boot = "vm"
			s.holder.Place.Container = true
		}, Unknown},
		"boot id seen from a container": {func(s *scene) {
			s.holder.Place.Boot = "vm"
			s.waiter.space.Self.Place.Container = true
		}, Unknown},
		"boot id unknown": {func(s *scene) {
			s.holder.Place.Boot = ""
			s.holder.Command = false
		}, Unknown},
		"no machine id":                 {func(s *scene) { s.bare() }, Alive},
		"no machine id, with-lock gone": {func(s *scene) { s.bare(); s.end() }, Dead},
		"no machine id here":            {func(s *scene) { s.bare(); s.end(); s.holder.Place.Machine = "m" }, Dead},
		"no machine id, another boot":   {func(s *scene) { s.bare(); s.holder.Place.Boot = "x"; s.end() }, Unknown},
		"no machine id, rebooted": {func(s *scene) {
			s.bare()
			s.holder.Place.Boot = "before"
			s.reboot()
		}, Dead},
		"no machine id, rebooted, time namespace": {func(s *scene) {
			s.bare()
			s.holder.Place.Boot = "before"
			s.reboot()
			s.waiter.space.Self.Place.Times = "x"
		}, Unknown},
		"no machine id, of the first version": {func(s *scene) {
			s.bare()
			s.end()
			s.holder.Place.Local = false
		}, Unknown},
		"the first version's machine id": {func(s *scene) {
			s.end()
			s.waiter.space.Self.Place.Local = true
		}, Dead},
		"another time namespace":                   {func(s *scene) { s.end(); s.holder.Place.Times = "x" }, Unknown},
		"job directory without act from the start": {func(s *scene) { s.job(); s.host.gone[jobDir+"/act"] = true }, Unknown},
		"job directory being removed": {func(s *scene) {
			s.job()
			s.holder.Actions, s.host.gone[jobDir+"/act"] = true, true
		}, Dead},
		"job directory gone":                 {func(s *scene) { s.removed() }, Dead},
		"job directory gone, somebody in it": {func(s *scene) { s.removed(); s.host.works[jobDir] = true }, Alive},
		"job directory cannot be looked at": {func(s *scene) {
			s.removed()
			s.host.unreadable = fs.ErrPermission
		}, Unknown},
		"job directory of another mount namespace": {func(s *scene) {
			s.removed()
			s.holder.Place.Mounts = "x"
		}, Unknown},
		"job directory gone, processes hidden": {func(s *scene) { s.removed(); s.host.hidden = true }, Unknown},
		"job directory of another form": {func(s *scene) {
			s.job()
			s.holder.JobDir = "/p/x"
			s.host.gone["/p/x"] = true
			s.holder.Runner.PID = 0
		}, Unknown},
		"runner killed, directory left": {func(s *scene) { s.job(); s.host.end(s.holder.Runner) }, Dead},
		"runner killed, a step runs on": {func(s *scene) {
			s.job()
			s.host.end(s.holder.Runner)
			s.host.works[jobDir] = true
		}, Alive},
		"between two steps": {func(s *scene) { s.job() }, Unknown},
		"old, a step runs": {func(s *scene) {
			s.job()
			s.host.works[jobDir] = true
			time.Sleep(3 * time.Hour)
		}, Alive},
		"GitHub's worker runs": {func(s *scene) { s.job(); s.holder.JobDir = "" }, Alive},
		"GitHub's worker is gone": {func(s *scene) {
			s.job()
			s.holder.JobDir = ""
			s.host.end(s.holder.Runner)
		}, Dead},
		"container gone":       {func(s *scene) { s.container(Dead) }, Dead},
		"container runs":       {func(s *scene) { s.container(Alive) }, Alive},
		"container runs, old":  {func(s *scene) { s.container(Alive); time.Sleep(30 * time.Hour) }, Alive},
		"container: no answer": {func(s *scene) { s.container(Unknown) }, Unknown},
		"container: no store that runs any": {func(s *scene) {
			s.container(Dead)
			s.waiter.space.Engine = newStore(true, faults{}, 1)
		}, Unknown},
		"container: no ID": {func(s *scene) {
			s.container(Dead)
			s.holder.Container = "../x"
		}, Unknown},
		"container started again":          {func(s *scene) { s.container(Alive); s.holder.Started = "before" }, Dead},
		"container runs since":             {func(s *scene) { s.container(Alive); s.holder.Started = "now" }, Alive},
		"a shell in a container that runs": {func(s *scene) { s.container(Alive); s.holder.Job.RunID = "" }, Unknown},
		"a shell in a container, old": {func(s *scene) {
			s.container(Alive)
			s.holder.Job.RunID = ""
			time.Sleep(3 * time.Hour)
		}, Stale},
		"with-lock in a container that runs": {func(s *scene) { s.tools() }, Unknown},
		"with-lock in a container, old":      {func(s *scene) { s.tools(); time.Sleep(3 * time.Hour) }, Stale},
		"with-lock in a container, old, seen": {func(s *scene) {
			s.tools()
			s.host.holds[s.holder.Nonce] = true
			time.Sleep(3 * time.Hour)
		}, Alive},
		"with-lock in a container that is gone": {func(s *scene) {
			s.tools()
			s.waiter.space.Engine = containers{s.waiter.space.Engine, Dead, ""}
		}, Dead},
		"with-lock killed in a container that runs on": {func(s *scene) {
			s.tools()
			s.waiter.space.Self.Place = s.holder.Place
			s.end()
		}, Dead},
		"its runner's container runs": {func(s *scene) { s.job(); s.container(Alive) }, Unknown},
		"its runner's container runs, the job is gone": {func(s *scene) {
			s.job()
			s.container(Alive)
			s.waiter.space.Self.Place, s.host.gone[jobDir] = s.holder.Place, true
		}, Dead},
		"run goes on": {func(s *scene) { s.run(Alive) }, Alive},
		"run goes on, the job's end is seen": {func(s *scene) {
			s.run(Alive)
			s.host.gone[jobDir], s.host.hidden = true, true
		}, Unknown},
		"run goes on, its end is seen, old": {func(s *scene) {
			s.run(Alive)
			s.host.gone[jobDir], s.host.hidden = true, true
			time.Sleep(3 * time.Hour)
		}, Stale},
		"run goes on, with-lock's end is seen": {func(s *scene) {
			s.run(Alive)
			s.holder.Command, s.host.unread = true, true
		}, Unknown},
		"run ended":              {func(s *scene) { s.run(Dead) }, Dead},
		"run ended, a step runs": {func(s *scene) { s.run(Dead); s.host.works[jobDir] = true }, Alive},
		"run: no answer":         {func(s *scene) { s.run(Unknown) }, Unknown},
		"run ended on other server": {func(s *scene) {
			s.run(Dead)
			s.holder.Job.Server = "https://elsewhere"
		}, Unknown},
		"run ended, server unknown": {func(s *scene) {
			s.run(Dead)
			s.holder.Job.Server = ""
			s.waiter.space.Self.Job.Server = ""
		}, Unknown},
		"rebooted, container of old": {func(s *scene) { s.container(Dead); s.holder.Place.Boot = "before" }, Dead},
		"old, nothing known": {func(s *scene) {
			s.holder.Command, s.holder.StaleAfter = false, time.Hour
			time.Sleep(time.Hour + time.Second)
		}, Stale},
		"old, but alive": {func(s *scene) { s.holder.StaleAfter = time.Hour; time.Sleep(3 * time.Hour) }, Alive},
		"not older than its holder allows": {func(s *scene) {
			s.holder.Command, s.holder.StaleAfter, s.waiter.space.Self.StaleAfter = false, 3*time.Hour, time.Minute
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
				holder := host.contender(s).space.Self
				holder.Uptime = host.Uptime()
				created := time.Now()
				time.Sleep(time.Second)
				sc := &scene{&holder, host, host.contender(s)}
				c.arrange(sc)
				v := sc.waiter.space.judge(t.Context(), Entry{ID: "x", Created: created, Labels: holder.labels(kindLock)}, false)
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
		holder := host.contender(nil).space.Self
		host.end(holder.Process)
		e := Entry{ID: "x", Created: time.Now(), Labels: with(holder.labels(kindLock), "version", "2")}
		if v := m.space.judge(t.Context(), e, true); v.Life != Unknown {
			t.Errorf("%s (%s), want unknown", v.Life, v.Evidence)
		}
	})
}

func TestAClockStepMakesNobodyOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := newMachine()
		m := host.contender(newStore(true, faults{}, 1))
		holder := Claim{Place: host.place, StaleAfter: time.Hour, Uptime: host.Uptime()}
		// The daemon's clock was behind.
		e := Entry{ID: "x", Created: time.Now().Add(-24 * time.Hour), Labels: holder.labels(kindLock)}
		if v := m.space.judge(t.Context(), e, true); v.Life != Unknown {
			t.Errorf("%s (%s), want unknown", v.Life, v.Evidence)
		}
	})
}

// Its boot-time clock is another one: here the holder's began three hours before.
func TestATimeNamespaceMakesNobodyOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := newMachine()
		m := host.contender(newStore(true, faults{}, 1))
		m.space.Self.Place.Times = "with an offset"
		holder := Claim{Place: host.place, StaleAfter: time.Hour, Uptime: time.Minute}
		host.booted = time.Now().Add(-3 * time.Hour)
		e := Entry{ID: "x", Created: time.Now(), Labels: holder.labels(kindLock)}
		if v := m.space.judge(t.Context(), e, true); v.Life != Unknown {
			t.Errorf("%s (%s), want unknown", v.Life, v.Evidence)
		}
	})
}

func TestAnUptimeToComeKeepsNobodyYoung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := newMachine()
		m := host.contender(newStore(true, faults{}, 1))
		holder := Claim{Place: host.place, StaleAfter: time.Hour, Uptime: host.Uptime() + 1000*time.Hour}
		e := Entry{ID: "x", Created: time.Now().Add(-2 * time.Hour), Labels: holder.labels(kindLock)}
		if v := m.space.judge(t.Context(), e, true); v.Life != Stale {
			t.Errorf("%s (%s), want stale", v.Life, v.Evidence)
		}
	})
}

func TestTheSameJobIsNeverRecognizedByNamesAlone(t *testing.T) {
	place := Place{Machine: "m", Boot: "b", PIDs: "p", Mounts: "n"}
	job := Job{Repository: "wooo/x", RunID: "7", Job: "build"}
	leg := func(dir string) Claim { return Claim{Place: place, Job: job, JobDir: dir} }
	worker := func(pid int) Claim { return Claim{Place: place, Job: job, Runner: Process{pid, 5}} }
	in := func(container string, h Claim) Claim { h.Container = container; return h }
	task := func(id string) Claim { h := leg(""); h.Job.Task = id; return h }
	bare := Claim{Place: Place{Boot: "b", PIDs: "p", Local: true}, Runner: Process{3, 5}}
	const other = "/p/fedcba9876543210"
	for name, c := range map[string]struct {
		a, b Claim
		want bool
	}{
		"same directory":                       {leg(jobDir), leg(jobDir), true},
		"other leg of a matrix":                {leg(jobDir), leg(other), false},
		"names only":                           {leg(""), leg(""), false},
		"nothing at all":                       {Claim{}, Claim{}, false},
		"same container":                       {in("c", Claim{}), in("c", Claim{}), false},
		"same container and names":             {in("c", leg("")), in("c", leg("")), false},
		"same task in a container":             {in("c", task("49")), in("c", task("49")), true},
		"other task in a container":            {in("c", task("49")), in("c", task("50")), false},
		"same task in other containers":        {in("c", task("49")), in("d", task("49")), false},
		"same task on a host":                  {task("49"), task("49"), false},
		"other container":                      {in("c", leg(jobDir)), in("d", leg(jobDir)), false},
		"host and container":                   {leg(jobDir), in("c", leg(jobDir)), false},
		"same job of a runner in a container":  {in("c", leg(jobDir)), in("c", leg(jobDir)), true},
		"other job of a runner in a container": {in("c", leg(jobDir)), in("c", leg(other)), false},
		"same worker":                          {worker(3), worker(3), true},
		"other worker":                         {worker(3), worker(4), false},
		"same worker in a container":           {in("c", worker(3)), in("c", worker(3)), true},
		"other worker in a container":          {in("c", worker(3)), in("c", worker(4)), false},
		"worker and directory":                 {worker(3), leg(jobDir), false},
		"no machine id":                        {bare, bare, true},
		"no place":                             {Claim{Runner: Process{3, 5}}, Claim{Runner: Process{3, 5}}, false},
	} {
		if got := c.a.SameJob(c.b); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	shell := Claim{Place: place, Parent: Process{9, 9}}
	for name, c := range map[string]struct {
		a, b Claim
		want bool
	}{
		"same shell":                {shell, shell, true},
		"same shell in a container": {in("c", shell), in("c", shell), true},
		"other container":           {in("c", shell), in("d", shell), false},
		"other shell":               {shell, Claim{Place: place, Parent: Process{9, 10}}, false},
		"no shell":                  {Claim{Place: place}, Claim{Place: place}, false},
		"in a workflow":             {Claim{Place: place, Parent: Process{9, 9}, Job: job}, shell, false},
	} {
		if got := c.a.SameCaller(c.b); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// option takes one of so many choices from n.
func option(n *int, of int) int { o := *n % of; *n /= of; return o }

// livingHolder is a combination of what a waiter can see, or cannot, of a holder that
// lives. seen is whether it sees a proof of life.
func livingHolder(n *int) (s *scene, seen bool) {
	host := newMachine()
	waiter, claim := host.contender(newStore(true, faults{}, 1)), host.contender(nil).space.Self
	holder := &claim
	holder.Uptime, holder.StaleAfter = host.Uptime(), time.Hour
	seen = true
	s = &scene{holder, host, waiter}

	kind := option(n, 4)
	if kind > 0 {
		s.job()
	}
	if kind > 1 { // a job of GitHub's runner
		holder.JobDir = ""
	}
	if kind == 3 { // a job whose steps are run in a container
		holder.Runner, holder.Job.RunID, seen = Process{}, "7", false
	}
	inContainer := option(n, 3)
	if inContainer > 0 {
		holder.Container, holder.Place.Container = strings.Repeat("c", 64), true
		waiter.space.Engine = containers{waiter.space.Engine, []Life{Unknown, Alive}[inContainer-1], ""}
	}
	switch option(n, 4) { // where the waiter is
	case 1:
		waiter.space.Self.Place.PIDs, seen = "other", false
	case 2:
		waiter.space.Self.Place.Machine, seen = "other", false
	case 3:
		self := &waiter.space.Self.Place
		self.Container, self.PIDs, self.Boot, seen = true, "other", "vm", false
	}
	works := option(n, 3)
	switch kind { // what is left of it
	case 0: // hostguard runs, or only its command, or one that cannot be read
		if works > 0 {
			host.end(holder.Process)
		}
		host.holds[holder.Nonce], host.hidden = works == 1, works == 2
		seen = seen && works != 2
	case 1: // a step runs, or none at the moment, or one that cannot be read
		host.works[jobDir], host.hidden = works == 0, works == 2
		seen = seen && works == 0
	}
	if kind == 1 && works != 1 { // a step that outlives its job's directory or runner
		switch option(n, 3) {
		case 1:
			host.gone[jobDir] = true
		case 2:
			host.end(holder.Runner)
		}
	} else {
		option(n, 3)
	}
	if option(n, 3) == 1 {
		host.unreadable = fs.ErrPermission
	}
	// A container that runs is one of its own job alone.
	seen = seen || inContainer == 2 && kind == 3
	return s, seen
}

// Every combination of what can be seen, not seen, or is reported wrong, of a holder
// that lives: nobody takes its lock on proof, and nobody for its age who sees
// that it lives.
func TestTheLivingAreNeverTakenForDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		worlds, proofs := 0, 0
		for n := range 4 * 3 * 4 * 3 * 3 * 3 * 4 * 2 * 2 {
			s, seen := livingHolder(&n)
			waiter, holder := s.waiter, s.holder
			server := option(&n, 4)
			if server > 0 {
				holder.Job.Server, waiter.space.Self.Job.Server = "https://gitea", "https://gitea"
				waiter.space.Runs = runs([]Life{Unknown, Alive, Dead}[server-1])
				if server == 3 && !seen {
					continue // the server's word for a job that is out of sight: by design
				}
			}
			// That a run goes on is no proof where its end is seen.
			seen = seen || server == 2 && !(s.ended() && s.host.hidden)
			old := option(&n, 2) == 1
			if old {
				time.Sleep(2 * time.Hour)
			}
			e := Entry{ID: "x", Created: time.Now().Add(-time.Minute), Labels: holder.labels(kindLock)}
			v := waiter.space.judge(t.Context(), e, option(&n, 2) == 1)
			worlds++
			if seen {
				proofs++
			}
			if v.Life == Dead || v.Life == Stale && (seen || !old) {
				t.Fatalf("%+v is %s (%s) to %+v", *holder, v.Life, v.Evidence, waiter.space.Self.Place)
			}
		}
		t.Logf("%d worlds, a proof of life in %d", worlds, proofs)
	})
}

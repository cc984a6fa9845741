package page

import (
	"cmp"
	"fmt"
	"math/rand"
	"slices"
	"strconv"
	"time"

	"hostguard/history"
	"hostguard/page"
)

// A made history: jobs of three repositories that come, queue for a lock and hold it, with
// one story that the tests know the answer of.

const lockName = "host-docker-build"

// request is a job that wants the lock.
type request struct {
	at    time.Time
	who   history.Who
	what  string
	takes time.Duration
	gate  time.Duration // before, at the pressure gate
	build string        // a heavy build that it runs meanwhile
	dies  bool
}

func job(repository, name string, run int) history.Who {
	number := strconv.Itoa(run)
	return history.Who{Repository: repository, Workflow: "ci", Job: name, Run: number, Actor: "mia",
		RunURL: "https://git.example.com/" + repository + "/actions/runs/" + number}
}

// made is a history of some days until now, whose last one has the story: shop build #12
// waited 41m, for pressure, docs build #61 and blog deploy #97.
func made(now time.Time, days int) *page.Document {
	random := rand.New(rand.NewSource(16))
	begin := now.Add(-time.Duration(days) * 24 * time.Hour)
	d := &page.Document{Full: true, Name: "ci-host-1", Program: "hostguard 1.1.0", Now: now, Begin: begin, Look: now,
		Bytes: 3_100_000, Days: 90}
	story := now.Add(-150 * time.Minute)
	repositories := []string{"wooo/shop", "wooo/blog", "wooo/docs"}
	var requests []request
	for at := begin.Add(time.Hour); at.Before(now.Add(-20 * time.Minute)); {
		busy := at.Hour() >= 7 && at.Hour() < 19
		pause := 40 * time.Minute
		if busy {
			pause = 10 * time.Minute
		}
		at = at.Add(time.Duration(random.ExpFloat64() * float64(pause)))
		if at.After(story.Add(-2*time.Hour)) && at.Before(story.Add(50*time.Minute)) {
			continue
		}
		r := request{at: at, who: job(repositories[random.Intn(3)], "build", 1000+len(requests)), what: "image build",
			takes: time.Duration(4+random.Intn(6)) * time.Minute}
		if random.Intn(2) == 0 {
			r.build = "next build"
		}
		r.dies = random.Intn(150) == 0
		requests = append(requests, r)
	}
	at := func(minutes float64) time.Time { return story.Add(time.Duration(minutes * float64(time.Minute))) }
	requests = append(
		requests,
		request{
			at:    at(-60),
			who:   job("wooo/docs", "build", 57),
			what:  "image build",
			takes: 10 * time.Minute,
			dies:  true,
		},
		request{
			at:    at(-10),
			who:   job("wooo/docs", "build", 61),
			what:  "image build",
			takes: 27 * time.Minute,
			build: "next build",
		},
		request{at: at(-4), who: job("wooo/blog", "deploy", 97), what: "image build", takes: 24 * time.Minute},
		request{
			at:    at(3),
			gate:  3 * time.Minute,
			who:   job("wooo/shop", "build", 12),
			what:  "image build",
			takes: 9 * time.Minute,
		},
		request{at: at(19), who: job("wooo/docs", "build", 62), what: "image build", takes: 6 * time.Minute},
		request{at: at(31), who: job("wooo/blog", "build", 98), what: "image build", takes: 6 * time.Minute},
		request{
			at:    now.Add(-12 * time.Minute),
			who:   job("wooo/docs", "build", 63),
			what:  "image build",
			takes: time.Hour,
			build: "next build",
		},
		request{
			at:    now.Add(-372 * time.Second),
			who:   job("wooo/shop", "build", 19),
			what:  "image build",
			takes: time.Hour,
		},
		request{
			at:    now.Add(-123 * time.Second),
			who:   job("wooo/blog", "build", 101),
			what:  "image build",
			takes: time.Hour,
		},
	)
	slices.SortFunc(requests, func(a, b request) int { return cmp.Or(a.at.Compare(b.at)) })

	add := func(v history.Interval) {
		v.ID = fmt.Sprintf("%c%016x", v.Kind[0], len(d.Intervals))
		if v.Open = !v.Until.Before(now); v.Open {
			v.Until, v.End = now, ""
		}
		d.Intervals = append(d.Intervals, v)
	}
	free, deployFree := begin, begin
	for _, r := range requests {
		start := r.at
		if free.After(start) {
			start = free
		}
		if start.Sub(r.at) > 45*time.Minute && r.at.Before(now.Add(-time.Hour)) {
			continue // it gave up before anybody saw it
		}
		if r.gate > 0 {
			add(
				history.Interval{
					Kind:  history.Pressure,
					Who:   r.who,
					From:  r.at.Add(-r.gate),
					Until: r.at,
					End:   history.EndAcquired,
				},
			)
			add(history.Interval{Kind: history.Build, Name: "next build", Who: job("wooo/docs", "test", 60),
				What: "in its task container", From: r.at.Add(-8 * time.Minute), Until: r.at})
		}
		if start.Sub(r.at) > time.Second {
			add(
				history.Interval{
					Kind:  history.Wait,
					Name:  lockName,
					Who:   r.who,
					What:  r.what,
					From:  r.at,
					Until: start,
					End:   history.EndAcquired,
				},
			)
		}
		if !start.Before(now) {
			continue
		}
		until := start.Add(r.takes)
		hold := history.Interval{
			Kind:     history.Hold,
			Name:     lockName,
			Who:      r.who,
			What:     r.what,
			From:     start,
			Until:    until,
			End:      history.EndReleased,
			Evidence: "its container runs",
		}
		if r.dies {
			hold.End, hold.Evidence = history.EndTakenOver, "its container is gone"
		}
		add(hold)
		if r.build != "" {
			add(
				history.Interval{
					Kind:  history.Build,
					Name:  r.build,
					Who:   r.who,
					What:  "6.1 cores, 4.1 GB, in its task container",
					From:  start.Add(40 * time.Second),
					Until: until.Add(-20 * time.Second),
				},
			)
		}
		free = until.Add(40 * time.Millisecond)
		if r.dies {
			free = until.Add(2200 * time.Millisecond)
			continue
		}
		night := story.Add(-9 * time.Hour)
		deploy := until.Add(time.Duration(20+random.Intn(60)) * time.Second)
		if deploy.Before(deployFree) {
			deploy = deployFree
		}
		if end := deploy.Add(time.Duration(90+random.Intn(200)) * time.Second); end.Before(now.Add(-10*time.Minute)) &&
			(end.Before(night) || deploy.After(night.Add(2*time.Hour))) {
			who := r.who
			who.Job = "deploy-it"
			add(
				history.Interval{
					Kind:  history.Hold,
					Name:  "deploy",
					Who:   who,
					What:  "deploy",
					From:  deploy,
					Until: end,
					End:   history.EndReleased,
				},
			)
			deployFree = end
		}
	}
	night := story.Add(-9 * time.Hour)
	add(
		history.Interval{
			Kind:  history.Reserved,
			Name:  "deploy",
			Who:   history.Who{Person: "root, pid 4160"},
			What:  "engine upgrade",
			From:  night,
			Until: night.Add(30 * time.Minute),
			End:   history.EndReleased,
		},
	)
	add(
		history.Interval{
			Kind:  history.Hold,
			Name:  "deploy",
			Plain: true,
			From:  night.Add(time.Hour),
			Until: night.Add(90 * time.Minute),
			End:   history.EndReleased,
		},
	)
	d.Gaps = append(d.Gaps, history.Gap{From: night.Add(2 * time.Hour), Until: night.Add(2*time.Hour + 8*time.Minute)})
	stop := now.Add(-6 * time.Hour)
	for _, v := range []history.Interval{
		{Name: "runner a", End: "up", From: begin, Until: stop},
		{Name: "runner a", End: "stopped", From: stop, Until: stop.Add(70 * time.Second)},
		{Name: "runner a", End: "up", From: stop.Add(70 * time.Second), Until: now},
		{Name: "runner b", End: "up", From: begin, Until: now.Add(-250 * time.Minute)},
		{Name: "runner b", End: "draining", From: now.Add(-250 * time.Minute), Until: now.Add(-236 * time.Minute)},
		{Name: "runner b", End: "drained", From: now.Add(-236 * time.Minute), Until: now},
	} {
		v.Kind = history.Runner
		end := v.End
		add(v)
		d.Intervals[len(d.Intervals)-1].End = end // a runner's is its state, while it lasts too
	}
	for i, who := range []history.Who{job("wooo/docs", "build", 63), job("wooo/shop", "build", 19),
		job("wooo/blog", "build", 101), job("wooo/docs", "build", 57)} {
		add(history.Interval{Kind: history.Container, Name: fmt.Sprintf("GITEA-ACTIONS-TASK-%d", 40+i), Who: who,
			From: now.Add(-time.Duration(12+100*i/3) * time.Minute), Until: now})
	}
	d.Host = page.Host{MemoryAvailable: 9_200_000_000, MemoryTotal: 32_000_000_000, Load: 11.4,
		Runners: []page.Runner{
			{Name: "runner a", Busy: 3, Capacity: 4},
			{Name: "runner b", Capacity: 4, Note: "by root: moves to ci-host-2"},
		},
		LeftBehind: []page.LeftBehind{{Name: "GITEA-ACTIONS-TASK-43", Note: "its job died"}},
		InSight:    []string{"locks in Docker (Engine 26.1)", "processes", "PSI", "runner a", "runner b"}}
	stalls(d, now, random)
	return d
}

// stalls are two days of samples, high while blog deploy #97 held the lock.
func stalls(d *page.Document, now time.Time, random *rand.Rand) {
	var memory, io, cpu float64
	story := now.Add(-150 * time.Minute)
	for at := now.Add(-48 * time.Hour); at.Before(now); at = at.Add(30 * time.Second) {
		if at.Before(d.Begin) {
			continue
		}
		busy, hard := 0.0, 0.0
		for _, v := range d.Intervals[max(0, len(d.Intervals)-600):] {
			if (v.Kind == history.Hold || v.Kind == history.Build) && v.From.Before(at) && v.Until.After(at) {
				busy++
			}
		}
		if at.After(story.Add(17*time.Minute)) && at.Before(story.Add(41*time.Minute)) {
			hard = 1
		}
		cpu = cpu*.8 + .2*(busy*22+random.Float64()*14)
		io = io*.85 + .15*(busy*7+hard*44+random.Float64()*5)
		memory = memory*.9 + .1*(busy*3+hard*12+random.Float64())
		d.Stalls = append(d.Stalls, history.Stall{Time: at, Memory: int(memory), IO: int(io), CPU: min(99, int(cpu))})
	}
}

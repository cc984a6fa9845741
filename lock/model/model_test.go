package model

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

var soak = os.Getenv("HOSTGUARD_SOAK") != ""

// limit is how many states an exploration may have.
func limit() int {
	switch {
	case raceDetector:
		return 5_000
	case soak:
		return 9_000_000
	}
	return 3_000_000
}

// run explores and reports what was found.
func run(t *testing.T, sys *model, progress bool) result {
	t.Helper()
	start := time.Now()
	r := explore(sys, progress, limit())
	t.Logf("%s (%v)", r, time.Since(start).Round(time.Millisecond))
	return r
}

// holds fails if anything is wrong, or if not all could be explored.
func holds(t *testing.T, r result) {
	t.Helper()
	if r.found != 0 || r.stuck {
		t.Error("the protocol does not hold")
	}
	if r.truncated && !raceDetector && !soak {
		t.Error("not all could be explored")
	}
}

// fault is one kind of what may go wrong.
type fault struct {
	name string
	set  func(*model)
}

var faults = []fault{
	{"deaths", func(m *model) { m.deaths = true }},
	{"lost replies", func(m *model) { m.lost = true }},
	{"late creates", func(m *model) { m.late = true }},
	{"removes fail or are late", func(m *model) { m.removeFails, m.removeLate = true, true }},
	{"giving up", func(m *model) { m.giveUps = true }},
	{"weak lists", func(m *model) { m.weak = true }},
}

func engineName(atomic bool) string {
	if atomic {
		return "new engine"
	}
	return "old engine"
}

// onEngines runs a test for 2 and 3 contenders on both kinds of engine.
func onEngines(t *testing.T, test func(t *testing.T, m model)) {
	for _, n := range []int{2, 3} {
		for _, atomic := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d contenders/%s", n, engineName(atomic)), func(t *testing.T) {
				test(t, model{ours: n, atomic: atomic, forbidden: anything, outstanding: 2})
			})
		}
	}
}

func TestTheProtocolHolds(t *testing.T) {
	for _, row := range []struct {
		name string
		set  func(*model)
	}{
		{"no faults", func(*model) {}},
		{"deaths at any point", func(m *model) { m.deaths = true }},
		{"lost replies of creates", func(m *model) { m.lost = true }},
		{"late creates", func(m *model) { m.late = true }},
		{"removes fail", func(m *model) { m.removeFails = true }},
		{"removes fail or are late", func(m *model) { m.removeFails, m.removeLate = true, true }},
		{"weak lists", func(m *model) { m.weak = true }},
		{"giving up", func(m *model) { m.giveUps = true }},
		{"deaths, lost, late creates", func(m *model) { m.deaths, m.lost, m.late = true, true, true }},
		{"deaths, lost, removes fail or are late", func(m *model) {
			m.deaths, m.lost, m.removeFails, m.removeLate = true, true, true, true
		}},
		{"deaths, lost, late creates and removes", func(m *model) {
			m.deaths, m.lost, m.late, m.removeLate = true, true, true, true
		}},
		{"all but weak lists", func(m *model) {
			for _, f := range faults {
				f.set(m)
			}
			m.weak = false
			if m.ours == 3 && !m.atomic && !soak {
				m.outstanding = 1
			}
		}},
		{"all at once", func(m *model) {
			for _, f := range faults {
				f.set(m)
			}
			if m.ours == 3 && !m.atomic {
				m.late = soak // with weak lists that is too much for make test
				m.outstanding = 1
			}
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			onEngines(t, func(t *testing.T, m model) {
				row.set(&m)
				holds(t, run(t, &m, true))
			})
		})
	}
}

// Three contenders on an old engine with every pair and triple of faults, one
// late request at a time. (The two largest are for make soak.)
func TestPairsAndTriplesOfFaultsOnAnOldEngine(t *testing.T) {
	for i, a := range faults {
		for j, b := range faults[:i] {
			for k, c := range faults[:j+1] { // with k == j, a pair
				m := model{ours: 3, forbidden: anything, outstanding: 1}
				name := a.name + ", " + b.name
				for _, f := range []fault{a, b, c} {
					f.set(&m)
				}
				if k != j {
					name += ", " + c.name
				}
				if m.late && m.weak && (m.removeLate || m.giveUps) && !soak {
					continue
				}
				t.Run(name, func(t *testing.T) { holds(t, run(t, &m, true)) })
			}
		}
	}
}

func TestManyContendersAtRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("HOSTGUARD_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	walks := 120
	switch {
	case raceDetector:
		walks = 6
	case soak:
		walks = 5_000
	}
	t.Logf("HOSTGUARD_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for n := 4; n <= maxContenders; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			total := 0
			for i := range walks {
				m := model{ours: n, forbidden: anything, outstanding: 3, atomic: i%4 == 0}
				for _, f := range faults {
					f.set(&m)
				}
				m.weak, m.deaths = i%2 == 0, i%3 == 0 // a walk ends when all are dead
				goals, found, trace := walkAtRandom(&m, random, 2000)
				if total += goals; found != 0 {
					t.Fatalf("%v: %v", found, result{found: found, trace: trace})
				}
			}
			t.Logf("held %d times", total)
			if total < walks {
				t.Error("hardly anybody ever held")
			}
		})
	}
	t.Run("T1 is found", func(t *testing.T) {
		m := model{ours: 8, noVerify: true, forbidden: overlap}
		if _, found, _ := walkAtRandom(&m, random, 2000); found != overlap {
			t.Error("8 contenders without a verify were never seen to hold together")
		}
	})
}

// expectation is a system in which something must be found.
type expectation struct {
	name  string
	model model
	found violation // or else stuck
}

func (e expectation) run(t *testing.T) {
	t.Run(e.name, func(t *testing.T) {
		m := e.model
		m.forbidden = e.found
		r := run(t, &m, e.found == 0)
		if r.found != e.found || e.found == 0 && !r.stuck {
			t.Errorf("found: %v, stuck: %v; want the one: %v, or else the other", r.found, r.stuck, e.found)
		}
	})
}

// A checker that finds none of these checks nothing.
func TestMutationsAreCaught(t *testing.T) {
	for _, e := range []expectation{
		{"T1 no verify", model{ours: 2, noVerify: true}, overlap},
		{
			"T2 the lowest ID holds at once",
			model{ours: 2, lowestWins: true}, overlap,
		},
		{
			"T3 adopted after a removal that failed",
			model{ours: 2, adoptOnSight: true, removeLate: true, outstanding: 1}, overlap,
		},
		{
			"T5 adopted on a weak list and not verified",
			model{ours: 2, adoptAtOnce: true, weak: true, late: true, outstanding: 1}, overlap,
		},
		{"T7 dropped by name, old engine", model{ours: 3, byName: true, deaths: true}, overlap},
		{"T7 dropped by name, new engine", model{ours: 3, byName: true, deaths: true, atomic: true}, overlap},
		{"T7 removes the entry of a living process", model{ours: 3, byName: true, deaths: true, atomic: true}, foreign},
		{"the creator sees its entry first, old engine", model{ours: 2, hiding: true}, overlap},
		{"the creator sees its entry first, new engine", model{ours: 2, hiding: true, atomic: true}, overlap},
		{
			"an own entry is forgotten when its removal fails",
			model{ours: 1, forgets: true, late: true, removeFails: true, giveUps: true, outstanding: 1}, leak,
		},
		{"a release forgets that it tried before", model{ours: 1, forgetsTries: true, removeFails: true}, falseAlarm},
		{"release by name while the job goes on, old engine", model{ours: 2, releaseByName: true, jobs: true}, 0},
	} {
		e.run(t)
	}
}

// Where a mutation does no harm the checker must not cry wolf.
func TestMutationsThatDoNoHarm(t *testing.T) {
	for name, m := range map[string]model{
		"T7 needs three contenders, old engine":          {ours: 2, byName: true, deaths: true},
		"T7 needs three contenders, new engine":          {ours: 2, byName: true, deaths: true, atomic: true},
		"T3 needs an old engine":                         {ours: 3, adoptOnSight: true, removeLate: true, atomic: true},
		"T5 is cured by a second list":                   {ours: 2, weak: true, late: true},
		"T5 needs a weak list":                           {ours: 2, adoptAtOnce: true, late: true},
		"release by name does not break exclusion alone": {ours: 3, releaseByName: true},
	} {
		t.Run(name, func(t *testing.T) {
			m.forbidden, m.outstanding = overlap, 2
			holds(t, run(t, &m, false))
		})
	}
}

// The protocol as it was first written excluded, but got stuck.
func TestTheProtocolAsFirstWritten(t *testing.T) {
	for _, e := range []expectation{
		{
			"L1 a late create is waited for by its own process",
			model{ours: 1, asWritten: true, late: true, outstanding: 1}, selfWait,
		},
		{"L1 and for ever, old engine", model{ours: 2, asWritten: true, late: true, outstanding: 1}, 0},
		{"L1 and for ever, new engine", model{ours: 2, asWritten: true, late: true, outstanding: 1, atomic: true}, 0},
		{"L2 two wait for each other after a failed removal", model{ours: 2, asWritten: true, removeFails: true}, 0},
	} {
		e.run(t)
	}
	t.Run("it excluded", func(t *testing.T) {
		onEngines(t, func(t *testing.T, m model) {
			m.asWritten, m.forbidden = true, overlap
			m.deaths, m.lost, m.late, m.removeFails, m.removeLate = true, true, true, true, true
			if m.ours == 3 && !m.atomic {
				m.outstanding = 1
			}
			holds(t, run(t, &m, false))
		})
	})
	t.Run("L2 needs an old engine", func(t *testing.T) {
		m := model{ours: 3, asWritten: true, removeFails: true, atomic: true, forbidden: anything}
		holds(t, run(t, &m, true))
	})
}

// What the package lock documents as not guaranteed does fail.
func TestWhatIsNotGuaranteed(t *testing.T) {
	for _, e := range []expectation{
		{"T4 a living holder judged stale", model{ours: 2, stale: true}, overlap},
		{"T4 a living holder judged stale, new engine", model{ours: 2, stale: true, atomic: true}, overlap},
		{"T6 somebody runs rm NAME", model{ours: 2, stray: true}, overlap},
		{"T6 somebody runs rm NAME, new engine", model{ours: 2, stray: true, atomic: true}, overlap},
		{"T8 a living plain holder judged stale", model{ours: 2, plain: 1, stalePlain: true}, overlap},
		{
			"T8 a living plain holder judged stale, new engine",
			model{ours: 2, plain: 1, stalePlain: true, atomic: true}, overlap,
		},
		{"T9 a plain create slower than the settle", model{ours: 1, plain: 1}, plainOverlap},
		{"L3 a plain rm NAME is ambiguous", model{ours: 1, plain: 1}, 0},
		{"L3 a plain rm NAME is ambiguous, with settle", model{ours: 1, plain: 1, settles: true}, 0},
		{
			"L5 a create lands after its process has gone",
			model{ours: 2, late: true, giveUps: true, jobs: true, lookOutEnds: true, outstanding: 1}, 0,
		},
		{
			"L5 a create lands after its process has gone, new engine",
			model{ours: 2, late: true, giveUps: true, jobs: true, lookOutEnds: true, outstanding: 1, atomic: true}, 0,
		},
	} {
		e.run(t)
	}
}

// And what comes close to it holds.
func TestWhatIsGuaranteedBesideIt(t *testing.T) {
	most := overlap | selfWait | leak | foreign
	for _, row := range []struct {
		name     string
		model    model
		progress bool
	}{
		{"T9 plain inserts within the settle", model{ours: 1, plain: 1, settles: true, forbidden: anything}, false},
		{
			"T9 plain inserts within the settle, 2 of ours",
			model{ours: 2, plain: 1, settles: true, forbidden: anything}, false,
		},
		{
			"T9 plain inserts within the settle, 2 of ours die",
			model{ours: 2, plain: 1, settles: true, deaths: true, forbidden: anything, outstanding: 1}, false,
		},
		{"T9 plain inserts within the settle, 2 plain", model{ours: 1, plain: 2, settles: true, forbidden: anything}, false},
		{
			"T9 needs an old engine",
			model{ours: 2, plain: 1, atomic: true, deaths: true, forbidden: anything, outstanding: 1}, true,
		},
		{"L3 needs an old engine", model{ours: 1, plain: 2, atomic: true, forbidden: anything}, true},
		{"plain creates never endanger ours against ours", model{ours: 2, plain: 1, forbidden: most}, false},
		{"plain creates never endanger ours against ours, 2 plain", model{ours: 2, plain: 2, forbidden: most}, false},
		{
			"L5 a create lands while it is looked for",
			model{ours: 2, late: true, giveUps: true, jobs: true, outstanding: 1, forbidden: anything}, true,
		},
	} {
		t.Run(row.name, func(t *testing.T) { holds(t, run(t, &row.model, row.progress)) })
	}
}

package model

import (
	"fmt"
	"testing"
)

// A store over HTTP in which nothing has a name of its own: no create is refused, and what a
// client gave up may take effect later.
func TestTheProtocolHoldsWhereNothingConflicts(t *testing.T) {
	for _, n := range []int{2, 3} {
		for name, set := range map[string]func(*model){
			"no faults":    func(*model) {},
			"deaths":       func(m *model) { m.deaths = true },
			"lost replies": func(m *model) { m.lost = true },
			"late creates": func(m *model) { m.late = true },
			"late removes": func(m *model) { m.removeFails, m.removeLate = true, true },
			"late creates and removes, deaths, giving up": func(m *model) {
				m.lost, m.late, m.removeFails, m.removeLate = true, true, true, true
				m.deaths, m.giveUps = n == 2, n == 2
			},
			"all at once": func(m *model) {
				for _, f := range faults {
					f.set(m)
				}
				m.late = n == 2 // with three that is too much
			},
		} {
			t.Run(fmt.Sprintf("%d contenders/%s", n, name), func(t *testing.T) {
				m := model{ours: n, atomic: true, repeats: true, forbidden: anything, outstanding: 1}
				set(&m)
				holds(t, run(t, &m, true))
			})
		}
	}
}

func TestMutationsAreCaughtWhereNothingConflicts(t *testing.T) {
	for name, m := range map[string]model{
		"does not verify":                       {ours: 2, noVerify: true},
		"holds at once as the lowest":           {ours: 2, lowestWins: true},
		"adopts its own after a failed removal": {ours: 2, adoptOnSight: true, removeLate: true},
		"sees its own entry before others do":   {ours: 2, hiding: true},
		"drops the dead by name":                {ours: 3, byName: true, deaths: true},
	} {
		m.atomic, m.repeats, m.forbidden, m.outstanding = true, true, overlap, 1
		if r := run(t, &m, false); r.found&overlap == 0 {
			t.Errorf("%s: no overlap is found", name)
		}
	}
}

package lock

import (
	"fmt"
	"slices"
	"testing"
)

// Who looks each second gets by one request what a survey shows, without verdicts: locks of
// hostguard by any name, those of others by the names that are given, and who waits.
func TestAGlanceCostsOneRequestAndChangesNothing(t *testing.T) {
	host, s := newMachine(), newStore(true, faults{}, 1)
	m := host.contender(s)
	holder := Claim{Nonce: NewNonce(), Place: host.place, Process: host.start()}
	waiter := Claim{Nonce: NewNonce(), Place: host.place, Process: host.start()}
	dead := Claim{Nonce: NewNonce(), Place: host.place, Process: Process{PID: 4711, Start: 1}}
	for _, e := range []struct {
		name   string
		labels map[string]string
	}{
		{"ours", holder.labels(kindLock)}, {"known", nil}, {"project_default", nil},
		{ticketName("ours", waiter.Nonce), waiter.labels(kindTicket)},
		{ticketName("ours", dead.Nonce), dead.labels(kindTicket)},
		{ticketName("free", waiter.Nonce), waiter.labels(kindTicket)},
	} {
		if err := s.insert(s.newID(), e.name, e.labels); err != nil {
			t.Fatal(err)
		}
	}
	before, asked := len(s.entries), s.requests()
	surveys, err := m.space.Glance(t.Context(), []string{"known", "free"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, survey := range surveys {
		got = append(got, fmt.Sprintf("%s %d %d", survey.Name, len(survey.Holders), len(survey.Waiters)))
	}
	slices.Sort(got)
	if want := []string{"free 0 1", "known 1 0", "ours 1 2"}; !slices.Equal(got, want) {
		t.Errorf("holders and waiters: %q, want %q", got, want)
	}
	for _, survey := range surveys {
		for _, w := range survey.Waiters {
			if c, _ := w.Claim(); m.space.Abandoned(w) != (c.Nonce == dead.Nonce) {
				t.Errorf("the ticket of process %d is abandoned: %v", c.Process.PID, m.space.Abandoned(w))
			}
		}
	}
	if n := s.requests() - asked; n != 1 || len(s.entries) != before {
		t.Errorf("%d requests, %d of %d entries are left", n, len(s.entries), before)
	}
}

func TestAJudgeOfAnEntryWhoseProcessIsGoneFindsItsHolderDead(t *testing.T) {
	host := newMachine()
	m := host.contender(newStore(true, faults{}, 1))
	c := Claim{Nonce: NewNonce(), Place: host.place, Process: host.start(), Command: true, Alone: true}
	e := Entry{ID: "x", Name: "ours", Labels: c.labels(kindLock)}
	if v := m.space.Judge(t.Context(), e, false); v.Life != Alive {
		t.Errorf("while it lives: %v", v)
	}
	host.end(c.Process)
	if v := m.space.Judge(t.Context(), e, false); v.Life != Dead {
		t.Errorf("afterwards: %v", v)
	}
}

package lock

import "context"

// Reap gives back, in a store that several machines share, the locks and tickets of
// this machine whose makers this machine proves to be dead: no other can see their
// processes. It returns the locks, and looks at nothing that other machines hold. What
// cannot be removed is left to the next Reap.
func (s *Space) Reap(ctx context.Context) (reaped []Judged, err error) {
	entries, err := s.store().List(ctx, "")
	if err != nil {
		return nil, err
	}
	var tickets []Entry
	for _, e := range entries {
		c, ours := e.Claim()
		if !ours || !s.Self.Place.same(c.Place) {
			continue
		}
		switch e.label("kind") {
		case kindTicket:
			if s.abandoned(e) {
				tickets = append(tickets, e)
			}
		case kindLock:
			j := Judged{e, s.judge(ctx, e, true)}
			if j.Verdict.Life == Dead && s.store().Remove(ctx, e.ID) == nil {
				reaped = append(reaped, j)
			}
		}
	}
	s.removeAll(ctx, tickets)
	return reaped, nil
}

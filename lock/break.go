package lock

import (
	"context"
	"errors"
	"fmt"
)

// State is what an entry of a lock is to an operator.
type State string

const (
	StateHeld       State = "held"       // by a holder that lives or may live
	StateOrphan     State = "orphan"     // by one that is gone
	StateStale      State = "stale"      // by nobody knows whom, for too long
	StateLegacy     State = "legacy"     // made by a plain "docker network create"
	StateUnreadable State = "unreadable" // made by another version, or broken labels
)

// State is the verdict in one word.
func (j Judged) State() State {
	h, ours := j.Holder()
	switch {
	case j.Verdict.Life == Dead:
		return StateOrphan
	case !ours:
		return StateLegacy
	case j.label("version") != labelVersion || !isHex(h.Nonce, 32):
		return StateUnreadable
	case j.Verdict.Life == Stale:
		return StateStale
	}
	return StateHeld
}

// ErrAlive is returned for a lock whose holder was proven to live.
var ErrAlive = errors.New("its holder lives")

// Break removes the lock's entries by ID, whoever made them, after telling each
// to record; an error of that ends it. An entry of a holder that lives is left
// alone unless force is given. What was removed may still be believed to be held
// by who made it: there is no fencing.
func (m *Mutex) Break(ctx context.Context, force bool, record func(Judged) error) (broken []Judged, err error) {
	entries, err := m.Entries(ctx)
	if err != nil {
		return nil, err
	}
	var judged []Judged
	for _, e := range entries {
		j := Judged{e, m.judge(ctx, e, true)}
		if j.Verdict.Life == Alive && !force {
			return nil, fmt.Errorf("break lock %q (id %.12q): %w: %s", m.Name, e.ID, ErrAlive, j.Verdict.Evidence)
		}
		judged = append(judged, j)
	}
	for _, j := range judged {
		if err := record(j); err != nil {
			return broken, err
		}
		switch err := m.Release(ctx, j.ID); {
		case errors.Is(err, ErrNotFound): // it was given back or taken over meanwhile
		case err != nil:
			return broken, err
		default:
			broken = append(broken, j)
		}
	}
	return broken, nil
}

package lock

import (
	"context"
	"errors"
	"fmt"
)

// ErrAlive is returned for a lock whose holder was proven to live.
var ErrAlive = errors.New("its holder lives")

// Break removes the entries of a lock by ID, whoever made them, and calls record
// before each; an error of record ends it. An entry whose holder lives is left alone
// unless force is given; ErrAlive is returned where there is no other. The holder of a
// broken lock may continue as if it held it; only a Fence stops it.
func (s *Space) Break(ctx context.Context, name string, force bool, record func(Judged) error,
) (broken []Judged, err error) {
	m := s.Lock(name)
	entries, err := m.Entries(ctx)
	if err != nil {
		return nil, err
	}
	var judged []Judged
	for _, e := range entries {
		j := Judged{e, s.judge(ctx, e, true)}
		if j.Verdict.Life == Alive && !force {
			err = fmt.Errorf("break lock %q (id %.12q): %w: %s", name, e.ID, ErrAlive, j.Verdict.Evidence)
			continue
		}
		judged = append(judged, j)
	}
	if len(judged) == 0 {
		return nil, err
	}
	for _, j := range judged {
		if err := record(j); err != nil {
			return broken, err
		}
		switch err := m.Release(ctx, j.ID); {
		case errors.Is(err, ErrNotFound): // released or taken over since the look
		case err != nil:
			return broken, err
		default:
			broken = append(broken, j)
		}
	}
	return broken, nil
}

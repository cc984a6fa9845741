package lock

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
)

// Any number of readers may hold a lock together, or one writer; the word is that of
// readers-writer locks, whatever they do. Both take slot 0 by exclude.go, in their turn:
//
//   - A reader announces itself under a reader's name while it has slot 0, then gives that
//     back, which wakes the next in the queue.
//   - A writer keeps slot 0, and holds once a list shows no reader who may live.
//
// So a reader's entry is in the store before anybody else can have slot 0, and a writer that
// has it sees all readers; no other can come. Neither starves, since both wait in one queue.
//
// Nobody goes from shared to exclusive: two that tried would wait for each other.

// share makes a reader of this process, which has slot 0. held is false if slot 0 was taken
// away meanwhile, so that a writer may hold.
func (a *acquisition) share(ctx context.Context) (held bool, err error) {
	id, err := a.announceReader(ctx)
	if err != nil {
		return false, err
	}
	a.leaveQueue(ctx)
	switch err := a.release(ctx, a.id); {
	case errors.Is(err, ErrNotFound):
		a.id = ""
		a.remove(ctx, id)
		return false, nil
	case ctx.Err() != nil: // Acquire removes both
		return false, context.Cause(ctx)
	case err != nil:
		return false, err
	}
	a.ids = slices.DeleteFunc(a.ids, func(own string) bool { return own == a.id })
	a.id, a.reader = id, id
	if a.jobGone() {
		return false, ErrJobGone
	}
	return true, nil
}

// announceReader creates this process's entry as a reader, under the first name that is free
// from a random one on. Where there are as many readers as can be it waits.
func (a *acquisition) announceReader(ctx context.Context) (id string, err error) {
	for i, first := 0, rand.N(MaxReaders); ctx.Err() == nil; {
		id, err := a.announce(ctx, readerName(a.name, (first+i)%MaxReaders))
		switch {
		case errors.Is(err, ErrConflict):
			if i++; i%MaxReaders == 0 {
				a.outwaitOneReader(ctx)
			}
		case errors.Is(err, ErrRefused):
			return "", err
		case err != nil:
			a.unreachable(ctx, err)
		case id != "":
			return id, nil
		}
	}
	return "", context.Cause(ctx)
}

func (a *acquisition) outwaitOneReader(ctx context.Context) {
	seen, err := a.look(ctx)
	if err != nil {
		a.unreachable(ctx, err)
		return
	}
	if living, dropped := a.dropDead(ctx, readers(seen)); !dropped && len(living) > 0 {
		a.notify(Wait{Holder: living[0], Position: 1, Waiters: a.waiters})
		pause(ctx, poll)
	}
}

// drain keeps slot 0, which this writer has, until no reader is left. held is false if it was
// taken away meanwhile.
func (a *acquisition) drain(ctx context.Context) (held bool, err error) {
	a.leaveQueue(ctx) // who is next now is behind this process
	a.ahead = nil
	a.hear(ctx)
	for ctx.Err() == nil {
		if a.jobGone() {
			return false, ErrJobGone
		}
		seen, err := a.look(ctx)
		if err != nil {
			a.unreachable(ctx, err)
			continue
		}
		if !slices.ContainsFunc(seen, func(e Entry) bool { return e.ID == a.id }) {
			a.id = ""
			return false, nil
		}
		left := readers(seen)
		if a.removeOwn(ctx, left) {
			continue
		}
		living, dropped := a.dropDead(ctx, left)
		switch {
		case dropped:
		case len(living) == 0:
			return true, nil
		default:
			a.notify(Wait{Holder: living[len(living)-1], Position: 1, Waiters: a.waiters})
			a.watch(ctx)
			a.outwait(ctx, living)
			a.woken = false // that was for this wait
		}
	}
	return false, context.Cause(ctx)
}

func readers(seen []Entry) []Entry {
	return slices.DeleteFunc(slices.Clone(seen), func(e Entry) bool { return !e.reader() })
}

// reads reports whether an entry is that of a reader, as this process made it or has listed it.
func (m *Mutex) reads(id string) bool {
	return id == m.reader ||
		slices.ContainsFunc(m.queues, func(e Entry) bool { return e.ID == id && e.reader() })
}

// next returns the nonce of the one to wake when the lock may be free: the writer that has
// slot 0 and waits for readers, else the head of the queue.
func (m *Mutex) next(ctx context.Context, entries []Entry) (nonce string) {
	for _, e := range named(entries, m.name) {
		if c, ours := e.Claim(); ours && !c.Share && c.Slots == 0 {
			return c.Nonce
		}
	}
	return m.head(ctx, entries)
}

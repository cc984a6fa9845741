package lock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"hostguard/internal/hexid"
)

// releaseTime bounds a release, which waits for a daemon that restarts.
const releaseTime = 30 * time.Second

// Record is what an acquire leaves behind for the release of the same job.
type Record struct{ ID, Nonce string }

func (r Record) String() string { return r.ID + ":" + r.Nonce }

// ParseRecord returns false for anything that is not a Record.
func ParseRecord(s string) (Record, bool) {
	id, nonce, _ := strings.Cut(s, ":")
	if !hexid.Is(id, 64) || !hexid.Is(nonce, 32) {
		return Record{}, false
	}
	return Record{ID: id, Nonce: nonce}, true
}

// Matches reports whether an entry is the one that was recorded.
func (r Record) Matches(e Entry) bool {
	c, ours := e.Claim()
	return ours && e.ID == r.ID && c.Nonce == r.Nonce
}

// Entries lists the lock's entries: none when it is free, and more than one only for a moment, if it
// has slots or is shared, or below API 1.44 when plain creates raced. A Release that follows
// at once needs no list of its own.
func (m *Mutex) Entries(ctx context.Context) ([]Entry, error) {
	var entries []Entry
	err := persist(ctx, func(ctx context.Context) (err error) {
		entries, err = m.space.store().List(ctx, append(m.queuesToSee(), m.name, m.places)...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list locks named %q: %w", m.name, err)
	}
	m.queues, m.listed = entries, time.Now()
	return m.inPlaces(entries), nil
}

// allQueues returns what is in the queues, as Entries has just listed it, or lists it.
func (m *Mutex) allQueues(ctx context.Context) ([]Entry, error) {
	if time.Since(m.listed) < wokenRetry {
		return m.queues, nil
	}
	return m.listQueue(ctx, m.queuesToSee()...)
}

// queuesToSee returns the prefix of all queues and places, in which a release also removes
// what the dead have left, or where very many wait those of its own.
func (m *Mutex) queuesToSee() []string {
	if m.space.crowd(m.name) >= crowd {
		return []string{queuePrefix(m.name), m.places}
	}
	return []string{queueNames}
}

// OwnedBySelf returns those of the entries that this job's acquire-lock made, also
// if it was killed. Outside any job they are those that the same shell made.
// with-lock gives back by itself.
func (s *Space) OwnedBySelf(entries []Entry) []Entry {
	var own []Entry
	for _, e := range entries {
		if c, ours := e.Claim(); ours && !c.Command && (c.SameJob(s.Self) || c.SameCaller(s.Self)) {
			own = append(own, e)
		}
	}
	return own
}

// Release removes an entry by its full ID and wakes the head of the queue. It
// goes on although ctx ends, for a cancelled job must give back what it took,
// and repeats until its own timeout. ErrNotFound means that somebody took the lock
// away; it may be another's by now and is left alone.
func (m *Mutex) Release(ctx context.Context, id string) error {
	ctx = context.WithoutCancel(ctx)
	err := m.release(ctx, id)
	if err != nil || !m.uncertain {
		return err
	}
	// A create of this process that was given up may have landed since.
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	entries, _ := m.list(ctx)
	for _, e := range entries {
		if e.madeBy(m.space.Self) {
			_ = m.space.store().Remove(ctx, e.ID)
		}
	}
	return nil
}

// release is Release of that entry alone, and ends with ctx: a reader keeps another entry.
func (m *Mutex) release(ctx context.Context, id string) error {
	m.leaving.Wait() // our own ticket is not the next one
	m.stopWaiting()
	var queues []Entry
	var markers []Entry
	var rung time.Time // zero if nobody could be found
	wake := func() {
		if m.ringNext() {
			rung = time.Now()
			return
		}
		begin := time.Now()
		var err error
		if queues, err = m.allQueues(ctx); err != nil {
			return
		}
		rung = time.Now()
		if next := m.head(ctx, queues); next != "" && !m.space.ring(next, m.behind(next, queues, begin)) {
			markers = append(markers, m.mark(ctx, next)...)
		}
	}
	woken := make(chan struct{})
	shared := m.reads(id)
	if shared { // a writer may have come that saw this entry and waits for its end: that is seen afterwards only
		close(woken)
	} else {
		go func() { // beside the removal: the hand-off is what costs
			defer close(woken)
			wake() // so that it is up when the lock is free
		}()
	}
	tried := false
	err := persist(ctx, func(ctx context.Context) error {
		err := m.space.store().Remove(ctx, id)
		if tried && errors.Is(err, ErrNotFound) {
			return nil // our own try took it away: only its answer was lost
		}
		tried = true
		return err
	})
	removed := time.Now()
	<-woken
	switch {
	case shared || slices.ContainsFunc(queues, func(e Entry) bool { return e.ID == id && e.reader() }):
		m.handOn(ctx)
	case removed.Sub(rung) > leastTry(m.crowded): // the one that was woken may have given up by now, or others come
		if seen, err := m.list(ctx); err != nil || len(named(seen, m.nameOf(id, queues))) == 0 {
			wake()
		}
	}
	m.space.unmark(ctx, markers)
	if err != nil {
		return fmt.Errorf("release lock %q (id %.12s): %w", m.name, id, err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	m.space.tidy(ctx, queues)
	m.passOn()
	if self := m.space.Self; self.OutsideJobs() && !self.Command {
		m.forget(ctx, queues, id)
	}
	return nil
}

// nameOf returns the name of an entry of the lock that may be among those.
func (m *Mutex) nameOf(id string, entries []Entry) string {
	if i := slices.IndexFunc(entries, func(e Entry) bool { return e.ID == id }); i >= 0 {
		return entries[i].Name
	}
	return cmp.Or(m.place, m.name)
}

// persist repeats a request until it is answered or the time is up.
func persist(ctx context.Context, request func(context.Context) error) error {
	end := time.Now().Add(releaseTime)
	for {
		err := request(ctx)
		if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrRefused) {
			return err
		}
		if ctx.Err() != nil || !time.Now().Before(end) {
			return err
		}
		pause(ctx, poll/4)
	}
}

// Lost reports whether an entry is missing from two lists in a row. A list that
// failed is no answer. A store of several machines may show for a moment what was
// there before.
func (m *Mutex) Lost(ctx context.Context, id string) bool {
	for i := range 2 {
		if i > 0 && m.space.Shared {
			pause(ctx, poll)
		}
		entries, err := m.list(ctx)
		if err != nil || slices.ContainsFunc(entries, func(e Entry) bool { return e.ID == id }) {
			return false
		}
	}
	return true
}

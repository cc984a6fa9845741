package lock

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The queue decides who tries first; exclusion never depends on it. A waiter
// leaves a ticket, an entry under a prefix of the lock's queue, and lives as
// long as its process. A release wakes the head by creating a marker that is
// named after the head's ticket: each waiter watches for its own name only, so
// one process wakes, not all (measured with 256 waiters: 2.4 ms, against 30 ms
// when all are woken).
const (
	PriorityHigh   = "high"
	PriorityNormal = "normal"

	queueNames   = "hg-"                   // begin all names of all queues
	ageing       = 30 * time.Minute        // after that a normal ticket counts as high
	maxRemovals  = 32                      // of what the dead left, in one look: of 2,000 they took 20 s
	eager        = 20 * time.Millisecond   // that who was woken tries: the lock may be about to be free
	headPatience = 1250 * time.Millisecond // that a free lock is left to those ahead: with the look before it, below 3 s
	longestRest  = 30 * poll               // of those far behind
	maxLooks     = 10                      // a second, of all together who see nobody ahead: 256 who looked each second took half a core
	askingTime   = 2 * time.Second         // for asking after containers, in one look
	markerLife   = time.Minute
)

// queuePrefix begins all names of a lock's queue. It does not contain the
// lock's name, which "docker network ls --filter name=" of others would match.
func queuePrefix(lock string) string {
	sum := sha256.Sum256([]byte(lock))
	return queueNames + hex.EncodeToString(sum[:8]) + "-"
}

func isQueueName(name string) bool {
	rest, found := strings.CutPrefix(name, queueNames)
	return found && len(rest) > 16 && isHex(rest[:16], 16) && rest[16] == '-'
}

func ticketName(lock, nonce string) string   { return queuePrefix(lock) + "t-" + nonce }
func markerPrefix(lock, nonce string) string { return queuePrefix(lock) + "w-" + nonce + "-" }

// ticket is a place in the queue.
type ticket struct {
	Entry
	holder Holder
	nonce  string
	high   bool
	number int
}

func (t ticket) compare(other ticket) int {
	if t.high != other.high {
		if t.high {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(t.number, other.number), cmp.Compare(t.ID, other.ID))
}

// queue returns the tickets, in order, and apart from them what the dead left:
// their tickets, and wake markers whose maker died before removing them. The
// store is not asked after containers here; see acting.
func (m *Mutex) queue(ctx context.Context) (waiting []ticket, gone []Entry, err error) {
	entries, err := m.listQueue(ctx, queuePrefix(m.Name))
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		if m.abandoned(e) {
			gone = append(gone, e)
		}
	}
	entries = slices.DeleteFunc(entries, m.abandoned)
	return m.tickets(entries), gone, nil
}

func (m *Mutex) listQueue(ctx context.Context, prefix string) ([]Entry, error) {
	entries, err := m.store().List(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("list the queue of lock %q: %w", m.Name, err)
	}
	return entries, nil
}

// tickets returns, of any entries, the tickets in order, those of the dead too.
// One whose name is not that of its nonce is nobody's: no waiter can be woken by
// it.
func (m *Mutex) tickets(entries []Entry) []ticket {
	var tickets []ticket
	prefix := ticketName(m.Name, "")
	for _, e := range entries {
		if nonce, found := strings.CutPrefix(e.Name, prefix); found && nonce == e.label("nonce") && e.label("kind") == kindTicket {
			h, _ := e.Holder()
			number, _ := strconv.Atoi(e.label("number"))
			tickets = append(tickets, ticket{e, h, nonce, h.Priority == PriorityHigh || m.age(e) > ageing, number})
		}
	}
	slices.SortFunc(tickets, ticket.compare)
	return tickets
}

// living returns those tickets whose container has not ended, as far as the store
// answers in a moment, and apart from them those whose has.
func (m *Mutex) living(ctx context.Context, tickets []ticket) (living []ticket, ended []Entry) {
	ctx, cancel := context.WithTimeout(ctx, askingTime)
	defer cancel()
	gone := map[string]bool{} // by container, as it was started
	for _, t := range tickets {
		id := t.holder.Container + t.holder.Started
		if _, asked := gone[id]; !asked {
			gone[id] = m.containerGone(ctx, t)
		}
		if gone[id] {
			ended = append(ended, t.Entry)
		} else {
			living = append(living, t)
		}
	}
	return living, ended
}

// acting returns the living who may act. Who is stopped keeps its ticket, and is
// not waited for.
func (m *Mutex) acting(ctx context.Context, tickets []ticket) (acting []ticket, ended []Entry) {
	living, ended := m.living(ctx, tickets)
	return slices.DeleteFunc(living, m.stopped), ended
}

// sight is what this process sees by itself of a ticket's owner, without a request.
func (m *Mutex) sight(t ticket) Life {
	if !m.Self.Place.same(t.holder.Place) || !t.holder.Process.known() {
		return Unknown
	}
	return m.alive(t.holder.Process)
}

func (m *Mutex) stopped(t ticket) bool {
	return m.sight(t) == Alive && m.Host.Stopped(t.holder.Process.PID)
}

// containerGone asks the store after the container of a ticket, if it has one.
func (m *Mutex) containerGone(ctx context.Context, t ticket) bool {
	store, ok := m.Engine.(Containers)
	if !ok || !isHex(t.holder.Container, 64) {
		return false
	}
	life, _ := store.Container(ctx, t.holder.Container, t.holder.Started)
	return life == Dead
}

// abandoned is true for wake markers older than a minute, for notes about entries
// that must be gone, and for tickets whose process is gone or must have ended long
// ago by its own timeout.
func (m *Mutex) abandoned(e Entry) bool {
	switch e.label("kind") {
	case kindWake:
		return m.age(e) > markerLife
	case kindNote:
		return m.age(e) > noteLife
	case kindTicket:
		if timeout, err := time.ParseDuration(e.label("timeout")); err == nil && m.age(e) > timeout+time.Minute {
			return true
		}
		h, _ := e.Holder()
		return m.byReboot(context.Background(), h, false).Life == Dead ||
			m.Self.Place.same(h.Place) && h.Process.known() && m.alive(h.Process) == Dead
	}
	return false
}

// removeAll removes what the dead left, a few only: a look has to end soon, and
// others look as well. What fails is tried again by the next one.
func (m *Mutex) removeAll(ctx context.Context, entries []Entry) {
	for _, e := range entries[:min(len(entries), maxRemovals)] {
		_ = m.store().Remove(ctx, e.ID)
	}
}

// head is the nonce of the first in the queue who may act, if any. No more are
// looked up than it takes: a release waits for it.
func (m *Mutex) head(ctx context.Context, entries []Entry) (nonce string) {
	for _, t := range m.tickets(entries) {
		if m.abandoned(t.Entry) {
			continue
		}
		if acting, _ := m.acting(ctx, []ticket{t}); len(acting) > 0 {
			return t.nonce
		}
	}
	return ""
}

// tidy removes what the dead left in any lock's queue: nobody may ever ask for
// that lock again.
func (m *Mutex) tidy(ctx context.Context, entries []Entry) {
	entries = slices.DeleteFunc(entries, func(e Entry) bool { return !isQueueName(e.Name) || e.label("version") == "" })
	var gone []Entry
	var asked []ticket
	for _, e := range entries {
		if m.abandoned(e) {
			gone = append(gone, e)
		} else if h, _ := e.Holder(); e.label("kind") == kindTicket && h.Container != "" && len(asked) < maxRemovals {
			asked = append(asked, ticket{Entry: e, holder: h})
		}
	}
	_, ended := m.acting(ctx, asked)
	m.removeAll(ctx, append(gone, ended...))
}

// wake lets waiters know that the lock may be free. It is best effort: they poll
// as well. A marker is for those who cannot be rung: in containers, or on other
// hosts.
func (m *Mutex) wake(ctx context.Context, waiting []ticket) {
	var markers []Entry
	for _, t := range waiting {
		if !m.ring(t.nonce) {
			markers = append(markers, m.mark(ctx, t.nonce)...)
		}
	}
	m.unmark(ctx, markers)
}

// mark creates a wake marker, which unmark removes again.
func (m *Mutex) mark(ctx context.Context, nonce string) []Entry {
	name := markerPrefix(m.Name, nonce) + NewNonce()[:8]
	id, err := m.store().Create(ctx, name, Holder{Place: m.Self.Place, Uptime: m.Host.Uptime()}.labels(kindWake))
	if err != nil {
		return nil
	}
	return []Entry{{ID: id}}
}

func (m *Mutex) unmark(ctx context.Context, markers []Entry) {
	if len(markers) > 0 {
		pause(ctx, 2*glance) // the daemon takes one change at a time, and the woken one's comes first
		for _, e := range markers {
			_ = m.store().Remove(ctx, e.ID)
		}
	}
}

func (m *Mutex) ring(nonce string) bool { return nonce != "" && m.Bell != nil && m.Bell.Ring(nonce) }

package lock

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// More than one may hold a lock that has slots, or that its holders share. Each of them has
// a place, an entry of a name of its own:
//
//   - Slot 0 is the entry with the name of the lock itself, the only one that a plain
//     "docker network create NAME" meets. Each slot is a mutex by exclude.go. (To hold by a
//     rank below the number of slots is no protocol: a late insert with a lower ID makes one
//     holder too many, as in T2.)
//   - A reader takes slot 0, announces itself under a reader's name, and gives slot 0 back;
//     see share.go.
//
// Whoever announces itself then lists all places, so of two contenders that disagree about
// the number of slots one at least sees the other.
const (
	// MaxSlots is the largest number of slots of a lock.
	MaxSlots = 16
	// MaxReaders is how many can share a lock; others wait. The names are numbered so that a
	// store that leaves out entries of a flood can look for each of them.
	MaxReaders = 64

	slotPlace   = "s-"
	readerPlace = "r-"
)

// placesPrefix begins the names of a lock's places, but for slot 0. Like that of its queue
// it does not contain the lock's name.
func placesPrefix(lock string) string {
	sum := sha256.Sum256([]byte("places\x00" + lock))
	return queueNames + hex.EncodeToString(sum[:8]) + "-"
}

func slotName(lock string, i int) string {
	if i == 0 {
		return lock
	}
	return placesPrefix(lock) + slotPlace + strconv.Itoa(i)
}

func readerName(lock string, i int) string { return placesPrefix(lock) + readerPlace + strconv.Itoa(i) }

// PlaceNames returns the names of all places that there can be below a prefix: a store that
// leaves anything out of a list must not leave out these.
func PlaceNames(prefix string) (names []string) {
	if !isQueueName(prefix + "-") {
		return nil
	}
	for i := range MaxSlots {
		names = append(names, prefix+slotPlace+strconv.Itoa(i))
	}
	for i := range MaxReaders {
		names = append(names, prefix+readerPlace+strconv.Itoa(i))
	}
	return names
}

// place returns what the name of an entry is below the prefix of its lock's places: the
// kind of place and its number, or none.
func (e Entry) place() (kind string, i int) {
	if !isQueueName(e.Name) {
		return slotPlace, 0
	}
	rest := e.Name[len(queueNames)+17:]
	for _, kind := range []string{slotPlace, readerPlace} {
		number, found := strings.CutPrefix(rest, kind)
		if i, err := strconv.Atoi(number); found && err == nil && i >= 0 && number == strconv.Itoa(i) {
			return kind, i
		}
	}
	return "", 0
}

func (e Entry) reader() bool { kind, _ := e.place(); return kind == readerPlace }

// Slot returns the number of the slot that a holder has, from 1; 0 is none.
func (e Entry) Slot() int {
	if kind, i := e.place(); kind == slotPlace {
		return i + 1
	}
	return 0
}

// Lock returns the name of the lock that a holder's entry is of, by its own account
// where that agrees with its name.
func (e Entry) Lock() string {
	name := e.label("lock")
	if isQueueName(e.Name) && CheckName(name) == nil && strings.HasPrefix(e.Name, placesPrefix(name)) {
		return name
	}
	return e.Name
}

// slots returns how many slots the maker of an entry counts.
func (e Entry) slots() int { n, _ := strconv.Atoi(e.label("slots")); return max(n, 1) }

// FenceOf returns the Fence of an entry whose maker holds its lock alone, else 0: of two that
// hold it together neither has come after the other.
func (e Entry) FenceOf() uint64 {
	if e.reader() || e.slots() > 1 {
		return 0
	}
	return e.Fence
}

func (m *Mutex) slots() int { return max(m.Slots, 1) }

// claim returns the description of this process in its entries.
func (m *Mutex) claim(self Claim) Claim {
	self.Slots, self.Share = 0, m.Share
	if m.slots() > 1 {
		self.Slots = m.Slots
	}
	return m.space.fresh(self)
}

// labels returns the labels of this process's entry in a place.
func (m *Mutex) labels(c Claim, place string) map[string]string {
	labels := c.labels(kindLock)
	if place != m.name {
		labels = with(labels, "lock", m.name)
	}
	return labels
}

// list returns the entries in all places of the lock, in the order of their IDs.
func (m *Mutex) list(ctx context.Context) ([]Entry, error) {
	entries, err := m.space.store().List(ctx, m.name, m.places)
	if err != nil {
		return nil, fmt.Errorf("list locks named %q: %w", m.name, err)
	}
	return m.inPlaces(entries), nil
}

// inPlaces returns, of any entries, those in places of the lock, in the order of their IDs.
func (m *Mutex) inPlaces(entries []Entry) (of []Entry) {
	for _, e := range entries {
		if e.Name == m.name || strings.HasPrefix(e.Name, m.places) {
			of = append(of, e)
		}
	}
	slices.SortFunc(of, func(x, y Entry) int { return strings.Compare(x.ID, y.ID) })
	return of
}

// agrees reports whether e, in a place of this lock, keeps this process from no other place:
// its maker counts as many slots. A plain entry counts none. Readers are left to writers.
func (m *Mutex) agrees(e Entry) bool {
	switch kind, i := e.place(); {
	case kind == readerPlace:
		return m.slots() == 1
	case kind != slotPlace || i >= m.slots():
		return false
	}
	return e.plain() || e.slots() == m.slots()
}

// rivals returns, of the entries in places of the lock, those beside which nobody holds a slot.
func (m *Mutex) rivals(seen []Entry, slot string) (of []Entry) {
	for _, e := range seen {
		if e.Name == slot || !m.agrees(e) {
			of = append(of, e)
		}
	}
	return of
}

// concerning returns, of the entries in places of the lock, those that may keep this process
// from a slot: all but those of readers, where there are no other slots.
func (m *Mutex) concerning(seen []Entry) []Entry {
	if m.slots() > 1 {
		return seen
	}
	return slices.DeleteFunc(slices.Clone(seen), Entry.reader)
}

// vacant returns the slots in which those entries leave room.
func (m *Mutex) vacant(seen []Entry) (slots []string) {
	for i := range m.slots() {
		if name := slotName(m.name, i); len(m.rivals(seen, name)) == 0 {
			slots = append(slots, name)
		}
	}
	return slots
}

// DisagreementError is returned by an Acquire that counts another number of slots than
// somebody who holds the lock or is about to.
type DisagreementError struct {
	Entry        Entry // theirs
	Theirs, Mine int
}

func (e *DisagreementError) Error() string {
	return fmt.Sprintf("it has %s here, and %s for one that holds it or comes first", plural(e.Mine), plural(e.Theirs))
}

func plural(slots int) string {
	if slots == 1 {
		return "1 slot"
	}
	return fmt.Sprintf("%d slots", slots)
}

// disagreement returns the error of this process if one of those entries, whose makers may
// live, counts another number of slots.
func (m *Mutex) disagreement(living []Judged) error {
	for _, j := range living {
		if !j.plain() && j.slots() != m.slots() {
			return &DisagreementError{j.Entry, j.slots(), m.slots()}
		}
	}
	return nil
}

// disagreementAhead is disagreement with the waiters ahead that are seen to live.
func (a *acquisition) disagreementAhead() error {
	for _, t := range a.ahead {
		if theirs := t.slots(); theirs != a.slots() {
			if may, seen := a.space.canAct(t); may && seen {
				return &DisagreementError{t.Entry, theirs, a.slots()}
			}
		}
	}
	return nil
}

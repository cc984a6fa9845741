package workflow

import (
	"cmp"
	"fmt"
	"hostguard/runner/finding"
	"hostguard/runner/shell"
	"slices"
	"strings"
)

// nesting is a lock that a job takes while it holds another, and where.
type nesting struct{ held, taken, where string }

// checkLockOrder reports pairs of locks that jobs take in both orders: each job can come to wait
// for the lock that the other holds, until their timeouts. A name that is an expression is not
// known, and no finding.
func checkLockOrder(workflows []Workflow) []finding.Finding {
	var all finding.List
	first := map[[2]string]nesting{} // of each pair, in this order
	for _, w := range workflows {
		for _, j := range w.Jobs {
			for _, y := range nestings(j) {
				pair := [2]string{y.held, y.taken}
				if _, found := first[pair]; found {
					continue
				}
				y.where = fmt.Sprintf("%.100q job %.100q (%s)", w.File, j.ID, y.where)
				first[pair] = y
				if x, found := first[[2]string{y.taken, y.held}]; found {
					all.Bad(3, fmt.Sprintf("take both in one step, which keeps one order everywhere: lock-name: %.200q",
						strings.Join(slices.Sorted(slices.Values(pair[:])), ", ")),
						"%s takes lock %.100q while it holds %.100q, and %s %.100q while it holds %.100q: each can "+
							"wait for the other until its timeout", x.where, x.taken, x.held, y.where, y.taken, y.held)
				}
			}
		}
	}
	return all
}

// maxHeld is more locks than any job holds at once; those beyond are not compared.
const maxHeld = 32

// holding are the locks that a job holds, as far as its steps were read.
type holding struct {
	locks []string
	found []nesting
}

func nestings(j Job) []nesting {
	var h holding
	for _, s := range j.Steps {
		where := fmt.Sprintf("line %d", s.Line)
		switch names := lockNames(s.With["lock-name"], s.With["lock-backend"]); kindOf(s) {
		case "lock", "acquire-lock":
			h.take(names, where)
		case "release-lock":
			h.give(names)
		}
		commands, _ := shell.Commands(s.Run) // checkUses reports what cannot be read
		for _, c := range commands {
			h.command(c, where)
		}
	}
	return h.found
}

func (h *holding) command(c shell.Command, where string) {
	if c.Words[0] != "hostguard" || len(c.Words) < 2 {
		return
	}
	var runs []shell.Command
	if i := slices.Index(c.Words, "--"); i > 0 && c.Words[1] == "with-lock" {
		runs, _ = shell.CommandsOf(c.Words[i+1:])
		c.Words = c.Words[:i] // the flags behind it are another's
	}
	names := lockNames(c.Flag("lock-name"), c.Flag("lock-backend"))
	switch c.Words[1] {
	case "acquire-lock":
		h.take(names, where)
	case "release-lock":
		h.give(names)
	case "with-lock":
		before := slices.Clone(h.locks)
		if c.Flag("backends") == "" { // else the order of backends decides, which no step changes
			h.take(names, where)
		}
		for _, run := range runs {
			h.command(run, where)
		}
		h.locks = before
	}
}

// take adds locks that one step takes, one after the other.
func (h *holding) take(names []string, where string) {
	for _, name := range names {
		if len(h.locks) >= maxHeld || slices.Contains(h.locks, name) { // a job does not wait for its own
			continue
		}
		for _, held := range h.locks {
			h.found = append(h.found, nesting{held, name, where})
		}
		h.locks = append(h.locks, name)
	}
}

func (h *holding) give(names []string) {
	h.locks = slices.DeleteFunc(h.locks, func(held string) bool { return slices.Contains(names, held) })
}

// lockNames returns the locks of an input lock-name that are known, in the order in which they are
// taken.
func lockNames(list, backend string) []string {
	var names []string
	for _, name := range splitNames(cmp.Or(list, "the host's default")) {
		if strings.ContainsAny(name+backend, "$`") {
			continue
		}
		if backend != "" && backend != "docker" {
			name += " (" + backend + ")"
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// nameSeparator is what is written between the names of several locks.
const nameSeparator = ", "

// splitNames returns the names of an input lock-name.
func splitNames(list string) []string {
	names := strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == '\n' })
	for i := range names {
		names[i] = strings.TrimSpace(names[i])
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}

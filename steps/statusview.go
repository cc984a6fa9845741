package steps

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"hostguard/history"
	"hostguard/internal/actions"
	"hostguard/internal/cli"
	"hostguard/internal/terminal"
	"hostguard/lock"
)

// What status shows on a terminal: first the sentence that the reader came for, then the locks,
// each with its queue, then what else runs. It is made of a report alone, and every line fits
// into the width.

// view lays a report out.
type view struct {
	statusReport
	terminal.Style
	zone   *time.Location
	chosen string // the ID of the entry under the cursor
	lines  []string
}

// The widths from which more is shown: below narrow a line of its own says what a job does, from
// wide on the locks are a table.
const (
	narrow    = 72
	wide      = 120
	leastWide = 20
	// mostRows bounds what is shown of one queue.
	mostRows = 15
	// cursorMark begins the line of the entry under the cursor.
	cursorMark = "> "
)

// marks are the shapes, without UTF-8 in ASCII. Colour only repeats them.
type marks struct{ holds, waits, heavy, gone, unknown string }

func marksOf(s terminal.Style) marks {
	if s.UTF8 {
		return marks{"■", "□", "⬢", "◆", "┄"}
	}
	return marks{"#", ".", "!", "*", "?"}
}

// view returns the lines of a report for a terminal.
func (r statusReport) view(style terminal.Style, zone *time.Location) []string {
	v := newView(r, style, zone)
	v.answer()
	v.gap()
	if v.Width >= wide {
		v.table()
	} else {
		shown, more := v.shown()
		for _, l := range shown {
			v.lock(l)
		}
		v.left(more)
	}
	v.gap()
	v.host()
	if v.past.record != nil {
		v.gap()
		v.add("why a job waited: hostguard why -last")
	}
	return v.clipped()
}

func newView(r statusReport, style terminal.Style, zone *time.Location) *view {
	style.Width = max(style.Width, leastWide)
	return &view{statusReport: r, Style: style, zone: zone}
}

// clipped returns the lines, none of them wider than the terminal, and the last one not empty.
func (v *view) clipped() []string {
	for len(v.lines) > 0 && v.lines[len(v.lines)-1] == "" {
		v.lines = v.lines[:len(v.lines)-1]
	}
	for i, line := range v.lines {
		v.lines[i] = terminal.Clip(strings.TrimRight(line, " "), v.Width)
	}
	return v.lines
}

func (v *view) add(line string) { v.lines = append(v.lines, line) }

// gap adds an empty line between what is there and what follows.
func (v *view) gap() {
	if n := len(v.lines); n > 0 && v.lines[n-1] != "" {
		v.add("")
	}
}

// pair adds a line with text at both its ends, or two lines if one is too narrow.
func (v *view) pair(left, right, indent string) {
	room := v.Width - terminal.Width(left) - terminal.Width(right)
	if room >= 2 || right == "" {
		v.add(left + strings.Repeat(" ", max(0, room)) + right)
		return
	}
	v.add(left)
	v.add(indent + right)
}

// plain returns foreign text in characters that can be shown.
func (v *view) plain(text string) string { return v.Show(actions.Plain(text)) }

// name returns who a job or a person is.
func (v *view) name(e entryReport) string {
	if name := history.Name(e.who); name != "" {
		return v.plain(name)
	}
	return "nobody knows who"
}

// locks returns the locks that jobs hold, without the gate's turn.
func (v *view) locks() []lockReport {
	return slices.DeleteFunc(slices.Clone(v.Locks), func(l lockReport) bool { return l.Name == turnName })
}

// shown returns the locks that are shown, and how many are left out: free ones, which nobody has
// held for the longest. Jobs choose the names, and some choose a new one in each run.
func (v *view) shown() (locks []lockReport, more int) {
	var free []lockReport
	for _, l := range v.locks() {
		if len(l.Holders)+len(l.Waiters) == 0 {
			free = append(free, l)
		}
	}
	if len(free) <= mostRows {
		return v.locks(), 0
	}
	held := func(l lockReport) time.Time { return v.past.free[l.Name].Until }
	slices.SortStableFunc(free, func(a, b lockReport) int { return held(b).Compare(held(a)) })
	old := map[string]bool{}
	for _, l := range free[mostRows:] {
		old[l.Name] = true
	}
	return slices.DeleteFunc(v.locks(), func(l lockReport) bool { return old[l.Name] }), len(free) - mostRows
}

// left adds how many free locks are not shown.
func (v *view) left(more int) {
	if more > 0 {
		v.add("and " + cli.Plural(more, "other free lock"))
	}
}

// atGate returns those that wait for pressure to end.
func (v *view) atGate() (waiting []entryReport) {
	for _, l := range v.Locks {
		if l.Name == turnName {
			waiting = append(slices.Clone(l.Holders), l.Waiters...)
		}
	}
	return waiting
}

// answer adds what the reader came for: trouble, and who waits longest and for whom.
func (v *view) answer() {
	v.troubles()
	for _, line := range v.Fold(v.sentence(), v.Width, "") {
		v.add(v.Paint(terminal.Bold, line))
	}
}

// troubles adds what is wrong with the locks.
func (v *view) troubles() {
	for _, l := range v.locks() {
		for _, h := range l.Holders {
			if text := v.trouble(l, h); text != "" {
				v.warn(text)
			}
		}
	}
}

// warn adds a text about trouble.
func (v *view) warn(text string) {
	for _, line := range v.Fold("! "+text, v.Width, "  ") {
		v.add(v.Paint(terminal.Red, line))
	}
}

// trouble says of a holder that it is gone, as far as this host shows; "" if it may live.
func (v *view) trouble(l lockReport, h entryReport) string {
	evidence := strings.TrimSuffix(v.plain(h.Evidence), ".")
	switch h.State {
	case lock.StateOrphan:
		return fmt.Sprintf("%s is held by nobody who lives: %s, %s. The next acquire-lock takes it over.",
			v.plain(l.Name), v.name(h), evidence)
	case lock.StateStale:
		return fmt.Sprintf("%s is stale, held by %s for %s: %s. The next acquire-lock takes it over.", v.plain(l.Name),
			v.name(h), elapsed(v.Time.Sub(h.Since)), evidence)
	}
	return ""
}

// waiting is who waits on this host.
type waiting struct {
	n       int
	people  bool // some are no jobs
	longest entryReport
	lock    *lockReport // that the longest waits for; nil is pressure
}

func (v *view) waiting() (w waiting) {
	see := func(e entryReport, l *lockReport) {
		if w.n++; w.n == 1 || e.Since.Before(w.longest.Since) {
			w.longest, w.lock = e, l
		}
		w.people = w.people || e.who.Repository == ""
	}
	for _, l := range v.locks() {
		for _, e := range l.Waiters {
			see(e, &l)
		}
	}
	for _, e := range v.atGate() {
		see(e, nil)
	}
	return w
}

// String says how many wait.
func (w waiting) String() string {
	switch {
	case w.people && w.n == 1:
		return "1 waits"
	case w.people:
		return fmt.Sprintf("%d wait", w.n)
	case w.n == 1:
		return "1 job waits"
	}
	return fmt.Sprintf("%d jobs wait", w.n)
}

// sentence says who waits longest and for whom, or that nobody does.
func (v *view) sentence() string {
	w := v.waiting()
	if w.n == 0 {
		return "Nobody waits. " + v.counts() + "."
	}
	text := fmt.Sprintf("%s. Longest: %s, %s", w, v.name(w.longest), elapsed(v.Time.Sub(w.longest.Since)))
	of := w.lock
	switch {
	case of == nil && len(v.verdict.Blockers) == 0:
		return text + ", for pressure to end"
	case of == nil:
		return text + ", for pressure: " + v.plain(v.verdict.Blockers[0].Tool)
	case len(of.Holders) == 0:
		return text + ", for " + v.plain(of.Name) + ", which is free"
	}
	h := of.Holders[0]
	text += ", for " + v.name(h)
	if v.Width >= wide {
		if h.Reason != "" {
			text += " (" + v.Cut(v.plain(h.Reason), 30) + ")"
		}
		if usual := v.past.usual(of.Name, h.who); usual > 0 {
			text += ", which usually takes " + history.Duration(usual)
		}
	}
	return text
}

// counts says how many locks and builds there are.
func (v *view) counts() string {
	held, free := 0, 0
	for _, l := range v.locks() {
		if len(l.Holders) == 0 {
			free++
		} else {
			held++
		}
	}
	var parts []string
	for _, of := range []struct {
		n     int
		state string
	}{{held, "held"}, {free, "free"}} {
		if of.n > 0 {
			parts = append(parts, cli.Plural(of.n, "lock")+" "+of.state)
		}
	}
	builds := "no heavy build"
	if n := len(v.verdict.Blockers); n > 0 {
		builds = cli.Plural(n, "heavy build")
	}
	return strings.Join(append(parts, builds), ", ")
}

// head returns the name of a lock and its state in a few words.
func (v *view) head(l lockReport) (name, state string) {
	name = v.Cut(v.plain(l.Name), v.Width*2/3)
	if len(l.Holders) > 0 {
		state = "held"
		switch s := l.Holders[0].State; {
		case s != lock.StateHeld:
			state = string(s)
		case l.Slots > 1:
			state = fmt.Sprintf("%d of %d slots held", len(l.Holders), l.Slots)
		case l.Holders[0].Reserved != nil:
			state = v.place(l.Holders[0])
		}
		if n := len(l.Waiters); n > 0 {
			state += fmt.Sprintf(", %d waiting", n)
		}
		return name, state
	}
	state = "free"
	if last, known := v.past.lastHold(l.Name); known {
		state += " " + elapsed(v.Time.Sub(last.Until))
	}
	if n := len(l.Waiters); n > 0 {
		state += fmt.Sprintf(", %d waiting", n)
	}
	return name, state
}

// row is a holder or a waiter of a lock.
type row struct {
	id             string
	mark           string
	colour         terminal.Colour
	who, what      string
	since          time.Time
	elapsed, usual string
	state, url     string
}

// rows returns the holders and then the waiters of a lock.
func (v *view) rows(l lockReport) (rows []row) {
	m := marksOf(v.Style)
	for _, e := range l.Holders {
		r := v.row(e)
		r.mark, r.colour = m.holds, terminal.Green
		switch e.State {
		case lock.StateOrphan, lock.StateStale:
			r.mark, r.colour = m.gone, terminal.Red
		case lock.StateLegacy, lock.StateUnreadable:
			r.mark, r.colour = m.unknown, terminal.Yellow
		}
		if usual := v.past.usual(l.Name, e.who); usual > 0 {
			r.usual = history.Duration(usual)
		}
		r.state = e.verdict()
		if e.Evidence != "" && v.trouble(l, e) == "" { // which has it
			r.state += ": " + v.plain(e.Evidence)
		}
		if place := v.place(e); place != "" {
			r.state = place + "; " + r.state
		}
		r.url = v.plain(history.SafeURL(e.RunURL))
		rows = append(rows, r)
	}
	for _, e := range l.Waiters {
		r := v.row(e)
		r.mark, r.colour = fmt.Sprintf("%d %s", e.Position, m.waits), terminal.Yellow
		r.state = "waits"
		if e.Shared {
			r.state += " to share it"
		}
		if e.Priority == lock.PriorityHigh {
			r.state += ", high priority"
		}
		if e.ID == v.chosen {
			r.url = v.plain(history.SafeURL(e.RunURL))
		}
		rows = append(rows, r)
	}
	return rows
}

// place says which part of a lock its holder has, and until when; "" of one that has it alone
// until it gives it back.
func (v *view) place(e entryReport) string {
	switch {
	case e.Reserved != nil:
		return "reserved until " + v.clock(*e.Reserved)
	case e.Shared:
		return "shares it"
	case e.Next:
		return "waits for those that share it"
	case e.Slot > 0:
		return fmt.Sprintf("slot %d of %d", e.Slot, e.slots)
	}
	return ""
}

func (v *view) row(e entryReport) row {
	return row{id: e.ID, who: v.name(e), what: v.plain(e.Reason), since: e.Since, elapsed: elapsed(v.Time.Sub(e.Since))}
}

// lock adds a lock with its queue.
func (v *view) lock(l lockReport) {
	name, state := v.head(l)
	v.pair(v.Paint(terminal.Bold, name), state, "  ")
	v.queue(l)
}

// queue adds the holders and the waiters of a lock, with times in one column.
func (v *view) queue(l lockReport) {
	rows := v.rows(l)
	at := slices.IndexFunc(rows, func(r row) bool { return r.id == v.chosen && v.chosen != "" })
	above := max(0, at-mostRows+1)
	more := max(0, len(rows)-above-mostRows)
	rows = rows[above : len(rows)-more]
	whoWidth, timeWidth, usualWidth := 0, 0, 0 // who with its mark
	for i := range rows {
		if rows[i].usual != "" {
			rows[i].usual = " (usual " + rows[i].usual + ")"
		}
		whoWidth = max(whoWidth, terminal.Width(rows[i].mark+" "+rows[i].who))
		timeWidth = max(timeWidth, terminal.Width(rows[i].elapsed))
		usualWidth = max(usualWidth, terminal.Width(rows[i].usual))
	}
	const indent = "  "
	room := v.Width - len(indent) - len("  ") - timeWidth - usualWidth // for who and what
	whatWidth := 0
	if v.Width >= narrow {
		whoWidth = min(whoWidth, room*3/5)
		whatWidth = room - whoWidth - len("  ")
	} else {
		whoWidth = max(room, 8)
	}
	if above > 0 {
		v.add(fmt.Sprintf("%s  %d above", indent, above))
	}
	for i, r := range rows {
		markWidth := terminal.Width(r.mark) + 1
		cursor := indent
		if above+i == at {
			cursor = cursorMark
		}
		line := cursor + v.Paint(r.colour, r.mark) + " " +
			terminal.Pad(v.Cut(r.who, whoWidth-markWidth), whoWidth-markWidth)
		if whatWidth > 0 {
			line += "  " + terminal.Pad(v.Cut(r.what, whatWidth), whatWidth)
		}
		v.add(line + "  " + terminal.PadLeft(r.elapsed, timeWidth) + r.usual)
		v.details(r, indent+strings.Repeat(" ", markWidth), whatWidth <= 0)
	}
	if more > 0 {
		v.add(fmt.Sprintf("%s  and %d more", indent, more))
	}
}

// details adds what is known of a row beyond its line.
func (v *view) details(r row, indent string, what bool) {
	var parts []string
	if what && r.what != "" {
		parts = append(parts, r.what)
	}
	if r.state != "waits" {
		parts = append(parts, r.state)
	}
	text := strings.Join(parts, "; ")
	if text == "" && r.url == "" {
		return
	}
	if line := indent + text + "; " + r.url; text != "" && r.url != "" && terminal.Width(line) <= v.Width {
		v.add(line)
		return
	}
	if text != "" {
		for _, line := range v.Fold(text, v.Width-terminal.Width(indent), "") {
			v.add(indent + line)
		}
	}
	if r.url != "" {
		v.add(indent + v.Cut(r.url, v.Width-terminal.Width(indent)))
	}
}

// clock returns the time of day, and the day if that was another.
func (v *view) clock(t time.Time) string {
	t = t.In(v.zone)
	if now := v.Time.In(v.zone); t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format("15:04:05")
	}
	return t.Format("Jan 02 15:04")
}

// elapsed returns a time that goes on as a person would say it, in the two units that matter.
func elapsed(d time.Duration) string {
	s := int64(max(d, 0) / time.Second)
	type unit struct {
		name string
		of   int64
	}
	for _, two := range [][2]unit{{{"d", 86400}, {"h", 3600}}, {{"h", 3600}, {"m", 60}}, {{"m", 60}, {"s", 1}}} {
		if n := s / two[0].of; n > 0 {
			return fmt.Sprintf("%d%s %02d%s", n, two[0].name, s%two[0].of/two[1].of, two[1].name)
		}
	}
	return fmt.Sprintf("%ds", s)
}

package steps

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"hostguard/history"
	"hostguard/internal/cli"
	"hostguard/internal/terminal"
)

// watchPicture is what status -watch shows: the host and the time, the locks with their last
// hour, where a history knows it, and what else runs.
type watchPicture struct {
	host   string
	report statusReport
	err    error  // of the last look
	chosen string // the ID of the entry under the cursor
	why    bool   // and why it waits is shown
	note   string // what the last key could not do
	link   string // of the run that the reader leaves for
}

// entries returns what the cursor can be at, from top to bottom.
func (p *watchPicture) entries() (all []entryReport) {
	for _, l := range p.report.Locks {
		if l.Name != turnName {
			all = append(append(all, l.Holders...), l.Waiters...)
		}
	}
	return all
}

// press does what a key asks for: up and down move the cursor, w asks why, and enter leaves for
// the run of the chosen one.
func (p *watchPicture) press(key string) {
	all := p.entries()
	p.note = ""
	at := slices.IndexFunc(all, func(e entryReport) bool { return e.ID == p.chosen })
	switch key {
	case terminal.Up, "k":
		at = max(at-1, 0)
	case terminal.Down, "j":
		at++
	case "w":
		p.why = !p.why
		at = max(at, 0)
	case terminal.Enter:
		if at >= 0 {
			p.open(all[at])
		}
		at = max(at, 0)
	default:
		return
	}
	if p.chosen = ""; len(all) > 0 {
		p.chosen = all[min(at, len(all)-1)].ID
	}
}

// open leaves for the run of an entry, if its address is known and safe to print. It is printed
// for the reader to open: a label of another job starts no browser, and this host may have none.
func (p *watchPicture) open(e entryReport) {
	if p.link = history.SafeURL(e.RunURL); p.link == "" {
		p.note = "the address of its run is not known"
	}
}

// reason says why the chosen one waits, or since when it holds; "" if none is chosen.
func (p *watchPicture) reason(v *view) string {
	for _, l := range v.locks() {
		for _, e := range l.Holders {
			if e.ID == p.chosen {
				return fmt.Sprintf("%s has held %s for %s; %s: %s", v.name(e), v.plain(l.Name),
					elapsed(v.Time.Sub(e.Since)), e.verdict(), v.plain(e.Evidence))
			}
		}
		for _, e := range l.Waiters {
			if e.ID != p.chosen {
				continue
			}
			if a, found := v.past.answer(e.who); found {
				return v.plain(a.AsOf(v.Time).Sentence())
			}
			text := fmt.Sprintf("%s has waited %s at position %d", v.name(e), elapsed(v.Time.Sub(e.Since)), e.Position)
			if len(l.Holders) > 0 {
				text += " for " + v.name(l.Holders[0])
			}
			return text + "; no history knows the holders before"
		}
	}
	return ""
}

// lines returns the picture for a terminal of that height. What does not fit is left out, and
// counted.
func (p *watchPicture) lines(style terminal.Style, zone *time.Location, height int) []string {
	v := newView(p.report, style, zone)
	v.chosen = p.chosen
	v.heading(p.host)
	if p.err != nil {
		v.warn(v.plain(cli.OneLine(p.err)) + "; looking again, what is below may have changed")
	}
	v.troubles()
	if text := p.note; p.why || text != "" {
		if text == "" {
			text = p.reason(v)
		}
		v.gap()
		for _, line := range v.Fold(text, v.Width, "  ") {
			v.add(line)
		}
	}
	v.gap()
	shown, more := v.shown()
	for _, l := range shown {
		name, state := v.head(l)
		v.pair(v.Paint(terminal.Bold, name), state, "  ")
		v.strip(l)
		v.queue(l)
	}
	v.left(more)
	v.gap()
	v.host()
	lines := v.clipped()
	choose := "↑↓"
	if !v.UTF8 {
		choose = "j k"
	}
	footer := "q quit   " + choose + " choose   enter print its link   w why"
	at := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, cursorMark) })
	if above := at - (height - 5); above > 0 && height > 7 { // below the heading
		lines = slices.Replace(lines, 1, 2+above, cli.Plural(above+1, "line")+" above")
	}
	if more := len(lines) - (height - 2); more > 0 && height > 3 {
		lines = append(lines[:height-3], fmt.Sprintf("and %s more", cli.Plural(more+1, "line")))
	}
	for len(lines) < height-1 {
		lines = append(lines, "")
	}
	return append(lines[:min(len(lines), max(0, height-1))], v.Paint(terminal.Dim, terminal.Clip(footer, v.Width)))
}

// heading adds the host, the time, and how many wait.
func (v *view) heading(host string) {
	right := "nobody waits"
	if w := v.waiting(); w.n > 0 {
		right = fmt.Sprintf("%s, longest %s", w, elapsed(v.Time.Sub(w.longest.Since)))
	}
	now := v.Time.In(v.zone).Format(time.TimeOnly)
	v.pair(v.Paint(terminal.Bold, v.Cut(v.plain(host), v.Width/2))+"  "+now, right, "")
}

// strip adds the last hour of a lock, one cell a minute.
func (v *view) strip(l lockReport) {
	const label = "  held  "
	n := min(60, v.Width-len(label)-2)
	if v.past.hour == nil || n < 10 {
		return
	}
	cells := struct{ held, free, gone, unwatched, waits string }{"█", "░", "◆", "╌", " ▁▂▃▄▅▆▇█"}
	if !v.UTF8 {
		cells.held, cells.free, cells.gone, cells.unwatched, cells.waits = "#", "-", "*", "?", " 12345678"
	}
	waits := []rune(cells.waits)
	var held, waiting strings.Builder
	queued := false
	for _, m := range lastMinutes(v.past.hour, l.Name, v.Time, n) {
		switch {
		case m.unwatched:
			held.WriteString(cells.unwatched)
		case m.takenOver:
			held.WriteString(cells.gone)
		case m.held:
			held.WriteString(cells.held)
		default:
			held.WriteString(cells.free)
		}
		waiting.WriteRune(waits[min(m.waiting, len(waits)-1)])
		queued = queued || m.waiting > 0
	}
	v.add(label + held.String())
	if queued {
		v.add("  wait  " + waiting.String())
	}
	begin, end := v.Time.Add(-time.Duration(n)*time.Minute).In(v.zone), v.Time.In(v.zone)
	v.add(strings.Repeat(" ", len(label)) + terminal.Pad(begin.Format("15:04"), n-5) + end.Format("15:04"))
}

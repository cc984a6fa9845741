package steps

import (
	"fmt"
	"strings"

	"hostguard/history"
	"hostguard/internal/terminal"
)

// The columns of the table, with how wide each may be. The last one has the rest, and is folded.
var tableColumns = []struct {
	name string
	most int
}{{"LOCK", 28}, {"WHO", 34}, {"WHAT", 20}, {"SINCE", 12}, {"FOR", 9}, {"USUAL", 8}, {"STATE", 0}}

const columnFor, columnState = 4, 6

// tableLine is a line of the table.
type tableLine struct {
	cells  [columnState + 1]string
	mark   string // before who
	colour terminal.Colour
}

// table adds the locks as one table.
func (v *view) table() {
	var head tableLine
	for i, column := range tableColumns {
		head.cells[i] = column.name
	}
	table := []tableLine{head}
	shown, more := v.shown()
	for _, l := range shown {
		table = append(table, v.tableOf(l)...)
	}
	if len(table) == 1 { // jobs wait at the gate alone
		return
	}
	var widths [len(head.cells)]int // of an empty column 0: it is left out
	used := 0
	for i, column := range tableColumns[:columnState] {
		for _, l := range table[1:] {
			widths[i] = max(widths[i], min(column.most, terminal.Width(l.cells[i])))
		}
		if widths[i] > 0 {
			widths[i] = max(widths[i], len(column.name))
			used += widths[i] + 2
		}
	}
	widths[columnState] = v.Width - used
	for n, l := range table {
		state := v.Fold(l.cells[columnState], widths[columnState], "")
		text := ""
		for i, cell := range l.cells[:columnState] {
			if widths[i] == 0 {
				continue
			}
			cell = terminal.Pad(v.Cut(cell, widths[i]), widths[i])
			if i == columnFor {
				cell = terminal.PadLeft(strings.TrimRight(cell, " "), widths[i])
			}
			if rest, marked := strings.CutPrefix(cell, l.mark); i == 1 && marked {
				cell = v.Paint(l.colour, l.mark) + rest
			}
			text += cell + "  "
		}
		text = strings.TrimRight(text+state[0], " ")
		if n == 0 {
			text = v.Paint(terminal.Dim, text)
		}
		v.add(text)
		for _, more := range state[1:] {
			v.add(strings.Repeat(" ", used) + more)
		}
	}
	v.left(more)
}

// tableOf returns the lines of one lock.
func (v *view) tableOf(l lockReport) (lines []tableLine) {
	name := v.plain(l.Name)
	if len(l.Holders) == 0 {
		free := tableLine{cells: [...]string{name, "free", "", "", "", "", ""}}
		if last, known := v.past.lastHold(l.Name); known {
			free.cells[3], free.cells[columnFor] = v.clock(last.Until), elapsed(v.Time.Sub(last.Until))
			free.cells[columnState] = "last: " + v.plain(history.Name(last.Who)) + ", " +
				history.Duration(last.Until.Sub(last.From))
		}
		lines, name = append(lines, free), ""
	}
	rows := v.rows(l)
	more := len(rows) - mostRows
	for _, r := range rows[:min(len(rows), mostRows)] {
		lines = append(lines, tableLine{mark: r.mark, colour: r.colour, cells: [...]string{name, r.mark + " " + r.who,
			r.what, v.clock(r.since), r.elapsed, r.usual, r.state}})
		name = ""
	}
	if more > 0 {
		lines = append(lines, tableLine{cells: [...]string{1: fmt.Sprintf("and %d more", more), columnState: ""}})
	}
	return lines
}

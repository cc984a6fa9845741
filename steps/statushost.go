package steps

import (
	"fmt"
	"strings"

	"hostguard/history"
	"hostguard/internal/cli"
	"hostguard/internal/terminal"
	"hostguard/pressure"
)

// host adds what else runs on this host, and how loaded it is.
func (v *view) host() {
	const label = 10
	labelled := func(name string) string { return terminal.Pad(v.Cut(name, label-1), label) }
	heavy := v.Paint(terminal.Purple, marksOf(v.Style).heavy)
	name := "pressure"
	for i, b := range v.verdict.Blockers {
		if i == mostRows {
			v.add(labelled("") + fmt.Sprintf("and %d more", len(v.verdict.Blockers)-i))
			break
		}
		v.add(labelled(name) + heavy + " " + v.Cut(v.build(b), v.Width-label-2))
		name = ""
	}
	name = "at gate"
	for i, e := range v.atGate() {
		if i == mostRows {
			v.add(labelled("") + fmt.Sprintf("and %d more", len(v.atGate())-i))
			break
		}
		time := elapsed(v.Time.Sub(e.Since))
		v.pair(labelled(name)+v.Paint(terminal.Yellow, marksOf(v.Style).waits)+" "+
			v.Cut(v.name(e), v.Width-label-4-terminal.Width(time)), time, labelled(""))
		name = ""
	}
	if stall, memory := stallOf(v.verdict.Load), memoryOf(v.verdict.Load); stall != "" {
		v.pair(labelled("stall")+stall, memory, labelled(""))
	} else if memory != "" {
		v.add(labelled("memory") + memory)
	}
	var runners []string
	for _, r := range v.past.runs {
		text := v.plain(history.Word(r.Name)) + " " + v.plain(history.Word(r.End))
		if r.End != "up" {
			text += " since " + v.clock(r.From)
		}
		runners = append(runners, text)
	}
	folded := func(name, text string) {
		for _, line := range v.Fold(text, v.Width-label, "") {
			v.add(labelled(name) + line)
			name = ""
		}
	}
	if len(runners) > 0 {
		folded("runners", strings.Join(runners, ", "))
	}
	if v.others {
		folded("store", v.plain(v.Store))
	}
}

// build describes a heavy build in one line.
func (v *view) build(b pressure.Blocker) string {
	parts := []string{v.plain(b.Tool)}
	who := history.Who{Repository: b.Job.Repository, Job: b.Job.Job, Run: b.Job.RunNumber}
	if name := history.Name(who); name != "" {
		parts = append(parts, v.plain(name))
	} else {
		parts = append(parts, fmt.Sprintf("pid %d", b.PID))
	}
	if !b.Since.IsZero() {
		parts = append(parts, history.Duration(v.Time.Sub(b.Since)))
	}
	if b.Cores > 0 {
		parts = append(parts, fmt.Sprintf("%.1f cores", b.Cores))
	} else {
		parts = append(parts, "CPU "+cli.Short(b.CPU))
	}
	return strings.Join(append(parts, pressure.Bytes(b.Memory)), ", ")
}

// stallOf describes the shares of the time in which processes stand still.
func stallOf(l pressure.Load) string {
	var parts []string
	for _, of := range []struct {
		name string
		is   pressure.Percent
	}{{"memory", l.MemoryStall}, {"IO", l.IOStall}, {"CPU", l.CPUStall}} {
		if of.is.Known {
			parts = append(parts, fmt.Sprintf("%s %.0f %%", of.name, of.is.Value))
		}
	}
	return strings.Join(parts, "  ")
}

func memoryOf(l pressure.Load) string {
	if l.Installed <= 0 {
		return ""
	}
	return fmt.Sprintf("%s of %s available", pressure.Bytes(l.Available), pressure.Bytes(l.Installed))
}

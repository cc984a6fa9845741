package steps

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"hostguard/history"
	"hostguard/internal/actions"
	"hostguard/internal/cli"
	"hostguard/internal/pressurewire"
	"hostguard/pressure"
)

// The output of wait-pressure and status about pressure. Directories, containers and
// jobs are foreign text, and may be forged.

// pressureLog reports a wait: on a terminal in one line that is rewritten, else in full when
// the blockers change, and in short every half minute.
type pressureLog struct {
	print     func(format string, args ...any)
	notice    func(format string, args ...any) // nil where nobody reads annotations
	unordered func() string                    // why waiting jobs cannot take turns, or ""
	named     string
	at        time.Duration
	line      *waitLine // nil in a log
	unfold    func()    // ends the group of the log: a wait is shown outside it
}

func (l *pressureLog) report(a pressure.Attempt) {
	if a.Number == 1 {
		l.print("%s", pressurewire.LookedAt(a.Verdict))
	}
	if a.Clear() || a.Number == a.Of {
		return // the verdict follows
	}
	var named strings.Builder
	for _, b := range a.Blockers {
		fmt.Fprintln(&named, b.PID, b.Since.UnixMilli())
	}
	fmt.Fprintln(&named, len(a.Over)) // the values change with each look
	if l.notice != nil && a.Waited >= noticeAfter {
		l.notice("this job has waited %s for pressure to end: %s", elapsed(a.Waited), pressing(a.Verdict))
		l.notice = nil
	}
	l.unfold()
	if l.line != nil {
		begin := time.Now().Add(-a.Waited)
		l.line.show(func() string {
			return fmt.Sprintf("waiting %s for pressure to end: %s", elapsed(time.Since(begin)), pressing(a.Verdict))
		})
	}
	changed := named.String() != l.named
	if !changed && a.Waited-l.at < reportEvery {
		return
	}
	if l.named == "" && l.unordered != nil {
		if why := l.unordered(); why != "" {
			l.print("waiting jobs cannot take turns here; each continues after a random delay: %s", why)
		}
	}
	l.named, l.at = named.String(), a.Waited
	switch {
	case l.line != nil:
	case changed:
		l.print("waiting, %s so far, attempt %d/%d: %s", cli.Short(a.Waited), a.Number, a.Of,
			pressurewire.Pressing(a.Verdict))
	default:
		l.print("waiting, %s so far, attempt %d/%d: %s", cli.Short(a.Waited), a.Number, a.Of, pressing(a.Verdict))
	}
}

// pressing says in short what prevents another heavy build.
func pressing(v pressure.Verdict) string {
	var parts []string
	if n := len(v.Blockers); n > 0 {
		b := v.Blockers[0]
		who := history.Who{Repository: b.Job.Repository, Job: b.Job.Job, Run: b.Job.RunNumber}
		text := b.Tool + " of " + cmp.Or(history.Name(who), fmt.Sprintf("pid %d", b.PID))
		if n > 1 {
			text += fmt.Sprintf(" and %d more", n-1)
		}
		parts = append(parts, text)
	}
	return strings.Join(append(parts, v.Over...), "; ")
}

// pressureReport is what "wait-pressure -json" prints.
type pressureReport struct {
	Version  int             `json:"version"` // of this format
	Time     time.Time       `json:"time"`
	Pressure bool            `json:"pressure"`
	Blockers json.RawMessage `json:"blockers"` // as the output of that name
	Over     []string        `json:"over"`     // limits that are exceeded
	Heavy    json.RawMessage `json:"heavy"`    // jobs that do not count
	Load     loadReport      `json:"load"`
	Seen     int             `json:"processes"` // looked at
	Scope    string          `json:"scope"`     // what could be seen
	Attempts int             `json:"attempts"`
	Waited   float64         `json:"waited_seconds"`
}

// loadReport has null for what is not known.
type loadReport struct {
	Available   *int64   `json:"memory_available_bytes"`
	Installed   *int64   `json:"memory_installed_bytes"`
	MemoryStall *float64 `json:"memory_stall_percent"`
	IOStall     *float64 `json:"io_stall_percent"`
	CPUStall    *float64 `json:"cpu_stall_percent"`
	Load1       float64  `json:"load1"`
}

// report prints the JSON of the last look, if it is asked for.
func (w *waitPressure) report(last pressure.Attempt) error {
	if !w.json {
		return nil
	}
	load := loadReport{Load1: last.Load.Load1}
	if last.Load.Installed > 0 {
		load.Available, load.Installed = &last.Load.Available, &last.Load.Installed
	}
	for stall, to := range map[*pressure.Percent]**float64{&last.Load.MemoryStall: &load.MemoryStall,
		&last.Load.IOStall: &load.IOStall, &last.Load.CPUStall: &load.CPUStall} {
		if stall.Known {
			*to = &stall.Value
		}
	}
	return w.JSON(pressureReport{
		Version: 1, Time: time.Now().UTC(), Pressure: !last.Clear(),
		Blockers: json.RawMessage(blockersJSON(last.Blockers)), Over: append([]string{}, last.Over...),
		Heavy: json.RawMessage(blockersJSON(last.Heavy)), Load: load, Seen: last.Seen, Scope: string(last.Scope),
		Attempts: last.Number, Waited: last.Waited.Seconds(),
	})
}

// blockersJSON returns the output for later steps. Its foreign text has no control
// characters, and never holds the delimiter of the file of outputs.
func blockersJSON(all []pressure.Blocker) string {
	type blocker struct {
		Tool       string  `json:"tool"`
		PID        int     `json:"pid"`
		Since      string  `json:"since,omitempty"`
		Directory  string  `json:"directory,omitempty"`
		CPU        int     `json:"cpu_seconds"`
		Memory     int64   `json:"memory_bytes"`
		Cores      float64 `json:"cores,omitempty"`
		Container  string  `json:"container,omitempty"`
		Repository string  `json:"repository,omitempty"`
		Workflow   string  `json:"workflow,omitempty"`
		Job        string  `json:"job,omitempty"`
		RunID      string  `json:"run_id,omitempty"`
		RunNumber  string  `json:"run_number,omitempty"`
		Task       string  `json:"task,omitempty"`
	}
	plain := func(text string) string { return actions.Plain(text[:min(len(text), maxText)]) }
	list := make([]blocker, 0, pressurewire.MostNamed)
	for _, b := range all[:min(pressurewire.MostNamed, len(all))] {
		item := blocker{
			Tool: b.Tool, PID: b.PID, Directory: plain(b.Dir),
			CPU: int(b.CPU.Seconds()), Memory: b.Memory, Cores: math.Round(b.Cores*10) / 10,
			Container:  plain(b.Container),
			Repository: plain(b.Job.Repository), Workflow: plain(b.Job.Workflow), Job: plain(b.Job.Job),
			RunID: plain(b.Job.RunID), RunNumber: plain(b.Job.RunNumber), Task: plain(b.Job.Task),
		}
		if !b.Since.IsZero() {
			item.Since = b.Since.UTC().Format(time.RFC3339)
		}
		list = append(list, item)
	}
	text, _ := json.Marshal(list) // strings and numbers
	return strings.ReplaceAll(string(text), "_GitHubActions", `\u005fGitHubActions`)
}

// maxText bounds a foreign text in the output; real ones are shorter.
const maxText = 1000

func pressureSummary(last pressure.Attempt) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### Heavy builds of others: %d\n\nLooked at %d processes (%s); waited %s, attempt %d/%d; %s.\n",
		len(last.Blockers), last.Seen, last.Scope, cli.Short(last.Waited), last.Number, last.Of,
		pressurewire.Load(last.Load))
	for _, over := range last.Over {
		fmt.Fprintf(&b, "\n- %s\n", over)
	}
	if len(last.Heavy) > 0 {
		verb := "do"
		if len(last.Heavy) == 1 {
			verb = "does"
		}
		fmt.Fprintf(&b, "\n- %s %s not count (`by-weight: false`)\n", cli.Plural(len(last.Heavy), "heavy job"), verb)
	}
	if len(last.Blockers) == 0 {
		return b.String()
	}
	b.WriteString("\n| build | pid | running | CPU | memory | where | whose |\n|---|---|---|---|---|---|---|\n")
	cell := strings.NewReplacer("`", "'", "|", `\|`)
	code := func(text string) string {
		if text == "" {
			return ""
		}
		return "`" + cell.Replace(text) + "`"
	}
	for _, blocker := range last.Blockers[:min(pressurewire.MostNamed, len(last.Blockers))] {
		where := pressurewire.Place(blocker)
		if blocker.Container != "" {
			where += fmt.Sprintf(", container %.100q", blocker.Container)
		}
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %s | %s | %s |\n", cell.Replace(blocker.Tool), blocker.PID,
			pressurewire.Age(blocker),
			pressurewire.CPU(blocker), pressure.Bytes(blocker.Memory), code(where),
			code(pressurewire.Whose(blocker.Job)))
	}
	return b.String()
}

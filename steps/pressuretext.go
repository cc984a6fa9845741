package steps

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"hostguard/internal/actions"
	"hostguard/pressure"
)

// What wait-pressure and status say of what presses. Directories, containers and
// jobs are foreign text, and may be forged.

// pressureLog tells of a wait: a line when what presses changes, and one every
// half minute.
type pressureLog struct {
	say   func(format string, args ...any)
	alone func() string // why waiters cannot agree who goes first, or ""
	named string
	at    time.Duration
}

func (l *pressureLog) report(a pressure.Attempt) {
	if a.Number == 1 {
		l.say("%s", lookedAt(a.Verdict))
	}
	if a.Clear() || a.Number == a.Of {
		return // the verdict follows
	}
	var named strings.Builder
	for _, b := range a.Blockers {
		fmt.Fprintln(&named, b.PID, b.Since.UnixMilli())
	}
	fmt.Fprintln(&named, len(a.Over)) // the values change at each look
	if named.String() == l.named && a.Waited-l.at < 30*time.Second {
		return
	}
	if l.named == "" && l.alone != nil {
		if why := l.alone(); why != "" {
			l.say("those who wait cannot agree here who goes first, each goes after a pause of chance: %s", why)
		}
	}
	l.named, l.at = named.String(), a.Waited
	l.say("waiting, %s so far, attempt %d/%d: %s", short(a.Waited), a.Number, a.Of, pressing(a.Verdict))
}

// lookedAt says what a look could see, with the load, which only informs.
func lookedAt(v pressure.Verdict) string {
	return fmt.Sprintf("looked at %d processes: %s; %s", v.Seen, v.Scope, load(v.Load))
}

func load(l pressure.Load) string {
	var parts []string
	if l.Installed > 0 {
		parts = append(parts, fmt.Sprintf("%s of %s memory left", pressure.Bytes(l.Available), pressure.Bytes(l.Installed)))
	}
	for _, stall := range []struct {
		of string
		is pressure.Percent
	}{{"memory", l.MemoryStall}, {"I/O", l.IOStall}, {"CPU", l.CPUStall}} {
		if stall.is.Known {
			parts = append(parts, fmt.Sprintf("%s stall %.0f%%", stall.of, stall.is.Value))
		}
	}
	parts = append(parts, fmt.Sprintf("load %.1f", l.Load1))
	if len(l.Missing) > 0 {
		parts = append(parts, "unknown: "+strings.Join(l.Missing, ", "))
	}
	return strings.Join(parts, ", ")
}

// mostNamed bounds what is said of a host on which everything builds: an output
// may end as a variable, and those are limited to 128 KiB.
const mostNamed = pressure.MostDescribed

// pressing says in a sentence what speaks against a heavy build.
func pressing(v pressure.Verdict) string {
	var what []string
	if len(v.Blockers) > 0 {
		what = append(what, blockers(v.Blockers))
	}
	return strings.Join(append(what, v.Over...), "; ")
}

// blockers names the builds of others.
func blockers(all []pressure.Blocker) string {
	names := make([]string, 0, mostNamed+1)
	for i, b := range all {
		if i == mostNamed {
			names = append(names, fmt.Sprintf("and %d more", len(all)-i))
			break
		}
		names = append(names, fmt.Sprintf("%s (pid %d, %s, %s)", b.Tool, b.PID, age(b), strings.Join(about(b), ", ")))
	}
	what := "another heavy build runs here"
	if n := len(all); n > 1 {
		what = fmt.Sprintf("%d other heavy builds run here", n)
	}
	return what + ": " + strings.Join(names, ", ")
}

// about says where a build runs, whose it is and what it uses.
func about(b pressure.Blocker) []string {
	parts := []string{place(b)}
	if b.Container != "" {
		parts = append(parts, fmt.Sprintf("container %.100q", b.Container))
	}
	if of := whose(b.Job); of != "" {
		parts = append(parts, of)
	}
	return append(parts, fmt.Sprintf("CPU %s", short(b.CPU)), pressure.Bytes(b.Memory))
}

// whose names the job as far as it is known.
func whose(job pressure.Job) string {
	var parts []string
	for _, part := range []struct{ word, value string }{
		{"of", job.Repository}, {"workflow", job.Workflow}, {"job", job.Job}, {"run", job.RunNumber}, {"run id", job.RunID}, {"task", job.Task},
	} {
		if part.value != "" {
			parts = append(parts, fmt.Sprintf("%s %.100q", part.word, part.value))
		}
	}
	return strings.Join(parts, " ")
}

func age(b pressure.Blocker) string {
	if b.Since.IsZero() {
		return "since an unknown time"
	}
	return "for " + short(max(0, time.Since(b.Since).Round(time.Second)))
}

func place(b pressure.Blocker) string {
	if b.Dir == "" {
		return "in a directory that cannot be read"
	}
	return fmt.Sprintf("in %.300q", b.Dir)
}

// blockersJSON is the output for later steps. Foreign text is written without
// control characters, and never holds the delimiter that the file of outputs is
// written with.
func blockersJSON(all []pressure.Blocker) string {
	type blocker struct {
		Tool       string `json:"tool"`
		PID        int    `json:"pid"`
		Since      string `json:"since,omitempty"`
		Directory  string `json:"directory,omitempty"`
		CPU        int    `json:"cpu_seconds"`
		Memory     int64  `json:"memory_bytes"`
		Container  string `json:"container,omitempty"`
		Repository string `json:"repository,omitempty"`
		Workflow   string `json:"workflow,omitempty"`
		Job        string `json:"job,omitempty"`
		RunID      string `json:"run_id,omitempty"`
		RunNumber  string `json:"run_number,omitempty"`
		Task       string `json:"task,omitempty"`
	}
	plain := func(text string) string { return actions.Plain(text[:min(len(text), mostText)]) }
	list := make([]blocker, 0, mostNamed)
	for _, b := range all[:min(mostNamed, len(all))] {
		item := blocker{
			Tool: b.Tool, PID: b.PID, Directory: plain(b.Dir),
			CPU: int(b.CPU.Seconds()), Memory: b.Memory, Container: plain(b.Container),
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

// mostText is how much of a directory's name goes into the output: all of any
// real one.
const mostText = 1000

func pressureSummary(last pressure.Attempt) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### Heavy builds of others: %d\n\nLooked at %d processes (%s); waited %s, attempt %d/%d; %s.\n",
		len(last.Blockers), last.Seen, last.Scope, short(last.Waited), last.Number, last.Of, load(last.Load))
	for _, over := range last.Over {
		fmt.Fprintf(&b, "\n- %s\n", over)
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
	for _, blocker := range last.Blockers[:min(mostNamed, len(last.Blockers))] {
		where := place(blocker)
		if blocker.Container != "" {
			where += fmt.Sprintf(", container %.100q", blocker.Container)
		}
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %s | %s | %s |\n", cell.Replace(blocker.Tool), blocker.PID, age(blocker),
			short(blocker.CPU), pressure.Bytes(blocker.Memory), code(where), code(whose(blocker.Job)))
	}
	return b.String()
}

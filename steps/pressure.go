package steps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"hostguard/internal/actions"
	"hostguard/internal/proc"
	"hostguard/pressure"
)

func waitPressure(ctx context.Context, s *session) error {
	defaultMode, err := legacyPressureMode(s.Getenv)
	if err != nil {
		return err
	}
	var (
		mode     = s.in.choice("mode", defaultMode, warnOnly, hardFail)
		attempts = s.in.count("max-attempts", 60, 1, 10000)
		interval = s.in.duration("interval", 10*time.Second, 100*time.Millisecond, time.Hour)
		rules    = pressure.Known()
		exclude  = s.in.list("exclude", nil, belowRoot)
		check    = s.in.boolean("check")
	)
	s.in.list("patterns", nil, func(text string) error {
		rule, err := pressure.Pattern(text)
		rules = append(rules, rule)
		return err
	})
	s.in.flagOnly("check")
	if err := s.in.parse(); err != nil {
		return err
	}
	if *check {
		*attempts, *mode = 1, hardFail
	}
	gate := pressure.Gate{Table: proc.Table{}, Rules: rules, PID: os.Getpid(), Own: ownDirs(s.Getenv), Exclude: *exclude}
	return s.soften(ctx, *mode, s.waitForOthers(ctx, gate, *attempts, *interval))
}

// legacyPressureMode is the mode where none is given. The variable is what
// workflows set for the script that this command replaces.
func legacyPressureMode(getenv func(string) string) (string, error) {
	const variable = "HOST_WEB_BUILD_PRESSURE_WARN_ONLY"
	switch value := getenv(variable); value {
	case "", "1":
		return warnOnly, nil
	case "0":
		return hardFail, nil
	default:
		return "", usagef("invalid value %q for %s: want 0 (mode %s) or 1 (mode %s)", value, variable, hardFail, warnOnly)
	}
}

// belowRoot wants an absolute directory other than the root.
func belowRoot(dir string) error {
	if !filepath.IsAbs(dir) || filepath.Clean(dir) == "/" {
		return fmt.Errorf("%q is no absolute directory below /", dir)
	}
	return nil
}

// ownDirs are this job's own directories, by the names that the kernel knows
// them by: a working directory is shown without symbolic links.
func ownDirs(getenv func(string) string) []string {
	resolved := func(dir string) string {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			return real
		}
		return dir
	}
	workspace := resolved(getenv("GITHUB_WORKSPACE"))
	trees := pressure.Worktrees(workspace, os.DirFS(workspace))
	for i := range trees {
		trees[i] = resolved(trees[i])
	}
	return pressure.OwnDirs(resolved(getenv("HOME")), workspace, resolved(jobDir(getenv)), trees)
}

// waitForOthers waits until no build of others is left. Builds that are left
// at the end are a refusal.
func (s *session) waitForOthers(ctx context.Context, gate pressure.Gate, attempts int, interval time.Duration) error {
	if err := s.checkFiles(); err != nil {
		return err
	}
	log := pressureLog{say: s.Say}
	end := s.Group("hostguard wait-pressure")
	last, err := pressure.Wait(ctx, attempts, interval, gate.Look, log.report)
	end()
	if err != nil {
		return err
	}
	s.Summary(pressureSummary(last))
	if err := s.pressureOutputs(last); err != nil {
		return err
	}
	if !last.Clear() {
		return refusedf("not this change's fault: %s; raise max-attempts to wait longer, or name what may go on building in exclude", blockers(last))
	}
	if last.Number > 1 {
		s.Say("no other heavy build runs here any more, waited %s", short(last.Waited))
	} else {
		s.Say("no other heavy build runs here")
	}
	return nil
}

func (s *session) pressureOutputs(last pressure.Attempt) error {
	return errors.Join(
		s.output("pressure", strconv.FormatBool(!last.Clear())),
		s.output("blockers", blockersJSON(last.Blockers)),
		s.output("waited-seconds", strconv.Itoa(int(last.Waited.Seconds()))),
	)
}

// pressureLog tells of a wait: a line when the blockers change, and one every half
// minute.
type pressureLog struct {
	say   func(format string, args ...any)
	named string
	at    time.Duration
}

func (l *pressureLog) report(a pressure.Attempt) {
	if a.Number == 1 {
		l.say("looked at %d processes: %s", a.Seen, a.Scope)
	}
	if a.Clear() || a.Number == a.Of {
		return // the verdict follows
	}
	var pids strings.Builder
	for _, b := range a.Blockers {
		fmt.Fprintln(&pids, b.PID, b.Since.UnixMilli())
	}
	if pids.String() == l.named && a.Waited-l.at < 30*time.Second {
		return
	}
	l.named, l.at = pids.String(), a.Waited
	l.say("waiting, %s so far, attempt %d/%d: %s", short(a.Waited), a.Number, a.Of, blockers(a))
}

// mostNamed bounds what is said of a host on which everything builds: an output
// may end as a variable, and those are limited to 128 KiB.
const mostNamed = 20

// blockers names the builds of others in a sentence.
func blockers(a pressure.Attempt) string {
	names := make([]string, 0, mostNamed+1)
	for i, b := range a.Blockers {
		if i == mostNamed {
			names = append(names, fmt.Sprintf("and %d more", len(a.Blockers)-i))
			break
		}
		names = append(names, fmt.Sprintf("%s (pid %d, %s, %s)", b.Tool, b.PID, age(b), place(b)))
	}
	what := "another heavy build runs here"
	if n := len(a.Blockers); n > 1 {
		what = fmt.Sprintf("%d other heavy builds run here", n)
	}
	return what + ": " + strings.Join(names, ", ")
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
	return fmt.Sprintf("in %q", b.Dir)
}

// blockersJSON is the output for later steps. A directory's name is foreign:
// it is written without control characters, and never holds the delimiter that
// the file of outputs is written with.
func blockersJSON(all []pressure.Blocker) string {
	type blocker struct {
		Tool      string `json:"tool"`
		PID       int    `json:"pid"`
		Since     string `json:"since,omitempty"`
		Directory string `json:"directory,omitempty"`
	}
	list := make([]blocker, 0, mostNamed)
	for _, b := range all[:min(mostNamed, len(all))] {
		item := blocker{Tool: b.Tool, PID: b.PID, Directory: actions.Plain(b.Dir)}
		if !b.Since.IsZero() {
			item.Since = b.Since.UTC().Format(time.RFC3339)
		}
		list = append(list, item)
	}
	text, _ := json.Marshal(list) // strings and numbers
	return strings.ReplaceAll(string(text), "_GitHubActions", `\u005fGitHubActions`)
}

func pressureSummary(last pressure.Attempt) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### Heavy builds of others: %d\n\nLooked at %d processes (%s); waited %s, attempt %d/%d.\n",
		len(last.Blockers), last.Seen, last.Scope, short(last.Waited), last.Number, last.Of)
	if last.Clear() {
		return b.String()
	}
	b.WriteString("\n| build | pid | running | where |\n|---|---|---|---|\n")
	cell := strings.NewReplacer("`", "'", "|", `\|`)
	for _, blocker := range last.Blockers[:min(mostNamed, len(last.Blockers))] {
		fmt.Fprintf(&b, "| %s | %d | %s | `%s` |\n", cell.Replace(blocker.Tool), blocker.PID, age(blocker), cell.Replace(place(blocker)))
	}
	return b.String()
}

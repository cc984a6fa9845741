package steps

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	units "github.com/docker/go-units"

	"hostguard/internal/cli"
	"hostguard/internal/lockwire"
	"hostguard/internal/pressurewire"
	"hostguard/lock"
	"hostguard/pressure"
)

const helpWaitPressure = `Waits until no heavy build of another job runs here (front ends from Next.js to
Parcel, compilers from go to bazel, image builds; esbuild, tsc and rustc from 20s of
CPU time or 1 GiB of memory on), whatever started it, no other job that is heavy
whatever it runs, and until memory and stall are within the given limits. It only
looks; it never signals or changes a process. Builds of this job do not count: processes
that its step started, that are in its container or cgroup, or that work below its
workspace, its git worktrees or its private directory.

{inputs}

Inside a container, Docker lists the processes of other containers; without Docker
memory and stall decide, by the given limits or else 10% of memory, 20% and 60%.
The log shows what could be seen.

Waiting jobs take turns, by a lock beside the build lock: one continues at a time,
the next an interval later, and builds of jobs that wait behind do not count.

outputs: pressure (true if the host was still under pressure at the end), blockers
(JSON: tool, pid, since, directory, cpu_seconds, memory_bytes, cores, container,
repository, workflow, job, run_id, run_number, task; at most 20), waited-seconds.

exit status: 0 no pressure, or warned; 1 still under pressure at the end; 2 wrong
use; 3 the processes could not be read; 130 or 143 interrupted.

  hostguard wait-pressure -mode hard-fail -max-attempts 6 -patterns "gradle assemble"
`

// waitPressure is one run of wait-pressure.
type waitPressure struct {
	mode     string // "": not given
	attempts int
	interval time.Duration
	rules    []pressure.Rule
	exclude  []string
	byWeight bool
	limits   pressure.Limits
	check    bool
	json     bool

	*cli.Session
	gate   *pressure.Gate
	docker *pressurewire.Containers
}

func newWaitPressure() *waitPressure { return &waitPressure{rules: pressure.Known()} }

func (w *waitPressure) Inputs() []cli.Input {
	return []cli.Input{
		{Name: "mode", Kind: cli.Choice(&w.mode, cli.WarnOnly, cli.HardFail),
			Text: "what to do if the host is under pressure after the last attempt: warn-only (default) warns and " +
				"continues, hard-fail exits 1. HOST_WEB_BUILD_PRESSURE_WARN_ONLY=0 means hard-fail if no mode is given"},
		{Name: "max-attempts", Kind: cli.Count(&w.attempts, 1, 10000), Default: "60", Text: "how often to look"},
		{Name: "interval", Kind: cli.Duration(&w.interval, 100*time.Millisecond, time.Hour), Default: "10s",
			Text: "time between two looks"},
		{Name: "patterns", Kind: cli.List(new([]string), w.addPattern),
			Text: "more heavy builds, separated by commas or newlines, each a program and what must be among its " +
				`arguments as whole tokens: words in that order, flags, and nothing behind an exclamation mark: ` +
				`"gradle assemble, cmake --build, jest !--onlyChanged". The program is named as a person would, ` +
				"without its directory; interpreters and launchers are seen through"},
		{Name: "exclude", Kind: cli.List(&w.exclude, cli.BelowRoot),
			Text: "working directories that never count, and all below them, separated by commas or newlines; " +
				`inside containers too, as ps on this host sees them: "/app/apps/web"`},
		{Name: "by-weight", Kind: cli.Bool(&w.byWeight), Default: "true",
			Text: "false only shows other jobs that are heavy whatever they run: with one core and a quarter of the " +
				"cores since the last look, or a quarter of the memory"},
		{Name: "min-memory", Kind: parsed("SIZE", &w.limits.MinMemory, parseSize),
			Text: "wait while less memory than this is available, such as 2G. No default"},
		{Name: "max-memory-stall", Kind: parsed("SHARE", &w.limits.MaxMemoryStall, parsePercent),
			Text: "wait while processes stall for memory for a larger share of the time than this, such as 20%. No " +
				"default: without a limit it is only shown, as are CPU stall and load"},
		{Name: "max-io-stall", Kind: parsed("SHARE", &w.limits.MaxIOStall, parsePercent), Text: "the same for disks"},
		{Name: "check", Kind: cli.Bool(&w.check), FlagOnly: true,
			Text: "look once and exit 0 or 1, whatever the mode, within 0.3s: for the runner's health_check script. A " +
				"flag only"},
		cli.JSONInput(&w.json), cli.QuietInput(),
	}
}

func (w *waitPressure) addPattern(text string) error {
	rule, err := pressure.Pattern(text)
	w.rules = append(w.rules, rule)
	return err
}

// parsed returns the kind of values that parse accepts.
func parsed[T any](arg string, v *T, parse func(string) (T, error)) cli.Kind {
	return cli.Value(arg, func(text string) (err error) {
		*v, err = parse(text)
		return err
	})
}

func (w *waitPressure) Run(ctx context.Context, s *cli.Session) error {
	mode, err := legacyPressureMode(s.Getenv)
	if err != nil {
		return err
	}
	s.PrintInputs()
	w.Session = s
	w.gate, w.docker = pressurewire.New(s.Getenv, w.rules)
	w.gate.Exclude, w.gate.Limits, w.gate.ByWeight = w.exclude, w.limits, w.byWeight
	if w.check {
		return w.lookOnce(ctx)
	}
	return s.Soften(ctx, cmp.Or(w.mode, mode), w.wait(ctx))
}

// parseSize parses 512M, 2GiB or 2g; the units are powers of 1024. A number without a
// unit is refused, since nobody means bytes.
func parseSize(text string) (int64, error) {
	n, err := units.RAMInBytes(text)
	if unitless := strings.Trim(text, "0123456789. ") == ""; err != nil || unitless || n <= 0 || n >= 1<<60 {
		return 0, errors.New("must be a size such as 512M or 2G")
	}
	return n, nil
}

// parsePercent parses 20 or 20%.
func parsePercent(text string) (float64, error) {
	if n, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64); err == nil && n > 0 && n <= 100 {
		return n, nil
	}
	return 0, errors.New("must be a share of time such as 20%, above 0 and up to 100%")
}

// legacyPressureMode returns the mode if none is given. Workflows set the variable for
// the script that this command replaces.
func legacyPressureMode(getenv func(string) string) (string, error) {
	const variable = "HOST_WEB_BUILD_PRESSURE_WARN_ONLY"
	switch value := getenv(variable); value {
	case "", "1":
		return cli.WarnOnly, nil
	case "0":
		return cli.HardFail, nil
	default:
		return "", cli.Usagef("invalid value %q for %s: must be 0 (mode %s) or 1 (mode %s)", value, variable,
			cli.HardFail, cli.WarnOnly)
	}
}

// lookOnce looks once and returns a refusal if the host is under pressure.
func (w *waitPressure) lookOnce(ctx context.Context) error {
	if err := w.CheckFiles(); err != nil {
		return err
	}
	w.docker.Limit, w.docker.Until = pressurewire.CheckDockerTime, time.Now().Add(pressurewire.CheckTime)
	verdict, err := w.gate.Look(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	w.docker.Name(ctx, verdict)
	last := pressure.Attempt{Number: 1, Of: 1, Verdict: verdict}
	w.Summary(pressureSummary(last))
	if err := errors.Join(w.writeOutputs(last), w.report(last)); err != nil {
		return err
	}
	w.Print("%s", pressurewire.LookedAt(verdict))
	if !last.Clear() {
		return w.refuse("%s; nothing heavy should begin here now", pressurewire.Pressing(verdict))
	}
	w.Print("no other heavy build runs here")
	return nil
}

// wait waits until the host is no longer under pressure, and returns a refusal if it
// still is at the end.
func (w *waitPressure) wait(ctx context.Context) error {
	if err := w.CheckFiles(); err != nil {
		return err
	}
	log := pressureLog{print: w.Print, line: newWaitLine(w.Session), unfold: func() {}}
	if w.InWorkflow() {
		log.notice = w.Notice
	}
	look := func(ctx context.Context) (pressure.Verdict, error) {
		verdict, err := w.gate.Look(ctx)
		w.docker.Name(ctx, verdict)
		return verdict, err
	}
	if w.attempts > 1 {
		turn := takeTurn(ctx, w.Session, time.Duration(w.attempts)*w.interval, w.interval)
		defer turn.end()
		w.gate.Waiting = func() []pressure.Owner { return turn.waitersBehind(ctx, w.Getenv("HOME")) }
		look = turn.guard(look)
		log.unordered = turn.failure
	}
	log.unfold = sync.OnceFunc(w.Group("hostguard wait-pressure"))
	seen := newWaited()
	last, err := pressure.Wait(ctx, w.attempts, w.interval, look, func(a pressure.Attempt) {
		log.report(a)
		seen.seePressure(a)
	})
	log.line.end()
	log.unfold()
	if err != nil {
		return err
	}
	reportWait(w.Session, seen.answer("", lockwire.WhoIs(lock.Claim{Job: lockwire.Job(w.Getenv)}), last.Clear()))
	w.Summary(pressureSummary(last))
	if err := errors.Join(w.writeOutputs(last), w.report(last)); err != nil {
		return err
	}
	if !last.Clear() {
		advice := "raise max-attempts to wait longer"
		if len(last.Blockers) > 0 {
			advice += ", or name directories that do not count in exclude"
		}
		return w.refuse("%s; %s", pressurewire.Pressing(last.Verdict), advice)
	}
	if last.Number > 1 {
		w.Print("no other heavy build runs here any more, waited %s", cli.Short(last.Waited))
	} else {
		w.Print("no other heavy build runs here")
	}
	return nil
}

// refuse returns a refusal.
func (w *waitPressure) refuse(format string, args ...any) error {
	if w.InWorkflow() {
		format = notThisChange + ": " + format
	}
	return cli.Refusedf(format, args...)
}

func (w *waitPressure) writeOutputs(last pressure.Attempt) error {
	return errors.Join(
		w.Output("pressure", strconv.FormatBool(!last.Clear())),
		w.Output("blockers", blockersJSON(last.Blockers)),
		w.Output("waited-seconds", strconv.Itoa(int(last.Waited.Seconds()))),
	)
}

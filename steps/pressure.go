package steps

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

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
		limits   = pressure.Limits{}
		check    = s.in.boolean("check")
	)
	s.in.list("patterns", nil, func(text string) error {
		rule, err := pressure.Pattern(text)
		rules = append(rules, rule)
		return err
	})
	s.in.text("min-memory", "", func(text string) (err error) {
		limits.MinMemory, err = parseSize(text)
		return err
	})
	s.in.text("max-memory-stall", "", func(text string) (err error) {
		limits.MaxMemoryStall, err = parsePercent(text)
		return err
	})
	s.in.text("max-io-stall", "", func(text string) (err error) {
		limits.MaxIOStall, err = parsePercent(text)
		return err
	})
	s.in.flagOnly("check")
	if err := s.in.parse(); err != nil {
		return err
	}
	s.sayInputs()
	gate, docker := s.gate(rules, dockerTime)
	gate.Exclude, gate.Limits = *exclude, limits
	if *check {
		docker.limit = checkDockerTime
		return s.checkPressure(ctx, gate, docker)
	}
	return s.soften(ctx, *mode, s.waitForOthers(ctx, gate, docker, *attempts, *interval))
}

// gate looks at this host for this job.
func (s *session) gate(rules []pressure.Rule, limit time.Duration) (*pressure.Gate, *containers) {
	docker := &containers{getenv: s.Getenv, limit: limit}
	return &pressure.Gate{
		Table: proc.Table{}, Rules: rules,
		Own:       pressure.Owner{PID: os.Getpid(), Dirs: ownDirs(s.Getenv)},
		Meter:     func() pressure.Reading { return proc.Load("/proc") },
		Elsewhere: docker.others,
	}, docker
}

// parseSize reads 512M, 2GiB or 2g; the units are powers of 1024.
func parseSize(text string) (int64, error) {
	number := strings.TrimRight(strings.ToUpper(text), "BI")
	shift, ok := map[string]int{"K": 10, "M": 20, "G": 30, "T": 40}[number[max(0, len(number)-1):]]
	if n, err := strconv.ParseFloat(strings.TrimSpace(number[:max(0, len(number)-1)]), 64); ok && err == nil && n > 0 && n < 1<<20 {
		return int64(math.Ldexp(n, shift)), nil
	}
	return 0, errors.New("want a size such as 512M or 2G")
}

// parsePercent reads 20 or 20%.
func parsePercent(text string) (float64, error) {
	if n, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64); err == nil && n > 0 && n <= 100 {
		return n, nil
	}
	return 0, errors.New("want a share of time such as 20%, above 0 and up to 100%")
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

// checkPressure looks once and answers by the exit status.
func (s *session) checkPressure(ctx context.Context, gate *pressure.Gate, docker *containers) error {
	if err := s.checkFiles(); err != nil {
		return err
	}
	start := time.Now()
	verdict, err := gate.Look(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	docker.limit = max(0, checkTime-time.Since(start))
	docker.name(ctx, verdict.Blockers)
	last := pressure.Attempt{Number: 1, Of: 1, Verdict: verdict}
	s.Summary(pressureSummary(last))
	if err := s.pressureOutputs(last); err != nil {
		return err
	}
	s.Say("%s", lookedAt(verdict))
	if !last.Clear() {
		return refusedf("not this change's fault: %s; nothing heavy should begin here now", pressing(verdict))
	}
	s.Say("no other heavy build runs here")
	return nil
}

// waitForOthers waits until nothing presses any more. What presses at the end is
// a refusal.
func (s *session) waitForOthers(ctx context.Context, gate *pressure.Gate, docker *containers, attempts int, interval time.Duration) error {
	if err := s.checkFiles(); err != nil {
		return err
	}
	log := pressureLog{say: s.Say}
	look := func(ctx context.Context) (pressure.Verdict, error) {
		verdict, err := gate.Look(ctx)
		docker.name(ctx, verdict.Blockers)
		return verdict, err
	}
	if attempts > 1 {
		turn := s.takeTurn(ctx, time.Duration(attempts)*interval, interval)
		defer turn.end()
		gate.Waiting = func() []pressure.Owner { return turn.behind(ctx, s.Getenv("HOME")) }
		look = turn.guard(look)
		log.alone = turn.alone
	}
	end := s.Group("hostguard wait-pressure")
	last, err := pressure.Wait(ctx, attempts, interval, look, log.report)
	end()
	if err != nil {
		return err
	}
	s.Summary(pressureSummary(last))
	if err := s.pressureOutputs(last); err != nil {
		return err
	}
	if !last.Clear() {
		advice := "raise max-attempts to wait longer"
		if len(last.Blockers) > 0 {
			advice += ", or name what may go on building in exclude"
		}
		return refusedf("not this change's fault: %s; %s", pressing(last.Verdict), advice)
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

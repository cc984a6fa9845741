package steps

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"hostguard/internal/cli"
	"hostguard/internal/pressurewire"
	"hostguard/pressure"
)

const helpWaitPressure = `usage: hostguard wait-pressure [-mode warn-only|hard-fail] [-max-attempts 60]
         [-interval 10s] [-patterns LIST] [-exclude LIST] [-min-memory SIZE]
         [-max-memory-stall SHARE] [-max-io-stall SHARE] [-check]

Waits until no heavy build of another job runs here (Next.js, Turborepo, Vite and
SvelteKit, webpack, Rollup, Nuxt, Astro, Angular, Gatsby, Docusaurus, Remix and
Parcel; esbuild and tsc from 20s of CPU time or 1 GiB of memory on), whatever
started it, and until memory and stall are within the limits that are given. It
only looks; it never signals or changes a process. Builds of this job do not
count: what its step started, what is in its container or cgroup, and what works
below its workspace, its git worktrees or its private directory.

  -mode          what to do when something presses after the last attempt:
                 warn-only (default) warns and goes on, hard-fail exits 1.
                 HOST_WEB_BUILD_PRESSURE_WARN_ONLY=0 means hard-fail where no
                 mode is given
  -max-attempts  how often to look, default 60
  -interval      time between two looks, default 10s
  -patterns      more heavy builds, separated by commas or line ends, each a
                 program and words that must stand among its arguments as whole
                 tokens, in that order: "jest, gradle assemble, make all". The
                 program is named as ps shows it, without its directory, or as
                 the script that node runs
  -exclude       working directories that never count, and all below them,
                 separated by commas or line ends; inside containers too, as
                 ps on this host sees them: "/app/apps/web"
  -min-memory    wait while less than this is available, such as 2G. No default
  -max-memory-stall, -max-io-stall
                 wait while programs stand still for memory or for disks more
                 of the time than this, such as 20%. No default: what is not
                 limited is only shown, as are CPU stall and load
  -check         look once and answer by the exit status, 0 or 1, whatever the
                 mode, within 0.3s: for the runner's health_check script. A flag
                 only

Inside a container Docker is asked for the processes of the others; without it
memory and stall decide, by the limits given or else 10% of memory, 20% and 60%.
The log says what could be seen.

Those who wait take turns, by a lock beside the build lock: one goes on at a time,
the next an interval later, and builds of jobs that wait behind do not count.

outputs: pressure (true if something pressed at the end), blockers (JSON: tool,
pid, since, directory, cpu_seconds, memory_bytes, container, repository, workflow,
job, run_id, run_number, task; at most 20), waited-seconds.

exit status: 0 nothing presses, or warned; 1 something pressed at the end;
2 wrong use; 3 the processes could not be read; 130 or 143 interrupted.

  hostguard wait-pressure -mode hard-fail -max-attempts 6 -patterns "gradle assemble"
`

func waitPressure(ctx context.Context, s *cli.Session) error {
	defaultMode, err := legacyPressureMode(s.Getenv)
	if err != nil {
		return err
	}
	var (
		mode     = s.In.Choice("mode", defaultMode, cli.WarnOnly, cli.HardFail)
		attempts = s.In.Count("max-attempts", 60, 1, 10000)
		interval = s.In.Duration("interval", 10*time.Second, 100*time.Millisecond, time.Hour)
		rules    = pressure.Known()
		exclude  = s.In.List("exclude", nil, cli.BelowRoot)
		limits   = pressure.Limits{}
		check    = s.In.Boolean("check")
	)
	s.In.List("patterns", nil, func(text string) error {
		rule, err := pressure.Pattern(text)
		rules = append(rules, rule)
		return err
	})
	s.In.Text("min-memory", "", func(text string) (err error) {
		limits.MinMemory, err = parseSize(text)
		return err
	})
	s.In.Text("max-memory-stall", "", func(text string) (err error) {
		limits.MaxMemoryStall, err = parsePercent(text)
		return err
	})
	s.In.Text("max-io-stall", "", func(text string) (err error) {
		limits.MaxIOStall, err = parsePercent(text)
		return err
	})
	s.In.FlagOnly("check")
	if err := s.In.Parse(); err != nil {
		return err
	}
	s.SayInputs()
	gate, docker := pressurewire.New(s, rules, pressurewire.DockerTime)
	gate.Exclude, gate.Limits = *exclude, limits
	if *check {
		docker.Limit = pressurewire.CheckDockerTime
		return checkPressure(ctx, s, gate, docker)
	}
	return s.Soften(ctx, *mode, waitForOthers(ctx, s, gate, docker, *attempts, *interval))
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
		return cli.WarnOnly, nil
	case "0":
		return cli.HardFail, nil
	default:
		return "", cli.Usagef("invalid value %q for %s: want 0 (mode %s) or 1 (mode %s)", value, variable, cli.HardFail, cli.WarnOnly)
	}
}

// checkPressure looks once and answers by the exit status.
func checkPressure(ctx context.Context, s *cli.Session, gate *pressure.Gate, docker *pressurewire.Containers) error {
	if err := s.CheckFiles(); err != nil {
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
	docker.Limit = max(0, pressurewire.CheckTime-time.Since(start))
	docker.Name(ctx, verdict.Blockers)
	last := pressure.Attempt{Number: 1, Of: 1, Verdict: verdict}
	s.Summary(pressureSummary(last))
	if err := pressureOutputs(s, last); err != nil {
		return err
	}
	s.Say("%s", pressurewire.LookedAt(verdict))
	if !last.Clear() {
		return cli.Refusedf("not this change's fault: %s; nothing heavy should begin here now", pressurewire.Pressing(verdict))
	}
	s.Say("no other heavy build runs here")
	return nil
}

// waitForOthers waits until nothing presses any more. What presses at the end is
// a refusal.
func waitForOthers(ctx context.Context, s *cli.Session, gate *pressure.Gate, docker *pressurewire.Containers, attempts int, interval time.Duration) error {
	if err := s.CheckFiles(); err != nil {
		return err
	}
	log := pressureLog{say: s.Say}
	look := func(ctx context.Context) (pressure.Verdict, error) {
		verdict, err := gate.Look(ctx)
		docker.Name(ctx, verdict.Blockers)
		return verdict, err
	}
	if attempts > 1 {
		turn := takeTurn(ctx, s, time.Duration(attempts)*interval, interval)
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
	if err := pressureOutputs(s, last); err != nil {
		return err
	}
	if !last.Clear() {
		advice := "raise max-attempts to wait longer"
		if len(last.Blockers) > 0 {
			advice += ", or name what may go on building in exclude"
		}
		return cli.Refusedf("not this change's fault: %s; %s", pressurewire.Pressing(last.Verdict), advice)
	}
	if last.Number > 1 {
		s.Say("no other heavy build runs here any more, waited %s", cli.Short(last.Waited))
	} else {
		s.Say("no other heavy build runs here")
	}
	return nil
}

func pressureOutputs(s *cli.Session, last pressure.Attempt) error {
	return errors.Join(
		s.Output("pressure", strconv.FormatBool(!last.Clear())),
		s.Output("blockers", blockersJSON(last.Blockers)),
		s.Output("waited-seconds", strconv.Itoa(int(last.Waited.Seconds()))),
	)
}

package pressurewire

import (
	"fmt"
	"strings"
	"time"

	"hostguard/internal/cli"
	"hostguard/pressure"
)

// LookedAt describes what a look could see, and the load and the heavy jobs that only
// inform.
func LookedAt(v pressure.Verdict) string {
	text := fmt.Sprintf("looked at %d processes: %s; %s", v.Seen, v.Scope, Load(v.Load))
	if len(v.Heavy) > 0 {
		text += "; does not count: " + list(v.Heavy)
	}
	return text
}

// Load describes memory, stall and load.
func Load(l pressure.Load) string {
	var parts []string
	if l.Installed > 0 {
		parts = append(parts, fmt.Sprintf("%s of %s memory left", pressure.Bytes(l.Available),
			pressure.Bytes(l.Installed)))
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

// MostNamed bounds the report on a host with very many builds: an output
// may end as a variable, and those are limited to 128 KiB.
const MostNamed = pressure.MostDescribed

// Pressing describes in a sentence what prevents another heavy build.
func Pressing(v pressure.Verdict) string {
	var what []string
	if len(v.Blockers) > 0 {
		what = append(what, Blockers(v.Blockers))
	}
	return strings.Join(append(what, v.Over...), "; ")
}

// Blockers describes the builds of others.
func Blockers(all []pressure.Blocker) string {
	what := "another heavy build runs here"
	if n := len(all); n > 1 {
		what = fmt.Sprintf("%d other heavy builds run here", n)
	}
	return what + ": " + list(all)
}

func list(all []pressure.Blocker) string {
	names := make([]string, 0, MostNamed+1)
	for i, b := range all {
		if i == MostNamed {
			names = append(names, fmt.Sprintf("and %d more", len(all)-i))
			break
		}
		names = append(names, fmt.Sprintf("%s (pid %d, %s, %s)", b.Tool, b.PID, Age(b), strings.Join(about(b), ", ")))
	}
	return strings.Join(names, ", ")
}

// about describes where a build runs, whose it is and what it uses.
func about(b pressure.Blocker) []string {
	parts := []string{Place(b)}
	if b.Container != "" {
		parts = append(parts, fmt.Sprintf("container %.100q", b.Container))
	}
	if of := Whose(b.Job); of != "" {
		parts = append(parts, of)
	}
	return append(parts, "CPU "+CPU(b), pressure.Bytes(b.Memory))
}

// CPU describes what a build has used, and a heavy job uses now.
func CPU(b pressure.Blocker) string {
	if b.Cores > 0 {
		return fmt.Sprintf("%s and %.1f cores now", cli.Short(b.CPU), b.Cores)
	}
	return cli.Short(b.CPU)
}

// Whose describes a job as far as it is known.
func Whose(job pressure.Job) string {
	var parts []string
	for _, part := range []struct{ word, value string }{
		{"of", job.Repository}, {"workflow", job.Workflow}, {"job", job.Job},
		{"run", job.RunNumber}, {"run id", job.RunID}, {"task", job.Task},
	} {
		if part.value != "" {
			parts = append(parts, fmt.Sprintf("%s %.100q", part.word, part.value))
		}
	}
	return strings.Join(parts, " ")
}

// Age describes how long a build has run.
func Age(b pressure.Blocker) string {
	if b.Since.IsZero() {
		return "since an unknown time"
	}
	return "for " + cli.Short(max(0, time.Since(b.Since).Round(time.Second)))
}

// Place describes where a build works.
func Place(b pressure.Blocker) string {
	if b.Dir == "" {
		return "in a directory that cannot be read"
	}
	return fmt.Sprintf("in %.300q", b.Dir)
}

package pressure

import (
	"fmt"
	"time"
)

// Reading is the state of the machine's meters at one moment. They are the host's,
// in a container too.
type Reading struct {
	At              time.Time
	Memory, IO, CPU Stall
	Available       int64 // bytes that programs can still get; 0 is unknown
	Installed       int64
	Load1           float64  // processes that run or wait for a disk; over a minute
	Running         int      // processes that run or wait for a processor, this one too; 0 is unknown
	Cores           int      // 0 is unknown
	Missing         []string // what cannot be read here, and why
}

// Stall is how long processes have waited for a resource (PSI, the line
// "some"): the kernel's average of the last ten seconds, and the sum since the
// boot.
type Stall struct {
	Known bool
	Avg10 float64 // percent
	Total time.Duration
}

// Limits are the loads above which there is pressure; zero is no limit. Stalls are
// percentages of time.
type Limits struct {
	MinMemory      int64 // bytes, or aTenth
	MaxMemoryStall float64
	MaxIOStall     float64
}

// aTenth stands for a tenth of the installed memory.
const aTenth = -1

// orBlind returns the limits where neither processes nor Docker can be seen: only
// memory and stall are left to judge by.
func (l Limits) orBlind() Limits {
	if l == (Limits{}) {
		return Limits{MinMemory: aTenth, MaxMemoryStall: 20, MaxIOStall: 60}
	}
	return l
}

// Load is a reading made comparable: stalls are percents of the time since the
// look before, or of the last ten seconds at the first one.
type Load struct {
	MemoryStall, IOStall, CPUStall Percent
	Available, Installed           int64
	Load1                          float64
	Missing                        []string
}

// Percent is a share that may be unknown.
type Percent struct {
	Known bool
	Value float64
}

// Pressure is over only when the load has fallen well below the limit and stayed
// there: a value that swings around a limit would let everyone in at each swing.
const (
	leaveStall  = 0.8
	leaveMemory = 1.1
	goodLooks   = 3
)

// meter remembers the previous look.
type meter struct {
	last    Reading
	pressed bool
	good    int
}

// judge compares a reading with the limits. CPU stall and load are reported and
// never decide: a host that builds is busy.
func (m *meter) judge(now Reading, limits Limits) (Load, []string) {
	load := Load{
		MemoryStall: since(m.last.Memory, now.Memory, now.At.Sub(m.last.At)),
		IOStall:     since(m.last.IO, now.IO, now.At.Sub(m.last.At)),
		CPUStall:    since(m.last.CPU, now.CPU, now.At.Sub(m.last.At)),
		Available:   now.Available, Installed: now.Installed, Load1: now.Load1, Missing: now.Missing,
	}
	m.last = now
	if limits.MinMemory == aTenth {
		limits.MinMemory = now.Installed / 10
	}
	over := load.over(limits)
	if len(over) > 0 {
		m.pressed, m.good = true, 0
		return load, over
	}
	if !m.pressed {
		return load, nil
	}
	calm := limits
	calm.MinMemory = int64(leaveMemory * float64(limits.MinMemory))
	calm.MaxMemoryStall *= leaveStall
	calm.MaxIOStall *= leaveStall
	if over := load.over(calm); len(over) > 0 {
		m.good = 0
		return load, over
	}
	if m.good++; m.good < goodLooks {
		return load, []string{fmt.Sprintf("memory and stall are within their limits again, for %d of %d looks", m.good,
			goodLooks)}
	}
	m.pressed = false
	return load, nil
}

// since returns the share of the time between two readings.
func since(last, now Stall, elapsed time.Duration) Percent {
	switch {
	case !now.Known:
		return Percent{}
	case !last.Known || elapsed <= 0:
		return Percent{true, now.Avg10}
	}
	return Percent{true, min(100, max(0, 100*float64(now.Total-last.Total)/float64(elapsed)))}
}

func (l Load) over(limits Limits) (over []string) {
	if limits.MinMemory > 0 && l.Available > 0 && l.Available < limits.MinMemory {
		over = append(over, fmt.Sprintf("%s of memory left, want %s", Bytes(l.Available), Bytes(limits.MinMemory)))
	}
	for _, stall := range []struct {
		of    string
		is    Percent
		limit float64
	}{{"memory", l.MemoryStall, limits.MaxMemoryStall}, {"I/O", l.IOStall, limits.MaxIOStall}} {
		if stall.limit > 0 && stall.is.Known && stall.is.Value > stall.limit {
			over = append(over, fmt.Sprintf("%s stall %.3g%%, want at most %.3g%%", stall.of, stall.is.Value, stall.limit))
		}
	}
	return over
}

// Bytes formats a size for people.
func Bytes(n int64) string {
	const unit = 1 << 10
	value, units := float64(n), "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if value < unit {
			break
		}
		value, units = value/unit, next
	}
	if value >= 10 || units == "B" {
		return fmt.Sprintf("%.0f %s", value, units)
	}
	return fmt.Sprintf("%.1f %s", value, units)
}

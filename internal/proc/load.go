package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/procfs"

	"hostguard/pressure"
)

// Load reads the machine's memory and stall. Both are the host's in a container
// too. What cannot be read is named in Missing.
func (h Host) Load() pressure.Reading {
	now := pressure.Reading{At: time.Now()}
	table, err := procfs.NewFS(h.Proc)
	if err != nil {
		now.Missing = append(now.Missing, "memory and stall (no process table)")
		return now
	}
	if memory, err := table.Meminfo(); err == nil && memory.MemAvailable != nil && memory.MemTotal != nil {
		now.Available = int64(*memory.MemAvailable) << 10
		now.Installed = int64(*memory.MemTotal) << 10
	} else {
		now.Missing = append(now.Missing, "available memory (/proc/meminfo does not have it)")
	}
	now.Load1, now.Running = h.running()
	now.Cores = cores()
	for _, resource := range []struct {
		name  string
		stall *pressure.Stall
	}{{"memory", &now.Memory}, {"io", &now.IO}, {"cpu", &now.CPU}} {
		stats, err := table.PSIStatsForResource(resource.name)
		if err != nil || stats.Some == nil {
			now.Missing = append(now.Missing, fmt.Sprintf("%s stall (%s)", resource.name, whyNoStall(err)))
			continue
		}
		*resource.stall = pressure.Stall{Known: true, Avg10: stats.Some.Avg10,
			Total: time.Duration(stats.Some.Total) * time.Microsecond}
	}
	return now
}

// running returns the load of a minute, and how many processes run at this moment.
func (h Host) running() (load float64, running int) {
	text, _ := readSome(filepath.Join(h.Proc, "loadavg"), 100)
	var load5, load15 float64
	_, _ = fmt.Sscanf(string(text), "%g %g %g %d/", &load, &load5, &load15, &running)
	return load, running
}

// cores returns how many processors this machine has, not how many this process may use.
func cores() (n int) {
	text, _ := readSome("/sys/devices/system/cpu/online", 4096)
	for part := range strings.SplitSeq(strings.TrimSpace(string(text)), ",") {
		from, to, isRange := strings.Cut(part, "-")
		first, err := strconv.Atoi(from)
		last := first
		if err == nil && isRange {
			last, err = strconv.Atoi(to)
		}
		if err != nil || last < first {
			return runtime.NumCPU()
		}
		n += last - first + 1
	}
	return n
}

// whyNoStall: a kernel before 4.20 or without CONFIG_PSI has no such file, one
// started without psi=1 may refuse to read it.
func whyNoStall(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "this kernel has no /proc/pressure"
	case errors.Is(err, syscall.EOPNOTSUPP):
		return "this kernel was started without psi=1"
	case errors.Is(err, fs.ErrPermission):
		return "no permission"
	}
	return "/proc/pressure cannot be read"
}

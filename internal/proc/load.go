package proc

import (
	"errors"
	"fmt"
	"io/fs"
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
	if load, err := table.LoadAvg(); err == nil {
		now.Load1 = load.Load1
	}
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

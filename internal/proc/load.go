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

	"hostguard/pressure"
)

// Load reads the machine's memory and stall. Both are the host's in a container
// too. What cannot be read is named in Missing.
func (h Host) Load() pressure.Reading {
	now := pressure.Reading{At: time.Now()}
	var known bool
	if now.Installed, now.Available, known = h.memory(); !known {
		now.Missing = append(now.Missing, "available memory (/proc/meminfo does not have it)")
	}
	now.Load1, now.Running = h.running()
	now.Cores = cores()
	for _, resource := range []struct {
		name  string
		stall *pressure.Stall
	}{{"memory", &now.Memory}, {"io", &now.IO}, {"cpu", &now.CPU}} {
		stall, err := h.stall(resource.name)
		if err != nil {
			now.Missing = append(now.Missing, fmt.Sprintf("%s stall (%s)", resource.name, whyNoStall(err)))
			continue
		}
		*resource.stall = stall
	}
	return now
}

// memory returns the bytes that the machine has, and how many of them programs could still
// get. A kernel before 3.14 does not know the latter.
func (h Host) memory() (installed, available int64, known bool) {
	text, _ := readSome(filepath.Join(h.Proc, "meminfo"), 1<<14)
	for line := range strings.Lines(string(text)) {
		var kilobytes int64
		if _, err := fmt.Sscanf(line, "MemTotal: %d kB", &kilobytes); err == nil {
			installed = kilobytes << 10
		}
		if _, err := fmt.Sscanf(line, "MemAvailable: %d kB", &kilobytes); err == nil {
			return installed, kilobytes << 10, installed > 0
		}
	}
	return 0, 0, false
}

// stall reads for how long some task stood still for want of a resource. A library for
// this costs each start of the program a third of a millisecond (procfs 0.17).
func (h Host) stall(resource string) (pressure.Stall, error) {
	text, err := readSome(filepath.Join(h.Proc, "pressure", resource), 1000)
	if err != nil {
		return pressure.Stall{}, err
	}
	s := pressure.Stall{Known: true}
	var avg60, avg300 float64
	var total int64
	if _, err := fmt.Sscanf(string(text), "some avg10=%g avg60=%g avg300=%g total=%d",
		&s.Avg10, &avg60, &avg300, &total); err != nil {
		return pressure.Stall{}, err
	}
	s.Total = time.Duration(total) * time.Microsecond
	return s, nil
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

package proc

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

const stalled = "some avg10=12.50 avg60=1.00 avg300=0.10 total=2500000\n" +
	"full avg10=1.00 avg60=0.00 avg300=0.00 total=7\n"

func TestLoadIsReadFromTheKernel(t *testing.T) {
	table := t.TempDir()
	write(t, table, "meminfo", "MemTotal:       16000 kB\nMemFree:          10 kB\nMemAvailable:    4000 kB\n")
	write(t, table, "loadavg", "2.50 1.00 0.50 3/400 12345\n")
	for _, resource := range []string{"memory", "io", "cpu"} {
		write(t, table, "pressure/"+resource, stalled)
	}
	got := Host{table}.Load()
	if got.Available != 4000<<10 || got.Installed != 16000<<10 || got.Load1 != 2.5 || got.Running != 3 ||
		got.Cores < runtime.NumCPU() || len(got.Missing) != 0 {
		t.Errorf("Load() = %+v", got)
	}
	if s := got.IO; !s.Known || s.Avg10 != 12.5 || s.Total != 2500*time.Millisecond {
		t.Errorf("I/O stall %+v", s)
	}
}

// Absent is not broken: each source that is missing is named, and why.
func TestWhatCannotBeReadIsNamed(t *testing.T) {
	table := t.TempDir()
	write(t, table, "meminfo", "MemTotal:       16000 kB\n")
	write(t, table, "pressure/io", stalled)
	write(t, table, "pressure/cpu", "nonsense\n")
	got := Host{table}.Load()
	missing := strings.Join(got.Missing, "; ")
	for _, want := range []string{
		"available memory (", "memory stall (this kernel has no /proc/pressure)",
		"cpu stall (",
	} {
		if !strings.Contains(missing, want) {
			t.Errorf("missing: %q, want %q", missing, want)
		}
	}
	if strings.Contains(missing, "io stall") || !got.IO.Known || got.Memory.Known || got.CPU.Known || got.Available != 0 {
		t.Errorf("Load() = %+v", got)
	}
	if got := (Host{filepath.Join(table, "none")}).Load(); len(got.Missing) == 0 {
		t.Errorf("no process table: %+v", got)
	}
}

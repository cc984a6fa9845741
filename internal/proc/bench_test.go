package proc

import (
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"hostguard/pressure"
)

// BenchmarkLookBesidePs looks at a host with 3,000 processes that sleep, and
// reports the time as a share of what "ps -eo pid,ppid,args" takes there. It
// is a figure for the eye, not a gate. Medians of 9, taken in turns.
//
// Linux 6.18, 2 cores, root:
//
//	ps (procps 4.0.2)                          1
//	Table.Each, rules and verdict              0.26
//	the same, arguments by gopsutil            0.29  (unbounded, see argvLimit)
//	the same, arguments by plain system calls  0.16
//	gopsutil's Processes() and arguments       1.04
func BenchmarkLookBesidePs(b *testing.B) {
	ps, err := exec.LookPath("ps")
	if err != nil {
		b.Skip("no ps here")
	}
	sleepers(b, 3000)
	gate := &pressure.Gate{Table: Table{}, Rules: pressure.Known(), Own: pressure.Owner{PID: os.Getpid()}}
	var ours, theirs []time.Duration
	for b.Loop() {
		for range 9 {
			begin := time.Now()
			if _, err := gate.Look(b.Context()); err != nil {
				b.Fatal(err)
			}
			ours = append(ours, time.Since(begin))
			begin = time.Now()
			if _, err := exec.Command(ps, "-eo", "pid,ppid,args").Output(); err != nil {
				b.Fatal(err)
			}
			theirs = append(theirs, time.Since(begin))
		}
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	look, list := ours[len(ours)/2], theirs[len(theirs)/2]
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(look.Microseconds())/1000, "look-ms")
	b.ReportMetric(float64(list.Microseconds())/1000, "ps-ms")
	b.ReportMetric(float64(look)/float64(list), "look/ps")
}

// sleepers starts processes that read from one pipe. They end when it is
// closed, which the kernel does even when this process is killed.
func sleepers(b *testing.B, n int) {
	r, w, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	started := make([]*os.Process, 0, n)
	b.Cleanup(func() {
		w.Close()
		for _, p := range started {
			p.Wait()
		}
	})
	for range n {
		p, err := os.StartProcess("/bin/cat", []string{"node-exporter", "-u", "-"}, &os.ProcAttr{Files: []*os.File{r, nil, nil}})
		if err != nil {
			b.Fatal(err)
		}
		started = append(started, p)
	}
}

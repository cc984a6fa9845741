package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"time"

	"hostguard/internal/proc"
	"hostguard/pressure"
)

// crowd is how many processes the looks are measured with.
const crowd = 5000

// pressure measures looks at a crowded host, beside what one would look with
// otherwise, in turns.
func (b *bench) pressure() error {
	end, err := sleepers(crowd, []string{"node-exporter", "-u", "-"})
	if err != nil {
		return err
	}
	defer end()
	gate := &pressure.Gate{
		Table: proc.Table{}, Rules: pressure.Known(), Own: pressure.Owner{PID: os.Getpid()},
		Meter: func() pressure.Reading { return proc.Local().Load() },
	}
	seen := 0
	look := func() error {
		verdict, err := gate.Look(context.Background())
		seen = max(seen, len(verdict.Blockers)) // idle ones count for 30 s
		return err
	}
	var largest int64 // KiB
	check := func() error {
		cmd := exec.Command(b.binary, "wait-pressure", "-check")
		_ = cmd.Run() // 1 where something builds
		if status := cmd.ProcessState.ExitCode(); status != 0 && status != 1 {
			return fmt.Errorf("wait-pressure -check: status %d", status)
		}
		largest = max(largest, cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)
		return nil
	}
	all := []struct {
		times []time.Duration
		run   func() error
	}{{run: look}, {run: ps}, {run: bareRead}, {run: check}}
	measure := func() ([]time.Duration, error) {
		medians := make([]time.Duration, len(all))
		for range 9 {
			for i := range all {
				start := time.Now()
				if err := all[i].run(); err != nil {
					return nil, err
				}
				all[i].times = append(all[i].times, time.Since(start))
			}
		}
		for i := range all {
			slices.Sort(all[i].times)
			medians[i], all[i].times = all[i].times[len(all[i].times)/2], nil
		}
		return medians, nil
	}
	m, err := measure()
	if err != nil {
		return err
	}
	fmt.Printf("a look at %d processes: %s, ps -eo pid,ppid,args %s, ratio %.3f (target 0.25), reading every "+
		"/proc/*/cmdline %s, ratio %.2f (target 2)\n",
		crowd, ms(m[0]), ms(m[1]), float64(m[0])/float64(m[1]), ms(m[2]), float64(m[0])/float64(m[2]))
	fmt.Printf("wait-pressure -check: %s (target 300), %.1f MB at most (target 30)\n", ms(m[3]), float64(largest)/1000)

	endBuilds, err := sleepers(20, []string{"next-build (v16.4.6)", "-u", "-"})
	if err != nil {
		return err
	}
	defer endBuilds()
	if m, err = measure(); err != nil {
		return err
	}
	if seen < 20 {
		return fmt.Errorf("%d builds seen, want 20", seen)
	}
	fmt.Printf("with 20 builds among them: a look %s, wait-pressure -check %s (target 300), %.1f MB at most (target 30)\n",
		ms(m[0]), ms(m[3]), float64(largest)/1000)
	return nil
}

func ps() error {
	_, err := exec.Command("ps", "-eo", "pid,ppid,args").Output()
	return err
}

// bareRead reads the arguments of every process and does nothing with them.
func bareRead() error {
	dir, err := os.Open("/proc")
	if err != nil {
		return err
	}
	names, err := dir.Readdirnames(-1)
	dir.Close()
	if err != nil {
		return err
	}
	var buf [64 << 10]byte
	for _, name := range names {
		if _, err := strconv.Atoi(name); err != nil {
			continue
		}
		fd, err := syscall.Open("/proc/"+name+"/cmdline", syscall.O_RDONLY, 0)
		if err != nil {
			continue // it has ended
		}
		_, _ = syscall.Read(fd, buf[:])
		syscall.Close(fd)
	}
	return nil
}

// sleepers starts processes that read from one pipe. They end when it is
// closed, which the kernel does even when this process is killed.
func sleepers(n int, argv []string) (end func(), err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // without an output cat ends at once
	if err != nil {
		w.Close()
		return nil, err
	}
	defer null.Close()
	started := make([]*os.Process, 0, n)
	end = func() {
		w.Close()
		for _, p := range started {
			_, _ = p.Wait()
		}
	}
	for range n {
		p, err := os.StartProcess("/bin/cat", argv, &os.ProcAttr{Files: []*os.File{r, null, null}})
		if err != nil {
			end()
			return nil, err
		}
		started = append(started, p)
	}
	return end, nil
}

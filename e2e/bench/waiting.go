package main

import (
	"context"
	"fmt"
	"os/exec"
	"syscall"
	"time"

	"github.com/shirou/gopsutil/v3/process"

	"hostguard/e2e/rig/engine"
)

// watched is for how long processors are looked at.
const watched = 30 * time.Second

// waiting measures what processes cost that wait, and the daemon for all of them.
func (b *bench) waiting() error {
	const waiters = 16
	e, err := engine.Start(engine.New)
	if err != nil {
		return err
	}
	defer e.Stop()
	space, err := contender(e.Host())
	if err != nil {
		return err
	}
	m := space.Lock("bench-waiting")
	if _, err := m.Acquire(context.Background()); err != nil {
		return err
	}
	daemon, err := process.NewProcess(int32(e.PID()))
	if err != nil {
		return err
	}
	idle, err := cores(daemon)
	if err != nil {
		return err
	}
	processes := []*process.Process{daemon}
	for range waiters {
		j, err := b.job(e)
		if err != nil {
			return err
		}
		cmd := exec.Command(j.binary, "acquire-lock", "-lock-name", m.Name())
		cmd.Env = j.env
		if err := cmd.Start(); err != nil {
			return err
		}
		defer cmd.Wait()
		defer cmd.Process.Signal(syscall.SIGTERM)
		p, err := process.NewProcess(int32(cmd.Process.Pid))
		if err != nil {
			return err
		}
		processes = append(processes, p)
	}
	if err := b.queued(e, m.Name(), waiters); err != nil {
		return err
	}
	used, err := cores(processes...)
	if err != nil {
		return err
	}
	var all float64
	var memory uint64
	for i, p := range processes[1:] {
		all += used[i+1]
		info, err := p.MemoryInfo()
		if err != nil {
			return err
		}
		memory = max(memory, info.RSS)
	}
	fmt.Printf("a waiting process, of %d: %.1f MB at most (target 20), %.3f %% of a core (target 0.2); "+
		"the daemon %.2f %%, without them %.2f %%\n",
		waiters, float64(memory)/1e6, 100*all/waiters, 100*used[0], 100*idle[0])
	return nil
}

// cores returns how much of a core each process uses.
func cores(processes ...*process.Process) ([]float64, error) {
	times := func() (all []float64, err error) {
		for _, p := range processes {
			t, err := p.Times()
			if err != nil {
				return nil, err
			}
			all = append(all, t.User+t.System)
		}
		return all, nil
	}
	before, err := times()
	if err != nil {
		return nil, err
	}
	time.Sleep(watched)
	used, err := times()
	for i := range used {
		used[i] = (used[i] - before[i]) / watched.Seconds()
	}
	return used, err
}

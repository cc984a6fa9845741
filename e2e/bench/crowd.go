package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/shirou/gopsutil/v3/process"

	"hostguard/e2e/rig/engine"
)

// crowds measures a thousand with-lock that are started at once, for one lock and for a
// hundred.
func (b *bench) crowds() error {
	for _, locks := range []int{1, 100} {
		if err := b.crowd(locks, 1000, 150); err != nil {
			return fmt.Errorf("%d locks: %w", locks, err)
		}
	}
	return nil
}

// crowdTime bounds each part of it.
const crowdTime = 3 * time.Minute

// crowd lets so many wait, and then hands the locks on so many times.
func (b *bench) crowd(locks, waiters, handOffs int) error {
	e, err := engine.Start(engine.New)
	if err != nil {
		return err
	}
	defer e.Stop()
	daemon, err := process.NewProcess(int32(e.PID()))
	if err != nil {
		return err
	}
	times := filepath.Join(b.temp, fmt.Sprintf("crowd-%d", locks))
	start := func(lock int, script string, arguments ...string) (*exec.Cmd, error) {
		args := append([]string{"with-lock", "-timeout", "1h", "-lock-name", fmt.Sprintf("crowd-%d", lock), "--",
			"sh", "-c", script, "crowd"}, arguments...)
		cmd := exec.Command(b.binary, args...)
		cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Host(), "TIMES="+times)
		return cmd, cmd.Start()
	}
	var all, holders []*exec.Cmd
	var gates []string
	defer func() {
		for _, cmd := range all[len(holders):] {
			_ = cmd.Process.Kill()
		}
		for i, gate := range gates { // a holder that is killed leaves its command behind
			if open(gate) != nil {
				_ = holders[i].Process.Kill()
			}
		}
		for _, cmd := range all {
			_ = cmd.Wait()
		}
	}()
	for lock := range locks {
		gate := fmt.Sprintf("%s-gate-%d", times, lock)
		if err := syscall.Mkfifo(gate, 0o600); err != nil {
			return err
		}
		cmd, err := start(lock, `: >"$1-held"; read x <"$1"; date "+off $2 %s%N" >>"$TIMES"`, gate, strconv.Itoa(lock))
		if err != nil {
			return err
		}
		all, holders, gates = append(all, cmd), append(holders, cmd), append(gates, gate)
		held := func() bool {
			_, err := os.Stat(gate + "-held")
			return err == nil
		}
		if err := until("the holders hold", held); err != nil {
			return err
		}
	}
	begin := time.Now()
	for i := range waiters {
		cmd, err := start(i%locks, `date "+on $1 %s%N" >>"$TIMES"; sleep 0.05; date "+off $1 %s%N" >>"$TIMES"`,
			strconv.Itoa(i%locks))
		if err != nil {
			return err
		}
		all = append(all, cmd)
	}
	if err := until("all wait", func() bool { return b.waitersOf(e) == waiters }); err != nil {
		return err
	}
	fmt.Printf("%d with-lock started at once for %d locks: all wait after %s\n", waiters, locks,
		time.Since(begin).Round(time.Second))
	time.Sleep(watched) // who came first sees how many came after it
	used, err := cores(daemon)
	if err != nil {
		return err
	}
	memory, err := proportional(all)
	if err != nil {
		return err
	}
	fmt.Printf("%d waiters of %d locks at rest: the daemon %.1f %% of a core (target 10), a waiter %.1f MB "+
		"of its own and its share of the program (target 10)\n", waiters, locks, 100*used[0], memory/1e6)
	// One lock after the other: a host's jobs do not all end at once.
	var released time.Duration
	for lock := 0; lock < locks && handedOn(times, "") < handOffs; lock++ {
		begin := time.Now()
		if err := open(gates[lock]); err != nil {
			return err
		}
		if err := holders[lock].Wait(); err != nil {
			return err
		}
		released = max(released, time.Since(begin))
		if err := until("the lock is handed on", func() bool {
			return handedOn(times, strconv.Itoa(lock)) == waiters/locks || handedOn(times, "") >= handOffs
		}); err != nil {
			return err
		}
	}
	gaps, err := gapsOf(times)
	if err != nil {
		return err
	}
	fmt.Printf("%d waiters of %d locks: released within %s (target 3 s), hand-off from the end of one command to the "+
		"start of the next p50 %s, p99 %s (target 100), %d times\n",
		waiters, locks, ms(released), ms(gaps[len(gaps)/2]), ms(gaps[len(gaps)*99/100]), len(gaps))
	return nil
}

// open lets the holder behind a gate go on. It fails if there is none.
func open(gate string) error {
	f, err := os.OpenFile(gate, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("\n")
	return errors.Join(err, f.Close())
}

// handedOn returns how often a lock, or with "" any, has come to a waiter.
func handedOn(times, lock string) int {
	data, _ := os.ReadFile(times) // none yet
	return bytes.Count(data, []byte(strings.TrimSpace("on "+lock)+" "))
}

// until waits for something that has to be true within crowdTime.
func until(what string, is func() bool) error {
	for end := time.Now().Add(crowdTime); !is(); time.Sleep(time.Second) {
		if time.Now().After(end) {
			return fmt.Errorf("it did not happen within %s that %s", crowdTime, what)
		}
	}
	return nil
}

// waitersOf counts the tickets of an engine. To judge each, as status does, would take
// the processor from those who come.
func (b *bench) waitersOf(e *engine.Engine) int {
	out, err := e.Docker("network", "ls", "--quiet", "--filter", "label=hostguard.kind=ticket")
	if err != nil {
		return 0
	}
	return len(strings.Fields(out))
}

// proportional returns the mean memory of processes, where what several share counts in
// parts, in bytes.
func proportional(processes []*exec.Cmd) (mean float64, err error) {
	for _, cmd := range processes {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", cmd.Process.Pid))
		if err != nil {
			return 0, err
		}
		_, after, _ := strings.Cut(string(data), "\nPss:")
		kilobytes, err := strconv.ParseFloat(strings.Fields(after)[0], 64)
		if err != nil {
			return 0, err
		}
		mean += kilobytes * 1024 / float64(len(processes))
	}
	return mean, nil
}

// gapsOf returns the sorted times from one holder's end to the next one's start, from the
// lines of all locks.
func gapsOf(file string) (gaps []time.Duration, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	type event struct {
		what, lock string
		at         int64
	}
	var events []event
	for line := range strings.Lines(string(data)) {
		var e event
		if _, err := fmt.Sscan(line, &e.what, &e.lock, &e.at); err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	slices.SortFunc(events, func(x, y event) int { return int(x.at - y.at) })
	left := map[string]int64{}
	for _, e := range events {
		if e.what == "off" {
			left[e.lock] = e.at
		} else if left[e.lock] != 0 {
			gaps = append(gaps, time.Duration(e.at-left[e.lock]))
			left[e.lock] = 0
		}
	}
	if len(gaps) == 0 {
		return nil, errors.New("no lock was handed on")
	}
	slices.Sort(gaps)
	return gaps, nil
}

// foreign measures the hand-off beside very many networks of others.
func (b *bench) foreign() error {
	const others = 5000
	e, err := engine.Start(engine.New)
	if err != nil {
		return err
	}
	defer e.Stop()
	space, err := contender(e.Host())
	if err != nil {
		return err
	}
	for i := range others {
		if _, err := space.Engine.Create(context.Background(), fmt.Sprintf("of-others-%d", i), nil); err != nil {
			return err
		}
	}
	least, err := floor(e)
	if err != nil {
		return err
	}
	times, err := b.handOffs(e, 16, 2)
	if err != nil {
		return err
	}
	fmt.Printf("beside %d networks of others: remove, create and list p50 %s; hand-off with 16 waiters p50 %s, p99 %s "+
		"(target 50)\n", others, ms(least), ms(times[len(times)/2]), ms(times[len(times)*99/100]))
	return nil
}

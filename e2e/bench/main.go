// Command bench measures hostguard beside what it replaces, in one run on one
// machine, and prints a table. Ratios compare; the times are this machine's.
// It is never a gate. With -long it also measures what takes long.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"hostguard/e2e/rig/engine"
)

func main() {
	log.SetFlags(0)
	long := flag.Bool("long", false, "also Engine 20.10, other numbers of waiters, deaths and crowds")
	flag.Parse()
	run := func() error { return run(*long) }
	if len(os.Args) == 4 && os.Args[1] == "wait" { // see handOffs
		run = func() error { return wait(os.Args[2], os.Args[3]) }
	}
	if err := run(); err != nil {
		log.Fatal("bench: ", err)
	}
}

func run(long bool) error {
	checkout, err := engine.Checkout()
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "hostguard-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	b := &bench{binary: filepath.Join(checkout, "bin", "hostguard"), temp: temp}
	if err := b.program(); err != nil {
		return err
	}
	if err := b.pressure(); err != nil {
		return err
	}
	if err := b.engine(engine.New, long); err != nil {
		return err
	}
	if err := b.waiting(); err != nil {
		return err
	}
	if err := b.rivals(); err != nil {
		return err
	}
	if long {
		if err := b.engine(engine.Old, true); err != nil {
			return err
		}
		for _, measure := range []func() error{b.recovery, b.foreign, b.crowds} {
			if err := measure(); err != nil {
				return err
			}
		}
	}
	cmd := exec.Command("go", "test", fmt.Sprintf("-short=%t", !long), "-run", "^$",
		"-bench", "BenchmarkCleanBesideRm", "-benchtime", "1x", "./clean")
	cmd.Dir, cmd.Stderr = checkout, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("clean: %w: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "Benchmark") {
			fmt.Println(strings.Join(strings.Fields(line), " "))
		}
	}
	return nil
}

// bench runs the binary as jobs of a workflow do.
type bench struct {
	binary, temp string
	jobs         int
}

// program measures the binary itself.
func (b *bench) program() error {
	info, err := os.Stat(b.binary)
	if err != nil {
		return err
	}
	start, err := median(50, func() error { return exec.Command(b.binary, "version").Run() })
	if err != nil {
		return err
	}
	fmt.Printf("binary %.2f MB (target 14.5), start %s (target 5 ms)\n", float64(info.Size())/1e6, ms(start))
	return nil
}

// engine measures the lock on one engine.
func (b *bench) engine(version string, long bool) error {
	e, err := engine.Start(version)
	if err != nil {
		return err
	}
	defer e.Stop()
	pair := func(more ...string) func() error {
		return func() error {
			j, err := b.job(e)
			if err != nil {
				return err
			}
			if err := j.step(append([]string{"acquire-lock"}, more...)...); err != nil {
				return err
			}
			return j.step("release-lock")
		}
	}
	plain := func() error {
		if _, err := e.Docker("network", "create", "plain"); err != nil {
			return err
		}
		_, err := e.Docker("network", "rm", "plain")
		return err
	}
	// In turns, so that whatever else the machine does meets both.
	var ours, theirs []time.Duration
	for range 31 {
		for _, m := range []struct {
			times *[]time.Duration
			run   func() error
		}{{&ours, pair("-legacy-settle", "0s")}, {&theirs, plain}} {
			start := time.Now()
			if err := m.run(); err != nil {
				return err
			}
			*m.times = append(*m.times, time.Since(start))
		}
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	mine, cli := ours[len(ours)/2], theirs[len(theirs)/2]
	fmt.Printf("engine %s: acquire-lock + release-lock %s, docker network create + rm %s, ratio %.3f (target 0.10)\n",
		version, ms(mine), ms(cli), float64(mine)/float64(cli))
	if version == engine.Old {
		settled, err := median(5, pair())
		if err != nil {
			return err
		}
		fmt.Printf("engine %s: with the default settle of 500 ms: %s, ratio %.2f\n", version, ms(settled),
			float64(settled)/float64(cli))
	}
	return b.handOff(e, long)
}

// queued waits until n wait, and has given them time to watch for their turn.
func (b *bench) queued(e *engine.Engine, name string, n int) error {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		cmd := exec.Command(b.binary, "status", "-json", "-lock-name", name)
		cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Host())
		out, err := cmd.Output()
		if err != nil {
			return err
		}
		var status struct {
			Locks []struct{ Waiters []struct{} }
		}
		if err := json.Unmarshal(out, &status); err != nil {
			return err
		}
		if len(status.Locks[0].Waiters) == n {
			time.Sleep(2 * time.Second) // a wait that has begun polls each second
			return nil
		}
	}
	return errors.New("the waiters did not queue up within a minute")
}

// job is the environment of one job.
type job struct {
	binary string
	env    []string
}

func (b *bench) job(e *engine.Engine) (*job, error) {
	b.jobs++
	dir := filepath.Join(b.temp, fmt.Sprintf("%016x", b.jobs))
	if err := os.MkdirAll(filepath.Join(dir, "tmp"), 0o700); err != nil {
		return nil, err
	}
	env, outputs := filepath.Join(dir, "env"), filepath.Join(dir, "output")
	for _, file := range []string{env, outputs} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			return nil, err
		}
	}
	return &job{b.binary, append(os.Environ(), "DOCKER_HOST="+e.Host(), "GITHUB_ACTIONS=true",
		"GITHUB_ENV="+env, "GITHUB_OUTPUT="+outputs, "RUNNER_TEMP="+filepath.Join(dir, "tmp"))}, nil
}

func (j *job) step(args ...string) error {
	cmd := exec.Command(j.binary, args...)
	cmd.Env = j.env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", args[0], err, bytes.TrimSpace(out))
	}
	return nil
}

func median(n int, f func() error) (time.Duration, error) {
	var times []time.Duration
	for range n {
		start := time.Now()
		if err := f(); err != nil {
			return 0, err
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	return times[n/2], nil
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

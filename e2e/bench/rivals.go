package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"hostguard/e2e/rig/engine"
)

// section is what each contender does while it holds: it writes down when it
// came and when it left, and stays for $1 seconds.
const section = `date +%s%N >>"$TIMES"; sleep "$1"; date +%s%N >>"$TIMES"`

// polling is the lock that hostguard replaces. Nobody begins to wait at the same
// moment, so each first waits for some part of the interval, $3.
const polling = `sleep "$2"; until docker network create polled >/dev/null 2>&1; do sleep "$3"; done; ` + section +
	`; docker network rm polled >/dev/null`

// rivals measures 16 waiters that pass one lock on, with each tool that there is.
// It runs where names are unique: below Engine 25 the polling is no lock.
func (b *bench) rivals() error {
	e, err := engine.Start(engine.New)
	if err != nil {
		return err
	}
	defer e.Stop()
	poll := func(interval float64) func(stay string) []string {
		return func(stay string) []string {
			return []string{"sh", "-c", polling, "polling", stay, fmt.Sprint(interval * rand.Float64()), fmt.Sprint(interval)}
		}
	}
	for _, way := range []struct {
		name    string
		rounds  int
		command func(stay string) []string
	}{
		{"hostguard with-lock", 3, func(stay string) []string {
			return []string{b.binary, "with-lock", "-lock-name", "rivals", "--", "sh", "-c", section, "section", stay}
		}},
		{"flock(1), which knows no holder, no queue and no other host's jobs", 3, func(stay string) []string {
			return []string{"flock", filepath.Join(b.temp, "flock"), "sh", "-c", section, "section", stay}
		}},
		{"docker network create every 100 ms", 3, poll(0.1)},
		{"docker network create every 10 s", 1, poll(10)},
	} {
		var gaps []time.Duration
		for range way.rounds {
			round, err := b.handOn(e, way.command)
			if err != nil {
				return fmt.Errorf("%s: %w", way.name, err)
			}
			gaps = append(gaps, round...)
		}
		slices.Sort(gaps)
		var sum time.Duration
		for _, gap := range gaps {
			sum += gap
		}
		fmt.Printf("hand-off among 16 waiters, from the end of one section to the start of the next, %d times: %s: p50 "+
			"%s, max %s, all of a round %s\n",
			len(gaps), way.name, ms(gaps[len(gaps)/2]), ms(gaps[len(gaps)-1]), ms(sum/time.Duration(way.rounds)))
	}
	return nil
}

// handOn returns the times from one holder's end to the next one's start.
func (b *bench) handOn(e *engine.Engine, command func(stay string) []string) ([]time.Duration, error) {
	const waiters = 16
	times := filepath.Join(b.temp, "times")
	if err := os.WriteFile(times, nil, 0o600); err != nil {
		return nil, err
	}
	ended := make(chan error)
	start := func(stay string) {
		args := command(stay)
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "TIMES="+times, "DOCKER_HOST="+e.Host(),
			"PATH="+filepath.Dir(e.CLI())+":"+os.Getenv("PATH"))
		var out bytes.Buffer
		cmd.Stderr = &out
		go func() {
			err := cmd.Run()
			if err != nil {
				err = fmt.Errorf("%w: %s", err, out.Bytes())
			}
			ended <- err
		}()
	}
	start("4") // until all others wait
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if info, err := os.Stat(times); err == nil && info.Size() > 0 {
			break
		}
		if time.Now().After(end) {
			return nil, errors.New("the first one does not hold")
		}
	}
	for range waiters {
		start("0.05")
	}
	var errs []error
	for range waiters + 1 {
		errs = append(errs, <-ended)
	}
	data, err := os.ReadFile(times)
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	var at []int64 // came, left, came, left
	for field := range strings.FieldsSeq(string(data)) {
		ns, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return nil, err
		}
		at = append(at, ns)
	}
	if len(at) != 2*(waiters+1) || !slices.IsSorted(at) {
		return nil, fmt.Errorf("they did not hold one after another: %d", at)
	}
	var gaps []time.Duration
	for i := 1; i+1 < len(at); i += 2 {
		gaps = append(gaps, time.Duration(at[i+1]-at[i]))
	}
	return gaps, nil
}

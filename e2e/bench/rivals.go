package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
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
	endpoint, stop, err := etcd(filepath.Join(b.temp, "etcd"))
	if err != nil {
		return err
	}
	defer stop()
	guard := []string{b.binary, "with-lock", "-lock-name", "rivals", "--"}
	files := []string{b.binary, "with-lock", "-lock-backend", "file", "-lock-name", "hostguard-bench", "--"}
	rival := []string{"etcdctl", "--endpoints", endpoint, "lock", "rivals", "--"}
	pairs := []pair{{"hostguard with-lock -- true", append(slices.Clone(guard), "true"), nil},
		{"the same with lock files", append(slices.Clone(files), "true"), nil}}
	if endpoint != "" {
		pairs = append(pairs, pair{"etcdctl lock NAME true", append(slices.Clone(rival), "true"), nil})
	}
	if err := b.pairs(e, pairs); err != nil {
		return err
	}
	under := func(tool []string) func(stay string) []string {
		return func(stay string) []string { return append(slices.Clone(tool), "sh", "-c", section, "section", stay) }
	}
	type way struct {
		name    string
		rounds  int
		command func(stay string) []string
	}
	ways := []way{
		{"hostguard with-lock", 3, under(guard)},
		{"hostguard with-lock with lock files", 3, under(files)},
		{"flock(1), which knows no holder, no queue and no other host's jobs", 3, func(stay string) []string {
			return []string{"flock", filepath.Join(b.temp, "flock"), "sh", "-c", section, "section", stay}
		}},
		{"docker network create every 100 ms", 3, poll(0.1)},
		{"docker network create every 10 s", 1, poll(10)},
	}
	if endpoint != "" {
		ways = append(ways, way{"etcdctl lock, of one member on the same disk", 3, under(rival)})
	}
	for _, way := range ways {
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

// pair is a lock that nobody else wants, taken and given back.
type pair struct {
	name    string
	command []string
	times   []time.Duration
}

// pairs measures them in turns, so that whatever else the machine does meets all.
func (b *bench) pairs(e *engine.Engine, pairs []pair) error {
	for range 41 {
		for i := range pairs {
			p := &pairs[i]
			cmd := exec.Command(p.command[0], p.command[1:]...)
			cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Host())
			start := time.Now()
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%s: %w: %s", p.name, err, out)
			}
			p.times = append(p.times, time.Since(start))
		}
	}
	for _, p := range pairs {
		slices.Sort(p.times)
		fmt.Printf("%s, nobody else wants it: p50 %s\n", p.name, ms(p.times[len(p.times)/2]))
	}
	return nil
}

// etcd starts a server of one member, if there is one, which Debian has as etcd-server
// and etcd-client.
func etcd(dir string) (endpoint string, stop func(), err error) {
	for _, name := range []string{"etcd", "etcdctl"} {
		if _, err := exec.LookPath(name); err != nil {
			fmt.Println("etcd is not installed: it is left out")
			return "", func() {}, nil
		}
	}
	var urls []string
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", nil, err
		}
		urls = append(urls, "http://"+l.Addr().String())
		l.Close()
	}
	cmd := exec.Command("etcd", "--data-dir", dir, "--log-level", "error",
		"--listen-client-urls", urls[0], "--advertise-client-urls", urls[0], "--listen-peer-urls", urls[1])
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	for range 100 {
		if exec.Command("etcdctl", "--endpoints", urls[0], "get", "x").Run() == nil {
			return urls[0], stop, nil
		}
	}
	stop()
	return "", nil, errors.New("etcd does not answer")
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

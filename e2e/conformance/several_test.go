package conformance

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hostguard/e2e/rig/contend"
	"hostguard/e2e/rig/engine"
)

const severalSections = 300

// TestSeveralLocksNeverWaitInACircle runs contenders that take any of three locks at once, written
// in any order, and some of them in two stores, while they are killed. A circle would end in a
// timeout, which is an error.
func TestSeveralLocksNeverWaitInACircle(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"docker-" + engine.New, "file"} {
		t.Run(s, func(t *testing.T) {
			t.Parallel()
			store := contend.Store{Name: s}
			if s != "file" {
				store = start(t, engine.New)
			}
			r := newRun(t, store, severalSections)
			r.kills = severalSections / 10
			begin := time.Now()
			ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
			defer stop()
			var contenders, attacker sync.WaitGroup
			attacker.Go(func() { r.kill(ctx) })
			for i := range places / 2 {
				contenders.Go(func() {
					for !r.over() && ctx.Err() == nil {
						if i%4 == 3 {
							r.jobOfSeveral()
						} else {
							r.underSeveral(store.Engine != nil && rand.N(3) == 0)
						}
					}
				})
			}
			contenders.Wait()
			stop()
			attacker.Wait()
			t.Logf("%s: %d sections in %s, %d overlaps, %d processes killed", s, r.done.Load(),
				time.Since(begin).Round(time.Second), r.overlaps.Load(), r.killed.Load())
			if r.overlaps.Load() != 0 || int(r.done.Load()) < r.want || int(r.killed.Load()) < r.kills {
				t.Errorf("%d overlaps, %d sections, %d kills", r.overlaps.Load(), r.done.Load(), r.killed.Load())
			}
			for _, lock := range r.several() {
				r.lock = lock
				r.recovered()
			}
		})
	}
}

// several returns the names of the three locks.
func (r *run) several() []string {
	base, _, _ := strings.Cut(r.lock, "_")
	return []string{base + "_a", base + "_b", base + "_c"}
}

// some returns some of the three locks, in any order.
func (r *run) some() []string {
	names := r.several()
	rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return names[:1+rand.N(len(names))]
}

// insideAll returns a critical section of several locks, each with a detector of its own.
func (r *run) insideAll(stores []string, names []string) (section []string) {
	section = []string{"sleep", fmt.Sprintf("0.%03d", rand.N(6))}
	for _, store := range stores {
		for _, name := range names {
			inside := contend.Inside(r.detector+store+name, "0")
			section = append(inside[:len(inside)-2], section...)
		}
	}
	return section
}

// underSeveral is a section of with-lock under some locks, or under one in each of two stores.
func (r *run) underSeveral(inTwo bool) {
	names, stores := r.some(), []string{r.store.Name}
	take := []string{"with-lock", "-timeout", "1m", "-legacy-settle", "0s"}
	if inTwo {
		names, stores = names[:1], append(stores, "file")
		take = append(take, "-backends", []string{"docker,file", "file,docker"}[rand.N(2)])
	}
	take = append(take, "-lock-name", strings.Join(names, ","), "--")
	cmd := r.command(take, r.insideAll(stores, names)...)
	var out bytes.Buffer
	cmd.Stderr = &out
	r.count(r.mortal(cmd), out.String())
}

// jobOfSeveral is a section of acquire-lock and release-lock, which gives some back alone.
func (r *run) jobOfSeveral() {
	dir := filepath.Join(r.t.TempDir(), fmt.Sprintf("%016x", rand.Uint64()))
	env := filepath.Join(dir, "env")
	if err := os.MkdirAll(filepath.Join(dir, "tmp"), 0o700); err != nil {
		r.t.Error(err)
		return
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(env, nil, 0o600); err != nil {
		r.t.Error(err)
		return
	}
	step := func(args ...string) (*exec.Cmd, *bytes.Buffer) {
		cmd := r.command(args)
		cmd.Env = append(cmd.Env, "GITHUB_ACTIONS=true", "GITHUB_ENV="+env, "RUNNER_TEMP="+filepath.Join(dir, "tmp"))
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		return cmd, &out
	}
	names := r.some()
	acquire, out := step("acquire-lock", "-timeout", "1m", "-legacy-settle", "0s",
		"-lock-name", strings.Join(names, ", "))
	if st := r.mortal(acquire); st != 0 {
		r.count(st, out.String())
		return
	}
	section := r.insideAll([]string{r.store.Name}, names)
	held := contend.Status(exec.Command(section[0], section[1:]...).Run())
	for _, some := range [][]string{names[:1], names} {
		release, out := step("release-lock", "-mode", "hard-fail", "-lock-name", strings.Join(some, ","))
		if st := contend.Status(release.Run()); st != 0 || strings.Contains(out.String(), "lost") {
			r.t.Errorf("release-lock: status %d: %s", st, out)
		}
	}
	r.count(held, "")
}

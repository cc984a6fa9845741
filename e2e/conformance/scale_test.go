package conformance

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"hostguard/e2e/rig/contend"
)

// What waiters of many hosts cost a Gitea at rest, and a hand-off between them.
func TestWaitersOfManyHostsAskSeldom(t *testing.T) {
	t.Parallel()
	hosts, each, rest := 5, 2, 10*time.Second
	if os.Getenv("HOSTGUARD_SOAK") != "" {
		hosts, each, rest = 20, 5, time.Minute
	}
	server, store := startGitea(t)
	first := newHost(t, store, server.URL, "a")
	holder := first.command("with-lock", "-lock-name", "deploy", "--", "sleep", "300")
	var printed contend.Log
	holder.Stdout, holder.Stderr = &printed, &printed
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, "the holder", func() bool { return strings.Contains(printed.String(), "acquired lock") })
	all := []*host{first}
	var waiters []*exec.Cmd
	for i := range hosts {
		h := first
		if i > 0 {
			h = newHost(t, store, server.URL, string(rune('a'+i)))
			all = append(all, h)
		}
		for range each {
			cmd := h.command("with-lock", "-timeout", "20m", "-lock-name", "deploy", "--", "true")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			waiters = append(waiters, cmd)
		}
	}
	await(t, "all tickets", func() bool {
		_, tickets, err := store.Entries("deploy")
		return err == nil && len(tickets) >= hosts*each
	})
	asked := func() (n int) {
		for _, h := range all {
			n += int(h.link.asked.Load())
		}
		return n
	}
	time.Sleep(2 * time.Second) // the looks of their arrival
	before, spent := asked(), cpuTime(t, server.PID())
	time.Sleep(rest)
	rate := float64(asked()-before) / rest.Seconds()
	core := 100 * (cpuTime(t, server.PID()) - spent).Seconds() / rest.Seconds()
	t.Logf("%d waiters of %d hosts at rest: %.1f requests a second, Gitea takes %.1f %% of a core", len(waiters), hosts,
		rate, core)
	if limit := 2.5; rate > limit { // all of them, however many: see lock/pace.go
		t.Errorf("%.1f requests a second, at most %.1f are expected", rate, limit)
	}
	before = asked()
	begin := time.Now()
	if out, err := first.enter("sh", "-c",
		`for p in /proc/[0-9]*; do case ${p#/proc/},$(cat $p/comm) in 1,*) ;; *,sleep) kill ${p#/proc/} ;; esac; done`,
	).CombinedOutput(); err != nil {
		t.Fatalf("end the section: %v: %s", err, out)
	}
	_ = holder.Wait()
	for _, cmd := range waiters {
		if err := cmd.Wait(); err != nil {
			t.Errorf("a waiter: %v", err)
		}
	}
	took := time.Since(begin)
	t.Logf("%d hand-offs in %s: %s and %.1f requests each", len(waiters), took.Round(time.Millisecond),
		(took / time.Duration(len(waiters))).Round(time.Millisecond), float64(asked()-before)/float64(len(waiters)))
}

// cpuTime returns the processor time that a process has used.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, errUser := strconv.Atoi(fields[11])
	system, errSystem := strconv.Atoi(fields[12])
	if errUser != nil || errSystem != nil {
		t.Fatalf("%q", text)
	}
	return time.Duration(user+system) * (time.Second / 100)
}

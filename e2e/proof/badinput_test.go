package proof

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"hostguard/e2e/rig/contend"
	"hostguard/e2e/rig/engine"
	"hostguard/e2e/rig/wire"
	"hostguard/internal/proc"
	"hostguard/lock"
)

// A look at whatever others have put in the store is bounded.
const (
	mostMemory = 300 << 20 // bytes of data; with more it could not run
	mostOutput = 64 << 10
	mostTime   = 20 * time.Second // longer than it was told to wait, on a busy machine
)

// tell runs a command to its end, and expects that it stays within bounds and
// says nothing that a terminal or a runner would obey.
func tell(t *testing.T, cmd *exec.Cmd, waits time.Duration) (status int, said string) {
	t.Helper()
	prlimit, err := exec.LookPath("prlimit")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), waits+3*mostTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	cmd.Args = append([]string{"prlimit", fmt.Sprintf("--data=%d", mostMemory), cmd.Path}, cmd.Args[1:]...)
	cmd.Path = prlimit
	var log contend.Log
	cmd.Stdout, cmd.Stderr = &log, &log
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	status = contend.Status(cmd.Wait())
	took, said := time.Since(start), log.String()
	if took > waits+mostTime {
		t.Errorf("%q took %s", cmd.Args[1:], took)
	}
	if len(said) > mostOutput {
		t.Errorf("%q said %d bytes", cmd.Args[1:], len(said))
	}
	for line := range strings.Lines(said) {
		if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q said a control character: %.300q", cmd.Args[1:], line)
		}
	}
	return status, said
}

const planted = "\n::set-env name=BASH_ENV::/x\r##[add-path]/x\x1b[2K\x07\u0085\u2028\u202e"

func TestBadLabels(t *testing.T) {
	t.Parallel()
	forged, others := httptest.NewServer(nil), atomic.Int32{}
	t.Cleanup(func() {
		forged.Close()
		if n := others.Load(); n != 0 {
			t.Errorf("a server that only a label names was asked %d times", n)
		}
	})
	forged.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { others.Add(1) })
	here := proc.Host{Proc: "/proc"}.Place()
	first := proc.Host{Proc: "/proc"}.Process(1)
	place := map[string]string{
		"machine": here.Machine, "boot": here.Boot,
		"pid-namespace": here.PIDs, "mount-namespace": here.Mounts, "local": "true",
	}
	hostile, many := map[string]string{}, map[string]string{}
	for _, name := range []string{
		"nonce", "create", "server", "repository", "workflow", "job", "run-id", "run-number", "run-attempt", "run-url",
		"actor", "event", "runner-name", "machine", "boot", "pid-namespace", "mount-namespace", "container-id", "job-dir",
		"cgroup", "workspace", "reason", "priority", "process", "runner", "parent", "step",
		"uptime", "command", "in-container",
	} {
		hostile[name] = planted
	}
	for i := range 100000 {
		many[fmt.Sprintf("more-%d", i)] = strings.Repeat("x", 80)
	}
	const unreadable = "its labels are of another version of hostguard or cannot be read"
	with := func(base map[string]string, more ...string) map[string]string {
		labels := maps.Clone(base)
		for i := 0; i < len(more); i += 2 {
			labels[more[i]] = more[i+1]
		}
		return labels
	}
	cases := map[string]struct {
		version string
		labels  map[string]string
		told    string // by those who wait
		alive   bool   // or its age cannot be read: never taken over
	}{
		"made without hostguard": {told: "made without hostguard"},
		"10 MB in one label": {

			version: "1",
			labels: map[string]string{
				"reason":     strings.Repeat("x\x1b[2J", 2<<20),
				"repository": strings.Repeat("y", 1<<20),
			},
			told: "out of sight",
		},
		// No entry of ours has so many.
		"10 MB in 100,000": {version: "1", labels: many, told: "made without hostguard"},
		"a newer version": {
			version: "2", labels: with(place, "process", "4000000@1", "command", "true", "nonce", "x"),
			told: unreadable,
		},
		"control characters": {version: "1", labels: hostile, told: "out of sight"},
		"broken numbers": {
			version: "1", labels: with(place, "process", "x@y", "runner", "1@", "uptime", "-5s", "command", "true"),
			told: "do not name its process",
		},
		"an uptime to come": {
			version: "1", labels: with(place, "process", "x@y", "uptime", "1000000h", "command", "true"),
			told: "do not name its process",
		},
		"a stale-after that is none": {
			version: "1", labels: with(place, "stale-after", "soon"),
			told: "not by a job", alive: true,
		},
		"another's pid": {
			version: "1", labels: with(place, "process", fmt.Sprintf("%d@%d", first.PID, first.Start),
				"command", "true", "nonce", "x"),
			told: "its hostguard process 1 runs", alive: true,
		},
		"another's server": {

			version: "1", labels: map[string]string{"server": forged.URL, "repository": "a/b", "run-id": "1"},
			told: "its run is on another server, which is not asked",
		},
	}
	for _, version := range []string{engine.Old, engine.New} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := own(t, version) // every status would tell of it
			store, err := open(s.Engine.Host())
			if err != nil {
				t.Fatal(err)
			}
			for name, c := range cases {
				t.Run(name, func(t *testing.T) {
					if !strings.HasPrefix(name, "10 MB") { // which every other status would read as well
						t.Parallel()
					}
					for _, old := range []bool{false, true} {
						r := newRig(t, s)
						labels := map[string]string{}
						if c.version != "" {
							labels["hostguard.version"], labels["hostguard.kind"] = c.version, "lock"
							labels["hostguard.stale-after"] = map[bool]string{false: "24h", true: "1ms"}[old]
						}
						for label, value := range c.labels {
							labels["hostguard."+label] = value
						}
						id, err := store.Create(t.Context(), r.Lock, labels)
						if err != nil {
							t.Fatal(err)
						}
						defer func() {
							if err := store.Remove(context.Background(), id); err != nil && err != lock.ErrNotFound {
								t.Error(err)
							}
						}()
						j, err := r.Job(nil)
						if err != nil {
							t.Fatal(err)
						}
						j.Env = append(j.Env, "GITEA_ACTIONS=true", "GITEA_TOKEN=secret", "GITHUB_SERVER_URL=http://127.0.0.1:9")
						patience := 3 * time.Second
						if strings.HasPrefix(name, "10 MB") { // a busy machine takes long to read them once
							patience = 15 * time.Second
						}
						args, wait, want, told := []string{"-timeout", patience.String(), "-stale-after", "1h"}, patience, 1, c.told
						if old && !c.alive {
							args, wait = []string{"-timeout", "20s", "-stale-after", "1s"}, 2*time.Second
							want, told = 0, "; stale because it is "
						}
						status, said := tell(t, j.Step("acquire-lock", args...), wait)
						if status != want || !strings.Contains(said, told) {
							t.Errorf("acquire-lock: status %d, want %d and %q:\n%.2000s", status, want, told, said)
						}
						for _, args := range [][]string{nil, {"-json"}} {
							if status, said := tell(t, j.Step("status", args...), 0); status != 0 || !strings.Contains(said, r.Lock) {
								t.Errorf("status %q: status %d: %.2000s", args, status, said)
							}
						}
						if status, said := tell(t, j.Step("release-lock"), 0); status != 0 {
							t.Errorf("release-lock: status %d: %.2000s", status, said)
						}
					}
				})
			}
		})
	}
}

// TestTicketsByTheThousand: of the dead they count for nothing and are removed
// by and by, of the living they are waited for, and ones that nobody can have
// taken count for nothing. It is not parallel, for what it wants in seconds.
func TestTicketsByTheThousand(t *testing.T) {
	host := proc.Host{Proc: "/proc"}
	self, here := host.Process(os.Getpid()), host.Place()
	s := own(t, engine.New) // the other takes a minute to make them
	store, err := open(s.Engine.Host())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		labels  map[string]string
		tickets int
		waits   bool // who comes later
		removed bool
	}{
		"of the dead": {
			labels:  map[string]string{"process": fmt.Sprintf("%d@1", self.PID)},
			tickets: 1000, removed: true,
		},
		"of the living": {
			labels:  map[string]string{"process": fmt.Sprintf("%d@%d", self.PID, self.Start)},
			tickets: 300, waits: true,
		},
		"of nobody": {labels: map[string]string{"nonce": planted}, tickets: 1000},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := contend.NewRig(s)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close() // the tickets go with the engine
			var group sync.WaitGroup
			for part := range 8 {
				group.Go(func() {
					for i := part; i < c.tickets; i += 8 {
						nonce := lock.NewNonce()
						labels := map[string]string{
							"version": "1", "kind": "ticket", "nonce": nonce, "number": fmt.Sprint(i + 1), "timeout": "24h",
							"machine": here.Machine, "boot": here.Boot, "pid-namespace": here.PIDs, "local": "true",
						}
						maps.Copy(labels, c.labels)
						prefixed := map[string]string{}
						for label, value := range labels {
							prefixed["hostguard."+label] = value
						}
						if _, err := store.Create(t.Context(), contend.QueuePrefix(r.Lock)+"t-"+nonce, prefixed); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			group.Wait()
			j, err := r.Job(nil)
			if err != nil {
				t.Fatal(err)
			}
			if status, said := tell(t, j.Step("status"), 0); status != 0 {
				t.Errorf("status: %d: %.2000s", status, said)
			}
			limit := "20s"
			if c.waits {
				limit = "1s" // a free lock is left to the living for 1.25 s and more
			}
			start := time.Now()
			status, said := tell(t, j.Step("acquire-lock", "-legacy-settle", "0s", "-timeout", limit), 2*time.Second)
			t.Logf("status %d after %s", status, time.Since(start).Round(time.Millisecond))
			if want := map[bool]int{false: 0, true: 1}[c.waits]; status != want {
				t.Errorf("status %d, want %d: %.2000s", status, want, said)
			}
			if status, said := tell(t, j.Step("release-lock"), 0); status != 0 {
				t.Errorf("release-lock: status %d: %.2000s", status, said)
			}
			if _, left, err := s.Entries(r.Lock); err != nil || c.removed != (len(left) < c.tickets) {
				t.Errorf("%d of %d tickets are left: %v", len(left), c.tickets, err)
			}
		})
	}
}

// TestADaemonThatAnswersHTML is a proxy in the way, as at some companies.
func TestADaemonThatAnswersHTML(t *testing.T) {
	t.Parallel()
	e, err := shared[engine.New]()
	if err != nil {
		t.Fatal(err)
	}
	p, err := wire.Start(e.Host(), func(*http.Request) wire.Fate { return wire.Fate{} })
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.Rewrite = func(*http.Request, []byte) []byte {
		return []byte("<html>\x1b[2J::error::" + strings.Repeat("<p>no\n", 1<<20) + "</html>")
	}
	r := newRig(t, contend.Store{Name: "HTML", Engine: e, Host: p.Host()})
	j, err := r.Job(nil)
	if err != nil {
		t.Fatal(err)
	}
	if status, said := tell(t, j.Step("acquire-lock", "-timeout", "6s"), 20*time.Second); status != 3 {
		t.Errorf("acquire-lock: status %d, want 3: %.2000s", status, said)
	}
	if status, said := tell(t, j.Step("status"), 0); status != 3 {
		t.Errorf("status: status %d, want 3: %.2000s", status, said)
	}
}

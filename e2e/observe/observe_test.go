// Package observe runs the observer beside real contenders on a real engine, and compares its
// history with what they themselves have written down.
package observe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hostguard/e2e/rig/contend"
	"hostguard/e2e/rig/engine"
	"hostguard/history"
)

// sections is how many critical sections a test has: 2,000 take an hour.
func sections() int {
	if os.Getenv("HOSTGUARD_SOAK") != "" {
		return 2000
	}
	return 20
}

// observer is a running "hostguard observe".
type observer struct {
	cmd     *exec.Cmd
	history string
	client  *http.Client
	log     bytes.Buffer // read after its end only
}

// observe starts an observer, and returns once it has looked.
func observe(t *testing.T, r *contend.Rig) *observer {
	t.Helper()
	o := &observer{history: filepath.Join(r.Dir, "history")}
	socket := filepath.Join(r.Dir, "page.sock")
	o.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}}
	o.cmd = exec.Command(r.Binary, "observe", "-history", o.history, "-listen", "unix:"+socket)
	o.cmd.Env = r.Environ()
	o.cmd.Stdout, o.cmd.Stderr = &o.log, &o.log
	if err := o.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.end(syscall.SIGKILL) })
	o.await(t, "/healthz", func(string) bool { return true })
	return o
}

// end ends the observer by a signal; once more does nothing.
func (o *observer) end(signal syscall.Signal) {
	if o.cmd.ProcessState == nil {
		_ = o.cmd.Process.Signal(signal)
		_ = o.cmd.Wait()
	}
}

// await asks for a path until the answer is as wanted, and returns it.
func (o *observer) await(t *testing.T, path string, wanted func(string) bool) string {
	t.Helper()
	var text string
	for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(50 * time.Millisecond) {
		answer, err := o.client.Get("http://localhost" + path)
		if err != nil {
			continue
		}
		data, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if text = string(data); err == nil && answer.StatusCode == http.StatusOK && wanted(text) {
			return text
		}
	}
	t.Fatalf("%s is not as wanted: %.2000s", path, text)
	return ""
}

// holds returns the holds of the lock in the history, by job, once none of them is open.
func (o *observer) holds(t *testing.T, lock string) map[string]history.Interval {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		record, err := history.Read(o.history, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		holds, open := map[string]history.Interval{}, false
		for _, i := range record.Intervals() {
			if i.Kind == history.Hold && i.Name == lock {
				holds[i.Who.Job] = i
			}
			open = open || i.Open && i.Name == lock
		}
		if !open {
			return holds
		}
		if time.Since(begin) > time.Minute {
			t.Fatalf("still open: %+v", holds)
		}
	}
}

// section is what a contender itself has written down of one critical section.
type section struct {
	from, until time.Time // until is when its command ended, or it was killed
	killed      bool
}

// contended runs contenders, each of which is in its sections for a second or more, and
// returns them by job. Some are killed while they hold.
func contended(t *testing.T, r *contend.Rig, n int) map[string]section {
	t.Helper()
	var mu sync.Mutex
	found := map[string]section{}
	var contenders sync.WaitGroup
	for c := range 4 {
		contenders.Go(func() {
			random := rand.New(rand.NewPCG(uint64(c), 7))
			for i := c; i < n; i += 4 {
				job := fmt.Sprintf("section-%d", i)
				s, err := enter(r, job, 1.2+random.Float64(), i%5 == 2)
				if err != nil {
					t.Errorf("%s: %v", job, err)
				}
				mu.Lock()
				found[job] = s
				mu.Unlock()
			}
		})
	}
	contenders.Wait()
	last, err := enter(r, "section-last", 1.5, false) // the one before may have been killed
	if err != nil {
		t.Error(err)
	}
	found["section-last"] = last
	return found
}

// enter runs one section under the lock; a killed one sleeps until it is.
func enter(r *contend.Rig, job string, seconds float64, kill bool) (s section, err error) {
	length := fmt.Sprintf("%.2f", seconds)
	if kill {
		length = "300"
	}
	began := filepath.Join(r.Dir, job)
	inside := append([]string{"sh", "-c", `date "+%s.%N $$" >"$0.new" && mv "$0.new" "$0" && exec "$@"`, began},
		contend.Inside(filepath.Join(r.Dir, "detector"), length)...)
	args := append([]string{"with-lock", "-lock-name", r.Lock, "-legacy-settle", "0s", "-timeout", "10m", "--"},
		inside...)
	cmd := exec.Command(r.Binary, args...)
	cmd.Env = r.Environ("GITHUB_REPOSITORY=wooo/shop", "GITHUB_JOB="+job)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		return s, err
	}
	if kill {
		for {
			if _, err := os.Stat(began); err == nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(time.Duration(seconds * float64(time.Second)))
		s.killed = true
		data, readErr := os.ReadFile(began)
		_, text, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
		command, pidErr := strconv.Atoi(text)
		if err := errors.Join(readErr, pidErr); err != nil {
			return s, err
		}
		// Its command, which would keep the lock, is a group of its own.
		err = errors.Join(cmd.Process.Kill(), syscall.Kill(-command, syscall.SIGKILL))
	}
	status := contend.Status(cmd.Wait())
	s.until = time.Now()
	if !kill && status != 0 {
		err = fmt.Errorf("exit status %d: %s", status, log.String())
	}
	data, readErr := os.ReadFile(began)
	stamp, _, _ := strings.Cut(string(data), " ")
	whole, fraction, _ := strings.Cut(stamp, ".")
	sec, secErr := strconv.ParseInt(whole, 10, 64)
	nsec, nsecErr := strconv.ParseInt(fraction, 10, 64)
	s.from = time.Unix(sec, nsec)
	return s, errors.Join(err, readErr, secErr, nsecErr)
}

// The machine may be busy with other tests: a look that is due comes late.
const slack = 3 * time.Second

func TestHistoryIsWhatTheContendersWroteDown(t *testing.T) {
	r := newRig(t)
	o := observe(t, r)
	want := contended(t, r, sections())
	got := o.holds(t, r.Lock)
	killed, seen := 0, 0 // those, and those of them whose death a look has shown
	for job, s := range want {
		i, found := got[job]
		if !found {
			t.Errorf("%s, %s long, is not in the history", job, s.until.Sub(s.from))
			continue
		}
		// It holds before its command begins and until after that has ended; a killed one holds
		// until it is taken over.
		late := slack
		if s.killed {
			late += 3 * time.Second
		}
		if i.From.After(s.from.Add(100*time.Millisecond)) || i.From.Before(s.from.Add(-slack)) ||
			i.Until.Before(s.until.Add(-slack)) || i.Until.After(s.until.Add(late)) {
			t.Errorf("%s is from %s until %s in the history, and was from %s until %s", job, i.From, i.Until, s.from,
				s.until)
		}
		if s.killed {
			killed++
		}
		if i.End == history.EndTakenOver {
			seen++
		}
		dead := strings.Contains(i.Evidence, "gone") || strings.Contains(i.Evidence, "had ended")
		if i.End == history.EndTakenOver && (!s.killed || !dead) {
			t.Errorf("%s, killed %v, was taken over as %q", job, s.killed, i.Evidence)
		}
	}
	for job := range got {
		if _, known := want[job]; !known {
			t.Errorf("%q never held", job)
		}
	}
	t.Logf("%d of %d were seen to be dead before they were taken over", seen, killed)
	metrics := o.await(t, "/metrics", func(text string) bool { return strings.Contains(text, "lock_hold_seconds") })
	check := exec.Command("promtool", "check", "metrics")
	check.Stdin = strings.NewReader(metrics)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	o.end(syscall.SIGTERM)
	t.Log(o.log.String())
}

// No lock depends on an observer: it is killed while jobs contend, and started again.
func TestAKilledObserverChangesNothing(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	var killer sync.WaitGroup
	killer.Go(func() {
		for ctx.Err() == nil {
			o := observe(t, r)
			select {
			case <-ctx.Done():
			case <-time.After(3 * time.Second):
			}
			o.end(syscall.SIGKILL)
		}
	})
	contended(t, r, 8) // each of which ends with success
	cancel()
	killer.Wait()
}

// What an observer does not see yet, it sees soon: by an event, or by its next look.
func TestAnEventIsServedSoon(t *testing.T) {
	r := newRig(t)
	o := observe(t, r)
	for _, wait := range []time.Duration{0, 2 * time.Second} { // whenever it looked last
		time.Sleep(wait)
		began := filepath.Join(r.Dir, "began")
		cmd := exec.Command(r.Binary, "with-lock", "-lock-name", r.Lock, "--",
			"sh", "-c", `: >"$0"; exec sleep 60`, began)
		cmd.Env = r.Environ()
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for {
			if _, err := os.Stat(began); err == nil {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		begin := time.Now()
		o.await(t, "/metrics", func(text string) bool {
			return strings.Contains(text, fmt.Sprintf("hostguard_lock_held{lock=%q} 1\n", r.Lock))
		})
		took := time.Since(begin)
		t.Logf("seen after %s", took)
		if took > 1500*time.Millisecond+slack {
			t.Errorf("seen after %s", took)
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		begin = time.Now()
		o.await(t, "/metrics", func(text string) bool {
			return strings.Contains(text, fmt.Sprintf("hostguard_lock_held{lock=%q} 0\n", r.Lock))
		})
		t.Logf("its end seen after %s", time.Since(begin))
		if err := os.Remove(began); err != nil {
			t.Fatal(err)
		}
	}
}

// A daemon that is away is reported once, and the time is a gap.
func TestADaemonThatIsAwayIsAGap(t *testing.T) {
	e := engine.ForTest(t, engine.New)
	r := rigOn(t, e)
	o := observe(t, r)
	if err := e.Kill(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(history.MostPause + 5*time.Second)
	if err := e.Restart(); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		record, err := history.Read(o.history, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if len(record.Gaps) > 0 {
			break
		}
		if time.Since(begin) > 90*time.Second {
			t.Fatal("there is no gap")
		}
	}
	o.end(syscall.SIGTERM)
	if n := strings.Count(o.log.String(), "look at the locks"); n != 1 {
		t.Errorf("it is reported %d times:\n%s", n, o.log.String())
	}
}

var shared = sync.OnceValues(func() (*engine.Engine, error) { return engine.Start(engine.New) })

func TestMain(m *testing.M) {
	status := m.Run()
	if e, err := shared(); err == nil {
		if err := e.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = max(status, 1)
		}
	}
	os.Exit(status)
}

func newRig(t *testing.T) *contend.Rig {
	t.Helper()
	e, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return rigOn(t, e)
}

func rigOn(t *testing.T, e *engine.Engine) *contend.Rig {
	t.Helper()
	t.Parallel()
	r, err := contend.NewRig(contend.Store{Name: e.Version, Engine: e})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// A network that anybody makes is a lock by its name alone.
func TestAPlainNetworkIsSeenByAKnownName(t *testing.T) {
	r := newRig(t)
	o := observe(t, r)
	if _, err := enter(r, "before", 1.5, false); err != nil { // from then on the name is known
		t.Fatal(err)
	}
	shows := func(state string) func(string) bool {
		return func(text string) bool {
			return strings.Contains(text, fmt.Sprintf("hostguard_lock_held{lock=%q} %s\n", r.Lock, state))
		}
	}
	o.await(t, "/metrics", shows("0"))
	for _, name := range []string{r.Lock, r.Lock + "_default"} {
		if out, err := r.Engine.Docker("network", "create", name); err != nil {
			t.Fatal(err, out)
		}
	}
	metrics := o.await(t, "/metrics", shows("1"))
	if strings.Contains(metrics, "_default") {
		t.Error("the network of a project counts as a lock")
	}
	for _, name := range []string{r.Lock, r.Lock + "_default"} {
		if out, err := r.Engine.Docker("network", "rm", name); err != nil {
			t.Fatal(err, out)
		}
	}
	o.await(t, "/metrics", shows("0"))
	if i := o.holds(t, r.Lock)[""]; !i.Plain || i.End != history.EndReleased {
		t.Errorf("the history has %+v", i)
	}
}

package workflow

import (
	"bufio"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hostguard/e2e/rig/act"
	"hostguard/e2e/rig/engine"
	"hostguard/e2e/rig/gitserver"
)

// busyMachine is what a hand-over may take longer beside other tests.
const busyMachine = 5 * time.Second

// handOver is a job that ends although something of it may be left, and somebody
// who waits for its lock.
type handOver struct {
	build string
	take  string // steps
	leave string // starts what is left; it makes the file left when it is there
	end   string // of the job, by a step
	give  string // steps after that
}

// handedOver is how that went.
type handedOver struct {
	after     time.Duration // the job's last step, the waiter had the lock
	afterWork time.Duration // what was left had ended
	overlap   bool          // with that
	tookOver  bool          // from a job that had not given it back
	log       string        // of the job
}

// takes is the step that takes the lock of a test; a post gives it back.
const takes = `
      - uses: wooo/hostguard/lock@v1
        with: { lock-name: LOCK }
`

// What is left of a job, in a session of its own. Work is inside as long as the
// file is there; a daemon ends with the test.
const (
	nothing = `touch left`
	daemon  = `DIR=$DIR setsid sh -c 'touch left; while [ -e left ]; do sleep 5; done' </dev/null >/dev/null 2>&1 &`
)

func works(seconds int) string {
	return fmt.Sprintf(`setsid sh -c 'trap "" HUP; touch inside left; end=$(($(date +%%s) + %d))
          while [ $(date +%%s) -lt $end ]; do sleep 0.1; done
          mv inside outside; touch outside' </dev/null >/dev/null 2>&1 &`, seconds)
}

// run lets the job end when the other waits.
func (h handOver) run(t *testing.T, e *engine.Engine, lock string) handedOver {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	at := func(name string) time.Time {
		t.Helper()
		for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if info, err := os.Stat(filepath.Join(dir, name)); err == nil {
				return info.ModTime()
			}
		}
		t.Fatalf("there is no %q", name)
		return time.Time{}
	}
	job, log := act.Job{
		Build: h.build, Repository: "wooo/site",
		Env: []string{"DOCKER_HOST=" + e.Host(), "DIR=" + dir, "DOCKER=" + e.CLI()},
	}, make(chan string, 1)
	job.Workflow = strings.ReplaceAll(`
on: push
jobs:
  build:
    runs-on: awoooi-host
    steps:`+h.take+`
      - shell: sh
        run: |
          cd "$DIR"
          `+h.leave+`
          until [ -e left ]; do sleep 0.02; done
          touch started
          until [ -e waiting ]; do sleep 0.02; done
          touch ended
          `+h.end+`
`+h.give, "LOCK", lock)
	go func() {
		text, _ := run(t, job)
		log <- text
	}()
	at("started")
	binary, err := filepath.Abs("../../bin/hostguard")
	if err != nil {
		t.Fatal(err)
	}
	waiter := exec.CommandContext(t.Context(), binary, "with-lock", "-lock-name", lock, "--",
		"sh", "-c", `[ ! -e inside ] || touch overlap; touch got`)
	waiter.Dir, waiter.Env = dir, append(os.Environ(), "DOCKER_HOST="+e.Host())
	stderr, err := waiter.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := waiter.Start(); err != nil {
		t.Fatal(err)
	}
	said, lines := "", bufio.NewReader(stderr)
	for !strings.Contains(said, "waiting") {
		line, err := lines.ReadString('\n')
		if said += line; err != nil {
			t.Fatalf("it does not wait: %s", said)
		}
	}
	writeFile(t, filepath.Join(dir, "waiting"), "", 0o644)
	rest, _ := io.ReadAll(lines)
	said += string(rest)
	if err := waiter.Wait(); err != nil {
		t.Errorf("%v: %s", err, said)
	}
	t.Logf("the waiter: %s", said)
	result := handedOver{after: at("got").Sub(at("ended")), tookOver: strings.Contains(said, "taken over"), log: <-log}
	if _, err := os.Stat(filepath.Join(dir, "overlap")); err == nil {
		result.overlap = true
	} else if strings.Contains(h.leave, "outside") {
		result.afterWork = at("got").Sub(at("outside"))
	}
	return result
}

// ends are the ways in which a job ends, by its last step.
var ends = map[string]string{
	"succeeds":             "exit 0",
	"fails":                "exit 1",
	"is cancelled":         "kill -INT $PPID; sleep 60",
	"its runner is killed": "kill -KILL $PPID",
}

// leavings are what may be left of it.
var leavings = map[string]string{
	"nothing is left": nothing, "work is left": works(25), "an idle daemon is left": daemon,
}

// TestWhoGivesBackWhen does what each cell of the table in docs/lock.md says.
func TestWhoGivesBackWhen(t *testing.T) {
	e := engine.ForTest(t, engine.New)
	rows, columns := whoGivesBackWhen(t)
	builds := []string{act.Nektos, act.Gitea}
	var cells sideBySide
	defer cells.Wait()
	n := 0
	for _, row := range rows {
		for i, promise := range row[1:] {
			end, left, build := row[0], columns[i+1], builds[(n+n/3)%2]
			lock := fmt.Sprintf("cell-%d", n)
			n++
			cells.run(t, end+", "+left, func(t *testing.T) {
				leave := leavings[left]
				if ends[end] == "" || leave == "" {
					t.Fatalf("no scenario of a job that %s where %s", end, left)
				}
				got := handOver{build: build, take: takes, leave: leave, end: ends[end]}.run(t, e, lock)
				byWaiter, most := true, 3*time.Second
				switch promise {
				case "the job, at once":
					byWaiter, most = false, 5*time.Second // with the start of its post step
				case "the next, ≤ 3 s":
				case "the next, ≤ 3 s after the work":
					got.after = got.afterWork
					if got.overlap {
						t.Error("the next has the lock while the work goes on")
					}
				case "the next, ≤ 60 s":
					most = time.Minute
				default:
					t.Fatalf("what does the cell %q promise?", promise)
				}
				if got.tookOver != byWaiter || got.after > most+busyMachine {
					t.Errorf("taken over: %v; after %s; the table says %q", got.tookOver, got.after, promise)
				}
				warned := regexp.MustCompile(`::warning::.*process \d+ \("[a-z]+"\)`).MatchString(got.log)
				if byWaiter && end != "its runner is killed" && !warned {
					t.Error("the job's log does not name the process")
				}
			})
		}
	}
}

// whoGivesBackWhen are the rows of that table, and its head.
func whoGivesBackWhen(t *testing.T) (rows [][]string, head []string) {
	t.Helper()
	_, section, _ := strings.Cut(string(readFile(t, "../../docs/lock.md")), "\n## Who gives back when\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(line, "| \n"), "|")
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|-") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	if len(rows) < 2 {
		t.Fatal("docs/lock.md has no such table")
	}
	return rows[1:], rows[0]
}

// sideBySide runs tests that mostly wait, more of them at once than there are
// cores.
type sideBySide struct {
	sync.WaitGroup
	places chan struct{}
}

func (s *sideBySide) run(t *testing.T, name string, test func(t *testing.T)) {
	if s.places == nil {
		s.places = make(chan struct{}, 6)
	}
	s.Go(func() {
		s.places <- struct{}{}
		defer func() { <-s.places }()
		t.Run(name, test)
	})
}

// rounds are the builds of the engine under which a hand-over is tried, one after
// the other.
func rounds() []string {
	times := 1
	if os.Getenv("HOSTGUARD_SOAK") != "" {
		times = 10
	}
	return slices.Repeat([]string{act.Nektos, act.Gitea}, times)
}

// A cancelled job leaves a build that has left its session, or a client that
// waits for one of the engine's: the next job begins when it is over, and at most
// 3 s later.
func TestACancelledJobKeepsTheLockWhileItsWorkGoesOn(t *testing.T) {
	e := engine.ForTest(t, engine.New)
	if err := e.ImportEmpty("empty"); err != nil {
		t.Fatal(err)
	}
	steps := `
      - uses: wooo/hostguard@v1
        with: { step: acquire-lock, lock-name: LOCK }
`
	always := `
      - uses: wooo/hostguard@v1
        if: always()
        with: { step: release-lock, lock-name: LOCK }
`
	inContainer := func(seconds int) string {
		return fmt.Sprintf(`touch inside
          setsid "$DOCKER" run --rm --network none -v /usr:/usr:ro -v "$DIR:/src" empty sh -c '
          touch /src/left; sleep %d; cd /src; mv inside outside; touch outside' </dev/null >docker.log 2>&1 &`, seconds)
	}
	const cancel, kill = "kill -INT $PPID; sleep 60", "kill -KILL -$$ || kill -KILL $$"
	var jobs sideBySide
	defer jobs.Wait()
	n := 0
	for name, h := range map[string]handOver{
		"left the session, classic":          {take: takes, leave: works(8), end: cancel},
		"left the session for long, classic": {take: takes, leave: works(25), end: cancel},
		"left the session, new":              {take: steps, leave: works(8), end: kill, give: always},
		"left the session for long, new":     {take: steps, leave: works(25), end: kill, give: always},
		"docker run, classic":                {take: takes, leave: inContainer(8), end: cancel},
		"docker run for long":                {take: takes, leave: inContainer(60), end: kill},
	} {
		for _, build := range rounds() {
			n++
			h, lock := h, fmt.Sprintf("cancelled-%d", n)
			h.build = build
			jobs.run(t, name+"/"+build, func(t *testing.T) {
				got := h.run(t, e, lock)
				// A release step begins when the engine gets to it.
				if got.overlap || got.tookOver && got.afterWork > 3*time.Second+busyMachine {
					t.Errorf("overlap: %v; the next had the lock %s after the work", got.overlap, got.afterWork)
				}
			})
		}
	}
}

// In a job container a release runs beside the step that was cancelled, whose
// process ends with the container.
func TestAReleaseInAContainerWaitsForItsOtherProcesses(t *testing.T) {
	root, tree := t.TempDir(), t.TempDir()
	if err := act.Copy(tree); err != nil {
		t.Fatal(err)
	}
	remote := newBare(t, filepath.Join(root, "wooo/hostguard"))
	remote.commit(tree)
	remote.git("tag", "v1.0.0")
	server := httptest.NewServer(&gitserver.Gitea{Root: root})
	t.Cleanup(server.Close)
	jobs := sideBySide{places: make(chan struct{}, 2)} // each with an engine
	defer jobs.Wait()
	uses := map[string]string{act.Nektos: "wooo/hostguard@v1.0.0", act.Gitea: server.URL + "/wooo/hostguard@v1.0.0"}
	for name, c := range map[string]struct {
		work string
		job  bool // gives the lock back itself
	}{
		"to its end":          {"until [ -e /tmp/waiting ]; do sleep 0.1; done; sleep 5", true},
		"until it is removed": {"while :; do sleep 0.1; done", false},
		"with nothing there":  {":", true},
	} {
		for _, build := range rounds() {
			jobs.run(t, name+"/"+build, func(t *testing.T) {
				r := newRunner(t, build, engine.New, server.URL)
				base := docker(t, r.engine, "create", r.job.Image, "sh")
				docker(t, r.engine, "cp", "../../bin/hostguard", base+":/bin/hostguard")
				docker(t, r.engine, "commit", base, r.job.Image)
				r.job.Workflow = job("ubuntu-latest", step(uses[build], "step: acquire-lock"), `
      - shell: sh
        run: |
          touch /tmp/inside # before what may remove it at once
          setsid sh -c '`+c.work+`; rm /tmp/inside' </dev/null >/dev/null 2>&1 &
          touch /tmp/left
          until [ -e /tmp/waiting ]; do sleep 0.1; done
          exit 1
`, "      - if: always()\n        "+strings.TrimPrefix(step(uses[build], "step: release-lock"), "      - "))
				log := make(chan string, 1)
				go func() {
					text, _ := run(t, r.job)
					log <- text
				}()
				container := ""
				for end := time.Now().Add(5 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
					if container, _ = r.engine.Docker("ps", "--quiet", "--no-trunc"); container != "" {
						if _, err := r.engine.Docker("exec", container, "test", "-e", "/tmp/left"); err == nil {
							break
						}
					}
					if time.Now().After(end) || len(log) > 0 {
						t.Fatalf("the job does not begin: %s", <-log)
					}
				}
				waiter := exec.CommandContext(t.Context(), "../../bin/hostguard", "with-lock", "--",
					r.engine.CLI(), "exec", container, "test", "!", "-e", "/tmp/inside")
				waiter.Env = append(os.Environ(), "DOCKER_HOST="+r.engine.Host())
				var said strings.Builder
				waiter.Stderr = &said
				if err := waiter.Start(); err != nil {
					t.Fatal(err)
				}
				docker(t, r.engine, "exec", container, "touch", "/tmp/waiting")
				err := waiter.Wait()
				gone := strings.Contains(said.String(), "No such container") || strings.Contains(said.String(), "is not running")
				if err != nil && !gone {
					t.Errorf("the work of the job goes on beside the next: %v: %s", err, said.String())
				}
				itself, tookOver := strings.Contains(<-log, "gave back lock"), strings.Contains(said.String(), "taken over")
				if itself != c.job || tookOver == c.job {
					t.Errorf("the job gave it back itself: %v, taken over: %v: %s", itself, tookOver, said.String())
				}
			})
		}
	}
}

// Package drain holds what retiring a runner in a container has to stand, on real
// engines: a runner that is idle, busy, that does not end, that is started again,
// and a daemon that loses requests.
package drain

import (
	"archive/tar"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hostguard/e2e/rig/contend"
	"hostguard/e2e/rig/engine"
	"hostguard/e2e/rig/wire"
)

const (
	idle   = "gitea-runner" // of the usual name
	secret = "planted-token"
	within = 2 * time.Minute // on a busy machine
)

// wrapped is the runner of the containers, hostguard the program as make has built
// it.
var wrapped, hostguard string

func TestMain(m *testing.M) {
	flag.Parse()
	// By default as many tests run at once as there are processors; these
	// mostly wait.
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	status, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

func run(m *testing.M) (int, error) {
	checkout, err := engine.Checkout()
	if err != nil {
		return 1, err
	}
	hostguard = filepath.Join(checkout, "bin/hostguard")
	if _, err := os.Stat(hostguard); err != nil {
		return 1, fmt.Errorf("%w: run make build", err)
	}
	dir, err := os.MkdirTemp("", "drain")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	wrapped = filepath.Join(dir, "act_runner")
	build := exec.Command("go", "build", "-o", wrapped, "./wrapped")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("%w: %s", err, out)
	}
	return m.Run(), nil
}

func TestDrain(t *testing.T) {
	for _, version := range []string{engine.Old, engine.New} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			e := start(t, version)
			t.Run("idle", func(t *testing.T) { drainsAndResumes(t, e) })
			t.Run("idle, interrupted", func(t *testing.T) { isInterruptedWhileItStops(t, e) })
			t.Run("no runner's", func(t *testing.T) { leavesOthersAlone(t, e) })
			t.Run("own build", func(t *testing.T) { drainsAnOwnBuild(t, e) })
			t.Run("beside", func(t *testing.T) { // whatever runs here is not idle
				docker(t, e, "run", "-d", "--rm", "--network", "none",
					"--name", "GITEA-ACTIONS-TASK-1_WORKFLOW-ci_JOB-web",
					"gitea/act_runner", "task")
				for name, test := range map[string]func(*testing.T, *engine.Engine){
					"a task's container": waitsForNoOtherTask, "its own job": waitsForItsOwnJob, "not in time": tellsThatItDrainsOn,
					"ends at once": doesNotResume, "cron": isRevived, "removed": isRemoved,
					"interrupted": isInterrupted, "hangup": losesItsTerminal,
					"lost": losesTheDaemon,
				} {
					t.Run(name, func(t *testing.T) {
						t.Parallel()
						test(t, e)
					})
				}
			})
		})
	}
}

// start starts an engine that has the runner's image.
func start(t *testing.T, version string) *engine.Engine {
	t.Helper()
	e := engine.ForTest(t, version)
	program, err := os.ReadFile(wrapped)
	if err != nil {
		t.Fatal(err)
	}
	var image bytes.Buffer
	w := tar.NewWriter(&image)
	err = w.WriteHeader(&tar.Header{Name: "act_runner", Mode: 0o755, Size: int64(len(program))})
	if err == nil {
		_, err = w.Write(program)
	}
	for _, name := range []string{"start", "postgres"} { // which say nothing of a runner
		err = errors.Join(err, w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Typeflag: tar.TypeLink,
			Linkname: "act_runner"}))
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	writeFile(t, file, image.String())
	for name, command := range map[string][2]string{
		"gitea/act_runner": {"act_runner", "daemon"}, "own/build": {"start", "it"}, "postgres": {"postgres", "task"},
	} {
		docker(t, e, "import", "--change", fmt.Sprintf("ENTRYPOINT [%q]", "/"+command[0]), "--change",
			fmt.Sprintf("CMD [%q]", command[1]), file, name)
	}
	return e
}

func docker(t *testing.T, e *engine.Engine, args ...string) string {
	t.Helper()
	out, err := e.Docker(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// box is a runner in a container, and what hostguard sees beside it.
type box struct {
	t    *testing.T
	e    *engine.Engine
	name string
	ctl  string // /ctl of the container
	cron string // in place of /etc/cron.d, if not ""
	host string // the daemon's address as hostguard has it
}

// newBox starts a runner, with a job of its own if it is busy.
func newBox(t *testing.T, e *engine.Engine, name string, busy bool) *box {
	t.Helper()
	b := &box{t: t, e: e, name: name, ctl: t.TempDir(), host: e.Host()}
	if busy {
		writeFile(t, b.task(), "")
	}
	docker(t, e, "run", "-d", "--network", "none", "--restart", "unless-stopped", "--name", name,
		"-v", b.ctl+":/ctl", "gitea/act_runner")
	b.says("Starting runner daemon")
	t.Cleanup(func() { _, _ = e.Docker("rm", "-f", name) })
	return b
}

func (b *box) task() string { return filepath.Join(b.ctl, "task") }

// finish ends the runner's job.
func (b *box) finish() {
	b.t.Helper()
	if err := os.Remove(b.task()); err != nil {
		b.t.Error(err)
	}
}

// says waits until the container has said something.
func (b *box) says(text string) {
	b.t.Helper()
	said := func() bool { return strings.Contains(docker(b.t, b.e, "logs", b.name), text) }
	for limit := time.Now().Add(within); !said(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(limit) {
			b.t.Fatalf("the container never said %q", text)
		}
	}
}

func (b *box) state() string {
	b.t.Helper()
	return docker(b.t, b.e, "inspect", b.name,
		"--format", "Restart={{.HostConfig.RestartPolicy.Name}} Status={{.State.Status}}")
}

// is wants the container to come to a state.
func (b *box) is(want string) {
	b.t.Helper()
	for limit := time.Now().Add(within); b.state() != want; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(limit) {
			b.t.Fatalf("the container is %s, want %s", b.state(), want)
		}
	}
}

// command is hostguard, with the box's cron tables if it has some.
func (b *box) command(verb string, args ...string) *exec.Cmd {
	args = append([]string{hostguard, "runner", verb, "-container", b.name, "-checkout", b.ctl}, args...)
	if b.cron != "" {
		args = append([]string{"unshare", "-m", "sh", "-c", `mount --bind "$0" /etc/cron.d && exec "$@"`, b.cron}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "DOCKER_HOST=" + b.host, "HOME=" + b.ctl, "GITEA_TOKEN=" + secret}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// process is hostguard while it runs.
type process struct {
	*box
	cmd  *exec.Cmd
	out  contend.Log
	done chan struct{}
}

func (b *box) begin(verb string, args ...string) *process {
	b.t.Helper()
	p := &process{box: b, cmd: b.command(verb, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	return p
}

// until waits until hostguard has said something.
func (p *process) until(text string) {
	p.t.Helper()
	for limit := time.After(within); !strings.Contains(p.out.String(), text); {
		select {
		case <-p.done:
			if !strings.Contains(p.out.String(), text) {
				p.t.Fatalf("it ended and never said %q:\n%s", text, p.out.String())
			}
		case <-limit:
			p.t.Fatalf("it never said %q:\n%s", text, p.out.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Error(err)
	}
}

// end waits for the end and wants a status and words of it, in that order.
func (p *process) end(status int, words ...string) string {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(within):
		_ = p.cmd.Process.Kill()
		p.t.Fatalf("it does not end:\n%s", p.out.String())
	}
	said, rest := p.out.String(), p.out.String()
	for _, w := range words {
		_, after, found := strings.Cut(rest, w)
		if !found {
			p.t.Errorf("it did not say %q, or not in this order:\n%s", w, said)
			break
		}
		rest = after
	}
	if got := p.cmd.ProcessState.ExitCode(); got != status {
		p.t.Errorf("it ends with status %d, want %d:\n%s", got, status, said)
	}
	if strings.Contains(said, secret) || strings.ContainsAny(said, "\x1b\r") || strings.Contains(said, "\n::") {
		p.t.Errorf("what it says is not harmless: %q", said)
	}
	return said
}

func (b *box) drained() {
	b.t.Helper()
	b.is("Restart=no Status=exited")
}

// An idle runner is stopped, and disabled where its registration says which it is.
func drainsAndResumes(t *testing.T, e *engine.Engine) {
	b := newBox(t, e, idle, false)
	var mu sync.Mutex
	var sent []string
	disabled := false
	gitea := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case r.URL.Path == "/api/v1/version":
			fmt.Fprint(w, `{"version": "1.26.0"}`)
		case r.URL.Path != "/api/v1/admin/actions/runners/5" || r.Header.Get("Authorization") != "token "+secret:
			w.WriteHeader(http.StatusForbidden)
		default:
			if r.Method == http.MethodPatch {
				body, _ := io.ReadAll(r.Body)
				disabled = strings.Contains(string(body), "true")
				sent = append(sent, string(body))
			}
			fmt.Fprintf(w, `{"id": 5, "name": "wooo-runner", "disabled": %t}`, disabled)
		}
	}))
	defer gitea.Close()
	writeFile(t, filepath.Join(b.ctl, ".runner"),
		fmt.Sprintf(`{"id": 5, "name": "wooo-runner", "token": %q, "address": %q}`,
			secret, gitea.URL+"/"))
	for _, args := range [][]string{{"init", "--quiet"}, {"remote", "add", "gitea", gitea.URL + "/wooo/awoooi"}} {
		if out, err := exec.Command("git", append([]string{"-C", b.ctl}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	apply := func(verb string, status int, words ...string) {
		t.Helper()
		b.begin(verb, "-apply").end(status, words...)
	}

	b.begin("drain").end(0, "runs: no task",
		`set the restart policy of "gitea-runner" to no (is unless-stopped)`,
		`disable the runner "wooo-runner" (5) at "`+gitea.URL+`"`,
		`stop "gitea-runner": SIGTERM, and SIGKILL if it has not ended after 1h`, "nothing is changed yet")
	b.is("Restart=unless-stopped Status=running")
	apply("drain", 0, "3. done", `undo with "hostguard runner resume -apply"`,
		"docker gitea-runner: Restart=no Status=exited\n")
	b.drained()
	apply("drain", 0, "nothing to change", "docker gitea-runner: Restart=no Status=exited\n")

	b.begin("resume").end(0, "to unless-stopped (is no)", "enable the runner", `start "gitea-runner"`,
		"nothing is changed yet")
	b.drained()
	apply("resume", 0, `undo with "hostguard runner drain -apply"`,
		"docker gitea-runner: Restart=unless-stopped Status=running\n")
	b.is("Restart=unless-stopped Status=running")
	apply("resume", 0, "nothing to change")
	if got := strings.Join(sent, " "); got != `{"disabled":true} {"disabled":false}` {
		t.Errorf("Gitea was told %s", got)
	}

	// The host's own runner has that registration by now.
	apply("drain", 0, "docker gitea-runner: Restart=no Status=exited\n")
	writeFile(t, filepath.Join(b.ctl, "config.yaml"), "runner:\n  capacity: 1\n")
	own := exec.Command(wrapped, "daemon")
	own.Dir, own.SysProcAttr = b.ctl, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := own.Start(); err != nil {
		t.Fatal(err)
	}
	b.begin("resume", "-apply", "-runner-dir", b.ctl).end(1,
		"take jobs with one registration", `or leave "gitea-runner" drained`)
	b.drained()
	if err := own.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = own.Wait()
	b.begin("resume", "-runner-dir", b.ctl).end(0,
		"cannot enable it at Gitea: the host's own runner has the same registration")
	mu.Lock()
	defer mu.Unlock()
	if !disabled {
		t.Error("it is enabled")
	}
}

func leavesOthersAlone(t *testing.T, e *engine.Engine) {
	docker(t, e, "run", "-d", "--network", "none", "--restart", "always", "--name", "db", "postgres")
	defer docker(t, e, "rm", "-f", "db")
	b := &box{t: t, e: e, name: "db", ctl: t.TempDir(), host: e.Host()}
	id := docker(t, e, "inspect", "db", "--format", "{{.Id}}")
	b.begin("drain", "-apply").end(1, `has the image "postgres", which is not a runner's, nor does one run in it: `+
		"it is not touched")
	b.begin("resume", "-apply").end(1, "it is not touched")
	b.is("Restart=always Status=running")
	b.name = id[:12] // Docker would take it
	b.begin("drain", "-apply").end(3, "there is no such container")
	b.is("Restart=always Status=running")
	b.name = "gitea-runners"
	b.begin("drain", "-apply").end(3, "there is no such container")
	b.name = idle
	docker(t, e, "rm", "-f", idle)
	b.begin("drain", "-apply").end(0, `there is no container "gitea-runner"`, "nothing to change")
}

// An own build is a runner's by what runs in it, a stopped one may be by what is mounted.
// What audit prints as the fix is what works.
func drainsAnOwnBuild(t *testing.T, e *engine.Engine) {
	for _, c := range []struct{ image, how, start, says string }{
		{"own/build", "run", "Starting runner daemon", `the container "own" runs a runner`},
		{"postgres", "create", "", `the container "own" may be a runner's: it has a registration mounted`},
	} {
		b := &box{t: t, e: e, name: "own", ctl: t.TempDir(), host: e.Host()}
		writeFile(t, filepath.Join(b.ctl, ".runner"), `{"id": 7, "name": "own"}`)
		args := []string{c.how, "--network", "none", "--restart", "always", "--name", "own", "-v", b.ctl + ":/ctl"}
		if c.how == "run" {
			args = append(args, "--detach")
		}
		docker(t, e, append(args, c.image)...)
		t.Cleanup(func() { _, _ = e.Docker("rm", "-f", "own") })
		if c.start != "" {
			b.says(c.start)
		}
		audit := b.command("audit")
		audit.Args = []string{hostguard, "runner", "audit"}
		out, err := audit.CombinedOutput()
		_, fix, _ := strings.Cut(string(out), c.says)
		if err != nil || !strings.Contains(fix, "hostguard runner drain -container own -apply") {
			t.Fatalf("%v\n%s", err, out)
		}
		b.begin("drain", "-apply").end(0, "docker own: Restart=no ")
		docker(t, e, "rm", "-f", "own")
	}
}

// A container that ends when it is started is as it was.
func doesNotResume(t *testing.T, e *engine.Engine) {
	docker(t, e, "create", "--network", "none", "--name", "short", "gitea/act_runner", "step")
	t.Cleanup(func() { _, _ = e.Docker("rm", "-f", "short") })
	b := &box{t: t, e: e, name: "short", ctl: t.TempDir(), host: e.Host()}
	b.begin("resume", "-apply").end(3, `change 2 of 2: the container "short" ends when it is started`,
		"everything is as it was before")
	b.is("Restart=no Status=exited")
	// Docker tries it again and again.
	docker(t, e, "update", "--restart", "always", "short")
	docker(t, e, "start", "short")
	state := func() string {
		return docker(t, e, "inspect", "short", "--format", "{{.State.Status}} {{lt 4 .RestartCount}}")
	}
	for limit := time.Now().Add(within); state() != "restarting true"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal(b.state())
		}
	}
	b.begin("drain", "-apply").end(0, "docker short: Restart=no Status=exited\n")
	b.drained()
}

// The container of a task may be another runner's, so it is waited for the
// runner's own end.
func waitsForNoOtherTask(t *testing.T, e *engine.Engine) {
	b := newBox(t, e, "tasks", false)
	b.begin("drain", "-apply").end(0, "runs: tasks GITEA-ACTIONS-TASK-1_WORKFLOW-ci_JOB-web",
		`send SIGINT to "tasks"`, "docker tasks: Restart=no Status=exited\n")
	b.drained()
	b.says("initiated by interrupt")
}

func waitsForItsOwnJob(t *testing.T, e *engine.Engine) {
	b := newBox(t, e, "busy", true)
	p := b.begin("drain", "-apply")
	p.until("waiting since")
	p.until(`log "::set-env name=BASH_ENV::/tmp/x\x1b[2J"`)
	b.is("Restart=no Status=running")
	b.finish()
	p.end(0, `processes beside its daemon: 1, such as "/act_runner step"`,
		`send SIGINT to "busy"`,
		"done; undo with \"hostguard runner resume -apply -container busy\"",
		"waiting since", "shutdown initiated by interrupt", "docker busy: Restart=no Status=exited\n")
	b.drained()
}

func tellsThatItDrainsOn(t *testing.T, e *engine.Engine) {
	b := newBox(t, e, "slow", true)
	b.begin("drain", "-apply", "-timeout", "1s").end(1, "not ended after", "processes beside its daemon: 1",
		"it got SIGINT, which cannot be undone: it keeps draining")
	b.is("Restart=no Status=running")
	p := b.begin("drain", "-apply")
	p.until("waiting since")
	b.finish()
	p.end(0, "docker slow: Restart=no Status=exited\n")
}

// A real cron, in namespaces of its own, runs a script that starts what does not
// run, as the health monitor did that brought two runners at once.
func isRevived(t *testing.T, e *engine.Engine) {
	b := newBox(t, e, "healed", true)
	b.cron = t.TempDir()
	script := filepath.Join(b.ctl, "docker-health-monitor.sh")
	writeFile(t, script, `#!/bin/sh
for c in gitea-db healed; do
	docker wait "$c" || continue
	docker start "$c"
done
`)
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	table := filepath.Join(b.cron, "heal")
	writeFile(t, table,
		fmt.Sprintf("DOCKER_HOST=%s\nPATH=%s:/usr/bin:/bin\n@reboot root %s\n",
			e.Host(), filepath.Dir(e.CLI()), script))
	names := []string{
		`"/etc/cron.d/heal" line 3 runs`,
		`docker-health-monitor.sh", whose line 4 starts the retired runner: "docker start $c"`,
	}

	p := b.begin("drain", "-apply")
	p.until("waiting since")
	stop := runCron(t, b.cron)
	b.finish()
	// A busy engine takes longer to start it than a drain looks on: then it reports what does.
	said := p.end(1)
	if !strings.Contains(said, `the container "healed" was started again while it drained`) &&
		!strings.Contains(said, `"healed" is not drained while that starts it again`) {
		t.Errorf("it reports no start:\n%s", said)
	}
	b.is("Restart=no Status=running")
	stop()
	// Not by itself again, but what did it is there.
	p = b.begin("drain", "-apply")
	reports := append([]string{"docker healed: Restart=no Status=exited"}, names...)
	p.end(1, append(reports, `"healed" is not drained while that starts it again`)...)
	b.begin("drain", "-apply", "-force").end(0, "nothing to change", names[0], "-force counts it as drained")
	if err := os.Remove(table); err != nil {
		t.Fatal(err)
	}
	b.begin("drain", "-apply").end(0, "nothing to change", "docker healed: Restart=no Status=exited\n")
}

// runCron runs Debian's cron on tables, until stop.
func runCron(t *testing.T, tables string) (stop func()) {
	t.Helper()
	checkout, err := engine.Checkout()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", `
		mount --bind "$0" /etc/cron.d
		mount -t tmpfs none /run
		mount -t tmpfs none /var/spool
		(cat /etc/group && echo crontab:x:9999:) >/run/group # which its package makes
		mount --bind /run/group /etc/group
		mkdir -m 1730 -p /var/spool/cron/crontabs
		exec "$1" -f`, tables, filepath.Join(checkout, ".cache/cron/usr/sbin/cron"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(stop)
	return stop
}

func isRemoved(t *testing.T, e *engine.Engine) {
	b := newBox(t, e, "removed", true)
	p := b.begin("drain", "-apply")
	p.until("waiting since")
	docker(t, e, "rm", "-f", "removed")
	p.end(1, `the container "removed" is gone`)
}

// told tells whether the runner got a signal.
func (b *box) told() bool {
	b.t.Helper()
	return strings.Contains(docker(b.t, b.e, "logs", b.name), "shutdown initiated")
}

// honest wants the container in the state that hostguard says it has left.
func (b *box) honest(said string) {
	b.t.Helper()
	state, told := b.state(), b.told()
	right := false
	switch {
	case strings.Contains(said, "keeps draining: it got SIGINT"):
		right = told && strings.HasPrefix(state, "Restart=no ")
	case strings.Contains(said, "may have got SIGINT"):
		right = strings.HasPrefix(state, "Restart=no ")
	case strings.Contains(said, "everything is as it was before"), !strings.Contains(said, "done"):
		right = !told && state == "Restart=unless-stopped Status=running"
	case strings.Contains(said, "docker "+b.name+": Restart=no Status=exited"):
		right = told && state == "Restart=no Status=exited"
	}
	if !right {
		b.t.Errorf("the container is %s, told %t, and it said:\n%s", state, told, said)
	}
}

// Ctrl-C at each request: the container is as it was, or drains on, and the last
// line says which.
func isInterrupted(t *testing.T, e *engine.Engine) {
	for name, request := range map[string]string{
		"look": "GET /containers/json", "policy": "POST /update",
		"signal": "POST /kill", "wait": "GET /logs",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t, e, "interrupted-"+name, true)
			came, interrupted := make(chan struct{}), make(chan struct{})
			var once sync.Once
			b.through(func(r *http.Request) wire.Fate {
				if is(r, request) {
					once.Do(func() {
						close(came)
						<-interrupted
					})
				}
				return wire.Fate{}
			})
			p := b.begin("drain", "-apply")
			select {
			case <-came:
			case <-p.done:
			}
			p.signal(syscall.SIGINT)
			time.Sleep(100 * time.Millisecond) // in most runs it has the signal by then, and it has to be right in all
			close(interrupted)
			b.honest(p.end(130, "interrupted by SIGINT"))
		})
	}
}

// The stop goes on, whoever waited for it.
func isInterruptedWhileItStops(t *testing.T, e *engine.Engine) {
	docker(t, e, "rm", "-f", idle)
	b := newBox(t, e, idle, false)
	came, interrupted := make(chan struct{}), make(chan struct{})
	b.through(func(r *http.Request) wire.Fate {
		if is(r, "POST /stop") {
			close(came)
			<-interrupted
		}
		return wire.Fate{}
	})
	p := b.begin("drain", "-apply")
	<-came
	p.signal(syscall.SIGINT)
	p.end(130, "keeps draining: it got SIGTERM, which cannot be undone", "interrupted by SIGINT")
	b.is("Restart=no Status=running")
	close(interrupted)
	b.drained()
}

// A service manager ends it; or its terminal is closed, and its output with it.
func losesItsTerminal(t *testing.T, e *engine.Engine) {
	b := newBox(t, e, "hangup", true)
	p := b.begin("drain", "-apply")
	p.until("waiting since")
	p.signal(syscall.SIGTERM)
	p.end(143, "keeps draining: it got SIGINT")

	c := newBox(t, e, "hangup-closed", true)
	cmd := c.command("drain", "-apply")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = write, write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	c.says("shutdown initiated")
	_ = read.Close()
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 143 {
		t.Errorf("it ends with status %d (%v), want 143", got, cmd.ProcessState)
	}
	c.is("Restart=no Status=running")
	c.finish()
	c.drained()
	c.begin("drain", "-apply").end(0, "nothing to change", "docker hangup-closed: Restart=no Status=exited\n")
}

// Whatever request is lost on its way, or its answer on the way back.
func losesTheDaemon(t *testing.T, e *engine.Engine) {
	for request, nth := range map[string]int{
		"POST /update": 1, "POST /kill": 1, "GET /json": 6,
		"GET /containers/json": 4, "GET /top": 3, "GET /logs": 1,
	} {
		for act, what := range map[wire.Act]string{wire.DropRequest: "request", wire.DropReply: "reply"} {
			t.Run(request+" "+what, func(t *testing.T) {
				t.Parallel()
				b := newBox(t, e, "lost-"+strings.NewReplacer("/", "", " ", "-").Replace(request)+"-"+what, true)
				var mu sync.Mutex
				n := 0
				b.through(func(r *http.Request) wire.Fate {
					mu.Lock()
					defer mu.Unlock()
					if is(r, request) {
						if n++; n == nth {
							return wire.Fate{Act: act}
						}
					}
					return wire.Fate{}
				})
				status, timeout := 0, "20s"
				if request == "POST /kill" && act == wire.DropRequest { // nobody knows
					status, timeout = 1, "3s"
				}
				p := b.begin("drain", "-apply", "-timeout", timeout)
				for limit := time.After(within); !strings.Contains(p.out.String(), "waiting since"); {
					select {
					case <-p.done:
						b.honest(p.out.String())
						return
					case <-limit:
						t.Fatalf("it says no more than:\n%s", p.out.String())
					case <-time.After(10 * time.Millisecond):
					}
				}
				b.finish()
				b.honest(p.end(status))
			})
		}
	}
}

// through puts a proxy before the daemon that hostguard asks.
func (b *box) through(decide func(*http.Request) wire.Fate) {
	b.t.Helper()
	p, err := wire.Start(b.e.Host(), decide)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := p.Close(); err != nil {
			b.t.Error(err)
		}
	})
	b.host = p.Host()
}

var version = regexp.MustCompile(`^/v[0-9.]+`)

// is tells a request by its method and the end of its path.
func is(r *http.Request, want string) bool {
	method, path, _ := strings.Cut(want, " ")
	return r.Method == method && strings.HasSuffix(version.ReplaceAllString(r.URL.Path, ""), path)
}

package workflow

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hostguard/e2e/rig/engine"
)

// binary is hostguard as make has built it.
func binary(t *testing.T) string {
	t.Helper()
	checkout, err := engine.Checkout()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(checkout, "bin", "hostguard")
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run make build", err)
	}
	return path
}

const task = "GITEA-ACTIONS-TASK-7_WORKFLOW-ci_JOB-web"

// work is a loop of a shell that uses some of a core: who only sleeps is no build.
const work = `while sleep 0.1; do i=0; while [ $i -lt 10000 ]; do i=$((i+1)); done; done`

// A build in another container is seen from the host, by its process, and from
// inside a container, through Docker; without Docker memory and stall decide.
func TestABuildInAContainerIsSeenFromOutsideAndFromAnotherContainer(t *testing.T) {
	for _, version := range []string{engine.Old, engine.New} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			e := engine.ForTest(t, version)
			if err := e.ImportEmpty("empty"); err != nil {
				t.Fatal(err)
			}
			docker(t, e, "run", "-d", "--rm", "--network", "none", "--name", task, "-w", "/src",
				"-e", "GITHUB_REPOSITORY=wooo/other",
				"-e", "PASSWORD=planted-secret", "-v", "/usr:/usr:ro", "empty", "bash", "-c",
				`exec -a "next-build (v16.4.6)" sh -c '`+work+`' -- --token=planted-secret`)
			secret := func(out string) {
				if strings.Contains(out, "planted-secret") {
					t.Errorf("a secret is printed:\n%s", out)
				}
			}
			inside := func(more ...string) (int, string) {
				args := append([]string{"run", "--rm", "--network", "none", "-v", binary(t) + ":/hostguard:ro"}, more...)
				return status(exec.Command(e.CLI(), args...), "DOCKER_HOST="+e.Host())
			}
			socket := strings.TrimPrefix(e.Host(), "unix://")

			scope := "the whole host"
			if !firstPIDNamespace(t) {
				scope = "this container only, builds outside it are out of sight"
			}
			// A check would give a busy daemon 0.2 s.
			once := []string{"wait-pressure", "-mode", "hard-fail", "-max-attempts", "1"}
			var code int
			var out string
			for range 5 { // a daemon that has just started a container may give its name too late
				code, out = status(exec.Command(binary(t), once...), "DOCKER_HOST="+e.Host())
				if strings.Contains(out, task) {
					break
				}
			}
			for _, want := range []string{
				`next build \(pid [0-9]+, for .*in "/src", container "` + task + `", ` +
					`of "wooo/other" workflow "ci" job "web" task "7"`,
				scope,
			} {
				secret(out)
				if code != 1 || !regexp.MustCompile(want).MatchString(out) {
					t.Errorf("on the host: status %d, want 1 and %s:\n%s", code, want, out)
				}
			}
			withDocker := []string{"-v", socket + ":/var/run/docker.sock", "empty", "/hostguard"}
			code, out = inside(slices.Concat(withDocker, once)...)
			for _, want := range []string{
				`next build \(pid [0-9]+, for .*in "/src", container "` + task + `", workflow "ci" job "web" task "7"`,
				`this container, and 1 of 1 others through Docker; builds outside containers`,
			} {
				secret(out)
				if code != 1 || !regexp.MustCompile(want).MatchString(out) {
					t.Errorf("in a container: status %d, want 1 and %s:\n%s", code, want, out)
				}
			}
			code, out = inside(slices.Concat(withDocker, once, []string{"-exclude", "/src"})...)
			if code != 0 {
				t.Errorf("in a container, excluded: status %d\n%s", code, out)
			}
			code, out = inside("empty", "/hostguard", "wait-pressure", "-check", "-min-memory", "1M")
			const alone = "this container only, builds outside it are out of sight; no Docker daemon at"
			if code != 0 || !strings.Contains(out, alone) || !strings.Contains(out, "judged by memory and stall") {
				t.Errorf("without Docker: status %d\n%s", code, out)
			}
			if code, out = inside("empty", "/hostguard", "wait-pressure", "-check", "-min-memory", "1000000G"); code != 1 {
				t.Errorf("without Docker and memory: status %d\n%s", code, out)
			}
			// A job container is the job's own, with all that its earlier steps left.
			docker(t, e, "rm", "-f", task)
			docker(t, e, "run", "-d", "--rm", "--network", "none", "--name", task, "-v", "/usr:/usr:ro",
				"-v", binary(t)+":/hostguard:ro",
				"-v", socket+":/var/run/docker.sock", "empty", "sleep", "300")
			docker(t, e, "exec", "-d", "-w", "/tmp", task, "bash", "-c",
				`exec -a "next-build (v16.4.6)" sh -c '`+work+`'`)
			for workspace, want := range map[string]int{"/src": 0, "/nowhere": 1} {
				code, out = status(exec.Command(e.CLI(), "exec", "-w", "/src", "-e", "GITHUB_WORKSPACE="+workspace, task,
					"sh", "-c",
					"until cat /proc/[0-9]*/cmdline 2>/dev/null | grep -qa '[n]ext-build (v16.4.6).-c'; "+
						"do sleep 0.01; done; /hostguard wait-pressure -check; exit $?"),
					"DOCKER_HOST="+e.Host())
				if code != want {
					t.Errorf("in a job container, workspace %s: status %d\n%s", workspace, code, out)
				}
			}
			code, out = status(exec.Command(binary(t), once...), "DOCKER_HOST="+e.Host())
			if code != 1 || !strings.Contains(out, task) {
				t.Errorf("a job container, seen from the host: status %d\n%s", code, out)
			}
			docker(t, e, "rm", "-f", task)
			code, out = inside("-v", socket+":/var/run/docker.sock", "empty", "/hostguard", "wait-pressure", "-check")
			if code != 0 {
				t.Errorf("after its end: status %d\n%s", code, out)
			}
			nothingLeft(t, e)
		})
	}
}

// status runs a command and returns how it ended and all that it said.
func status(cmd *exec.Cmd, env ...string) (int, string) {
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		return -1, err.Error()
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// plantedBuild is a process that a pattern of its own matches.
func plantedBuild(t *testing.T, name string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "300")
	cmd.Args[0], cmd.Dir = name, t.TempDir()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// alone runs a test once more in a process table of its own, where nobody else builds. It
// returns true there.
func alone(t *testing.T) bool {
	t.Helper()
	const variable = "HOSTGUARD_TEST_ALONE"
	if os.Getenv(variable) == t.Name() {
		return true
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--pid", "--fork", "--kill-child", "--mount-proc",
		"sh", "-c", `"$@"; exit $?`, "sh", program, "-test.run=^"+t.Name()+"$", "-test.timeout=10m")
	if code, out := status(cmd, variable+"="+t.Name()); code != 0 || !strings.Contains(out, "PASS") {
		t.Errorf("alone: status %d\n%s", code, out)
	}
	return false
}

// Three jobs wait for a build. At its end they build one after another, without
// any lock around their builds, although a build takes a while to begin.
func TestThoseWhoWaitForABuildDoNotAllStartAtItsEnd(t *testing.T) {
	if !alone(t) {
		return
	}
	e := engine.ForTest(t, engine.New)
	name := fmt.Sprintf("planted-%d", os.Getpid())
	first := plantedBuild(t, name)
	log := filepath.Join(t.TempDir(), "log")
	var jobs sync.WaitGroup
	said := make([]*output, 3)
	for i := range said {
		cmd := exec.Command("bash", "-c",
			`"$HOSTGUARD" wait-pressure -mode hard-fail -interval 1s -max-attempts 200 -patterns "$NAME" &&
			sleep 0.6 && echo begin >>"$LOG" && (exec -a "$NAME" sleep 0.8); echo end >>"$LOG"`)
		cmd.Dir = t.TempDir()
		cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Host(), "HOSTGUARD="+binary(t), "NAME="+name, "LOG="+log)
		said[i] = &output{seen: make(chan struct{}), want: "waiting, "}
		cmd.Stdout, cmd.Stderr = said[i], said[i]
		jobs.Go(func() {
			if err := cmd.Run(); err != nil {
				t.Errorf("%v: %s", err, said[i].text.String())
			}
		})
	}
	for _, o := range said {
		select {
		case <-o.seen:
		case <-time.After(time.Minute):
			t.Fatal("a job does not wait")
		}
	}
	_ = first.Process.Kill()
	_ = first.Wait()
	jobs.Wait()
	if got := readFile(t, log); string(got) != strings.Repeat("begin\nend\n", len(said)) {
		t.Errorf("the builds overlap:\n%s", got)
	}
	nothingLeft(t, e)
}

// output waits for words.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	want string
	seen chan struct{}
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := strings.Contains(o.text.String(), o.want)
	o.text.Write(p)
	if !before && strings.Contains(o.text.String(), o.want) {
		close(o.seen)
	}
	return len(p), nil
}

// Two jobs build already when each comes to wait for the other: one of them goes
// on, and the other after it.
func TestTwoJobsThatBuildDoNotWaitForEachOther(t *testing.T) {
	if !alone(t) {
		return
	}
	e := engine.ForTest(t, engine.New)
	name := fmt.Sprintf("planted-mutual-%d", os.Getpid())
	var jobs sync.WaitGroup
	for range 2 {
		workspace := t.TempDir()
		cmd := exec.Command("bash", "-c", `cd "$GITHUB_WORKSPACE"; (cd /; exec -a "$NAME" sleep 300) & build=$!
			"$HOSTGUARD" wait-pressure -mode hard-fail -interval 300ms -max-attempts 60 -patterns "$NAME"; status=$?
			kill $build; exit $status`)
		cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Host(), "HOSTGUARD="+binary(t), "NAME="+name,
			"GITHUB_WORKSPACE="+workspace, "GITHUB_REPOSITORY=wooo/"+filepath.Base(workspace))
		jobs.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	jobs.Wait()
	nothingLeft(t, e)
}

// Who may not look into a build still sees that there is one.
func TestABuildOfAnotherUserCountsWithoutItsDirectory(t *testing.T) {
	plantedBuild(t, "planted-root")
	program := filepath.Join(t.TempDir(), "hostguard")
	if err := os.WriteFile(program, readFile(t, binary(t)), 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Open(program) // its folder may be closed to others
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	cmd := exec.Command("/proc/self/fd/3", "wait-pressure", "-check", "-patterns", "planted-root")
	cmd.Args[0], cmd.Dir, cmd.ExtraFiles = "hostguard", "/", []*os.File{self}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	code, out := status(cmd)
	planted := regexp.MustCompile(`planted-root \(pid [0-9]+, for .*, in a directory that cannot be read, CPU `)
	if code != 1 || !planted.MatchString(out) {
		t.Errorf("status %d\n%s", code, out)
	}
}

// What a runner has started counts by its CPU time, whatever its name.
func TestAHeavyJobIsSeenWhateverItRuns(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "0123456789abcdef/hostexecutor")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	step := fmt.Sprintf("for i in $(seq %d); do while :; do :; done & done; wait", 2*runtime.NumCPU())
	cmd := exec.Command("bash", "-c", `bash -c "$1"; true`, "sh", step, "daemon")
	cmd.Args[0], cmd.Dir = "act_runner", dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(3 * time.Minute); ; {
		code, out := status(exec.Command(binary(t), "wait-pressure", "-check"))
		if want := "heavy job (pid "; code == 1 && strings.Contains(out, want) && strings.Contains(out, dir) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it is not seen:\n%s", out)
		}
	}
	for deadline := time.Now().Add(3 * time.Minute); ; {
		_, out := status(exec.Command(binary(t), "wait-pressure", "-check", "-by-weight=false"))
		if strings.Contains(out, "runs here: heavy job") {
			t.Fatalf("it counts:\n%s", out)
		}
		if strings.Contains(out, "does not count: heavy job (pid ") {
			return
		}
		if time.Now().After(deadline) { // while builds of others count, a look takes no second sample
			t.Fatalf("it is not shown:\n%s", out)
		}
	}
}

// A user who wants to hold up everybody gets no further than that: the look
// takes no longer, and the line is bounded.
func TestThousandsThatCallThemselvesBuildsAreCounted(t *testing.T) {
	const many = 1000
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	started := make([]*os.Process, 0, many)
	defer func() {
		w.Close()
		for _, p := range started {
			_, _ = p.Wait()
		}
	}()
	for range many {
		argv := []string{"next-build (\n::set-env name=BASH_ENV::/x", "-"}
		p, err := os.StartProcess("/bin/cat", argv, &os.ProcAttr{Files: []*os.File{r, null, null}})
		if err != nil {
			t.Fatal(err)
		}
		started = append(started, p)
	}
	start := time.Now()
	code, out := status(exec.Command(binary(t), "wait-pressure", "-check"))
	t.Logf("a check took %s", time.Since(start))
	if code != 1 || !strings.Contains(out, "heavy builds run here: ") ||
		len(out) > 10_000 || strings.Contains(out, "set-env") {
		t.Errorf("status %d, %d bytes\n%.2000s", code, len(out), out)
	}
}

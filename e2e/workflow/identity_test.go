package workflow

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hostguard/e2e/rig/engine"
)

// toolbox is an engine whose containers have this machine's programs, hostguard and
// the engine's socket.
type toolbox struct {
	*engine.Engine
	t       *testing.T
	mounted []string // flags for docker run
}

func startTools(t *testing.T, version string) toolbox {
	t.Helper()
	e := engine.ForTest(t, version)
	if err := e.ImportEmpty("base"); err != nil {
		t.Fatal(err)
	}
	binary, err := filepath.Abs("../../bin/hostguard")
	if err != nil {
		t.Fatal(err)
	}
	socket := strings.TrimPrefix(e.Host(), "unix://")
	return toolbox{e, t, []string{
		"--volume", "/usr:/usr:ro", "--volume", binary + ":/hostguard:ro",
		"--volume", socket + ":/var/run/docker.sock",
	}}
}

// start starts a container and has it removed in the end.
func (h toolbox) start(args ...string) (id string) {
	h.t.Helper()
	id = docker(h.t, h.Engine, append(append([]string{"run", "--detach"}, h.mounted...), args...)...)
	h.t.Cleanup(func() { _, _ = h.Docker("rm", "--force", id) })
	return id
}

// hostguard runs it on the host, within a while.
func (h toolbox) hostguard(args ...string) (status int, said string) {
	h.t.Helper()
	return h.run(exec.Command("../../bin/hostguard", args...))
}

// inside runs it in a container.
func (h toolbox) inside(id string, env []string, args ...string) (status int, said string) {
	h.t.Helper()
	flags := []string{"exec"}
	for _, v := range env {
		flags = append(flags, "--env", v)
	}
	return h.run(exec.Command(h.CLI(), append(append(flags, id, "/hostguard"), args...)...))
}

func (h toolbox) run(cmd *exec.Cmd) (status int, said string) {
	h.t.Helper()
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+h.Host(), "GITHUB_ACTIONS=")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		h.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// acquired and refused expect how an acquire-lock ended.
func (h toolbox) acquired(status int, said string) {
	h.t.Helper()
	if status != 0 {
		h.t.Fatalf("status %d, want the lock; it said:\n%s", status, said)
	}
}

func (h toolbox) refused(status int, said string) {
	h.t.Helper()
	if status != 1 {
		h.t.Fatalf("status %d, want no lock; it said:\n%s", status, said)
	}
}

// state is what status says of the lock.
func (h toolbox) state() string {
	h.t.Helper()
	_, said := h.hostguard("status")
	return said
}

const soon = "-timeout=2s"

// Whatever is run in one container has that in common, and no job.
func TestTwoInOneContainerAreTwo(t *testing.T) {
	t.Parallel()
	h := startTools(t, engine.New)
	for name, env := range map[string]struct{ first, second []string }{
		"shells": {},
		"jobs of two repositories": {
			[]string{"GITHUB_ACTIONS=true", "GITHUB_REPOSITORY=wooo/a", "GITHUB_RUN_ID=7", "GITHUB_JOB=build"},
			[]string{"GITHUB_ACTIONS=true", "GITHUB_REPOSITORY=wooo/b", "GITHUB_RUN_ID=8", "GITHUB_JOB=build"},
		},
		"legs of a matrix": {
			[]string{"GITHUB_ACTIONS=true", "GITHUB_REPOSITORY=wooo/a", "GITHUB_RUN_ID=7", "GITHUB_JOB=build"},
			[]string{"GITHUB_ACTIONS=true", "GITHUB_REPOSITORY=wooo/a", "GITHUB_RUN_ID=7", "GITHUB_JOB=build"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := h
			h.t = t
			tools := h.start("--network=none", "base", "sleep", "600")
			h.acquired(h.inside(tools, env.first, "acquire-lock"))
			h.refused(h.inside(tools, env.second, "acquire-lock", soon))
			status, said := h.inside(tools, env.second, "release-lock")
			if status != 0 || !strings.Contains(said, "nothing to give back") {
				t.Errorf("release-lock: status %d: %s", status, said)
			}
			h.refused(h.inside(tools, env.second, "acquire-lock", soon))
			docker(t, h.Engine, "rm", "--force", tools)
			h.acquired(h.hostguard("with-lock", soon, "--", "true"))
		})
	}
}

// A container in the network of another shows that one's ID in its mounts. The
// other one's end is not its own.
func TestAContainerInTheNetworkOfAnother(t *testing.T) {
	for _, version := range []string{engine.Old, engine.New} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			h := startTools(t, version)
			for _, groups := range []string{"host", "private"} { // whether the control group's name is seen
				service := h.start("--network=none", "base", "sleep", "600")
				job := h.start("--network=container:"+service, "--cgroupns="+groups, "base", "sleep", "600")
				h.acquired(h.inside(job, []string{"GITHUB_ACTIONS=true", "GITHUB_RUN_ID=7"}, "acquire-lock"))
				docker(t, h.Engine, "rm", "--force", service)
				h.refused(h.hostguard("acquire-lock", soon))
				if said := h.state(); !strings.Contains(said, "alive") {
					t.Errorf("cgroupns %s: status says:\n%s", groups, said)
				}
				docker(t, h.Engine, "rm", "--force", job)
				h.acquired(h.hostguard("with-lock", soon, "--", "true"))
			}
		})
	}
}

// The first process of a container that is started again waits for what its former
// life held, until the daemon says that it was started since.
func TestAContainerThatIsStartedAgain(t *testing.T) {
	for _, version := range []string{engine.Old, engine.New} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			h := startTools(t, version)
			id := h.start("--network=none", "--restart=always", "base",
				"/hostguard", "with-lock", "-legacy-settle=0s", "--", "sleep", "600")
			log := func() string { return docker(t, h.Engine, "logs", id) }
			until(t, time.Minute, func() bool { return strings.Count(log(), "acquired lock") == 1 })
			kill(t, docker(t, h.Engine, "inspect", "--format={{.State.Pid}}", id))
			until(t, time.Minute, func() bool { return strings.Count(log(), "acquired lock") == 2 })
			if said := log(); !strings.Contains(said, "orphan because its container ") {
				t.Errorf("it said:\n%s", said)
			}
		})
	}
}

// A container that runs says nothing of a command in it that was killed.
func TestWithLockKilledInAContainerThatRunsOn(t *testing.T) {
	t.Parallel()
	h := startTools(t, engine.New)
	tools := h.start("--network=none", "base", "sleep", "600")
	hold := func() *exec.Cmd {
		cmd := exec.Command(h.CLI(), "exec", tools, "/hostguard", "with-lock", "-stale-after=2s", "--",
			"sh", "-c", "echo inside $$; exec sleep 600")
		cmd.Env = append(os.Environ(), "DOCKER_HOST="+h.Host())
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); !strings.HasPrefix(line, "inside ") {
			t.Fatalf("%q, %v", line, err)
		}
		return cmd
	}
	cmd := hold()
	// From the host its processes are seen: it lives, however old.
	time.Sleep(2 * time.Second)
	h.refused(h.hostguard("acquire-lock", soon))
	// From another container they are not: its age counts.
	other := h.start("--network=none", "base", "sleep", "600")
	if _, said := h.inside(other, nil, "status"); !strings.Contains(said, "stale") {
		t.Errorf("status in another container says:\n%s", said)
	}
	for pid := range strings.FieldsSeq(docker(t, h.Engine, "top", tools, "-eo", "pid,args")) {
		args, _ := os.ReadFile("/proc/" + pid + "/cmdline")
		held := bytes.HasPrefix(args, []byte("/hostguard\x00with-lock"))
		if held || bytes.HasPrefix(args, []byte("sleep\x00600")) && !first(pid) {
			kill(t, pid)
		}
	}
	_ = cmd.Wait()
	h.acquired(h.hostguard("with-lock", "-timeout=5s", "--", "true"))
}

// first tells that a process is the first of its container.
func first(pid string) bool {
	status, _ := os.ReadFile("/proc/" + pid + "/status")
	_, line, _ := strings.Cut(string(status), "\nNSpid:")
	line, _, _ = strings.Cut(line, "\n")
	return strings.HasSuffix(line, "\t1")
}

func kill(t *testing.T, pid string) {
	t.Helper()
	var n int
	if _, err := fmt.Sscan(pid, &n); err != nil || n < 2 {
		t.Fatalf("no pid: %q", pid)
	}
	if err := syscall.Kill(n, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func until(t *testing.T, limit time.Duration, done func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s", limit)
		}
	}
}

// In a time namespace the boot-time clock and the start times of processes are
// others: a lock of a moment ago is not three hours old there, nor its process
// another's.
func TestATimeNamespaceAgesNoLock(t *testing.T) {
	t.Parallel()
	h := startTools(t, engine.New)
	apart := func(args ...string) *exec.Cmd {
		unshare := []string{"--time", "--boottime=10800", "--fork", "--kill-child", "../../bin/hostguard"}
		return exec.Command("unshare", append(unshare, args...)...)
	}
	h.acquired(h.hostguard("acquire-lock"))
	h.refused(h.run(apart("acquire-lock", soon)))
	id := docker(t, h.Engine, "network", "ls", "--no-trunc", "--quiet", "--filter", "name=awoooi-cd-docker-build-lock")
	if status, said := h.hostguard("release-lock", "-lock-id", id); status != 0 || !strings.Contains(said, "gave back") {
		t.Fatalf("status %d: %s", status, said)
	}
	h.acquired(h.run(apart("acquire-lock")))
	h.refused(h.hostguard("acquire-lock", soon))
	for i, hold := range []*exec.Cmd{
		exec.Command("../../bin/hostguard", "with-lock", "-lock-name=second", "--", "cat"),
		apart("with-lock", "-lock-name=third", "--", "cat"),
	} {
		hold.Env = append(os.Environ(), "DOCKER_HOST="+h.Host())
		stdin, err := hold.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := hold.Start(); err != nil {
			t.Fatal(err)
		}
		name := []string{"second", "third"}[i]
		until(t, time.Minute, func() bool {
			return docker(t, h.Engine, "network", "ls", "-q", "--filter", "name=^"+name+"$") != ""
		})
		if i == 0 {
			h.refused(h.run(apart("acquire-lock", "-lock-name="+name, soon)))
		} else {
			h.refused(h.hostguard("acquire-lock", "-lock-name="+name, soon))
		}
		stdin.Close()
		if err := hold.Wait(); err != nil {
			t.Error(err)
		}
	}
}

// Two deploys of one server: what the first one took is not the second one's to
// give back. That of a caller that does one thing after another is.
func TestOneParentTwoDeploys(t *testing.T) {
	t.Parallel()
	h := startTools(t, engine.New)
	// This process does the work of the server.
	h.acquired(h.hostguard("acquire-lock"))
	h.refused(h.hostguard("acquire-lock", soon))
	if status, said := h.hostguard("release-lock", "-mode=hard-fail"); status != 1 || !strings.Contains(said, "-lock-id") {
		t.Errorf("the second one's release-lock: status %d: %s", status, said)
	}
	h.refused(h.hostguard("acquire-lock", soon))
	id := docker(t, h.Engine, "network", "ls", "--no-trunc", "--quiet", "--filter", "name=awoooi-cd-docker-build-lock")
	status, said := h.hostguard("release-lock", "-mode=hard-fail", "-lock-id="+id)
	if status != 0 || !strings.Contains(said, "gave back") {
		t.Errorf("by its ID: status %d: %s", status, said)
	}
	script := `"$0" acquire-lock && "$0" release-lock && "$0" acquire-lock -timeout 2s && "$0" release-lock`
	status, said = h.run(exec.Command("sh", "-c", script, "../../bin/hostguard"))
	if status != 0 || strings.Count(said, "gave back") != 2 {
		t.Errorf("a shell: status %d: %s", status, said)
	}
	h.acquired(h.hostguard("acquire-lock")) // and what has been given back is forgotten
	if status, said := h.hostguard("release-lock"); status != 0 || !strings.Contains(said, "gave back") {
		t.Errorf("the only one: status %d: %s", status, said)
	}
	nothingLeft(t, h.Engine)
	// What a job or a with-lock holds is not given back by its ID.
	hold := exec.Command("../../bin/hostguard", "with-lock", "--", "cat")
	hold.Env = append(os.Environ(), "DOCKER_HOST="+h.Host())
	stdin, err := hold.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := hold.Start(); err != nil {
		t.Fatal(err)
	}
	ids := func() string {
		return docker(t, h.Engine, "network", "ls", "--no-trunc", "--quiet", "--filter", "name=awoooi-cd-docker-build-lock")
	}
	until(t, time.Minute, func() bool { return ids() != "" })
	if status, said := h.hostguard("release-lock", "-lock-id="+ids()); status != 2 || ids() == "" {
		t.Errorf("a with-lock's: status %d: %s", status, said)
	}
	stdin.Close()
	if err := hold.Wait(); err != nil {
		t.Error(err)
	}
}

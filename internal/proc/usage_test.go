package proc

import (
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"hostguard/pressure"
)

func TestUsageIsReadBehindAnyName(t *testing.T) {
	const rest = " S 7 7 7 0 -1 4194304 100 200 0 0 11 22 33 44 20 0 5000 0 12345 999 3 18446744073709551615"
	want := pressure.Usage{Parent: 7, CPU: 1100 * time.Millisecond, Memory: 3 * int64(os.Getpagesize())}
	for _, name := range []string{"(node)", "(a) S 1 (b)", "(\n) R)", "()"} {
		s, err := parseStat([]byte("42 " + name + rest))
		got := s.usage()
		effort := 1100*time.Millisecond + 300*faultEffort
		if err != nil || got != want || s.effort() != effort || s.start != 12345 || s.threads != 5000 {
			t.Errorf("%q: %+v %+v, %v", name, got, s, err)
		}
	}
	for _, text := range []string{"", "42", "42 (node", "42 (node) S 1 2 3", "no process"} {
		if got, err := parseStat([]byte(text)); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestUsageOfThisProcess(t *testing.T) {
	for start := time.Now(); time.Since(start) < 30*time.Millisecond; { // some ticks of work
	}
	got := Table{}.Usage(t.Context())[os.Getpid()]
	if got.Parent != os.Getppid() || got.CPU <= 0 || got.Memory < 1<<20 {
		t.Errorf("usage: %+v", got)
	}
	private := Table{}.Private(os.Getpid())
	large := slices.Repeat([]byte{1}, 32<<20)
	if more := (Table{}).Private(os.Getpid()); private < 1<<20 || more < private+int64(len(large)/2) {
		t.Errorf("private memory: %d, and %d with %d more", private, more, len(large))
	}
	runtime.KeepAlive(large)
}

// An environment holds secrets: nothing but the names of the job is taken.
func TestOfAnEnvironmentOnlyTheJobIsRead(t *testing.T) {
	environ := strings.Join([]string{
		"GITHUB_TOKEN=secret", "GITHUB_REPOSITORY=wooo/awoooi", "XGITHUB_RUN_ID=secret",
		"GITHUB_RUN_ID=4711", "GITHUB_RUN_ID_X=secret",
		"GITHUB_RUN_NUMBER=12", "GITHUB_WORKFLOW=ci\n::x", "GITHUB_JOB=" + strings.Repeat("x", 201),
		"PASSWORD=secret", "=", "", "no equals",
	}, "\x00")
	want := pressure.Job{Repository: "wooo/awoooi", RunID: "4711", RunNumber: "12", Workflow: "ci\n::x"}
	if got := jobOf([]byte(environ)); got != want {
		t.Errorf("job: %+v", got)
	}
	if got := jobOf(bytes.Repeat([]byte{0}, 100)); got != (pressure.Job{}) {
		t.Errorf("job of nothing: %+v", got)
	}
}

func TestTheJobOfAProcess(t *testing.T) {
	cmd := exec.Command("/bin/cat")
	cmd.Env = []string{"GITHUB_REPOSITORY=wooo/awoooi", "SECRET=planted", "GITHUB_RUN_ID=17"}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer stdin.Close()
	want := pressure.Job{Repository: "wooo/awoooi", RunID: "17"}
	var got pressure.Job
	for end := time.Now().Add(10 * time.Second); got != want && time.Now().Before(end); time.Sleep(time.Millisecond) {
		got = Table{}.Job(cmd.Process.Pid) // within an exec there is none, for a moment
	}
	if got != want {
		t.Errorf("job: %+v", got)
	}
	if got := (Table{}).Job(1 << 30); got != (pressure.Job{}) {
		t.Errorf("job of no process: %+v", got)
	}
}

func TestContainersAreFoundInCgroups(t *testing.T) {
	id, inner := strings.Repeat("0a", 32), strings.Repeat("f1", 32)
	for cgroup, want := range map[string]string{
		"0::/system.slice/docker-" + id + ".scope\n":              id,
		"12:pids:/docker/" + id + "\n11:cpu:/docker/" + id + "\n": id,
		"0::/kubepods/burstable/pod1/cri-containerd:" + id + "\n": id,
		"0::/docker/" + id + "/docker/" + inner + "\n":            inner,
		"0::/\n": "", "": "",
		"0::/system.slice/runner.service\n":    "",
		"0::/docker/buildkit/k2jd83hf7s\n":     "",
		"0::/docker/" + id[:63] + "\n":         "",
		"0::/docker/" + id + "0\n":             "",
		"0::/docker/" + id[:63] + "g\n":        "",
		"0::/docker/" + strings.ToUpper(id):    "",
		"0::/x\n::set-env name=x::y\x1b[31m\n": "",
	} {
		if got := containerOf(cgroup); got != want {
			t.Errorf("containerOf(%q) = %q", cgroup, got)
		}
	}
}

package proc

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"hostguard/pressure"
)

// start runs cat, blocked on a pipe that ends with the test, under any
// arguments that cat takes for its standard input.
func start(t *testing.T, dir string, argv ...string) *exec.Cmd {
	t.Helper()
	cmd := &exec.Cmd{Path: "/bin/cat", Args: argv, Dir: dir}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	// For a moment after exec a process shows no arguments at all.
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if p, _ := (Table{}).Process(t.Context(), cmd.Process.Pid); p.Argv != nil {
			return cmd
		}
	}
	t.Fatalf("process %d shows no arguments", cmd.Process.Pid)
	return nil
}

// each is the table by pid.
func each(t *testing.T) (map[int][]string, pressure.Scope) {
	t.Helper()
	table := map[int][]string{}
	scope, err := Table{}.Each(t.Context(), func(pid int, argv []string) { table[pid] = argv })
	if err != nil {
		t.Fatal(err)
	}
	return table, scope
}

func TestTableShowsAProcess(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	cmd := start(t, dir, "next-build (v16.4.6)")
	table, _ := each(t)
	if got := table[cmd.Process.Pid]; !slices.Equal(got, []string{"next-build (v16.4.6)"}) {
		t.Errorf("Each: %q", got)
	}
	p, ok := Table{}.Process(t.Context(), cmd.Process.Pid)
	if !ok || p.PID != cmd.Process.Pid || p.Parent != os.Getpid() || p.Dir != dir || !slices.Equal(p.Argv, cmd.Args) {
		t.Errorf("Process() = %+v, %v", p, ok)
	}
	if d := p.Start.Sub(before); d < -time.Second || d > 5*time.Second {
		t.Errorf("started at %v, which is %v off", p.Start, d)
	}
	if again, _ := (Table{}).Process(t.Context(), cmd.Process.Pid); !again.Start.Equal(p.Start) {
		t.Errorf("started at %v, and then at %v", p.Start, again.Start)
	}
}

func TestHostileArgumentsArriveAsTheyAre(t *testing.T) {
	argv := []string{"x\n::set-env name=BASH_ENV::x\x1b[31m\xff", "-", "-"}
	cmd := start(t, "", argv...)
	table, _ := each(t)
	if got := table[cmd.Process.Pid]; !slices.Equal(got, argv) {
		t.Errorf("Each: %q", got)
	}
}

func TestLongArgumentsAreCutAtAWholeToken(t *testing.T) {
	for name, tt := range map[string]struct {
		long []string
		want int // tokens
	}{
		"2 MB, Linux's limit with 8 MB of stack": {slices.Repeat([]string{strings.Repeat("u", 130_000)}, 15), 2},
		"many":                                   {slices.Repeat([]string{"-"}, 100_000), 1 + (argvLimit-len("build\x00"))/2},
		"all fit":                                {slices.Repeat([]string{"-"}, 1000), 1002},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := start(t, "", append([]string{"build", "-"}, tt.long...)...)
			table, _ := each(t)
			// The beginning of a token may be a word: it is left out.
			if got := table[cmd.Process.Pid]; len(got) != tt.want || got[len(got)-1] != "-" {
				t.Errorf("%d tokens, want %d", len(got), tt.want)
			}
		})
	}
}

func TestProcessesThatEndedAreNotShown(t *testing.T) {
	cmd := exec.Command("/bin/cat")
	stdin, _ := cmd.StdinPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	cmd.Process.Kill()
	zombie := func() bool {
		p, ok := Table{}.Process(t.Context(), cmd.Process.Pid)
		return ok && p.Argv == nil
	}
	for deadline := time.Now().Add(5 * time.Second); !zombie(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a zombie is not shown without arguments")
		}
	}
	stdin.Close()
	cmd.Wait()
	if p, ok := (Table{}).Process(t.Context(), cmd.Process.Pid); ok {
		t.Errorf("shown after its end: %+v", p)
	}
	if p, ok := (Table{}).Process(t.Context(), 1<<30); ok {
		t.Errorf("shown although there is none: %+v", p)
	}
}

func TestTheEnvironmentDoesNotMoveTheTable(t *testing.T) {
	t.Setenv("HOST_PROC", t.TempDir())
	if table, _ := each(t); table[os.Getpid()] == nil {
		t.Error("HOST_PROC was obeyed")
	}
}

// scopeOf runs this test in a process of its own that prints what it can see.
func scopeOf(t *testing.T, attr *syscall.SysProcAttr) string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "HOSTGUARD_TEST_SCOPE=1")
	cmd.SysProcAttr = attr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("start a process in a namespace of its own, as root: %v", err)
	}
	scope, _, _ := strings.Cut(string(out), "\n")
	return scope
}

func TestScope(t *testing.T) {
	if os.Getenv("HOSTGUARD_TEST_SCOPE") != "" {
		scope, _ := Table{}.Each(context.Background(), func(int, []string) {})
		io.WriteString(os.Stdout, string(scope)+"\n")
		return
	}
	if got := scopeOf(t, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}); got != string(pressure.OnlyContainer) {
		t.Errorf("in a pid namespace: %q", got)
	}
	if firstPIDNamespace() {
		if got := scopeOf(t, nil); got != string(pressure.WholeHost) && got != string(pressure.OnlyReadable) {
			t.Errorf("on a host: %q", got)
		}
	}
}

package proc

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"hostguard/lock"
)

// startAs runs a shell with these variables that starts what is given, under the name of
// a program, and returns the pid of the last process, which waits.
func startAs(t *testing.T, program string, env []string, script string) (pid int) {
	t.Helper()
	dir := realDir(t)
	sh, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	shell, err := os.ReadFile(sh)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, program)
	if err := os.WriteFile(path, shell, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-c", script)
	cmd.Env = append(env, "PATH="+os.Getenv("PATH"))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	line := make([]byte, 16)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range line[:n-1] {
		pid = pid*10 + int(c-'0')
	}
	return pid
}

// What a ticket and its process claim is another job's as easily as their own.
func TestTheJobOfAWaiterIsWhatItsRunnerHasGivenIt(t *testing.T) {
	const waits = `sh -c 'echo $$; read x' wait-pressure; true`
	victim := "GITHUB_WORKSPACE=/victim RUNNER_TEMP=/victim/tmp "
	for name, tt := range map[string]struct {
		program, script string
		workspace       string
		waits           bool
	}{
		"a job of a runner": {"act_runner", "GITHUB_WORKSPACE=/own RUNNER_TEMP=/own/tmp sh -c '" +
			`sh -c "echo \$\$; read x" wait-pressure; true` + "'; true", "/own", true},
		"it claims another's": {"act_runner", "GITHUB_WORKSPACE=/own RUNNER_TEMP=/own/tmp sh -c '" + victim +
			`sh -c "echo \$\$; read x" wait-pressure; true` + "'; true", "/own", true},
		"there is no runner":   {"shell", victim + waits, "", true},
		"it waits for nothing": {"act_runner", victim + `sh -c 'echo $$; read x' build; true`, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			pid := startAs(t, tt.program, nil, tt.script)
			w, waits := Local().Waiter(Local().Process(pid))
			if w.Workspace != tt.workspace || waits != tt.waits ||
				tt.workspace != "" && w.Temp != tt.workspace+"/tmp" || waits && w.Step == 0 {
				t.Errorf("Waiter = %+v, %v; want %q, %v", w, waits, tt.workspace, tt.waits)
			}
			if _, waits := Local().Waiter(lock.Process{PID: pid, Start: 1}); waits {
				t.Error("an earlier process of this pid waits")
			}
		})
	}
}

// Any user can give a process any name.
func TestAWorkerIsOfTheRunnersUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test needs two users: run it as root")
	}
	root := realDir(t)
	of := func(uid int) Host {
		table := fixtureProc(t, root+"/bin/Runner.Worker")
		write(t, table, "7/status", fmt.Sprintf("Name:\tx\nUid:\t%[1]d\t%[1]d\t%[1]d\t%[1]d\n", uid))
		return Host{table}
	}
	if err := os.Chown(root, 1001, 1001); err != nil {
		t.Fatal(err)
	}
	for uid, want := range map[int][]int{1001: {7}, 0: {7}, 1002: nil} {
		if got := of(uid).GitHubWorkers(root); !slices.Equal(got.PIDs, want) {
			t.Errorf("of user %d: %v, want %v", uid, got.PIDs, want)
		}
	}
	// One that runs the runner's own file is its worker, whoever it is.
	table := of(1002)
	write(t, root, "bin/Runner.Worker", "")
	symlink(t, root+"/bin/Runner.Worker", table.Proc, "7/exe")
	if got := table.GitHubWorkers(root); !slices.Equal(got.PIDs, []int{7}) {
		t.Errorf("of the runner's file: %v", got.PIDs)
	}
}

package proc

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hostguard/lock"
)

const (
	nonceVariable   = "HOSTGUARD_TEST_NONCE"
	commandVariable = "HOSTGUARD_TEST_COMMAND"
	stopVariable    = "HOSTGUARD_TEST_STOP"
)

func init() {
	hostile["hold"], hostile["leader"] = holdAsWithLock, endFirstThread
	hostile["overwrite"], hostile["close"] = overwriteEnvironment, closeAll
	if os.Getenv(standIn) == "leader" {
		runtime.LockOSThread() // main runs on the first thread
	}
}

// holdAsWithLock marks this process and starts a command below it.
func holdAsWithLock() {
	holder := lock.Claim{Nonce: os.Getenv(nonceVariable)}
	if err := (Host{"/proc"}).Mark(&holder); err != nil {
		fmt.Println(err)
		return
	}
	self, _ := os.Executable()
	hold := HoldVariable + "=" + holder.Nonce
	cmd := exec.Command("sleep", "600")
	cmd.Env = []string{}
	switch what := os.Getenv(commandVariable); what {
	case "plain":
		cmd.Env = []string{hold}
	case "close":
		cmd = exec.Command(self)
		cmd.Env = []string{standIn + "=" + what}
	case "overwrite", "leader":
		cmd = exec.Command(self)
		cmd.Env = []string{standIn + "=" + what, hold}
	case "chain":
		const next = `[ -e "$1" ] || sh -c "$0" "$0" "$1" &` // a new shell each: the stack of forked ones grows
		cmd = exec.Command("sh", "-c", next, next, os.Getenv(stopVariable))
		cmd.Env = []string{}
	}
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	if len(cmd.Env) > 0 && strings.HasPrefix(cmd.Env[0], standIn) {
		bufio.NewReader(stdout).ReadString('\n')
	}
	fmt.Println(cmd.Process.Pid, holder.Net, holder.Limit)
}

// overwriteEnvironment does what assigning to $0 does in Perl.
func overwriteEnvironment() {
	data, _ := os.ReadFile("/proc/self/stat")
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	start, _ := strconv.ParseInt(fields[47], 10, 64) // env_start, 50 of proc_pid_stat(5)
	end, _ := strconv.ParseInt(fields[48], 10, 64)
	mem, err := os.OpenFile("/proc/self/mem", os.O_WRONLY, 0)
	if err == nil {
		_, err = mem.WriteAt(bytes.Repeat([]byte("x"), int(end-start)), start)
	}
	fmt.Println("ready", err)
	time.Sleep(10 * time.Minute)
}

// closeAll does what Python's subprocess does for its children.
func closeAll() {
	err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		err = syscall.Exec("/bin/sh", []string{"sh", "-c", "echo ready; exec sleep 600"}, nil)
	}
	fmt.Println(err)
}

func endFirstThread() {
	go func() {
		fmt.Println("ready")
		time.Sleep(10 * time.Minute)
	}()
	time.Sleep(10 * time.Millisecond)
	syscall.RawSyscall(syscall.SYS_EXIT, 0, 0, 0)
}

// underKilledLock starts a command of that kind under a with-lock, and kills that.
func underKilledLock(t *testing.T, command string, env ...string) (traces lock.Traces, pid int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	traces.Nonce = lock.NewNonce()
	cmd := exec.Command(self)
	env = append(env, standIn+"=hold", nonceVariable+"="+traces.Nonce, commandVariable+"="+command)
	cmd.Env = append(os.Environ(), env...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if _, scanErr := fmt.Sscan(line, &pid, &traces.Net, &traces.Limit); err != nil || scanErr != nil || !traces.Limit {
		t.Fatalf("the holder prints %q: %v, %v", line, err, scanErr)
	}
	process, err := os.FindProcess(pid) // a pidfd
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { process.Kill() })
	traces.From = Host{"/proc"}.Process(cmd.Process.Pid).Start
	cmd.Process.Kill()
	cmd.Wait()
	return traces, pid
}

// With-lock is killed and its command runs on: by each mark alone, whatever the
// command does to the others.
func TestTheMarksOfACommand(t *testing.T) {
	for command, marks := range map[string]struct{ variable, limit, socket bool }{
		"plain":     {true, true, true},
		"env -i":    {false, true, true},
		"overwrite": {false, true, true},
		"leader":    {true, true, true},
		"close":     {false, true, false},
	} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			host := Host{"/proc"}
			traces, pid := underKilledLock(t, command)
			if found := host.Find(traces); !found.Lives || found.PID != pid {
				t.Errorf("%+v, want process %d", found, pid)
			}
			for name, c := range map[string]struct {
				of    lock.Traces
				shows bool
			}{
				"variable": {lock.Traces{Nonce: traces.Nonce, From: traces.From}, marks.variable},
				"limit":    {lock.Traces{Nonce: traces.Nonce, From: traces.From, Limit: true}, marks.limit},
			} {
				if has, _ := host.has(pid, c.of); has != c.shows {
					t.Errorf("the %s shows it: %v, want %v", name, has, c.shows)
				}
			}
			if has, unread := host.hasSocket(traces.Nonce, traces.Net); has != marks.socket || unread != "" {
				t.Errorf("the socket shows it: %v (%q), want %v", has, unread, marks.socket)
			}
			another := lock.Traces{Nonce: lock.NewNonce(), Net: traces.Net, Limit: true, From: traces.From}
			if found := host.Find(another); found.Lives || found.Unread != "" {
				t.Errorf("by another nonce: %+v", found)
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(10 * time.Second); host.Find(traces).Lives; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("it is killed, and counts as alive")
				}
			}
			if found := host.Find(traces); found.Unread != "" {
				t.Errorf("it is gone, and %s", found.Unread)
			}
		})
	}
}

// Each one starts the next and ends, in less than a millisecond: a look through the table may meet
// none of them.
func TestAChainOfProcessesIsNeverMissed(t *testing.T) {
	stop := filepath.Join(t.TempDir(), "stop")
	traces, _ := underKilledLock(t, "chain", stopVariable+"="+stop)
	host := Host{"/proc"}
	for look := range 30 {
		if found := host.Find(traces); !found.Lives {
			t.Fatalf("look %d: %+v", look, found)
		}
	}
	write(t, filepath.Dir(stop), "stop", "")
	for end := time.Now().Add(10 * time.Second); host.Find(traces).Lives; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the chain has ended, and counts as alive")
		}
	}
}

func TestASocketOfAnotherNetworkProvesNothing(t *testing.T) {
	host := Host{"/proc"}
	traces := lock.Traces{Nonce: lock.NewNonce(), Net: "net:[1]", Limit: true}
	if found := host.Find(traces); found.Lives || found.Unread == "" {
		t.Errorf("%+v, want unknown", found)
	}
}

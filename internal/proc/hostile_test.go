package proc

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"hostguard/pressure"
)

// hostile is what a stand-in does before it waits, by its variable's value.
var hostile = map[string]func(){
	"nothing": func() {},
	"threads": func() {
		var ready sync.WaitGroup
		for range 2000 {
			ready.Add(1)
			go func() {
				runtime.LockOSThread()
				ready.Done()
				select {}
			}()
		}
		ready.Wait()
	},
	// The name in parentheses of /proc/PID/stat, made to look like its end.
	"name": func() {
		name := append([]byte("a) Z 1 (\n\x1b[3"), 0)
		runtime.LockOSThread()
		if err := os.WriteFile("/proc/self/comm", name, 0); err != nil {
			fmt.Println(err)
		}
	},
}

func startHostile(t *testing.T, what string, argv ...string) (pid int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: self, Args: argv, Env: append(os.Environ(), standIn+"="+what)}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
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
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the stand-in prints %q, %v", line, err)
	}
	return cmd.Process.Pid
}

// beHostile is called by a stand-in.
func beHostile(what string) {
	if act := hostile[what]; act != nil {
		act()
		fmt.Println("ready")
	}
	io.Copy(io.Discard, os.Stdin)
}

// lookFor is the blocker of that pid, as the gate sees it on this machine.
func lookFor(t *testing.T, pid int) pressure.Blocker {
	t.Helper()
	pattern, err := pressure.Pattern("vite build") // counts however little it works
	if err != nil {
		t.Fatal(err)
	}
	gate := &pressure.Gate{
		Table: Table{}, Rules: append(pressure.Known(), pattern), Own: pressure.Owner{PID: os.Getpid()},
	}
	verdict, err := gate.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range verdict.Blockers {
		if b.PID == pid {
			return b
		}
	}
	t.Fatalf("process %d is not among %+v", pid, verdict.Blockers)
	return pressure.Blocker{}
}

func TestThousandsOfThreadsAreOneProcess(t *testing.T) {
	pid := startHostile(t, "threads", "vite", "build")
	if b := lookFor(t, pid); b.Tool != "vite build" || b.Memory > 1<<30 {
		t.Errorf("blocker %+v", b)
	}
}

func TestANameMadeToBreakItsLineIsOnlyAName(t *testing.T) {
	pid := startHostile(t, "name", "next-build (\n::set-env name=BASH_ENV::/x\x1b[31m", "--token=planted")
	comm, _ := os.ReadFile(pathOf(pid, "comm"))
	if !strings.HasPrefix(string(comm), "a) Z 1 (") {
		t.Fatalf("the process is called %q", comm)
	}
	p, ok := Table{}.Process(t.Context(), pid)
	if !ok || p.Parent != os.Getpid() || time.Since(p.Start).Abs() > time.Minute {
		t.Errorf("Process() = %+v, %v", p, ok)
	}
	if used := (Table{}).Usage(t.Context())[pid]; used.Parent != os.Getpid() || used.Memory == 0 {
		t.Errorf("usage %+v", used)
	}
	if b := lookFor(t, pid); b.Tool != "next build" || strings.Contains(fmt.Sprint(b), "planted") {
		t.Errorf("blocker %+v", b)
	}
}

func TestProcessesThatComeAndGoDoNotBreakALook(t *testing.T) {
	stop := make(chan struct{})
	var churn sync.WaitGroup
	for range 4 {
		churn.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_ = exec.Command("/bin/true").Run()
				}
			}
		})
	}
	pid := startHostile(t, "nothing", "vite", "build")
	for range 50 {
		if b := lookFor(t, pid); b.Tool != "vite build" {
			t.Errorf("blocker %+v", b)
		}
	}
	close(stop)
	churn.Wait()
}

package engine

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func docker(t *testing.T, e *Engine, args ...string) string {
	t.Helper()
	out, err := e.Docker(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestBothEnginesStart(t *testing.T) {
	for version, api := range map[string]string{Old: "1.41", New: "1.45"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			e, err := Start(version)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := e.Stop(); err != nil {
					t.Error(err)
				}
				if left := processesOf(t, e.dir); len(left) > 0 {
					t.Errorf("these run after Stop: %q", left)
				}
				if _, err := os.Stat(e.dir); err == nil {
					t.Errorf("%s is there after Stop", e.dir)
				}
			}()
			if e.API != api {
				t.Errorf("API is %s, want %s", e.API, api)
			}

			// The object that locks are made of outlives all of this.
			id := docker(t, e, "network", "create", "--config-only", "lock")
			docker(t, e, "network", "prune", "-f")
			docker(t, e, "system", "prune", "-af", "--volumes")
			if err := e.Restart(); err != nil {
				t.Fatal(err)
			}
			if err := e.Kill(); err != nil {
				t.Fatal(err)
			}
			if out, err := e.Docker("version"); err == nil {
				t.Errorf("a killed engine answers: %s", out)
			}
			if err := e.Restart(); err != nil {
				t.Fatal(err)
			}
			if got := docker(t, e, "network", "ls", "-q", "--no-trunc", "--filter", "name=^lock$"); got != id {
				t.Errorf("the network is %q, want %q", got, id)
			}
			docker(t, e, "network", "rm", "lock")
		})
	}
}

// TestCrashedTestLeavesNoDaemon starts an engine in a copy of this test and
// kills the copy.
func TestCrashedTestLeavesNoDaemon(t *testing.T) {
	if os.Getenv("ENGINE_TEST_CRASH") != "" {
		e, err := Start(New)
		if err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString(e.dir + "\n")
		select {} // until it is killed
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "ENGINE_TEST_CRASH=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	dir, err := bufio.NewReader(out).ReadString('\n')
	dir = strings.TrimSpace(dir)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err != nil || !filepath.IsAbs(dir) {
		t.Fatalf("the copy started no engine: %v, it printed %q", err, dir)
	}
	defer os.RemoveAll(dir)
	for limit := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left := processesOf(t, dir)
		if len(left) == 0 {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("these run on: %q", left)
		}
	}
}

// processesOf are the command lines that name a folder.
func processesOf(t *testing.T, dir string) (lines []string) {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if line := strings.ReplaceAll(string(text), "\x00", " "); err == nil && strings.Contains(line, dir+"/") {
			lines = append(lines, line)
		}
	}
	return lines
}

// A process with Pdeathsig gets it when the thread that started it ends, and a thread ends
// with a goroutine that is locked to it: an engine that was stopped took a Gitea of another
// test with it.
func TestAStoppedEngineEndsNoProcessOfOthers(t *testing.T) {
	const threads = 50
	var others [threads]*exec.Cmd
	var errs [threads]error
	var locked, started sync.WaitGroup
	locked.Add(threads)
	for i := range others {
		started.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			locked.Done()
			locked.Wait() // so each has a thread of its own, and the engine gets one of these
			others[i] = exec.Command("sleep", "600")
			others[i].SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			errs[i] = others[i].Start()
		})
	}
	started.Wait()
	t.Cleanup(func() {
		for _, cmd := range others {
			if cmd.Process != nil {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			}
		}
	})
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	e, err := Start(New)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range others {
		var ended syscall.WaitStatus
		if pid, _ := syscall.Wait4(cmd.Process.Pid, &ended, syscall.WNOHANG, nil); pid != 0 {
			t.Errorf("process %d has ended: %v", pid, ended.Signal())
		}
	}
}

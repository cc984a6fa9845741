package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// onTerminal is hostguard on a terminal of 80 columns.
type onTerminal struct {
	*exec.Cmd
	screen, tty *os.File
	before      unix.Termios

	mu     sync.Mutex
	output bytes.Buffer
	ended  chan struct{} // all output is there
}

// endOfText is written after the last of a terminal's output: the kernel may drop what is not
// read yet when the last writer closes.
const endOfText = "\x00"

// startOnTerminal starts hostguard with the locks of the file backend, of which one has a name
// of this test's own.
func startOnTerminal(t *testing.T, name string, args ...string) *onTerminal {
	t.Helper()
	screen, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 24, Cols: 80}); err != nil {
		t.Fatal(err)
	}
	c := &onTerminal{Cmd: exec.Command("hostguard", args...), screen: screen, tty: tty, ended: make(chan struct{})}
	c.Env = append(lockEnvironment(name), "TERM=xterm", "LANG=C.UTF-8", "NO_COLOR=1")
	c.Stdin, c.Stdout, c.Stderr = tty, tty, tty
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	c.before = c.settings(t)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.ended)
		buf := make([]byte, 4096)
		for {
			n, err := screen.Read(buf)
			c.mu.Lock()
			text, last := bytes.CutSuffix(buf[:n], []byte(endOfText))
			c.output.Write(text)
			c.mu.Unlock()
			if last || err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_, _ = c.Process.Wait()
		tty.Close()
		screen.Close()
	})
	return c
}

// lockEnvironment is an environment with a lock of that name, and without a job.
func lockEnvironment(name string) (environ []string) {
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "GIT") && !strings.HasPrefix(v, "HOSTGUARD_") && !strings.HasPrefix(v, "CLICOLOR") {
			environ = append(environ, v)
		}
	}
	return append(environ, "HOSTGUARD_LOCK_BACKEND=file", "HOSTGUARD_LOCK_NAME="+name, "GORACE=atexit_sleep_ms=0")
}

func ownLock() string { return fmt.Sprintf("terminal-%d-%d", os.Getpid(), rand.Uint32()) }

func (c *onTerminal) shown() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.output.String()
}

// await returns once the terminal has got a text.
func (c *onTerminal) await(t *testing.T, text string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !strings.Contains(c.shown(), text) {
		if time.Now().After(deadline) {
			t.Fatalf("no %q in\n%q", text, c.shown())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// end waits for the exit status, with which the settings of the terminal are as at the start,
// and for the rest of the output.
func (c *onTerminal) end(t *testing.T) (status int) {
	t.Helper()
	err := c.Wait()
	if c.settings(t) != c.before {
		t.Error("the terminal has other settings than before")
	}
	if _, err := c.tty.WriteString(endOfText); err != nil {
		t.Fatal(err)
	}
	<-c.ended
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0
}

func (c *onTerminal) settings(t *testing.T) unix.Termios {
	t.Helper()
	settings, err := unix.IoctlGetTermios(int(c.screen.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *settings
}

func TestStatusAnswersFirstOnATerminal(t *testing.T) {
	name := ownLock()
	c := startOnTerminal(t, name, "with-lock", "-reason", "image build", "--",
		"hostguard", "status", "-lock-name", name)
	if status := c.end(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	got := c.shown()
	for _, want := range []string{"Nobody waits. 1 lock held, ", "\r\n\r\n" + name, "  held\r\n  ■ ", ", pid ",
		"  image build  ", "    alive: "} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// However a watch is left, the terminal is as it was.
func TestAWatchGivesTheTerminalBack(t *testing.T) {
	const opened, closed = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
	for how, tt := range map[string]struct {
		leave  func(*onTerminal) error
		status int
	}{
		"q":      {func(c *onTerminal) error { _, err := c.screen.WriteString("q"); return err }, 0},
		"Ctrl-C": {func(c *onTerminal) error { _, err := c.screen.WriteString("\x03"); return err }, 0},
		"INT":    {func(c *onTerminal) error { return c.Process.Signal(syscall.SIGINT) }, 0},
		"TERM":   {func(c *onTerminal) error { return c.Process.Signal(syscall.SIGTERM) }, 143},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			c := startOnTerminal(t, ownLock(), "status", "-watch")
			c.await(t, "q quit")
			if c.settings(t) == c.before {
				t.Error("keys are echoed")
			}
			if err := tt.leave(c); err != nil {
				t.Fatal(err)
			}
			if status := c.end(t); status != tt.status {
				t.Errorf("exit status %d, want %d", status, tt.status)
			}
			got := c.shown()
			_, rest, found := strings.Cut(got, closed)
			if !strings.HasPrefix(got, opened) || !found {
				t.Errorf("%q", got)
			}
			if tt.status == 0 && rest != "" {
				t.Errorf("it is left with %q", rest)
			}
		})
	}
}

func TestAWaitIsOneLineOfATerminal(t *testing.T) {
	name := ownLock()
	holder := startOnTerminal(t, name, "with-lock", "--", "sh", "-c", "echo ready; read line")
	holder.await(t, "ready")
	c := startOnTerminal(t, name, "with-lock", "-timeout", "2500ms", "--", "true")
	if status := c.end(t); status != 124 {
		t.Errorf("exit status %d", status)
	}
	got := c.shown()
	const rewrite = "\r\x1b[K"
	for _, want := range []string{rewrite + "waiting 0s for ", rewrite + "waiting 1s for ", rewrite + "waiting 2s for ",
		rewrite + "hostguard: with-lock: lock "} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%q", want, got)
		}
	}
	for _, unwanted := range []string{"not this change's fault", "\nwaiting"} {
		if strings.Contains(got, unwanted) {
			t.Errorf("%q in\n%q", unwanted, got)
		}
	}
}

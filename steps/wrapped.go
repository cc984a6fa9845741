package steps

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hostguard/internal/cli"
	"hostguard/internal/proc"
)

// wrapped is the command that with-lock runs, and the path of its program.
type wrapped struct {
	*cli.Session
	path string
}

func cannotRun(name string, err error) error {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return cli.WithStatus(cli.StatusNotFound, fmt.Errorf("run %.200q: no such command", name))
	}
	return cli.WithStatus(cli.StatusCannotRun, fmt.Errorf("run %.200q: %w", name, err))
}

// underNonce returns this process's environment with one more nonce that its children
// run under.
func (c wrapped) underNonce(nonce string) []string {
	if above := c.Getenv(proc.HoldVariable); above != "" {
		nonce = above + "," + nonce
	}
	return append(slices.DeleteFunc(slices.Clone(c.Environ), func(v string) bool {
		return strings.HasPrefix(v, proc.HoldVariable+"=")
	}), proc.HoldVariable+"="+nonce)
}

// prepareStart does what the first start of a process adds to it: Go starts one that ends at
// once, to see whether the kernel has pidfds (1.26), for a millisecond that nobody waits for yet.
func prepareStart() {
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Release()
	}
}

// run runs the command in a process group of its own and forwards signals to it; one
// that comes a second after the first kills it. On a terminal the command shares the
// group of this process instead, and receives the terminal's signals directly.
func (c wrapped) run(environ []string) error {
	cmd := exec.Command(c.path)
	cmd.Args = c.Wrapped
	cmd.Env = environ
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stdout, c.Stderr
	terminal := isTerminal(c.Stdin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: !terminal}
	if err := cmd.Start(); err != nil {
		return cannotRun(c.Wrapped[0], err)
	}
	target := -cmd.Process.Pid
	if terminal {
		target = cmd.Process.Pid
	}
	// The command is reaped only after the last signal is sent, so that its pid
	// cannot be reused before.
	exited := make(chan struct{})
	go func() {
		for unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
		}
		close(exited)
	}()
	var first time.Time
	for {
		select {
		case sig := <-c.Signals:
			if first.IsZero() {
				first = time.Now()
			}
			switch {
			case time.Since(first) > cli.RepeatWindow:
				syscall.Kill(target, syscall.SIGKILL)
			case !terminal || sig == syscall.SIGTERM:
				syscall.Kill(target, sig.(syscall.Signal))
			}
			continue
		case <-exited:
		}
		break
	}
	_ = cmd.Wait()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case ok && status.Signaled():
		return cli.WithStatus(128+int(status.Signal()), cli.ErrReported)
	case cmd.ProcessState.ExitCode() != 0:
		return cli.WithStatus(cmd.ProcessState.ExitCode(), cli.ErrReported)
	}
	return nil
}

func isTerminal(stdin any) bool {
	f, ok := stdin.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

package steps

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hostguard/internal/proc"
	"hostguard/lock"
)

const (
	holdVariable = proc.HoldVariable
	// lossCheck is how often a held lock is looked for.
	lossCheck = 5 * time.Second
)

func withLock(ctx context.Context, s *session) error {
	s.onStderr(s.World)
	in := s.acquireInputs()
	command, err := s.in.parseCommand()
	if err != nil {
		return err
	}
	if len(command) == 0 {
		return usagef("no command given; want: hostguard with-lock [-input value ...] -- COMMAND [ARGUMENT ...]")
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return cannotRun(command[0], err)
	}
	s.sayInputs()
	s.noticeOtherLock()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := s.cancelOnSignal(cancel)
	waiting, end := in.deadline(ctx)
	defer end()
	m, engine, err := s.mutex(waiting, in.lockInputs, min(firstLook, *in.timeout))
	var held lock.Acquired
	if err == nil {
		if e, ok := s.reentered(waiting, m, in.lockInputs); ok {
			stop()
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			s.Say("the lock is held already by this job or by a with-lock above (id %.12s); it is kept when the command ends", e.ID)
			return s.runHolding(path, command, s.Environ)
		}
		engine.Self.Command = true
		// Before there is an entry: killed at any moment, we leave no command
		// behind that nobody can tell is under the lock.
		if err = (proc.Host{Proc: procRoot}).Mark(&engine.Self); err == nil {
			held, err = s.hold(waiting, m, engine, in)
		}
	}
	stop()
	if err == nil && ctx.Err() != nil { // interrupted since it was acquired
		err = errors.Join(context.Cause(ctx), m.Release(ctx, held.ID))
	}
	if err != nil {
		err = cutShort(ctx, err)
		switch statusOf(err) {
		case StatusRefused:
			return &statusError{StatusLockNotGot, err}
		case StatusFailed:
			return &statusError{StatusCannotLock, err}
		}
		return err
	}
	s.Say("acquired lock %q (id %.12s), running %.200q", *in.name, held.ID, command[0])
	err = s.runUnder(m, engine, held.ID, path, command)
	released := m.Release(context.Background(), held.ID)
	switch {
	case errors.Is(released, lock.ErrNotFound):
		s.Warning("lock %q (id %.12s) was lost while the command ran: somebody took it away", *in.name, held.ID)
	case released != nil:
		s.Warning("%s; others take it over once they see that this process is gone", released)
	default:
		s.Say("gave back lock %q", *in.name)
	}
	return err
}

func containsNonce(nonces, nonce string) bool {
	return nonce != "" && slices.Contains(strings.Split(nonces, ","), nonce)
}

func cannotRun(name string, err error) error {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return &statusError{StatusNotFound, fmt.Errorf("run %.200q: no such command", name)}
	}
	return &statusError{StatusCannotRun, fmt.Errorf("run %.200q: %w", name, err)}
}

// runUnder runs the command, and says at once when the lock is lost meanwhile:
// nothing can be undone, but the log must tell.
func (s *session) runUnder(m *lock.Mutex, engine store, id, path string, command []string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if m.Lost(ctx, id) { // narrows the gap between holding and starting
		return &statusError{StatusCannotLock, fmt.Errorf("lock %q was lost before the command started: somebody took it away", m.Name())}
	}
	// Beside the command, for a hung daemon must not keep signals from it.
	var watch sync.WaitGroup
	watch.Go(func() {
		// Nothing tells of a removal, but whoever takes the lock next is heard.
		taken, _ := engine.Engine.Watch(ctx, m.Name())
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
				return
			case <-time.After(lossCheck):
			case _, watching := <-taken:
				if !watching {
					taken = nil // the daemon went away: the time does
				}
			}
			if m.Lost(ctx, id) {
				s.Error("with-lock: lock %q (id %.12s) was lost while the command runs: somebody took it away, and may build at the same time", m.Name(), id)
				return
			}
		}
	})
	err := s.runHolding(path, command, s.holding(engine.Self.Nonce))
	cancel()
	watch.Wait() // before the lock is given back, which is no loss
	return err
}

// holding is this process's environment with one more nonce that its children run
// under.
func (s *session) holding(nonce string) []string {
	if above := s.Getenv(holdVariable); above != "" {
		nonce = above + "," + nonce
	}
	return append(slices.DeleteFunc(slices.Clone(s.Environ), func(v string) bool {
		return strings.HasPrefix(v, holdVariable+"=")
	}), holdVariable+"="+nonce)
}

// runHolding runs the command in a process group of its own and passes signals
// on to it; one that comes a second after the first kills. On a terminal the command shares our group
// instead, where the terminal's signals reach it without us.
func (s *session) runHolding(path string, command, environ []string) error {
	cmd := exec.Command(path)
	cmd.Args = command
	cmd.Env = environ
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.Stdin, s.Stdout, s.Stderr
	terminal := isTerminal(s.Stdin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: !terminal}
	if err := cmd.Start(); err != nil {
		return cannotRun(command[0], err)
	}
	target := -cmd.Process.Pid
	if terminal {
		target = cmd.Process.Pid
	}
	// The command is reaped only after the last signal was sent, so that its
	// pid cannot be another's meanwhile.
	exited := make(chan struct{})
	go func() {
		for unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
		}
		close(exited)
	}()
	var first time.Time
	for {
		select {
		case sig := <-s.Signals:
			if first.IsZero() {
				first = time.Now()
			}
			switch {
			case time.Since(first) > twice:
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
		return &statusError{128 + int(status.Signal()), errSaid}
	case cmd.ProcessState.ExitCode() != 0:
		return &statusError{cmd.ProcessState.ExitCode(), errSaid}
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

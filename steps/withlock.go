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

	"hostguard/internal/cli"
	"hostguard/internal/lockwire"
	"hostguard/internal/proc"
	"hostguard/lock"
)

const helpWithLock = `usage: hostguard with-lock [-input value ...] -- COMMAND [ARGUMENT ...]

Runs COMMAND while holding the lock, in a process group of its own, and gives
the lock back when COMMAND ends. Signals are passed on; one a second later kills. If
hostguard itself is killed, the lock is free as soon as COMMAND is gone. COMMAND
inherits a socket (descriptor 700) and a limit without effect (RLIMIT_RTTIME) that
tell whether it runs.

` + helpAcquireInputs + `
exit status: that of COMMAND (128 + signal if one ended it), 124 the lock was not
free in time, 125 hostguard could not do its work, 126 COMMAND cannot be run, 127
there is no such command, 2 wrong use, 130 or 143 interrupted while waiting.

example: hostguard with-lock -timeout 30m -- docker build -t app .
`

const (
	holdVariable = proc.HoldVariable
	// lossCheck is how often a held lock is looked for.
	lossCheck = 5 * time.Second
)

func withLock(ctx context.Context, s *cli.Session) error {
	s.OnStderr(s.World)
	in := newAcquireInputs(s)
	command, err := s.In.ParseCommand()
	if err != nil {
		return err
	}
	if len(command) == 0 {
		return cli.Usagef("no command given; want: hostguard with-lock [-input value ...] -- COMMAND [ARGUMENT ...]")
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return cannotRun(command[0], err)
	}
	s.SayInputs()
	noticeOtherLock(s)

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := s.CancelOnSignal(cancel)
	waiting, end := in.deadline(ctx)
	defer end()
	store, err := lockwire.Open(waiting, s, *in.Backend, min(lockwire.FirstLook, *in.timeout))
	var m *lock.Mutex
	var held lock.Acquired
	if err == nil {
		m = store.Lock(*in.Name)
		if e, ok := reentered(waiting, s, m, in.Inputs); ok {
			stop()
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			s.Say("the lock is held already by this job or by a with-lock above (id %.12s); it is kept when the command ends", e.ID)
			return runHolding(s, path, command, s.Environ)
		}
		store.Self.Command = true
		// Before there is an entry: killed at any moment, we leave no command
		// behind that nobody can tell is under the lock.
		if err = (proc.Host{Proc: proc.Root}).Mark(&store.Self); err == nil {
			held, err = hold(waiting, s, m, store, in)
		}
	}
	stop()
	if err == nil && ctx.Err() != nil { // interrupted since it was acquired
		err = errors.Join(context.Cause(ctx), m.Release(ctx, held.ID))
	}
	if err != nil {
		err = cli.CutShort(ctx, err)
		switch cli.StatusOf(err) {
		case cli.StatusRefused:
			return cli.WithStatus(cli.StatusLockNotGot, err)
		case cli.StatusFailed:
			return cli.WithStatus(cli.StatusCannotLock, err)
		}
		return err
	}
	s.Say("acquired lock %q (id %.12s), running %.200q", *in.Name, held.ID, command[0])
	err = runUnder(s, m, store, held.ID, path, command)
	released := m.Release(context.Background(), held.ID)
	switch {
	case errors.Is(released, lock.ErrNotFound):
		s.Warning("lock %q (id %.12s) was lost while the command ran: somebody took it away", *in.Name, held.ID)
	case released != nil:
		s.Warning("%s; others take it over once they see that this process is gone", released)
	default:
		s.Say("gave back lock %q", *in.Name)
	}
	return err
}

func containsNonce(nonces, nonce string) bool {
	return nonce != "" && slices.Contains(strings.Split(nonces, ","), nonce)
}

func cannotRun(name string, err error) error {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return cli.WithStatus(cli.StatusNotFound, fmt.Errorf("run %.200q: no such command", name))
	}
	return cli.WithStatus(cli.StatusCannotRun, fmt.Errorf("run %.200q: %w", name, err))
}

// runUnder runs the command, and says at once when the lock is lost meanwhile:
// nothing can be undone, but the log must tell.
func runUnder(s *cli.Session, m *lock.Mutex, store *lockwire.Store, id, path string, command []string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if m.Lost(ctx, id) { // narrows the gap between holding and starting
		return cli.WithStatus(cli.StatusCannotLock, fmt.Errorf("lock %q was lost before the command started: somebody took it away", m.Name()))
	}
	// Beside the command, for a hung daemon must not keep signals from it.
	var watch sync.WaitGroup
	watch.Go(func() {
		// Nothing tells of a removal, but whoever takes the lock next is heard.
		taken, _ := store.Engine.Watch(ctx, m.Name())
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
	err := runHolding(s, path, command, holding(s, store.Self.Nonce))
	cancel()
	watch.Wait() // before the lock is given back, which is no loss
	return err
}

// holding is this process's environment with one more nonce that its children run
// under.
func holding(s *cli.Session, nonce string) []string {
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
func runHolding(s *cli.Session, path string, command, environ []string) error {
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
			case time.Since(first) > cli.Twice:
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
		return cli.WithStatus(128+int(status.Signal()), cli.ErrSaid)
	case cmd.ProcessState.ExitCode() != 0:
		return cli.WithStatus(cmd.ProcessState.ExitCode(), cli.ErrSaid)
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

package contend

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Rig is one lock and whoever contends for it.
type Rig struct {
	Store
	Lock   string
	Binary string
	Dir    string   // of all that the contenders write; any user may enter it
	Group  *os.File // the control group that holders start in, or nil
}

// NewRig makes a rig for a lock that nobody else uses.
func NewRig(s Store) (*Rig, error) {
	binary, err := Hostguard()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("/tmp", "hg-rig") // not below the home of root
	if err != nil {
		return nil, err
	}
	r := &Rig{Store: s, Lock: fmt.Sprintf("rig-%d-%d", os.Getpid(), rand.Uint32()),
		Binary: filepath.Join(dir, "hostguard"), Dir: dir}
	if err := errors.Join(os.Chmod(dir, 0o755), install(r.Binary, binary)); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Close removes what the contenders wrote.
func (r *Rig) Close() error { return os.RemoveAll(r.Dir) }

// install copies a program. A child that is forked during that would hold it open
// for writing for a moment, and running it would fail with "text file busy".
func install(to, from string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(to, data, 0o755)
}

// Job is one job of a workflow, in a private directory as act_runner makes it.
type Job struct {
	Dir string
	Env []string
	rig *Rig
	as  *syscall.Credential
}

// Job makes a job whose steps run as some user; nil is this one.
func (r *Rig) Job(as *syscall.Credential) (*Job, error) {
	dir := filepath.Join(r.Dir, fmt.Sprintf("%016x", rand.Uint64()))
	j := &Job{Dir: dir, rig: r, as: as}
	if err := os.MkdirAll(filepath.Join(dir, "tmp"), 0o755); err != nil {
		return nil, err
	}
	for _, file := range []string{"GITHUB_ENV", "GITHUB_OUTPUT"} {
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			return nil, err
		}
		if as != nil {
			if err := os.Chown(path, int(as.Uid), int(as.Gid)); err != nil {
				return nil, err
			}
		}
		j.Env = append(j.Env, file+"="+path)
	}
	j.Env = r.Environ(append(j.Env, "GITHUB_ACTIONS=true", "RUNNER_TEMP="+filepath.Join(dir, "tmp"))...)
	return j, nil
}

// Step returns one command of hostguard in the job.
func (j *Job) Step(command string, args ...string) *exec.Cmd {
	cmd := exec.Command(j.rig.Binary, append([]string{command, "-lock-name", j.rig.Lock}, args...)...)
	cmd.Env, cmd.Dir = j.Env, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: j.as}
	return cmd
}

// Output reads what the job's steps left as an output.
func (j *Job) Output(name string) (string, error) {
	data, err := os.ReadFile(filepath.Join(j.Dir, "GITHUB_OUTPUT"))
	if err != nil {
		return "", err
	}
	lines := strings.Split(string(data), "\n")
	for i, line := range lines[:len(lines)-1] {
		if strings.HasPrefix(line, name+"<<") {
			return lines[i+1], nil
		}
	}
	return "", fmt.Errorf("no output %s in %q", name, data)
}

// Waiter is a job whose acquire-lock runs.
type Waiter struct {
	*Job
	cmd    *exec.Cmd
	log    Log
	exited chan struct{}
	at     time.Time // of its end
}

// Wait starts a job that acquires the lock.
func (r *Rig) Wait(as *syscall.Credential, args ...string) (*Waiter, error) {
	j, err := r.Job(as)
	if err != nil {
		return nil, err
	}
	w := &Waiter{Job: j, exited: make(chan struct{})}
	w.cmd = j.Step("acquire-lock", append([]string{"-legacy-settle", "0s", "-timeout", "5m"}, args...)...)
	w.cmd.Stdout, w.cmd.Stderr = &w.log, &w.log
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = w.cmd.Wait()
		w.at = time.Now()
		close(w.exited)
	}()
	return w, nil
}

// Await waits until the waiter has printed text.
func (w *Waiter) Await(text string, limit time.Duration) error {
	for end := time.Now().Add(limit); ; time.Sleep(2 * time.Millisecond) {
		if strings.Contains(w.log.String(), text) {
			return nil
		}
		select {
		case <-w.exited:
			return fmt.Errorf("status %d and not a word of %q; its output:\n%s", w.Status(), text, w.log.String())
		default:
		}
		if time.Now().After(end) {
			return fmt.Errorf("not a word of %q within %s; its output:\n%s", text, limit, w.log.String())
		}
	}
}

// Log returns what the waiter has printed so far.
func (w *Waiter) Log() string { return w.log.String() }

// Holds waits until the waiter has the lock, and returns since when.
func (w *Waiter) Holds(limit time.Duration) (time.Time, error) {
	if !w.EndsWithin(limit) {
		return time.Time{}, fmt.Errorf("it waits after %s; its output:\n%s", limit, w.log.String())
	}
	if w.Status() != 0 {
		return time.Time{}, fmt.Errorf("status %d; its output:\n%s", w.Status(), w.log.String())
	}
	return w.at, nil
}

// EndsWithin reports whether the waiter's acquire-lock ends in that time.
func (w *Waiter) EndsWithin(limit time.Duration) bool {
	select {
	case <-w.exited:
		return true
	case <-time.After(limit):
		return false
	}
}

// Status returns the exit status of a waiter that has ended.
func (w *Waiter) Status() int { return w.cmd.ProcessState.ExitCode() }

// Leave ends the waiting, or gives the lock back.
func (w *Waiter) Leave() error {
	_ = w.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	if !w.EndsWithin(30 * time.Second) {
		_ = w.cmd.Process.Kill()
		return fmt.Errorf("the waiter does not end; its output:\n%s", w.log.String())
	}
	if w.Status() != 0 {
		return nil
	}
	if out, err := w.Step("release-lock", "-mode", "hard-fail").CombinedOutput(); err != nil {
		return fmt.Errorf("release-lock: %w: %s", err, out)
	}
	return nil
}

// Kill ends the waiter with SIGKILL.
func (w *Waiter) Kill() {
	_ = w.cmd.Process.Kill()
	<-w.exited
}

// Log is the output of a process, to be read while it runs.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

var _ io.Writer = (*Log)(nil)

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Package register registers a runner at its Gitea, by the runner's own program.
//
// The registration token goes through the program's standard input and nowhere
// else: not into an argument, a variable of its environment or a file. Newer
// programs read it there by --token-file; older ones, without that flag, ask for
// it, in an order that has been the same since the first one.
//
// A registration whose reply is lost is known to the server alone. It then fails
// here, and a runner that never comes online is left there.
package register

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Runner is a runner to register.
type Runner struct {
	Program        string // act_runner or gitea-runner, its full path
	Dir            string // where it works
	Config         string // its configuration, which names its labels and where the registration goes
	Instance, Name string
	UID, GID       int // the runner's user
	Home           string
}

const (
	helpTime     = 10 * time.Second
	registerTime = time.Minute // it asks for ever for a server that does not answer
	maxOutput    = 64 << 10
)

// inheritedEnv are the variables that the program may need to reach the server. No
// other is inherited: there are tokens among them.
var inheritedEnv = []string{
	"PATH", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE",
	"SSL_CERT_DIR",
}

// Do registers r. Its errors do not contain the token, but the last line that the
// program printed.
func (r Runner) Do(ctx context.Context, getenv func(string) string, token string) error {
	if strings.ContainsAny(token, "\r\n") || strings.TrimSpace(token) == "" {
		return errors.New("the registration token is empty or has several lines")
	}
	help, err := r.run(ctx, getenv, helpTime, "", "register", "--help")
	if err != nil {
		return fmt.Errorf("ask %q how it registers: %w", r.Program, err)
	}
	input := token // as it is: a line end would become a part of it
	args := []string{"register", "--no-interactive", "--config", r.Config, "--instance", r.Instance, "--name", r.Name,
		"--token-file", "/dev/stdin"}
	if !strings.Contains(help, "--token-file") {
		// The first ones ask for the instance and the name whatever their flags say.
		input = strings.Join([]string{r.Instance, token, r.Name, ""}, "\n")
		args = []string{"register", "--config", r.Config}
	}
	output, err := r.run(ctx, getenv, registerTime, input, args...)
	if err != nil {
		return fmt.Errorf("register %q at %q: %w; it printed %.300q", r.Name, r.Instance, err,
			last(strings.ReplaceAll(output, token, "[token]")))
	}
	return nil
}

// run returns what the program printed, on both streams.
func (r Runner) run(ctx context.Context, getenv func(string) string, limit time.Duration, input string,
	args ...string) (string, error) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(limited, r.Program, args...)
	cmd.Dir = r.Dir
	cmd.Env = []string{"HOME=" + r.Home}
	for _, name := range inheritedEnv {
		if v := getenv(name); v != "" {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	// An older one whose server does not answer asks for ever, so it must not
	// outlive us. The signal is sent when the thread ends that has started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var out tail
	cmd.Stdout, cmd.Stderr = &out, &out

	read, write, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer write.Close()
	cmd.Stdin = read
	if r.UID != os.Geteuid() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(r.UID), Gid: uint32(r.GID)}
		if err := read.Chown(r.UID, r.GID); err != nil { // else it may not open /dev/stdin
			return "", errors.Join(err, read.Close())
		}
	}
	err = errors.Join(cmd.Start(), read.Close())
	if err != nil {
		return "", err
	}
	// It fits into the pipe, whether somebody reads it or not.
	_, _ = io.WriteString(write, input)
	write.Close()
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case limited.Err() != nil:
		err = fmt.Errorf("it did not end within %s", limit)
	}
	return out.String(), err
}

// tail keeps the end of what is written.
type tail struct{ bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	n, err := t.Buffer.Write(p)
	if over := t.Len() - maxOutput; over > 0 {
		t.Next(over)
	}
	return n, err
}

// last returns the last line that is not blank.
func last(output string) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	return lines[len(lines)-1]
}

// Package engine starts private Docker Engines for tests, from the packages that
// install.sh has unpacked.
//
// Each engine has its own network and mount namespace, data root, socket and
// configuration, so that several run side by side and the machine's own Docker
// is neither needed nor touched. An engine dies with the process that started it.
package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The engines that the tests run against. Names of networks are unique from
// Engine 25 on, so one is on either side.
const (
	Old = "20.10"
	New = "26.1"
)

// startLimit is how long a daemon may take until it answers, on a machine that
// is busy with other tests.
const startLimit = time.Minute

// Engine is one private daemon.
type Engine struct {
	Version string // as asked for, such as "20.10"
	API     string // what it answers, such as "1.41"

	// Plug, if it is set, is called at each later start, before the daemon runs, to give the
	// network namespace of a process an interface eth0 with an address.
	Plug func(pid int) error

	dir    string // everything it writes
	path   string // PATH of the daemon and of its client
	daemon *daemon
}

// Start starts an engine of a version with a new data root.
func Start(version string) (*Engine, error) {
	checkout, err := Checkout()
	if err != nil {
		return nil, err
	}
	root := filepath.Join(checkout, ".cache", "engine-"+version)
	if _, err := os.Stat(filepath.Join(root, "usr/sbin/dockerd")); err != nil {
		return nil, fmt.Errorf("no Docker Engine %s (%w): run e2e/install.sh", version, err)
	}
	dir, err := os.MkdirTemp("/tmp", "hg") // the path of a socket has at most 107 bytes
	if err != nil {
		return nil, err
	}
	e := &Engine{Version: version, dir: dir}
	var path []string
	for _, r := range []string{root, filepath.Join(checkout, ".cache", "engine-"+Old)} { // both run Old's runc
		path = append(path, filepath.Join(r, "usr/sbin"), filepath.Join(r, "usr/bin"))
	}
	e.path = strings.Join(append(path, "/usr/sbin:/usr/bin:/sbin:/bin"), ":")
	config := "{}" // rather than the machine's
	if version == Old {
		config = fmt.Sprintf(`{"deprecated-key-path": %q}`, filepath.Join(dir, "key.json")) // else in /etc/docker
	}
	if err := os.WriteFile(filepath.Join(dir, "daemon.json"), []byte(config), 0o600); err != nil {
		return nil, err
	}
	if err := e.start(); err != nil {
		return nil, errors.Join(err, e.Stop())
	}
	return e, nil
}

// Checkout returns the folder of this repository, from any folder below it.
func Checkout() (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "e2e/install.sh")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s is not inside a checkout of hostguard", wd)
		}
	}
}

func (e *Engine) socket() string { return filepath.Join(e.dir, "docker.sock") }

// Host returns the daemon's address as DOCKER_HOST has it.
func (e *Engine) Host() string { return "unix://" + e.socket() }

// PID returns the process id of the daemon, until it is restarted.
func (e *Engine) PID() int { return e.daemon.process.Pid }

// CLI returns the path of this version's docker client.
func (e *Engine) CLI() string { return filepath.Join(strings.Split(e.path, ":")[1], "docker") }

// Docker runs this version's client against this engine and returns what it
// printed.
func (e *Engine) Docker(args ...string) (string, error) {
	cmd := exec.Command(e.CLI(), args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Host(), "DOCKER_CONFIG="+filepath.Join(e.dir, "client"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return strings.TrimSpace(string(out)), nil
}

// Kill ends the daemon with SIGKILL; Restart starts it again on what it left.
func (e *Engine) Kill() error { return e.end(syscall.SIGKILL) }

// Restart ends the daemon with SIGTERM if it still runs, and starts it again on
// the same data root.
func (e *Engine) Restart() error {
	if err := e.end(syscall.SIGTERM); err != nil {
		return err
	}
	return e.start()
}

// Stop ends the daemon and removes all that it wrote.
func (e *Engine) Stop() error {
	// What it mounted was seen in its mount namespace only, which is gone.
	return errors.Join(e.end(syscall.SIGTERM), os.RemoveAll(e.dir))
}

// daemon is one process of dockerd.
type daemon struct {
	process *os.Process
	exited  chan struct{}
	err     error // how it ended, once exited is closed
}

func (e *Engine) start() error {
	log, err := os.OpenFile(filepath.Join(e.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{
		"--config-file", filepath.Join(e.dir, "daemon.json"),
		"--data-root", filepath.Join(e.dir, "data"),
		"--exec-root", filepath.Join(e.dir, "exec"),
		"--pidfile", filepath.Join(e.dir, "pid"),
		"--host", e.Host(),
	}
	script := `ip link set lo up && exec dockerd "$@"`
	if e.Plug != nil {
		script = `until ip address show eth0 | grep -q 'inet '; do sleep 0.02; done 2>/dev/null; ` + script
	}
	cmd := exec.Command("/bin/sh", append([]string{"-c", script, "dockerd"}, args...)...)
	cmd.Env = []string{"PATH=" + e.path, "HOME=" + e.dir, "TMPDIR=" + e.dir}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		Pdeathsig:    syscall.SIGKILL,
		Setpgid:      true, // Ctrl-C is for the test, which then ends the daemon
	}
	d := &daemon{exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		// Pdeathsig comes when this thread ends, not the process: no other goroutine may end
		// it, and it must not end with this one, since others have started processes from it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		d.process = cmd.Process
		started <- err
		if err == nil {
			d.err = cmd.Wait()
			close(d.exited)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start dockerd %s: %w", e.Version, err)
	}
	e.daemon = d
	if e.Plug != nil {
		if err := e.Plug(d.process.Pid); err != nil {
			return err
		}
	}
	if err := e.ready(); err != nil {
		return fmt.Errorf("dockerd %s: %w; the end of its log:\n%s", e.Version, err, e.logTail())
	}
	return nil
}

// ready waits until the daemon answers.
func (e *Engine) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	for {
		version, err := APIVersion(ctx, e.Host())
		if err == nil {
			e.API = version
			return nil
		}
		select {
		case <-e.daemon.exited:
			return fmt.Errorf("exited: %v", e.daemon.err)
		case <-ctx.Done():
			return fmt.Errorf("gives no answer in %v: %w", startLimit, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// APIVersion asks the daemon at an address such as DOCKER_HOST has.
func APIVersion(ctx context.Context, host string) (string, error) {
	network, address, _ := strings.Cut(host, "://")
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/version", nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var version struct{ ApiVersion string }
	if err := json.NewDecoder(resp.Body).Decode(&version); err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", errors.New(resp.Status)
	}
	return version.ApiVersion, nil
}

// end ends the daemon and waits until it and its containerd are gone. A daemon
// that does not follow a SIGTERM is killed.
func (e *Engine) end(signal syscall.Signal) error {
	if e.daemon == nil {
		return nil
	}
	containerd := e.containerd()
	_ = e.daemon.process.Signal(signal) // it may be gone already
	select {
	case <-e.daemon.exited:
	case <-time.After(startLimit):
		_ = e.daemon.process.Kill()
		<-e.daemon.exited
	}
	e.daemon = nil
	if containerd == nil {
		return nil
	}
	// dockerd takes its containerd with it, also when it is killed.
	limit := time.Now().Add(startLimit)
	for ; containerd.Signal(syscall.Signal(0)) == nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			return fmt.Errorf("containerd (pid %d) of dockerd %s does not end", containerd.Pid, e.Version)
		}
	}
	return nil
}

// containerd returns the daemon's child, or nil if it has none.
func (e *Engine) containerd() *os.Process {
	text, err := os.ReadFile(filepath.Join(e.dir, "exec/containerd/containerd.pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return nil
	}
	process, err := os.FindProcess(pid) // a pidfd: the number may be used again
	if err != nil {
		return nil
	}
	return process
}

func (e *Engine) logTail() string {
	text, err := os.ReadFile(filepath.Join(e.dir, "log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.SplitAfter(string(text), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "")
}

// Package systemd boots machines whose init is a real systemd, as PID 1 of a container.
//
// A machine has two users: ci, who may use sudo without a password, and plain,
// who may not. Its /usr is the tree that install.sh has unpacked, and its
// /usr/local/bin a directory of the test.
package systemd

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"hostguard/e2e/rig/engine"
)

const image = "systemd"

// ImportImage gives an engine the image of the machines: all but /usr, which is
// bound to the tree. An image with it would take seconds.
func ImportImage(e *engine.Engine) error {
	tree, err := tree()
	if err != nil {
		return err
	}
	tar := filepath.Join(tree, "..", fmt.Sprintf("systemd-%d.tar", os.Getpid()))
	defer os.Remove(tar)
	out, err := exec.Command("tar", "-C", tree, "-cf", tar, "--exclude=./usr/*", "--exclude=./dev/*", "--exclude=./proc/*",
		"--exclude=./sys/*", "--exclude=./run/*", ".").CombinedOutput()
	if err != nil {
		return fmt.Errorf("tar: %w: %s", err, out)
	}
	_, err = e.Docker("import", tar, image)
	return err
}

func tree() (string, error) {
	checkout, err := engine.Checkout()
	if err != nil {
		return "", err
	}
	tree := filepath.Join(checkout, ".cache", "systemd")
	if _, err := os.Stat(filepath.Join(tree, "usr/lib/systemd/systemd")); err != nil {
		return "", fmt.Errorf("no tree with systemd (%w): run e2e/install.sh", err)
	}
	return tree, nil
}

// Machine is one that has booted.
type Machine struct {
	Engine *engine.Engine // that runs it
	ID     string
	docker string // of the machine itself
}

// Boot starts a machine with a directory of programs as its /usr/local/bin, and
// the socket of a Docker daemon as its own. options are more of docker run.
func Boot(e *engine.Engine, programs, dockerHost string, options ...string) (*Machine, error) {
	tree, err := tree()
	if err != nil {
		return nil, err
	}
	args := []string{
		"run", "--detach", "--network", "none", "--stop-signal", "SIGRTMIN+3", "--hostname", "host110", "--add-host",
		"host110:127.0.0.1", "--cap-add", "SYS_ADMIN", "--cap-add", "SYS_PTRACE",
		"--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
		"--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec",
		"-v", "/sys/fs/cgroup:/sys/fs/cgroup:rw", "--cgroupns=host",
		"-v", tree + "/usr:/usr:ro", "-v", programs + ":/usr/local/bin:ro",
		"-v", strings.TrimPrefix(dockerHost, "unix://") + ":/docker.sock",
	}
	id, err := e.Docker(append(append(args, options...), image, "/sbin/init")...)
	if err != nil {
		return nil, err
	}
	m := &Machine{Engine: e, ID: id, docker: dockerHost}
	if err := m.ready(); err != nil {
		return nil, errors.Join(err, m.Stop())
	}
	return m, nil
}

// Stop ends the machine and all that runs on it.
func (m *Machine) Stop() error {
	_, err := m.Engine.Docker("rm", "--force", m.ID)
	return err
}

// ready waits for the end of the boot, and makes the users.
func (m *Machine) ready() error {
	var out string
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		out, _ = m.Run("root", "systemctl is-system-running --wait")
		if out = strings.TrimSpace(out); out == "running" || out == "degraded" {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("systemd does not come up: %s", out)
		}
	}
	out, status := m.Run("root", `set -e
		useradd --create-home --shell /bin/sh --uid 1000 ci
		useradd --create-home --shell /bin/sh --uid 1001 plain
		echo 'ci ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ci
		chmod 440 /etc/sudoers.d/ci`)
	if status != 0 {
		return fmt.Errorf("make users: %s", out)
	}
	return nil
}

// Run runs a script as a user, with his manager's directory, and returns all that
// it prints and its exit status.
func (m *Machine) Run(user, script string) (string, int) {
	cmd := m.Command(user, script)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	_ = cmd.Run()
	return out.String(), cmd.ProcessState.ExitCode()
}

// Command returns a command that Run would run.
func (m *Machine) Command(user, script string) *exec.Cmd {
	home := "/home/" + user
	if user == "root" {
		home = "/root"
	}
	cmd := exec.Command(m.Engine.CLI(), "exec", "--user", user, "--workdir", "/", "--env", "HOME="+home, "--env",
		"DOCKER_HOST=unix:///docker.sock",
		"--env", "GORACE=atexit_sleep_ms=0", m.ID, "/bin/sh", "-c", script)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+m.Engine.Host())
	return cmd
}

package gitea

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// The programs that a runner may be.
const (
	ActRunner     = "act_runner"     // the classic
	GiteaRunner   = "gitea-runner"   // the new
	ForgejoRunner = "forgejo-runner" // with Gitea's server
)

// Runner is a runner that is registered with a server.
type Runner struct {
	Program string
	Dir     string   // its working directory, with .runner and config.yaml
	Parent  string   // the directory that has the jobs' directories
	Env     []string // more than the test's own, NAME=VALUE, as its unit sets it

	path   string // of the program
	daemon *exec.Cmd
	log    string // the file of its log
}

// Register registers a runner of the whole server with labels such as
// "awoooi-host:host" or "ubuntu-latest:docker://image". config is more of its
// config.yaml than file and labels: top-level keys such as "container:", and lines
// of "runner:" that begin with two spaces, which come first.
func Register(s *Server, program, name string, labels []string, config string) (*Runner, error) {
	programs, err := Programs()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("/tmp", "hgrunner")
	if err != nil {
		return nil, err
	}
	r := &Runner{
		Program: program, Dir: dir, Parent: filepath.Join(dir, "act"),
		path: filepath.Join(programs, program), log: filepath.Join(dir, "log"),
	}
	text := "runner:\n  file: .runner\n  labels: [\"" + strings.Join(labels, `", "`) + "\"]\n" + config
	if !strings.Contains(config, "\nhost:") && !strings.HasPrefix(config, "host:") {
		text += "\nhost:\n  workdir_parent: " + r.Parent + "\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(text), 0o644); err != nil {
		return nil, err
	}
	s.registers.Lock() // a new token makes the one before invalid
	defer s.registers.Unlock()
	token, err := s.RegistrationToken()
	if err != nil {
		return nil, err
	}
	register := exec.Command(r.path, "register", "--no-interactive", "--config", "config.yaml",
		"--instance", s.URL, "--name", name, "--token", token)
	register.Dir = dir
	if out, err := register.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("register %s: %w: %s", name, err, out)
	}
	return r, nil
}

// Start starts the daemon. It dies with the process that started it.
func (r *Runner) Start() error {
	log, err := os.OpenFile(r.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	r.daemon = exec.Command(r.path, "daemon", "--config", "config.yaml")
	r.daemon.Dir, r.daemon.Stdout, r.daemon.Stderr = r.Dir, log, log
	home := filepath.Join(r.Dir, "home")
	if err := os.MkdirAll(home, 0o755); err != nil {
		return err
	}
	r.daemon.Env = append(append(os.Environ(), "HOME="+home, "XDG_CACHE_HOME="+home+"/.cache"), r.Env...)
	r.daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return r.daemon.Start()
}

// PID returns the process id of the daemon.
func (r *Runner) PID() int { return r.daemon.Process.Pid }

// Signal sends the daemon a signal: SIGTERM to stop as soon as it may, SIGKILL to die
// at once.
func (r *Runner) Signal(s syscall.Signal) error { return r.daemon.Process.Signal(s) }

// Wait waits for the end of the daemon.
func (r *Runner) Wait() error { return r.daemon.Wait() }

// Log returns what the runner has written.
func (r *Runner) Log() string {
	text, _ := os.ReadFile(r.log)
	return string(text)
}

// Jobs returns the directories of jobs that exist.
func (r *Runner) Jobs() ([]string, error) {
	return filepath.Glob(filepath.Join(r.Parent, strings.Repeat("[0-9a-f]", 16)))
}

// Stop ends the daemon at once and removes what it and its jobs have left.
func (r *Runner) Stop() error {
	if r.daemon != nil && r.daemon.ProcessState == nil {
		_ = r.daemon.Process.Kill()
		_ = r.daemon.Wait()
	}
	return os.RemoveAll(r.Dir)
}

// GenerateConfig makes config.yaml what the program generates, with its labels.
func (r *Runner) GenerateConfig() error {
	generate := exec.Command(r.path, "generate-config")
	text, err := generate.Output()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.Dir, "config.yaml"), text, 0o644)
}

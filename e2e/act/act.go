// Package act runs workflows on this host with a real runner engine, as a
// runner with the label awoooi-host:host does.
//
// Each run has its own home and cache, so that it leaves nothing behind but its
// folder. Nothing is fetched: wooo/hostguard comes from a folder, and the jobs of
// ubuntu-latest run on this host too.
package act

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"hostguard/e2e/engine"
)

// The builds of the engine: the original, and Gitea's fork, which act_runner
// is made of.
const (
	Nektos = "nektos"
	Gitea  = "gitea"
)

// Job is one run of a workflow.
type Job struct {
	Build      string   // Nektos or Gitea
	Repository string   // such as wooo/site
	Workflow   string   // the text of the file
	Action     string   // the folder that is wooo/hostguard@v1 and its full version, see Export
	Env        []string // of the job, NAME=VALUE
	Secrets    []string // NAME=VALUE
}

// Run runs the workflow and writes its log, line by line and without the
// engine's own chatter. It writes below dir, a folder of its own.
func (j Job) Run(ctx context.Context, dir string, log io.Writer) error {
	act, err := tool(j.Build)
	if err != nil {
		return err
	}
	repo := filepath.Join(dir, "repo")
	if err := os.MkdirAll(filepath.Join(dir, "home/.config"), 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll(repo, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(repo, "ci.yaml"), []byte(j.Workflow), 0o644); err != nil {
		return err
	}
	env := append(os.Environ(), "HOME="+filepath.Join(dir, "home"), "XDG_CACHE_HOME="+filepath.Join(dir, "home/cache"), "XDG_CONFIG_HOME="+filepath.Join(dir, "home/.config"))
	// The engine reads repository, branch and commit from git.
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch", "main"},
		{"remote", "add", "origin", "https://github.com/" + j.Repository}, // a name, never asked
		{"add", "ci.yaml"},
		{"-c", "user.name=ci", "-c", "user.email=ci@localhost", "commit", "--quiet", "-m", "ci"},
	} {
		git := exec.CommandContext(ctx, "git", args...)
		git.Dir, git.Env = repo, env
		if out, err := git.CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w: %s", args[0], err, out)
		}
	}

	version, err := os.ReadFile(filepath.Join(j.Action, "VERSION"))
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, act, "push", "-W", "ci.yaml", "--no-cache-server",
		"-P", "awoooi-host=-self-hosted", "-P", "ubuntu-latest=-self-hosted",
		"--local-repository", "wooo/hostguard@v1="+j.Action,
		"--local-repository", "wooo/hostguard@v"+strings.TrimSpace(string(version))+"="+j.Action)
	for _, variable := range j.Env {
		cmd.Args = append(cmd.Args, "--env", variable)
	}
	for _, secret := range j.Secrets {
		cmd.Args = append(cmd.Args, "--secret", secret)
	}
	cmd.Dir, cmd.Env = repo, env
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it then ends its steps
	cmd.WaitDelay = 10 * time.Second
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	copied := make(chan error)
	go func() { copied <- copyLines(log, r) }()
	err = cmd.Run()
	w.Close()
	if copyErr := <-copied; err == nil {
		err = copyErr
	}
	if err != nil {
		return fmt.Errorf("workflow of %s under %s act: %w", j.Repository, j.Build, err)
	}
	return nil
}

// copyLines leaves out what the engines say about themselves.
func copyLines(to io.Writer, from io.Reader) error {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadString('\n')
		if line != "" && !strings.Contains(line, "[DEBUG]") && !strings.HasPrefix(line, "time=") && !strings.Contains(line, "LocalRepositoryCache") {
			if _, err := io.WriteString(to, line); err != nil {
				_, _ = io.Copy(io.Discard, from) // the engine must not block
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// tool is the path of a build, which Go keeps in its build cache.
func tool(build string) (string, error) {
	dir, err := engine.Checkout()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, map[string]string{Nektos: "e2e", Gitea: "e2e/gitea-act"}[build])
	cmd := exec.Command("go", "tool", "-n", "github.com/nektos/act")
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("build %s act: %w", build, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// Export makes dir a copy of this checkout as a release has it: what git knows,
// and in dist the static binary.
func Export(dir string) error {
	if err := Copy(dir); err != nil {
		return err
	}
	build := exec.Command("make", "--silent", "dist")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the binary: %w: %s", err, out)
	}
	return nil
}

// Copy makes dir a copy of what git knows of this checkout, or would with "git
// add".
func Copy(dir string) error {
	checkout, err := engine.Checkout()
	if err != nil {
		return err
	}
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = checkout
	names, err := list.Output()
	if err != nil {
		return fmt.Errorf("git ls-files in %s: %w", checkout, err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		if err := copyFile(filepath.Join(dir, name), filepath.Join(checkout, name)); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(to, from string) error {
	info, err := os.Stat(from)
	if os.IsNotExist(err) {
		return nil // git knows it, but it was removed
	}
	if err != nil {
		return err
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, text, info.Mode().Perm())
}

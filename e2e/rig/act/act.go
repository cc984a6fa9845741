// Package act runs workflows on this host with a real runner engine, as a
// runner with the labels awoooi-host:host and ci-host:host does.
//
// Each run has its own home and cache, so that it leaves nothing behind but its
// folder. Nothing is fetched from elsewhere: wooo/hostguard comes from a folder,
// or all actions from a server that the test has started; and the jobs of
// ubuntu-latest run on this host too, or in an image that the test has made.
package act

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"hostguard/e2e/rig/engine"
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
	Secrets    []string // NAME=VALUE; GITEA_TOKEN is the job's token

	Image  string   // what the label ubuntu-latest stands for, instead of this host
	Runner []string // environment of the runner, as its unit sets it, NAME=VALUE
	Server *Server  // that the runner is registered with, instead of Action
}

// Server is the Gitea from which a runner clones actions.
type Server struct {
	URL     string
	Actions string // whose short names of actions are, by DEFAULT_ACTIONS_URL: a URL, or its own
}

// Run runs the workflow and writes its log, line by line and without the
// engine's own chatter. It writes below dir, a folder of its own.
func (j Job) Run(ctx context.Context, dir string, log io.Writer) error {
	tool, err := j.Tool(ctx)
	if err != nil {
		return err
	}
	act := filepath.Join(dir, "act_runner") // by which hostguard knows a runner
	if err := os.Link(tool, act); err != nil {
		if err := copyFile(act, tool); err != nil {
			return err
		}
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
	env := append(os.Environ(), "HOME="+filepath.Join(dir, "home"), "XDG_CACHE_HOME="+filepath.Join(dir, "home/cache"),
		"XDG_CONFIG_HOME="+filepath.Join(dir, "home/.config"))
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

	args, err := j.args()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, act, args...)
	cmd.Dir, cmd.Env = repo, append(env, j.Runner...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it then ends its steps
	cmd.WaitDelay = time.Minute                                           // a post step may wait for what the job left
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

// copyLines leaves out the engines' messages about themselves.
func copyLines(to io.Writer, from io.Reader) error {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadString('\n')
		if line != "" && !strings.Contains(line, "[DEBUG]") && !strings.HasPrefix(line, "time=") &&
			!strings.Contains(line, "LocalRepositoryCache") {
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

// args returns the arguments of the runner's command line.
func (j Job) args() ([]string, error) {
	args := []string{"-W", "ci.yaml", "-P", "awoooi-host=-self-hosted", "-P", "ci-host=-self-hosted",
		"-P", "ubuntu-latest=" + cmp.Or(j.Image, "-self-hosted")}
	for _, variable := range j.Env {
		args = append(args, "--env", variable)
	}
	for _, secret := range j.Secrets {
		args = append(args, "--secret", secret)
	}
	if j.Server != nil && j.Build == Gitea {
		return append(args, "--server", j.Server.URL, "--actions", cmp.Or(j.Server.Actions, j.Server.URL)), nil
	}
	args = append([]string{"push", "--no-cache-server", "--pull=false", "--rm"}, args...)
	if j.Server != nil {
		// It knows short names only, and clones them from its one server.
		return append(args, "--env", "GITHUB_SERVER_URL="+j.Server.URL), nil
	}
	version, err := os.ReadFile(filepath.Join(j.Action, "VERSION"))
	if err != nil {
		return nil, err
	}
	return append(args,
		"--local-repository", "wooo/hostguard@v1="+j.Action,
		"--local-repository", "wooo/hostguard@v"+strings.TrimSpace(string(version))+"="+j.Action), nil
}

// Compile compiles the runner, which takes minutes where Go has not kept it.
func (j Job) Compile(ctx context.Context) error {
	_, err := j.Tool(ctx)
	return err
}

// Tool returns the path of the runner, which Go keeps in its build cache.
func (j Job) Tool(ctx context.Context) (string, error) {
	dir, err := engine.Checkout()
	if err != nil {
		return "", err
	}
	module, name := "e2e", "github.com/nektos/act"
	if j.Build == Gitea {
		module = "e2e/rig/gitea-act"
		if j.Server != nil {
			name = "hostguard/e2e/rig/gitea-act"
		}
	}
	cmd := exec.CommandContext(ctx, "go", "tool", "-n", name)
	cmd.Dir = filepath.Join(dir, module)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("build %s act: %w", j.Build, err)
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

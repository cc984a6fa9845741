package gitea

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"hostguard/e2e/rig/engine"
)

// version is that of the module's go.mod. Without it the server calls itself
// "development", which the SDK refuses.
const version = "1.26.0"

// Build builds the server, unless it is in .cache already, and returns the directory
// that has it and the files that it needs. Other processes wait for it.
func Build() (string, error) {
	checkout, err := engine.Checkout()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(checkout, ".cache", "gitea-"+version)
	unlock, err := lock(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	fmt.Fprintf(os.Stderr, "building Gitea %s: 2 to 8 minutes on two cores, once\n", version)
	began := time.Now()
	building := dir + ".new"
	if err := os.RemoveAll(building); err != nil {
		return "", err
	}
	module := filepath.Join(checkout, "e2e", "rig", "gitea", "tool")
	build := exec.Command("go", "build",
		"-tags", "sqlite sqlite_unlock_notify", "-ldflags", "-s -w -X main.Version="+version,
		"-o", filepath.Join(building, "gitea"), "code.gitea.io/gitea")
	if _, err := output(build, module); err != nil {
		return "", fmt.Errorf("build Gitea %s: %w", version, err)
	}
	source, err := output(exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "code.gitea.io/gitea"), module)
	if err != nil {
		return "", fmt.Errorf("find Gitea's module: %w", err)
	}
	for _, part := range []string{"options", "public", "templates"} {
		if err := os.CopyFS(filepath.Join(building, part), os.DirFS(filepath.Join(source, part))); err != nil {
			return "", err
		}
	}
	if err := os.Rename(building, dir); err != nil {
		return "", err
	}
	fmt.Fprintf(os.Stderr, "built Gitea %s in %s: %d MB\n", version, time.Since(began).Round(time.Second), size(dir)>>20)
	return dir, nil
}

// Programs builds the runners, once in a process, and returns their directory, which
// has act_runner, gitea-runner and forgejo-runner.
func Programs() (string, error) { return programs() }

var programs = sync.OnceValues(func() (string, error) {
	checkout, err := engine.Checkout()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(checkout, ".cache", "runners")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	module := filepath.Join(checkout, "e2e", "rig", "gitea-act")
	modfile, err := newEngine(module, filepath.Join(checkout, ".cache", "new-engine"))
	if err != nil {
		return "", fmt.Errorf("change the engine of the new runner: %w", err)
	}
	for program, flags := range map[string][]string{ActRunner: nil, GiteaRunner: {"-modfile", modfile}} {
		to := []string{"-o", filepath.Join(dir, program), "hostguard/e2e/rig/gitea-act/runner"}
		args := slices.Concat([]string{"build"}, flags, to)
		build := exec.Command("go", args...)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if _, err := output(build, module); err != nil {
			return "", fmt.Errorf("build %s: %w", program, err)
		}
	}
	err = os.Symlink(ActRunner, filepath.Join(dir, ForgejoRunner))
	if err != nil && !os.IsExist(err) {
		return "", err
	}
	return dir, nil
})

// output returns what a command of a module's directory prints. It has a name of its own:
// beside it run tests that look for the builds of others, such as a "go build".
func output(cmd *exec.Cmd, dir string) (string, error) {
	stderr := new(strings.Builder)
	cmd.Args[0] = "rig-" + cmd.Args[0]
	cmd.Dir, cmd.Stderr = dir, stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, stderr)
	}
	return strings.TrimSpace(string(out)), nil
}

// lock keeps other processes out until unlock is called.
func lock(path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

func size(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, entry os.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			if info, err := entry.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}

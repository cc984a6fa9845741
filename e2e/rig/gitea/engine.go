package gitea

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The engine of the new runner is not served as a module. It is Gitea's fork of act
// with these changes: a line of a file, which must be there just once, and what
// becomes of it.
var changes = []struct{ file, from, to string }{
	// Steps have a pipe instead of a terminal, and a process group of their own, which
	// a cancel kills. A child that keeps the pipe makes the step fail after 10 s.
	{"pkg/container/host_environment.go", "if true /* allocate Terminal */ {", "if false {"},
	{
		"pkg/container/host_environment.go", "cmd.SysProcAttr = getSysProcAttr(cmdline, false)\n",
		`cmd.SysProcAttr = getSysProcAttr(cmdline, false)
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
`,
	},
	{"pkg/container/host_environment.go", "\"strings\"\n", "\"strings\"\n\t\"syscall\"\n"},

	// Containers are named with dashes, and with a hash.
	{"pkg/runner/run_context.go", `return strings.Join(name, "_")`, "return hashedName(name)"},

	// A cancel ends a step, not the steps after it.
	{"pkg/runner/run_context.go", "type RunContext struct {\n", "type RunContext struct {\n\tnewer newer\n"},
	{"pkg/runner/run_context.go", `jobStatus := "success"` + "\n", "jobStatus := rc.status()\n"},
	{
		"pkg/runner/run_context.go", "if stepStatus.Conclusion == model.StepStatusFailure {\n\t\t\tjobStatus",
		"if stepStatus.Conclusion == model.StepStatusFailure && jobStatus == \"success\" {\n\t\t\tjobStatus",
	},
	{
		"pkg/runner/job_executor.go", "err := stepExec(ctx)\n",
		"ctx, done := rc.stepContext(ctx)\n\t\t\tdefer done()\n\t\t\terr := stepExec(ctx)\n",
	},
	{
		"pkg/runner/job_executor.go", "info.startContainer(), common.NewPipelineExecutor(pipeline...).\n",
		"info.startContainer(), rc.withHook(common.NewPipelineExecutor(pipeline...)).\n",
	},

	// The hook for completed jobs runs last.
	{
		"pkg/runner/job_executor.go", "jobError := common.JobError(ctx)\n",
		"rc.runHook(ctx, \"completed\")\n\t\tjobError := common.JobError(ctx)\n",
	},
}

// newer is what the changed lines call.
//
//go:embed testdata/newer.go
var newer []byte

// newEngine makes a copy of the fork with the changes, and returns a go.mod for the
// module of the runners that has it in the place of the fork.
func newEngine(module, dir string) (modfile string, err error) {
	source, err := output(exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/nektos/act"), module)
	if err != nil {
		return "", err
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	engine := filepath.Join(dir, "act")
	if err := os.CopyFS(engine, os.DirFS(source)); err != nil {
		return "", err
	}
	for _, change := range changes {
		path := filepath.Join(engine, change.file)
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		if n := strings.Count(string(text), change.from); n != 1 {
			return "", fmt.Errorf("%s has %d times what is to be changed: %s", change.file, n, change.from)
		}
		changed := strings.Replace(string(text), change.from, change.to, 1)
		if err := os.Chmod(path, 0o644); err != nil { // a module's files are read-only
			return "", err
		}
		if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
			return "", err
		}
	}
	if err := os.WriteFile(filepath.Join(engine, "pkg/runner/newer.go"), newer, 0o644); err != nil {
		return "", err
	}
	modfile = filepath.Join(dir, "go.mod")
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(module, name))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return "", err
		}
	}
	_, err = output(exec.Command("go", "mod", "edit", "-replace", "github.com/nektos/act="+engine, modfile), module)
	return modfile, err
}

// Package actrunner recognizes the runners of Gitea, Forgejo and GitHub on a host by
// name: their programs, the containers of their jobs and the shape of a job's private
// directory. It reads nothing from the host and proves nothing.
package actrunner

import (
	"path/filepath"
	"slices"
	"strings"

	"hostguard/internal/hexid"
)

// Role is what a program does for a runner.
type Role int

const (
	NoRunner Role = iota
	Daemon        // takes jobs from a Gitea or Forgejo and runs them itself
	Listener      // takes jobs for GitHub's runner
	Worker        // runs one job of GitHub's runner, and ends with it
)

// daemons are the names under which Gitea's and Forgejo's runner are released
// and packaged.
var daemons = []string{"act_runner", "act-runner", "gitea-runner", "gitea-act-runner", "forgejo-runner"}

// variants are the words that may follow a daemon's name, beside versions: the
// platform of a release file, and what people and packages add to a second copy.
var variants = []string{
	"linux", "darwin", "windows", "freebsd", "amd64", "arm64", "arm", "armv5", "armv6", "armv7", "386", "x86", "64",
	"aarch64", "riscv64", "s390x", "ppc64le", "loong64", "musl", "static", "exe", "bin",
	"nightly", "latest", "main", "dev", "old", "new", "orig", "real", "wrapped",
}

// Program returns the path of a program, given the target of /proc/PID/exe: that of a
// replaced binary ends in " (deleted)".
func Program(exe string) string { return strings.TrimSuffix(exe, " (deleted)") }

// RoleOf returns the role of an executable, given its path or the target of
// /proc/PID/exe. A version and a platform may follow the name, as in
// act_runner-0.2.11-linux-amd64.
func RoleOf(path string) Role {
	name := filepath.Base(Program(path))
	switch name {
	case "Runner.Worker":
		return Worker
	case "Runner.Listener":
		return Listener
	}
	name = strings.TrimPrefix(name, ".") // of a wrapped program
	for _, daemon := range daemons {
		rest, found := strings.CutPrefix(name, daemon)
		if found && (rest == "" || strings.ContainsAny(rest[:1], "-_.")) && isVariant(rest) {
			return Daemon
		}
	}
	return NoRunner
}

// isVariant reports whether every word of a suffix is a version or a variant.
func isVariant(suffix string) bool {
	for word := range strings.FieldsFuncSeq(suffix, func(c rune) bool { return strings.ContainsRune("-_.", c) }) {
		version := strings.TrimPrefix(word, "v")
		if (version == "" || version[0] < '0' || version[0] > '9') && !slices.Contains(variants, word) {
			return false
		}
	}
	return true
}

// IsDaemon reports whether the arguments are those of a runner, by its name, that takes
// jobs.
func IsDaemon(argv []string) bool {
	return len(argv) > 1 && RoleOf(argv[0]) == Daemon &&
		(slices.Contains(argv[1:], "daemon") || IsForgejo(argv) && slices.Contains(argv[1:], "one-job"))
}

// takes are the subcommands that take jobs, all that come or, of Forgejo's runner, one.
var takes = []string{"daemon", "one-job"}

// MayBeDaemon reports whether the arguments could be those of a runner by any other name:
// its subcommand is one that takes jobs. Other programs have such subcommands, too.
func MayBeDaemon(argv []string) bool {
	for i := 1; i < len(argv); i++ {
		switch word := argv[i]; {
		case word == "-c" || word == "--config":
			i++
		case !strings.HasPrefix(word, "-"):
			return slices.Contains(takes, word)
		}
	}
	return false
}

// IsForgejo reports whether the arguments are those of Forgejo's runner.
func IsForgejo(argv []string) bool {
	return len(argv) > 0 && RoleOf(argv[0]) == Daemon &&
		strings.HasPrefix(strings.TrimPrefix(filepath.Base(argv[0]), "."), "forgejo-runner")
}

// ConfigOf returns the configuration that a daemon's arguments name, or "".
func ConfigOf(argv []string) (config string) {
	for i := 1; i < len(argv); i++ {
		word := argv[i]
		value, long := strings.CutPrefix(word, "--config=")
		short, isShort := strings.CutPrefix(word, "-c")
		switch {
		case word == "--":
			return config
		case (word == "-c" || word == "--config") && i+1 < len(argv):
			i++
			config = argv[i]
		case long:
			config = value
		case isShort && short != "":
			config = strings.TrimPrefix(short, "=")
		}
	}
	return config
}

// Task is a job as the name of its container describes it. Workflow and Job are as
// the runner has rewritten them, and may be cut or missing.
type Task struct{ ID, Workflow, Job string }

// TaskOf parses the name of a container; false if it is not that of a job. Known
// forms: GITEA-ACTIONS-TASK-49_WORKFLOW-ci_JOB-build (act_runner), the same with
// dashes and -<64 hex> behind 63 characters (gitea-runner 1.0 and later), and
// FORGEJO-ACTIONS-TASK-49_….
func TaskOf(container string) (Task, bool) {
	rest, found := strings.CutPrefix(container, "GITEA-ACTIONS-TASK-")
	if !found {
		rest, found = strings.CutPrefix(container, "FORGEJO-ACTIONS-TASK-")
	}
	id := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	if rest = rest[len(id):]; !found || id == "" || rest != "" && !strings.ContainsAny(rest[:1], "_-") {
		return Task{}, false
	}
	if end := len(rest) - 65; end >= 0 && rest[end] == '-' && hexid.Is(rest[end+1:], 64) {
		rest = rest[:end]
	}
	task := Task{ID: id}
	if rest == "" {
		return task, true
	}
	separator := rest[:1]
	if workflow, found := strings.CutPrefix(rest, separator+"WORKFLOW-"); found {
		task.Workflow = workflow
		if i := strings.LastIndex(workflow, separator+"JOB-"); i >= 0 {
			task.Workflow, task.Job = workflow[:i], workflow[i+len(separator+"JOB-"):]
		}
	}
	return task, true
}

// JobFolders are what the private directory of a job holds.
var JobFolders = []string{"act", "hostexecutor", "tmp"}

// JobDigits is the length of the name of a job's private directory.
const JobDigits = 16

// IsJobName reports whether an entry of a runner's directory of jobs has the name of a
// job's private directory.
func IsJobName(name string) bool { return hexid.Is(name, JobDigits) }

// IsJobDir reports whether a path has the form of the private directory that
// Gitea's and Forgejo's runner give to a job on the host: <parent>/<16 hex>, with
// JobFolders in it.
func IsJobDir(dir string) bool {
	return filepath.IsAbs(dir) && filepath.Clean(dir) == dir && IsJobName(filepath.Base(dir))
}

// JobDirOf returns the private directory of a job that a path is in, by its form, or "".
func JobDirOf(path string) string {
	if !filepath.IsAbs(path) {
		return ""
	}
	for rest := 0; ; {
		end := strings.IndexByte(path[rest:], '/')
		if end < 0 {
			return ""
		}
		name, below := path[rest:rest+end], path[rest+end+1:]
		folder, _, _ := strings.Cut(below, "/")
		if IsJobName(name) && slices.Contains(JobFolders, folder) {
			return path[:rest+end]
		}
		rest += end + 1
	}
}

// JobDir returns the private directory of the job whose RUNNER_TEMP is temp, or
// "": of a job in a container, of GitHub's runner, or outside any job.
func JobDir(temp string) string {
	temp = filepath.Clean(temp)
	if dir := filepath.Dir(temp); filepath.Base(temp) == "tmp" && IsJobDir(dir) {
		return dir
	}
	return ""
}

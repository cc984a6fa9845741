package pressure

import (
	"io/fs"
	"path"
	"slices"
	"strings"

	"hostguard/internal/actrunner"
)

// Owner is a process that is about to start a heavy build, and its job.
type Owner struct {
	PID  int
	Dirs []string // that belong to the job alone, see OwnDirs
	Task string   // Gitea's number of the job, if it is known
	Step int      // that the job's processes descend from, if it is known; else Dirs show it
	// OneUser: only processes of the owner's user are its job's. For an owner that
	// another job has named.
	OneUser bool
}

// ownership is what belongs to an owner's job.
type ownership struct {
	dirs      []string
	ancestors []int  // of the owner, with itself
	step      int    // the job's process that the others descend from, or 0
	mounts    string // the mount namespace of dirs
	cgroup    string // of the job alone, or ""
	oneUser   bool
	user      int
}

// ownership returns what belongs to an owner's job, by the owner's ancestors. Its
// step is the top-most one that works in a directory of the job: the runner above it
// is an ancestor of every job on the host. The step's cgroup (and with it a job
// container) is the job's own only if that runner is not in it.
func (t *tree) ownership(owner Owner) ownership {
	o := ownership{dirs: owner.Dirs, oneUser: owner.OneUser}
	line := t.lineage(owner.PID)
	if len(line) > 0 {
		o.mounts, o.user = line[0].Mounts, line[0].User
	}
	step := -1
	for i, p := range line {
		o.ancestors = append(o.ancestors, p.PID)
		if job := actrunner.JobDirOf(p.Dir); job != "" && !slices.Contains(o.dirs, job) {
			o.dirs = append(slices.Clip(o.dirs), job)
		}
		if owner.Step == 0 && below(p.Dir, owner.Dirs) || owner.Step == p.PID {
			step = i
		}
	}
	if step < 0 {
		return o
	}
	o.step = line[step].PID
	switch {
	case step+1 < len(line): // the runner, or what it starts jobs with
		if line[step+1].Cgroup != "" && line[step+1].Cgroup != line[step].Cgroup {
			o.cgroup = line[step].Cgroup
		}
	case line[step].Parent == 0: // it was started from outside this container
		o.cgroup = line[step].Cgroup
	}
	return o
}

// owns reports whether a process, given with its ancestors, is the job's: it
// descends from the job's step, is in its cgroup or container, or works below
// one of its directories. The same path in another container is another
// directory. An ancestor of the owner never blocks it.
func (o ownership) owns(line []Process) bool {
	if len(line) == 0 {
		return false
	}
	p := line[0]
	if o.oneUser && p.User != o.user {
		return false
	}
	return slices.Contains(o.ancestors, p.PID) ||
		o.step != 0 && slices.ContainsFunc(line, func(p Process) bool { return p.PID == o.step }) ||
		o.cgroup != "" && p.Cgroup == o.cgroup ||
		p.Mounts == o.mounts && below(p.Dir, o.dirs)
}

// owners are those whose processes do not count.
type owners []ownership

// own reports whether a process, given with its ancestors, is one of theirs.
func (all owners) own(line []Process) bool {
	return slices.ContainsFunc(all, func(o ownership) bool { return o.owns(line) })
}

// OwnDirs returns the directories that belong to this job alone: its workspace,
// the git worktrees of it, and the private directory that Gitea's runner gives
// each job ("" if there is none).
//
// A directory that holds the home directory, or a worktree that holds the
// workspace, is left out: it would make everybody's builds the job's own.
func OwnDirs(home, workspace, jobDir string, worktrees []string) []string {
	dirs := []string{workspace}
	if jobDir != "" {
		dirs = append(dirs, jobDir)
	}
	for _, tree := range worktrees {
		if !below(workspace, []string{tree}) {
			dirs = append(dirs, tree)
		}
	}
	return slices.DeleteFunc(dirs, func(dir string) bool {
		return !path.IsAbs(dir) || path.Clean(dir) == "/" || below(home, []string{dir})
	})
}

// below reports whether dir is one of the directories, or inside one.
func below(dir string, directories []string) bool {
	return slices.ContainsFunc(directories, func(d string) bool {
		d = path.Clean(d)
		return dir == d || strings.HasPrefix(dir, strings.TrimSuffix(d, "/")+"/")
	})
}

// Worktrees returns the paths of the linked git worktrees of a workspace, from
// .git/worktrees/*/gitdir below root, which is the workspace's directory as a
// file system. The content of these files is not checked: it is only ever compared
// with the working directory of a process.
func Worktrees(workspace string, root fs.FS) []string {
	var trees []string
	files, _ := fs.Glob(root, ".git/worktrees/*/gitdir")
	for _, name := range files {
		// The name of the worktree's own .git file. Git 2.48 can write it
		// relative to the directory that gitdir is in.
		dotgit := readShort(root, name)
		if dotgit == "" {
			continue
		}
		if !path.IsAbs(dotgit) {
			dotgit = path.Join(workspace, path.Dir(name), dotgit)
		}
		trees = append(trees, path.Dir(path.Clean(dotgit)))
	}
	return trees
}

// readShort returns the line in a small regular file, or "".
func readShort(root fs.FS, name string) string {
	const longest = 4096 // PATH_MAX; a path cut off would be its parent's name
	info, err := fs.Stat(root, name)
	if err != nil || !info.Mode().IsRegular() || info.Size() > longest {
		return ""
	}
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return ""
	}
	return strings.TrimRight(string(text), "\r\n")
}

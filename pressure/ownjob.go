package pressure

import (
	"io/fs"
	"path"
	"slices"
	"strings"
)

// OwnDirs are the directories that belong to this job alone: its workspace,
// the git worktrees of it, and the private directory that Gitea's runner gives
// each job ("" if there is none).
//
// A directory that holds the home directory, or a worktree that holds the
// workspace, is left out: it would declare everybody's builds our own.
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

// Worktrees reads where the linked git worktrees of a workspace are, from
// .git/worktrees/*/gitdir below root, which is the workspace's directory as a
// file system. What these files say is not checked: it is only ever compared
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

// readShort reads the line in a small regular file, or nothing.
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

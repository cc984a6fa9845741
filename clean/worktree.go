package clean

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hostguard/internal/safefile"
)

// worktreesIn finds the git worktrees of this workspace in a directory: the
// directory itself and those right below it. A worktree is one only if it and
// git's record of it point at each other; anything else is no error, git just
// keeps its record.
func (w *Workspace) worktreesIn(dir *os.Root, path string) ([]string, error) {
	var ids []string
	if id := w.worktreeID(dir, path); id != "" {
		ids = append(ids, id)
	}
	entries, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer entries.Close()
	list, err := entries.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	for _, entry := range list {
		if !entry.IsDir() {
			continue
		}
		sub, err := openDir(dir, entry.Name())
		if err != nil {
			return nil, err
		}
		if id := w.worktreeID(sub, filepath.Join(path, entry.Name())); id != "" {
			ids = append(ids, id)
		}
		sub.Close()
	}
	return ids, nil
}

// worktreeID returns the name under which this workspace's git keeps the worktree
// in dir, or "". A job may have written anything into both files: they are compared
// with the only places they may name, never opened as paths.
func (w *Workspace) worktreeID(dir *os.Root, path string) string {
	target, ok := readPath(dir, ".git", "gitdir: ")
	if !ok {
		return ""
	}
	id, ok := strings.CutPrefix(w.relative(path, target), ".git/worktrees/")
	if !ok || id == "" || strings.Contains(id, "/") {
		return ""
	}
	if checkServed(w.root, ".git/worktrees/"+id) != nil {
		return ""
	}
	record, err := w.openBelow(".git/worktrees/" + id)
	if err != nil {
		return ""
	}
	defer record.Close()
	back, ok := readPath(record, "gitdir", "")
	if !ok || w.relative(".git/worktrees/"+id, back) != path+"/.git" {
		return ""
	}
	return id
}

// relative returns a path found in a file of the directory at, which git writes in
// full (without links) or relative to that directory, relative to the workspace. It
// returns "" for a path elsewhere.
func (w *Workspace) relative(at, path string) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join(w.path, at, path)
	}
	inside, ok := strings.CutPrefix(filepath.Clean(path), w.path+"/")
	if !ok {
		return ""
	}
	return inside
}

// readPath reads a one-line file that holds a path.
func readPath(dir *os.Root, name, prefix string) (path string, ok bool) {
	const longest = 4096 + 64
	text, err := safefile.ReadEntry(dir, name, longest+1)
	if err != nil || len(text) > longest {
		return "", false
	}
	path, ok = strings.CutPrefix(strings.TrimSuffix(string(text), "\n"), prefix)
	return path, ok && path != ""
}

// forget removes git's record of a worktree that has been removed.
func (w *Workspace) forget(id string) error {
	if err := checkServed(w.root, ".git/worktrees/"+id); err != nil {
		return err
	}
	records, err := w.openBelow(".git/worktrees")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer records.Close()
	return removeAll(records, id)
}

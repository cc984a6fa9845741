package clean

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Workspace is the directory of a job's checkout, open.
type Workspace struct {
	root *os.Root
	path string // without links
}

// OpenWorkspace opens a job's workspace.
func OpenWorkspace(path, home string) (*Workspace, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, quoted(err)
	}
	root, err := os.OpenRoot(real)
	if err != nil {
		return nil, quoted(err)
	}
	info, err := root.Stat(".")
	if err == nil && (isSame(info, "/") || home != "" && isSame(info, home)) {
		err = &Refused{path, "no workspace is the root of the file system or the home directory"}
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	return &Workspace{root, real}, nil
}

func (w *Workspace) Close() error { return w.root.Close() }

// CheckPath tells what is wrong with a path that is to be removed from a
// workspace, without a look at the disk.
func CheckPath(path string) error {
	parts := strings.Split(path, "/")
	switch {
	case filepath.IsAbs(path):
		return errors.New("want a path relative to the workspace")
	case slices.Contains(parts, ".."):
		return errors.New("want a path without \"..\"")
	case filepath.Clean(path) == ".":
		return errors.New("that is the whole workspace")
	case slices.ContainsFunc(parts, func(part string) bool { return strings.EqualFold(part, ".git") }):
		return errors.New("git's own directory is left to git")
	}
	return nil
}

// Tree is the plan for one path of a workspace, which goes whole or not at all.
type Tree struct {
	Path  string
	Files int // in it, directories do not count
	Bytes int64
	Users []int // live processes of others that work in it: it stays
	// Worktrees are the git worktrees of this workspace that go with it, by
	// the names git has for them.
	Worktrees []string

	workspace *Workspace
	parent    *os.Root
	name      string
	seen      identity
}

// PlanTree looks at one path that passed CheckPath. There is no plan for a path
// that is not there. users finds the processes that work below a directory and
// are no part of what is running here.
func (w *Workspace) PlanTree(ctx context.Context, path string, users func(dir string) ([]int, error)) (*Tree, error) {
	path = filepath.Clean(path)
	t := &Tree{Path: path, workspace: w, name: filepath.Base(path)}
	parent, err := w.openBelow(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, quoted(err)
	}
	info, err := parent.Lstat(t.name)
	if err == nil {
		t.parent, t.seen = parent, identityOf(info)
		err = t.look(ctx, info, users)
	} else if errors.Is(err, fs.ErrNotExist) {
		t, err = nil, nil
	}
	if t == nil || err != nil {
		parent.Close()
		return nil, quoted(err)
	}
	return t, nil
}

// openBelow opens a directory inside the workspace, step by step.
func (w *Workspace) openBelow(path string) (*os.Root, error) {
	dir, err := w.root.OpenRoot(".")
	if path == "." {
		return dir, err
	}
	for part := range strings.SplitSeq(path, "/") {
		if err != nil {
			return nil, err
		}
		parent := dir
		dir, err = openDir(parent, part)
		parent.Close()
	}
	return dir, err
}

func (t *Tree) look(ctx context.Context, info fs.FileInfo, users func(dir string) ([]int, error)) error {
	if info.Mode().IsRegular() {
		t.Files, t.Bytes = 1, size(info)
		return nil
	}
	dir, err := openDir(t.parent, t.name)
	if err != nil {
		return err
	}
	defer dir.Close()
	if t.Users, err = users(filepath.Join(t.workspace.path, t.Path)); err != nil || len(t.Users) > 0 {
		return err
	}
	top, err := t.parent.Stat(".")
	if err != nil {
		return err
	}
	if t.Files, t.Bytes, err = measure(ctx, dir, device(top)); err != nil {
		return err
	}
	t.Worktrees, err = t.workspace.worktreesIn(dir, t.Path)
	return err
}

// measure counts what is below a directory and refuses another file system.
func measure(ctx context.Context, dir *os.Root, dev uint64) (files int, bytes int64, err error) {
	if ctx.Err() != nil {
		return 0, 0, context.Cause(ctx)
	}
	self, err := dir.Stat(".")
	if err != nil {
		return 0, 0, err
	}
	if device(self) != dev {
		return 0, 0, &Refused{dir.Name(), "another file system is mounted there"}
	}
	entries, err := dir.Open(".")
	if err != nil {
		return 0, 0, located(dir, err)
	}
	var inner []string
	for err == nil {
		var infos []fs.FileInfo
		infos, err = entries.Readdir(1024)
		for _, info := range infos {
			if info.IsDir() {
				inner = append(inner, info.Name())
				continue
			}
			files++
			bytes += size(info)
		}
	}
	entries.Close() // before going down: depth must not cost two descriptors a level
	if err != io.EOF {
		return 0, 0, err
	}
	for _, name := range inner {
		sub, err := openDir(dir, name)
		if err != nil {
			return 0, 0, err
		}
		f, b, err := measure(ctx, sub, dev)
		sub.Close()
		if err != nil {
			return 0, 0, err
		}
		files, bytes = files+f, bytes+b
	}
	return files, bytes, nil
}

// size is what the removal of one name frees.
func size(info fs.FileInfo) int64 {
	if links(info) > 1 {
		return 0
	}
	return info.Size()
}

func (t *Tree) Close() error { return t.parent.Close() }

// Remove removes the tree if it is still what the plan saw and nobody works in
// it, and lets git forget its worktrees.
func (t *Tree) Remove(ctx context.Context) (Done, error) {
	if len(t.Users) > 0 {
		return Done{}, nil
	}
	if ctx.Err() != nil {
		return Done{}, context.Cause(ctx)
	}
	now, err := t.parent.Lstat(t.name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && identityOf(now) != t.seen {
		return Done{Changed: 1}, nil
	} else if err != nil {
		return Done{}, quoted(err)
	}
	if err := t.parent.RemoveAll(t.name); err != nil {
		return Done{}, fmt.Errorf("remove %q (a part of it may be gone): %w", t.Path, quoted(err))
	}
	done := Done{Files: t.Files, Bytes: t.Bytes}
	for _, id := range t.Worktrees {
		if err := t.workspace.forget(id); err != nil {
			return done, fmt.Errorf("%q is removed, but git still knows its worktree %q: %w; run git worktree prune", t.Path, id, quoted(err))
		}
	}
	return done, nil
}

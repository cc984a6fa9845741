package clean

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
)

// Workspace is the open directory of a job's checkout.
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

// CheckPath returns an error for a path that cannot be removed from a workspace,
// without a look at the disk.
func CheckPath(path string) error {
	parts := strings.Split(path, "/")
	switch {
	case filepath.IsAbs(path):
		return errors.New("must be relative to the workspace")
	case slices.Contains(parts, ".."):
		return errors.New("must not contain \"..\"")
	case filepath.Clean(path) == ".":
		return errors.New("that is the whole workspace")
	case slices.ContainsFunc(parts, func(part string) bool { return strings.EqualFold(part, ".git") }):
		return errors.New("git manages its own directory")
	}
	return nil
}

// Tree is the plan for one path of a workspace, which is removed whole or not at all.
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

// PlanTree plans the removal of a path that has passed CheckPath. There is no plan
// for a path that does not exist. users finds the processes of others that work
// below a directory.
func (w *Workspace) PlanTree(ctx context.Context, path string, users func(dir string) ([]int, error)) (*Tree, error) {
	path = filepath.Clean(path)
	t := &Tree{Path: path, workspace: w, name: filepath.Base(path)}
	if err := checkServed(w.root, path); err != nil {
		return nil, err
	}
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
	found := measurement{dev: device(info)}
	if found.mount, err = mountOfRoot(t.parent); err != nil {
		return err
	}
	if err := found.of(ctx, dir, 0); err != nil {
		return err
	}
	t.Files, t.Bytes = int(found.files.Load()), found.bytes.Load()
	t.Worktrees, err = t.workspace.worktreesIn(dir, t.Path)
	return err
}

const mounted = "another file system is mounted there"

// measurement counts what is below a directory, all on one device.
type measurement struct {
	dev          uint64
	mount        string
	files, bytes atomic.Int64
}

// of adds what is below dir, and fails at another file system.
func (m *measurement) of(ctx context.Context, dir *os.Root, depth int) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	inner, err := m.entries(dir)
	if err != nil {
		return err
	}
	errs := make([]error, len(inner))
	each := func(i int) {
		sub, err := dir.OpenRoot(inner[i])
		if err != nil {
			errs[i] = located(dir, err)
			return
		}
		defer sub.Close()
		errs[i] = m.of(ctx, sub, depth+1)
	}
	if depth < 2 { // further down it would only cost descriptors
		err = inParallel(ctx, len(inner), 1, each)
	} else {
		for i := range inner {
			each(i)
		}
	}
	return cmp.Or(err, cmp.Or(errs...))
}

// entries adds what is right in dir and returns the directories there.
func (m *measurement) entries(dir *os.Root) (inner []string, err error) {
	list, err := dir.Open(".")
	if err != nil {
		return nil, located(dir, err)
	}
	defer list.Close()
	if mount, err := mountOf(list); err != nil {
		return nil, err
	} else if mount != m.mount {
		return nil, &Refused{dir.Name(), mounted}
	}
	for {
		infos, err := list.Readdir(1024)
		for _, info := range infos {
			switch {
			case device(info) != m.dev:
				return nil, &Refused{below(dir, info.Name()), mounted}
			case info.IsDir():
				inner = append(inner, info.Name())
			default:
				m.files.Add(1)
				m.bytes.Add(size(info))
			}
		}
		if err == io.EOF {
			return inner, nil
		} else if err != nil {
			return nil, err
		}
	}
}

// size returns the bytes that the removal of one name frees.
func size(info fs.FileInfo) int64 {
	if links(info) > 1 {
		return 0
	}
	return info.Size()
}

func (t *Tree) Close() error { return t.parent.Close() }

// Remove removes the tree if it is unchanged since the plan and nobody works in it,
// and removes git's records of its worktrees.
func (t *Tree) Remove(ctx context.Context) (Done, error) {
	if len(t.Users) > 0 {
		return Done{}, nil
	}
	if ctx.Err() != nil {
		return Done{}, context.Cause(ctx)
	}
	if err := checkServed(t.parent, t.name); err != nil {
		return Done{}, err
	}
	now, err := t.parent.Lstat(t.name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && identityOf(now) != t.seen {
		return Done{Changed: 1}, nil
	} else if err != nil {
		return Done{}, quoted(err)
	}
	if err := removeAll(t.parent, t.name); err != nil {
		return Done{}, fmt.Errorf("remove %q (a part of it may be gone): %w", t.Path, quoted(err))
	}
	done := Done{Files: t.Files, Bytes: t.Bytes}
	for _, id := range t.Worktrees {
		if err := t.workspace.forget(id); err != nil {
			return done, fmt.Errorf("%q is removed, but git still knows its worktree %q: %w; run git worktree prune", t.Path, id,
				quoted(err))
		}
	}
	return done, nil
}

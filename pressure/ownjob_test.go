package pressure

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestOwnDirs(t *testing.T) {
	for name, tt := range map[string]struct {
		home, workspace, job string
		trees                []string
		want                 string
	}{
		"a job of Gitea's runner": {"/home/ci", workspace, ownJob, nil, workspace + " " + ownJob},
		"a job in a container":    {"/root", "/workspace/o/r", "", nil, "/workspace/o/r"},
		"a job of GitHub's":       {"/home/ci", "/home/ci/r/_work/a/a", "", nil, "/home/ci/r/_work/a/a"},
		"no job":                  {"/home/ci", "", "", nil, ""},
		"the root":                {"/home/ci", "/", "", nil, ""},
		"the root, otherwise":     {"/home/ci", "//.", "", nil, ""},
		"the home directory":      {"/home/ci", "/home/ci/", "", nil, ""},
		"above it":                {"/home/ci", "/home", "", nil, ""},
		"relative":                {"/home/ci", "work", "", nil, ""},
		"no home":                 {"", "/w", "", nil, "/w"},
		"worktrees":               {"/home/ci", "/w/a", "", []string{"/w/b", "/w/a/.claude/worktrees/x"}, "/w/a /w/b /w/a/.claude/worktrees/x"},
		"worktrees that hold us":  {"/home/ci", "/w/a", "", []string{"/w", "/", "/home", "x", ""}, "/w/a"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(OwnDirs(tt.home, tt.workspace, tt.job, tt.trees), " "); got != tt.want {
				t.Errorf("OwnDirs() = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestWorktrees(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	got := Worktrees("/w/a", fstest.MapFS{
		".git/worktrees/b/gitdir":     file("/w/b/.git\n"),
		".git/worktrees/c/gitdir":     file("../../../../c/.git\n"), // git 2.48, worktree.useRelativePaths
		".git/worktrees/empty/gitdir": file(""),
		".git/worktrees/fifo/gitdir":  &fstest.MapFile{Data: []byte("/w/fifo/.git"), Mode: fs.ModeNamedPipe},
		".git/worktrees/huge/gitdir":  file("/" + strings.Repeat("x", 1<<20)),
		".git/worktrees/none/HEAD":    file("x"),
		".git/worktrees/odd/gitdir":   file("/w/\x1b[31m\n::set-env name=X::y/.git"),
	})
	want := []string{"/w/b", "/w/c", "/w/\x1b[31m\n::set-env name=X::y"}
	if !slices.Equal(got, want) {
		t.Errorf("Worktrees() = %q, want %q", got, want)
	}
	if got := Worktrees("/w/a", fstest.MapFS{".git": file("gitdir: /w/main/.git/worktrees/a")}); got != nil {
		t.Errorf("a linked worktree: %q", got)
	}
}

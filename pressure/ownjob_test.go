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
		"worktrees": {
			"/home/ci", "/w/a", "", []string{"/w/b", "/w/a/.claude/worktrees/x"},
			"/w/a /w/b /w/a/.claude/worktrees/x",
		},
		"worktrees that hold us": {"/home/ci", "/w/a", "", []string{"/w", "/", "/home", "x", ""}, "/w/a"},
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

func TestACgroupOrContainerOfTheJobAloneIsOwn(t *testing.T) {
	const runner, job = "0::/system.slice/runner.service", "0::/system.slice/job-7.scope"
	for name, tt := range map[string]struct {
		parent             int // of the step
		runner, step, left string
		own                bool
	}{
		"a scope of the job's":              {10, runner, job, job, true},
		"another one":                       {10, runner, job, "0::/system.slice/job-8.scope", false},
		"all jobs in the runner's cgroup":   {10, runner, runner, runner, false},
		"the runner's cannot be read":       {10, "", job, job, false},
		"no cgroup can be read":             {10, "", "", "", false},
		"a job container, entered by exec":  {0, runner, "0::/", "0::/", true},
		"a container with the runner in it": {10, "0::/", "0::/", "0::/", false},
	} {
		t.Run(name, func(t *testing.T) {
			table := processes{
				10: {PID: 10, Parent: 1, Argv: []string{"act_runner"}, Cgroup: tt.runner},
				20: {PID: 20, Parent: tt.parent, Dir: workspace, Cgroup: tt.step},
				30: {PID: 30, Parent: 20, Dir: workspace, Cgroup: tt.step},
				40: {PID: 40, Parent: 1, Dir: "/elsewhere", Argv: []string{"next-build"}, Cgroup: tt.left},
			}
			if got := blockersOf(t, gate(table)) == ""; got != tt.own {
				t.Errorf("own: %v, want %v", got, tt.own)
			}
		})
	}
}

func TestTheSamePathInAnotherContainerIsAnotherDirectory(t *testing.T) {
	table := host(t, ours)
	for pid, p := range table {
		p.Mounts = "mnt:[1]"
		table[pid] = p
	}
	table[40] = Process{PID: 40, Parent: 1, Dir: workspace, Mounts: "mnt:[1]", Argv: []string{"next-build"}}
	table[41] = Process{PID: 41, Parent: 1, Dir: workspace, Mounts: "mnt:[2]", Argv: []string{"next-build"}}
	g := gate(table)
	if got := blockersOf(t, g); got != "next build 41" {
		t.Errorf("blockers: %s", got)
	}
	g.Exclude = []string{workspace}
	if got := blockersOf(t, g); got != "" {
		t.Errorf("blockers in spite of exclude: %s", got)
	}
}

// Two jobs that build already must not wait for each other.
func TestBuildsOfThoseWhoWaitBehindDoNotCount(t *testing.T) {
	const other = "/home/ci/.cache/act/ffeeddccbbaa9988"
	table := host(t, ours+`
		40 10 `+other+`/hostexecutor bash -e step.sh
		41 40 /srv next-build
		42 40 `+other+`/hostexecutor hostguard wait-pressure
		43 1  `+other+`/tmp vite build
		50 1  /c vite build`)
	g := gate(table)
	if got := blockersOf(t, g); got != "next build 41, vite build 43, vite build 50" {
		t.Errorf("blockers: %s", got)
	}
	g.Waiting = func() []Owner { return []Owner{{PID: 42, Dirs: []string{other}}} }
	if got := blockersOf(t, g); got != "vite build 50" {
		t.Errorf("blockers that do not wait: %s", got)
	}
}

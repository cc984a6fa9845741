package clean

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func openWorkspace(t *testing.T, path string) *Workspace {
	t.Helper()
	w, err := OpenWorkspace(path, "/no-home")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func planTree(t *testing.T, w *Workspace, path string) *Tree {
	t.Helper()
	tree, err := w.PlanTree(t.Context(), path, nobodyWorksThere)
	if err != nil || tree == nil {
		t.Fatalf("PlanTree(%q) = %v, %v", path, tree, err)
	}
	t.Cleanup(func() { tree.Close() })
	return tree
}

func removeTree(t *testing.T, tree *Tree) Done {
	t.Helper()
	done, err := tree.Remove(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func TestPathsLieInsideTheWorkspaceAndOutsideGit(t *testing.T) {
	for _, path := range []string{
		"/", "/etc", "..", "../x", "a/../../x", "a/..", ".", "./", "./.", "",
		".git", ".git/", ".git/hooks", "sub/.git", "sub/.git/x", ".GIT", "./.git",
	} {
		if CheckPath(path) == nil {
			t.Errorf("CheckPath(%q) accepts it", path)
		}
	}
	for _, path := range []string{".claude/worktrees", "a", "a/", "./a", "a//b", "..a", ".github", "x.git"} {
		if err := CheckPath(path); err != nil {
			t.Errorf("CheckPath(%q) = %v", path, err)
		}
	}
}

func TestATreeGoesWholeAndLinksInItLeadNowhere(t *testing.T) {
	ws := t.TempDir()
	write(t, ws, "a/b/one")
	write(t, ws, "a/b/c/two")
	outside := write(t, t.TempDir(), "outside")
	bytes := int64(len("left") * 2) // a file with another name frees nothing
	for link, target := range map[string]string{"a/dir": filepath.Dir(outside), "a/file": outside, "a/up": ".."} {
		if err := os.Symlink(target, filepath.Join(ws, link)); err != nil {
			t.Fatal(err)
		}
		bytes += int64(len(target))
	}
	if err := os.Link(outside, filepath.Join(ws, "a/second-name")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(ws, "a/pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	write(t, ws, "kept")
	tree := planTree(t, openWorkspace(t, ws), "a/")
	done := removeTree(t, tree)
	if done != (Done{Files: 7, Bytes: bytes}) {
		t.Errorf("done: %+v, want 7 files, %d bytes", done, bytes)
	}
	if exists(ws, "a") || !exists(ws, "kept") || !exists(outside) {
		t.Error("removed too little or too much")
	}
}

func TestLinksOnTheWayAreRefused(t *testing.T) {
	ws, outside := t.TempDir(), t.TempDir()
	write(t, outside, "x/y")
	write(t, ws, "real/x/y")
	for link, target := range map[string]string{"out": outside, "in": "real", "last": "real"} {
		if err := os.Symlink(target, filepath.Join(ws, link)); err != nil {
			t.Fatal(err)
		}
	}
	w := openWorkspace(t, ws)
	for _, path := range []string{"out/x", "in/x", "last"} {
		tree, err := w.PlanTree(t.Context(), path, nobodyWorksThere)
		if err == nil || !strings.Contains(err.Error(), "symbolic link") {
			t.Errorf("PlanTree(%q) = %v, %v", path, tree, err)
		}
	}
}

func TestAPathThatIsNotThereHasNoPlan(t *testing.T) {
	w := openWorkspace(t, t.TempDir())
	for _, path := range []string{"missing", "missing/too"} {
		if tree, err := w.PlanTree(t.Context(), path, nobodyWorksThere); tree != nil || err != nil {
			t.Errorf("PlanTree(%q) = %v, %v", path, tree, err)
		}
	}
}

func TestATreeInWhichSomebodyWorksStays(t *testing.T) {
	ws := t.TempDir()
	write(t, ws, "a/x")
	asked := ""
	tree, err := openWorkspace(t, ws).PlanTree(t.Context(), "a", func(dir string) ([]int, error) {
		asked = dir
		return []int{42}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	real, _ := filepath.EvalSymlinks(ws)
	if asked != real+"/a" || !slices.Equal(tree.Users, []int{42}) {
		t.Errorf("asked for %q, users %v", asked, tree.Users)
	}
	if done := removeTree(t, tree); done != (Done{}) || !exists(ws, "a/x") {
		t.Errorf("done: %+v", done)
	}
}

func TestATreeThatChangedSinceThePlanStays(t *testing.T) {
	ws := t.TempDir()
	write(t, ws, "a/x")
	tree := planTree(t, openWorkspace(t, ws), "a")
	if err := os.Rename(filepath.Join(ws, "a"), filepath.Join(ws, "b")); err != nil {
		t.Fatal(err)
	}
	write(t, ws, "a/new")
	if done := removeTree(t, tree); done != (Done{Changed: 1}) || !exists(ws, "a/new") {
		t.Errorf("done: %+v", done)
	}
}

func TestAMountedFileSystemInATreeIsRefused(t *testing.T) {
	ws := t.TempDir()
	write(t, ws, "a/x")
	mounted := mkdir(t, ws, "a/b/mounted")
	if err := syscall.Mount("tmpfs", mounted, "tmpfs", 0, ""); err != nil {
		t.Fatal("mount as root: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(mounted, 0); err != nil {
			t.Error(err)
		}
	})
	tree, err := openWorkspace(t, ws).PlanTree(t.Context(), "a", nobodyWorksThere)
	if err == nil || !strings.Contains(err.Error(), "another file system") || !exists(ws, "a/x") {
		t.Errorf("PlanTree() = %v, %v", tree, err)
	}
}

func TestNoWorkspaceIsTheHomeDirectoryOrTheRoot(t *testing.T) {
	home := t.TempDir()
	for _, path := range []string{"/", home} {
		if w, err := OpenWorkspace(path, home); err == nil {
			w.Close()
			t.Errorf("OpenWorkspace(%q) accepts it", path)
		}
	}
}

// git runs the real git, with no configuration of the machine's.
func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %q: %v: %s", args, err, out)
	}
	return string(out)
}

func repository(t *testing.T) string {
	if _, err := exec.LookPath("git"); err != nil {
		t.Fatal("install git: ", err)
	}
	ws := t.TempDir()
	git(t, ws, "init", "-q")
	git(t, ws, "commit", "-q", "--allow-empty", "-m", "x")
	return ws
}

func TestGitForgetsRemovedWorktreesOnly(t *testing.T) {
	ws := repository(t)
	git(t, ws, "worktree", "add", "-q", ".claude/worktrees/one")
	git(t, ws, "worktree", "add", "-q", ".claude/worktrees/two")
	git(t, ws, "worktree", "add", "-q", "elsewhere")
	// As "git worktree add --relative-paths" writes it.
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(ws, path), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(".claude/worktrees/two/.git", "gitdir: ../../../.git/worktrees/two\n")
	write(".git/worktrees/two/gitdir", "../../../.claude/worktrees/two/.git\n")

	tree := planTree(t, openWorkspace(t, ws), ".claude/worktrees")
	slices.Sort(tree.Worktrees)
	if !slices.Equal(tree.Worktrees, []string{"one", "two"}) {
		t.Errorf("worktrees: %q", tree.Worktrees)
	}
	removeTree(t, tree)
	if list := git(t, ws, "worktree", "list"); strings.Contains(list, ".claude") || !strings.Contains(list, "elsewhere") {
		t.Errorf("git knows:\n%s", list)
	}
	if pruned := git(t, ws, "worktree", "prune", "-v"); pruned != "" {
		t.Errorf("left to prune: %s", pruned)
	}
	git(t, ws, "worktree", "add", "-q", ".claude/worktrees/one", "one") // its branch stayed
}

func TestAWorktreeGivenByItselfIsForgotten(t *testing.T) {
	ws := repository(t)
	git(t, ws, "worktree", "add", "-q", "wt")
	link := filepath.Join(t.TempDir(), "link") // the workspace under a name git has not seen
	if err := os.Symlink(ws, link); err != nil {
		t.Fatal(err)
	}
	removeTree(t, planTree(t, openWorkspace(t, link), "wt"))
	if exists(ws, ".git/worktrees/wt") {
		t.Error("git's record is still there")
	}
}

func TestHostileWorktreeFilesLeadNowhere(t *testing.T) {
	ws := t.TempDir()
	real, err := filepath.EvalSymlinks(ws)
	if err != nil {
		t.Fatal(err)
	}
	outside := t.TempDir()
	put := func(path, text string) {
		t.Helper()
		mkdir(t, filepath.Dir(path))
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	record := func(id string) string { return filepath.Join(real, ".git/worktrees", id) }
	dir := func(name string) string { return filepath.Join(real, "wt", name) }
	pair := func(name, target, id, back string) {
		put(filepath.Join(dir(name), ".git"), target)
		put(filepath.Join(record(id), "gitdir"), back)
	}
	pair("up", "gitdir: "+record("x/../../.."), "up", dir("up")+"/.git\n")
	pair("elsewhere", "gitdir: "+outside+"\n", "elsewhere", dir("elsewhere")+"/.git\n")
	put(filepath.Join(outside, "gitdir"), dir("elsewhere")+"/.git\n")
	pair("others", "gitdir: "+record("others")+"\n", "others", real+"/another/.git\n")
	pair("deep", "gitdir: "+record("deep/er")+"\n", "deep/er", dir("deep")+"/.git\n")
	pair("all", "gitdir: "+record("")+"\n", "all", dir("all")+"/.git\n")
	pair("lines", "gitdir: "+record("lines")+"\nx\n", "lines", dir("lines")+"/.git\n")
	pair("prefix", record("prefix")+"\n", "prefix", dir("prefix")+"/.git\n")
	// A record that is a link to a directory outside.
	put(filepath.Join(dir("linked"), ".git"), "gitdir: "+record("linked")+"\n")
	if err := os.Symlink(outside, record("linked")); err != nil {
		t.Fatal(err)
	}
	put(filepath.Join(outside, "gitdir"), dir("linked")+"/.git\n")
	// A pipe in place of the file must not hold us up.
	mkdir(t, dir("pipe"))
	if err := syscall.Mkfifo(filepath.Join(dir("pipe"), ".git"), 0o644); err != nil {
		t.Fatal(err)
	}

	tree := planTree(t, openWorkspace(t, ws), "wt")
	if len(tree.Worktrees) != 0 {
		t.Errorf("worktrees: %q", tree.Worktrees)
	}
	removeTree(t, tree)
	for _, id := range []string{"up", "elsewhere", "others", "deep", "all", "lines", "prefix", "linked"} {
		if !exists(record(id)) {
			t.Errorf("the record %q was removed", id)
		}
	}
	if !exists(outside, "gitdir") {
		t.Error("a file outside was removed")
	}
}

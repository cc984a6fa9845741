package runnerdir

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// files are the directory's, each with its text.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(data)
	}
	return all
}

func TestAFileIsReplacedAndKept(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yaml")
	write(t, "old", path)
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(path, 1234, 1235); err != nil {
			t.Fatal(err)
		}
	}
	before, _ := os.Stat(path)
	write(t, "left by one that was killed", dir, ".config.yaml.new")
	if err := Replace(path, "kept", []byte("old"), []byte("new")); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); len(got) != 2 || got["config.yaml"] != "new" || got["kept"] != "old" {
		t.Errorf("%q", got)
	}
	for _, name := range []string{"config.yaml", "kept"} {
		info, _ := os.Stat(filepath.Join(dir, name))
		was, is := before.Sys().(*syscall.Stat_t), info.Sys().(*syscall.Stat_t)
		if info.Mode() != before.Mode() || is.Uid != was.Uid || is.Gid != was.Gid {
			t.Errorf("%s: %v %d:%d", name, info.Mode(), is.Uid, is.Gid)
		}
	}
	if err := Restore(path, "kept", []byte("old"), []byte("new")); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); len(got) != 1 || got["config.yaml"] != "old" {
		t.Errorf("%q", got)
	}
	// A second time there is nothing to restore, and that is no error.
	if err := Restore(path, "kept", []byte("old"), []byte("new")); err != nil {
		t.Error(err)
	}
}

func TestAFileThatSomebodyChangesIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yaml")
	write(t, "theirs", path)
	if err := Replace(path, "kept", []byte("old"), []byte("new")); err == nil ||
		!strings.Contains(err.Error(), "it has been changed since it was read") {
		t.Error(err)
	}
	if err := Restore(path, "kept", []byte("old"), []byte("new")); err == nil ||
		!strings.Contains(err.Error(), `as it was before it is "kept"`) {
		t.Error(err)
	}
	write(t, "earlier", dir, "kept") // of another edit: not overwritten
	if err := Replace(path, "kept", []byte("theirs"), []byte("new")); err == nil ||
		!strings.Contains(err.Error(), "file exists") {
		t.Error(err)
	}
	if got := files(t, dir); len(got) != 2 || got["config.yaml"] != "theirs" || got["kept"] != "earlier" {
		t.Errorf("%q", got)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("config.yaml", link); err != nil {
		t.Fatal(err)
	}
	if err := Replace(link, "other", []byte("theirs"), []byte("new")); err == nil ||
		!strings.Contains(err.Error(), "not a regular file") {
		t.Error(err)
	}
}

package clean

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestARunnerRootProvesItself(t *testing.T) {
	for _, proof := range []string{".runner", "run.sh", "bin/Runner.Listener"} {
		root := t.TempDir()
		write(t, root, proof)
		if runner, err := OpenRunner(root, "/no-home"); err != nil {
			t.Errorf("with %s: %v", proof, err)
		} else {
			runner.Close()
		}
	}
}

func TestWhatCannotBeARunnerRootIsRefused(t *testing.T) {
	root, _ := newRunner(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(root, link); err != nil {
		t.Fatal(err)
	}
	fake := t.TempDir()
	if err := os.Mkdir(filepath.Join(fake, "run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ path, home, why string }{
		{"", "", "is empty"},
		{"/", "", "is the root of the file system"},
		{root + "/../../../../../../../../../../..", "", "is the root of the file system"},
		{root, root, "is the home directory"},
		{root, root + "/", "is the home directory"},
		{root + "/missing", "", "does not exist"},
		{root + "/run.sh", "", "is a regular file, not a directory"},
		{link, "", "is a symbolic link, not a directory"},
		{link + "/", "", "is a symbolic link, not a directory"},
		{t.TempDir(), "", "holds neither .runner nor"},
		{fake, "", "holds neither .runner nor"},
	} {
		runner, err := OpenRunner(test.path, test.home)
		if _, ok := errors.AsType[*NotRunner](err); !ok || !strings.Contains(err.Error(), test.why) {
			t.Errorf("OpenRunner(%q, home %q): %v, want %q", test.path, test.home, err, test.why)
		}
		if err == nil {
			runner.Close()
		}
	}
}

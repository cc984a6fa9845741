package safefile

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestReadTakesRegularFilesWithinBounds(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "file"), []byte("0123456789"), 0o600),
		os.Symlink("file", filepath.Join(dir, "link")),
		os.Mkdir(filepath.Join(dir, "dir"), 0o700),
		syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600),
		os.Symlink("/dev/zero", filepath.Join(dir, "device")),
	); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for name, want := range map[string]struct{ read, in, entry bool }{
		"file": {true, true, true}, "link": {true, true, false},
		"dir": {}, "pipe": {}, "device": {}, "none": {}, // a pipe would block for ever
	} {
		text, err := Read(filepath.Join(dir, name), 4)
		if got := err == nil && string(text) == "0123"; got != want.read {
			t.Errorf("Read %s: %q, %v", name, text, err)
		}
		text, err = ReadIn(root, name, 4)
		if got := err == nil && string(text) == "0123"; got != want.in {
			t.Errorf("ReadIn %s: %q, %v", name, text, err)
		}
		text, err = ReadEntry(root, name, 4)
		if got := err == nil && string(text) == "0123"; got != want.entry {
			t.Errorf("ReadEntry %s: %q, %v", name, text, err)
		}
	}
	if _, err := Read("/dev/null", 1); !errors.Is(err, ErrNoFile) {
		t.Error(err)
	}
}

func TestReplaceLeavesTheOneOrTheOther(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	own := Attributes{0o640, -1, -1}
	text := func() string {
		entries, _ := os.ReadDir(dir)
		data, _ := ReadEntry(root, "file", 100)
		if len(entries) != 1 {
			t.Error(entries)
		}
		return string(data)
	}
	for _, want := range []string{"first", "second"} {
		if err := os.WriteFile(filepath.Join(dir, ".file.new"), []byte("of one that was killed"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Replace(root, "file", []byte(want), own, nil); err != nil || text() != want {
			t.Error(err, text())
		}
	}
	changed := errors.New("changed")
	err = Replace(root, "file", []byte("third"), own, func() error { return changed })
	if !errors.Is(err, changed) || text() != "second" {
		t.Error(err, text())
	}
	if info, err := root.Lstat("file"); err != nil || info.Mode() != 0o640 {
		t.Error(info.Mode(), err)
	}
	if err := Create(root, "file", nil, own); !errors.Is(err, os.ErrExist) || text() != "second" {
		t.Error(err)
	}
	if err := errors.Join(Remove(root, "file"), Remove(root, "file")); err != nil {
		t.Error(err)
	}
}

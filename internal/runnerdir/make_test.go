package runnerdir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestADirectoryIsMadeForItsUserAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "act-runner-awoooi")
	made, err := Make(dir, os.Getuid(), os.Getgid(), []byte("runner: {}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]string{dir: "drwx------", filepath.Join(dir, "config.yaml"): "-rw-------"} {
		if info, err := os.Lstat(path); err != nil || info.Mode().String() != mode {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if is, _ := status(dir); is != "unregistered" {
		t.Error(is)
	}
	if err := os.MkdirAll(filepath.Join(dir, ".cache/act"), 0o755); err != nil { // what its runner has made
		t.Fatal(err)
	}
	for range 2 { // again: it is gone
		if err := made.Remove(); err != nil {
			t.Error(err)
		}
		if is, _ := status(dir); is != "missing" {
			t.Error(is)
		}
	}
}

func TestARegistrationIsKeptInTheDirectoryThatWasMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "act-runner-awoooi")
	made, err := Make(dir, os.Getuid(), os.Getgid(), []byte("runner: {}\n"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, ".runner")
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Symlink(elsewhere, file); err != nil {
		t.Fatal(err)
	}
	keep := func() error {
		_, err := register(newDir{Dir: dir, Is: identityOf(made.info), Registration: []byte("{}")})
		return err
	}
	if err := keep(); err == nil {
		t.Error("it was kept in the place of another")
	}
	if _, err := os.Lstat(elsewhere); err == nil {
		t.Error("it was kept where a link leads")
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := keep(); err != nil {
		t.Error(err)
	}
	if info, err := os.Lstat(file); err != nil || info.Mode() != 0o600 {
		t.Error(info, err)
	}
	err = errors.Join(os.Rename(dir, dir+".mine"), os.Mkdir(dir, 0o700))
	if err != nil {
		t.Fatal(err)
	}
	if err := keep(); err == nil || !strings.Contains(err.Error(), "another directory") {
		t.Error(err)
	}
}

func TestADirectoryThatWasThereIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	keep := filepath.Join(dir, "keep")
	if err := os.WriteFile(keep, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Make(dir, os.Getuid(), os.Getgid(), nil); err == nil {
		t.Error("it was made again")
	}
	// One that has taken the place of ours is not ours.
	other := filepath.Join(t.TempDir(), "other")
	made, err := Make(other, os.Getuid(), os.Getgid(), nil)
	if err == nil {
		err = os.Rename(other, other+".mine")
	}
	if err == nil {
		err = os.Rename(dir, other)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Remove(); err == nil || !strings.Contains(err.Error(), "another directory") {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(other, "keep")); err != nil {
		t.Error(err)
	}
}

func TestAPlaceIsTheUsersOwn(t *testing.T) {
	home := t.TempDir()
	for _, dir := range []string{"real/inner", "act-runner"} {
		if err := os.MkdirAll(filepath.Join(home, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("real", filepath.Join(home, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	uid := os.Getuid()
	for dir, wantErr := range map[string]string{
		"new": "", "act-runner": "", "real/new": "", "link/new": "is a link", "link": "is a link",
		"file": "is not a directory", "file/new": "is not a directory",
		"missing/new": "no such file",
	} {
		err := CheckPlace(filepath.Join(home, dir), uid)
		if (wantErr == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), wantErr) {
			t.Errorf("%s: %v, want %q", dir, err, wantErr)
		}
	}
	for _, dir := range []string{"new", "act-runner"} {
		err := CheckPlace(filepath.Join(home, dir), uid+1)
		if err == nil || !strings.Contains(err.Error(), "not that of the primary runner's user") {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

package runnerdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hostguard/runner/config"
)

func write(t *testing.T, text string, path ...string) {
	t.Helper()
	file := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestARunnersDirectory(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	if _, _, _, err := Read(dir, config); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	write(t, "runner: {file: sub/.runner}\n", config)
	_, registration, registered, err := Read(dir, config)
	if err != nil || registered || registration != filepath.Join(dir, "sub/.runner") {
		t.Error(registration, registered, err)
	}
	if got := Status(dir); got != "unregistered" {
		t.Error(got)
	}
	write(t, `{"token": "secret", "labels": ["a:host"]}`, dir, "sub/.runner")
	if c, _, registered, err := Read(dir, config); err != nil || !registered || len(c.Labels) != 1 {
		t.Error(c, registered, err)
	}
	if got := Status(dir); got != "registered" {
		t.Error(got)
	}
	if got := Status(filepath.Join(dir, "none")); got != "missing" {
		t.Error(got)
	}
}

func TestJobDirectoriesInUseAndLeftOver(t *testing.T) {
	parent, now := t.TempDir(), time.Now()
	for name, age := range map[string]time.Duration{
		"0123456789abcdef": 2 * time.Hour, "1123456789abcdef": 2 * time.Hour,
		"2123456789abcdef": time.Minute, "tool_cache": 9 * time.Hour,
		"0123456789ABCDEF": 9 * time.Hour,
	} {
		dir := filepath.Join(parent, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dir, time.Time{}, now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	used := filepath.Join(parent, "1123456789abcdef")
	active, left, err := Jobs(parent, now, func(dir string) ([]int, error) {
		if dir == used {
			return []int{1}, nil
		}
		return nil, nil
	})
	if err != nil || len(active) != 1 || active[0] != used ||
		len(left) != 1 || left[0].Path != filepath.Join(parent, "0123456789abcdef") {
		t.Error(active, left, err)
	}
	if _, left, err := Jobs(filepath.Join(parent, "none"), now, nil); err != nil || left != nil {
		t.Error(left, err)
	}
}

func TestARegistrationIsFoundInWhatAContainerHas(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "data", ".runner")
	for text, want := range map[string]config.Registration{
		`{"id": 5, "name": "n", "address": "http://g", "token": "secret"}`: {ID: 5, Name: "n", Address: "http://g"},
		`{"id": 0, "name": "n"}`: {}, `not JSON`: {},
	} {
		write(t, text, file)
		for _, paths := range [][]string{{dir, filepath.Dir(file)}, {"/dev/null", file}} {
			if got, found := Registration(paths); got != want || found != (want.ID != 0) {
				t.Errorf("%s in %q: %+v, %t", text, paths, got, found)
			}
		}
	}
	if _, found := Registration([]string{""}); found {
		t.Error("found in the directory of whoever asks")
	}
}

// A job that was not looked at may run: a restart would cancel it.
func TestNoJobIsTakenForNone(t *testing.T) {
	parent, old := t.TempDir(), time.Now().Add(-2*settled)
	add := func(name string) {
		dir := filepath.Join(parent, name)
		if err := errors.Join(os.Mkdir(dir, 0o755), os.Chtimes(dir, old, old)); err != nil {
			t.Fatal(err)
		}
	}
	for n := range most {
		add(fmt.Sprintf("%016x", n))
	}
	last := filepath.Join(parent, fmt.Sprintf("%016x", most-1))
	works := func(dir string) ([]int, error) {
		if dir == last {
			return []int{1}, nil
		}
		return nil, nil
	}
	if active, _, err := Jobs(parent, time.Now(), works); err != nil || len(active) != 1 {
		t.Errorf("behind many that are left over: %v, %v", active, err)
	}
	link := filepath.Join(t.TempDir(), "act") // ~/.cache on another disk
	if err := os.Symlink(parent, link); err != nil {
		t.Fatal(err)
	}
	if active, _, err := Jobs(link, time.Now(), works); err != nil || len(active) != 1 {
		t.Errorf("through a link: %v, %v", active, err)
	}
	nobodyKnows := func(string) ([]int, error) { return nil, errors.New("no process table") }
	if _, _, err := Jobs(parent, time.Now(), nobodyKnows); err == nil {
		t.Error("who works there is not known, and that is not reported")
	}
	add("ffffffffffffffff")
	if _, _, err := Jobs(parent, time.Now(), works); err == nil || !strings.Contains(err.Error(), "are looked at") {
		t.Error(err)
	}
}

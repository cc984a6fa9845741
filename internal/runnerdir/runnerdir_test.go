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

	"hostguard/runner"
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
	if _, registration, registered, err := Read(dir, config); err != nil || registered || registration != filepath.Join(dir, "sub/.runner") {
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
		"0123456789abcdef": 2 * time.Hour, "1123456789abcdef": 2 * time.Hour, "2123456789abcdef": time.Minute, "tool_cache": 9 * time.Hour, "0123456789ABCDEF": 9 * time.Hour,
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
	if err != nil || len(active) != 1 || active[0] != used || len(left) != 1 || left[0].Path != filepath.Join(parent, "0123456789abcdef") {
		t.Error(active, left, err)
	}
	// One that was not looked at may be in use.
	for i := range most {
		if err := os.Mkdir(filepath.Join(parent, fmt.Sprintf("%016x", i)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := Jobs(parent, now, func(string) ([]int, error) { return nil, nil }); err == nil || !strings.Contains(err.Error(), "more than 50 directories") {
		t.Error(err)
	}
	if _, left, err := Jobs(filepath.Join(parent, "none"), now, nil); err != nil || left != nil {
		t.Error(left, err)
	}
}

func TestARegistrationIsFoundInWhatAContainerHas(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "data", ".runner")
	for text, want := range map[string]runner.Registration{
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

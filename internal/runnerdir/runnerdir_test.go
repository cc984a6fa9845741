package runnerdir

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hostguard/internal/privsep"
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

// TestMain is also the helper process of the tests.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == privsep.Command {
		os.Exit(privsep.Serve(os.Stdin, os.Stdout, Handlers()))
	}
	os.Exit(m.Run())
}

func TestARunnersDirectory(t *testing.T) {
	dir := t.TempDir()
	var files Files
	at := Place{dir, filepath.Join(dir, "config.yaml")}
	read := func() (Runner, config.Config, error) { return files.Read(t.Context(), -1, at) }
	if _, _, err := read(); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	write(t, "runner: {file: sub/.runner}\n", at.Config)
	if r, _, err := read(); err != nil || r.Registered || r.Registration != filepath.Join(dir, "sub/.runner") {
		t.Error(r, err)
	}
	if got := files.Status(t.Context(), dir); got != "unregistered" {
		t.Error(got)
	}
	write(t, `{"token": "secret", "labels": ["a:host"]}`, dir, "sub/.runner")
	r, c, err := read()
	if err != nil || !r.Registered || len(c.Labels) != 1 || bytes.Contains(r.Identity, []byte("secret")) {
		t.Errorf("%+v %v %v", r, c, err)
	}
	if got := files.Status(t.Context(), dir); got != "registered" {
		t.Error(got)
	}
	if got := files.Status(t.Context(), filepath.Join(dir, "none")); got != "missing" {
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
	active, left, err := new(Files).Jobs(t.Context(), parent, now, func(dir string) ([]int, error) {
		if dir == used {
			return []int{1}, nil
		}
		return nil, nil
	})
	if err != nil || len(active) != 1 || active[0] != used ||
		len(left) != 1 || left[0].Path != filepath.Join(parent, "0123456789abcdef") {
		t.Error(active, left, err)
	}
	_, left, err = new(Files).Jobs(t.Context(), filepath.Join(parent, "none"), now, nil)
	if err != nil || left != nil {
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
			if got, found := new(Files).RegistrationIn(t.Context(), paths); got != want || found != (want.ID != 0) {
				t.Errorf("%s in %q: %+v, %t", text, paths, got, found)
			}
		}
	}
	if _, found := new(Files).RegistrationIn(t.Context(), []string{""}); found {
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
	if active, _, err := new(Files).Jobs(t.Context(), parent, time.Now(), works); err != nil || len(active) != 1 {
		t.Errorf("behind many that are left over: %v, %v", active, err)
	}
	link := filepath.Join(t.TempDir(), "act") // ~/.cache on another disk
	if err := os.Symlink(parent, link); err != nil {
		t.Fatal(err)
	}
	if active, _, err := new(Files).Jobs(t.Context(), link, time.Now(), works); err != nil || len(active) != 1 {
		t.Errorf("through a link: %v, %v", active, err)
	}
	nobodyKnows := func(string) ([]int, error) { return nil, errors.New("no process table") }
	if _, _, err := new(Files).Jobs(t.Context(), parent, time.Now(), nobodyKnows); err == nil {
		t.Error("who works there is not known, and that is not reported")
	}
	add("ffffffffffffffff")
	_, _, err := new(Files).Jobs(t.Context(), parent, time.Now(), works)
	if err == nil || !strings.Contains(err.Error(), "are looked at") {
		t.Error(err)
	}
}

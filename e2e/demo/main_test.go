package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hostguard/e2e/rig/act"
	"hostguard/e2e/rig/engine"
)

// TestDemo runs the demo with both builds of the runner engine, each against an
// engine on either side of Docker's unique names.
func TestDemo(t *testing.T) {
	for build, version := range map[string]string{act.Nektos: engine.Old, act.Gitea: engine.New} {
		t.Run(build, func(t *testing.T) {
			e, err := engine.Start(version)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := e.Stop(); err != nil {
					t.Error(err)
				}
			}()
			t.Setenv("PATH", filepath.Dir(e.CLI())+":"+os.Getenv("PATH"))
			t.Setenv("TMPDIR", t.TempDir())
			var out bytes.Buffer
			err = run(t.Context(), build, e.Host(), &out)
			t.Logf("%s", out.String())
			if err != nil {
				t.Fatal(err)
			}
			_, with, _ := strings.Cut(out.String(), "\nWith hostguard")
			for _, want := range []string{"3 left-over logs", "site-a waited", "site-b waited", "overlap   none, ",
				"why       The last job that waited, wooo/site-", "picture   .cache/demo.html"} {
				if !strings.Contains(with, want) {
					t.Errorf("nothing of %q with hostguard", want)
				}
			}
			if lines := strings.Count(with, "\n"); lines > 10 {
				t.Errorf("%d lines for what hostguard does, want at most 10", lines)
			}
			if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
			for _, args := range [][]string{{"network", "ls", "--filter", "type=custom", "-q"}, {"image", "ls", "-q"}} {
				if left, err := e.Docker(args...); err != nil || left != "" {
					t.Errorf("docker %q: %q, %v", args, left, err)
				}
			}
			pictured(t) // last, since Chromium leaves something in TMPDIR
		})
	}
}

// TestFailure runs the demo with a lock that hostguard refuses.
func TestFailure(t *testing.T) {
	for _, build := range []string{act.Nektos, act.Gitea} {
		t.Run(build, func(t *testing.T) {
			var out bytes.Buffer
			d := &demo{dir: t.TempDir(), act: build, backend: "file", lock: "no/name", log: &log{to: &out}}
			if err := d.prepare(t.Context()); err != nil {
				t.Fatal(err)
			}
			err := d.play(t.Context())
			if err == nil || strings.Count(err.Error(), "\n") > 0 || !strings.Contains(err.Error(), "no/name") {
				t.Errorf("error %q, want one line with the reason", err)
			}
			if logs := strings.Count(out.String(), "All that the jobs printed:\n["); logs != 1 {
				t.Errorf("the jobs' log is printed %d times, want once:\n%s", logs, out.String())
			}
		})
	}
}

// TestLimit ends the demo while its jobs run, as its own limit does.
func TestLimit(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	limit := errors.New("the jobs did not end within their limit of 10m0s")
	ctx, cancel := context.WithCancelCause(t.Context())
	err := run(ctx, act.Nektos, "unix:///nowhere.sock", writer(func(text string) {
		if strings.Contains(text, "\nWithout hostguard") {
			cancel(limit)
		}
	}))
	if err == nil || err.Error() != limit.Error() {
		t.Errorf("error %v, want only %v", err, limit)
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

type writer func(text string)

func (w writer) Write(text []byte) (int, error) {
	w(string(text))
	return len(text), nil
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"hostguard/e2e/act"
	"hostguard/e2e/engine"
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
				t.Error(err)
			}
			if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
			for _, args := range [][]string{{"network", "ls", "--filter", "type=custom", "-q"}, {"image", "ls", "-q"}} {
				if left, err := e.Docker(args...); err != nil || left != "" {
					t.Errorf("docker %q: %q, %v", args, left, err)
				}
			}
		})
	}
}

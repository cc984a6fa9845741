package workflow

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hostguard/e2e/rig/engine"
)

// What install.sh cannot bring it names, in one line.
func TestInstallNamesWhatIsMissing(t *testing.T) {
	checkout, err := engine.Checkout()
	if err != nil {
		t.Fatal(err)
	}
	module, err := os.ReadFile(filepath.Join(checkout, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	_, wanted, _ := strings.Cut(string(module), "\ngo ")
	wanted, _, _ = strings.Cut(wanted, "\n")
	enough := "case $1 in env) echo go" + wanted + " ;; esac"

	for name, test := range map[string]struct {
		programs map[string]string // on PATH, beside those of every system
		part     string
		want     string
	}{
		"no Go": {nil, "demo", "no Go on PATH: install Go " + wanted + " or newer"},
		"an old Go": {
			map[string]string{"go": "echo go1.22.12"}, "demo",
			"go1.22.12 is too old: install Go " + wanted + " or newer",
		},
		"a Go that cannot fetch the newer one that go.mod wants": {
			map[string]string{"go": "[ \"${GOTOOLCHAIN-}\" = local ] || exit 1; echo go version go1.21.0 linux/amd64"}, "demo",
			"go1.21.0 is too old: install Go " + wanted + " or newer",
		},
		"no Node, and no apt-get": {
			map[string]string{"go": enough}, "demo",
			"no Node 18.0 or newer here, and no apt-get to bring it: install it with npm, then run this again",
		},
		"an old Node, and no apt-get": {
			map[string]string{"go": enough, "node": "echo v16.20.2"}, "demo",
			"no Node 18.0 or newer here, and no apt-get to bring it: install it with npm, then run this again",
		},
		"no Node, and no network": {
			map[string]string{"go": enough, "apt-get": "echo no network; exit 100"}, "demo",
			"cannot unpack Debian's npm to fetch Node with: install Node 18.0 or newer with npm, then run this again",
		},
		"no root for the tests": {
			map[string]string{"go": enough, "id": "echo 1000"}, "",
			"the tests start Docker daemons of their own: run them as root",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, file := range []string{
				"go.mod", "e2e/install.sh", "e2e/rig/npm/node/package.json", "e2e/rig/npm/node/package-lock.json",
			} {
				text, err := os.ReadFile(filepath.Join(checkout, file))
				if err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(dir, file), string(text), 0o644)
			}
			for _, program := range []string{"cat", "cut", "cp", "dirname", "head", "id", "mkdir", "rm", "sed", "sort", "tail"} {
				path, err := exec.LookPath(program)
				if err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(dir, "bin", program), "#!/bin/sh\nexec "+path+" \"$@\"\n", 0o755)
			}
			for program, text := range test.programs {
				write(t, filepath.Join(dir, "bin", program), "#!/bin/sh\n"+text+"\n", 0o755)
			}
			cmd := exec.Command("/bin/sh", filepath.Join(dir, "e2e/install.sh"), test.part)
			cmd.Env = []string{"PATH=" + filepath.Join(dir, "bin"), "HOME=" + dir}
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.HasSuffix(string(out), "e2e/install.sh: "+test.want+"\n") {
				t.Errorf("%v:\n%s\nwant at its end: %s", err, out, test.want)
			}
			if lines := strings.Count(string(out), "\n"); lines > 3 {
				t.Errorf("%d lines:\n%s", lines, out)
			}
		})
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

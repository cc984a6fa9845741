// Package npm installs packages for tests, once, into the cache of the checkout.
package npm

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"hostguard/e2e/rig/engine"
)

// Install installs what package.json in files asks for, and package-lock.json
// where there is one, into .cache/<name> and returns that folder. It does
// nothing where that was done already. A Node that is too old for one of them is
// an error that names both.
func Install(ctx context.Context, name string, files fs.FS) (string, error) {
	checkout, err := engine.Checkout()
	if err != nil {
		return "", err
	}
	wanted := map[string][]byte{}
	for _, file := range []string{"package.json", "package-lock.json"} {
		if wanted[file], err = fs.ReadFile(files, file); err != nil && file == "package.json" {
			return "", err
		}
	}
	dir := filepath.Join(checkout, ".cache", name)
	if installed(dir, wanted) {
		return dir, nil
	}

	// Installed aside: what is in dir is whole.
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(dir), name+"-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	how := []string{"install", "--no-package-lock"}
	for file, text := range wanted {
		if text == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(fresh, file), text, 0o644); err != nil {
			return "", err
		}
		if file == "package-lock.json" {
			how = []string{"ci"}
		}
	}
	how = append(how, "--engine-strict", "--ignore-scripts", "--no-audit", "--no-fund", "--cache", "npm")
	cmd := exec.CommandContext(ctx, "npm", how...)
	cmd.Dir = fresh
	cmd.Env = append(os.Environ(), "NODE_DISABLE_COMPILE_CACHE=1") // it would stay in TMPDIR
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm %s for %s: %w: %s", how[0], name, err, out)
	}
	if err := os.RemoveAll(filepath.Join(fresh, "npm")); err != nil {
		return "", err
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	return dir, os.Rename(fresh, dir)
}

// installed reports whether dir is an installation of these files. A folder
// appears there only whole.
func installed(dir string, wanted map[string][]byte) bool {
	for file, text := range wanted {
		got, err := os.ReadFile(filepath.Join(dir, file))
		if (err != nil) != (text == nil) || !bytes.Equal(got, text) {
			return false
		}
	}
	return true
}

package operate

import (
	"bytes"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"hostguard/internal/cli"
	"hostguard/runner"
)

// After the first look the user links config.yaml to a file of root's alone: a split copied
// that into the directory of the new runner.
func TestASplitCopiesWhatItHasRead(t *testing.T) {
	daemon, err := user.Lookup("daemon")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("only root becomes other users")
	}
	base, err := os.MkdirTemp("/var/tmp", "split")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	uid, _ := strconv.Atoi(daemon.Uid)
	home := filepath.Join(base, "home")
	dir := filepath.Join(home, "act-runner")
	const config = "runner:\n  file: .runner\n  capacity: 1\n  shutdown_timeout: 1h\n  env_file: .env\n  labels:\n" +
		"    - \"awoooi-host:host\"\n    - \"ewoooc-host:host\"\ncache:\n  dir: ''\nhost:\n  workdir_parent: ''\n"
	writeFile(t, config, dir, "config.yaml")
	writeFile(t, `{"id": 1, "name": "host110", "address": "http://127.0.0.1:3000"}`, dir, ".runner")
	writeFile(t, config+"# magpie\n", base, "secret.yaml")
	plan := filepath.Join(base, "plan.yaml")
	writeFile(t, "runners: [{owner: awoooi, labels: [awoooi-host]}, {owner: ewoooc, labels: [ewoooc-host]}]", plan)
	for path, mode := range map[string]os.FileMode{base: 0o755, filepath.Join(base, "secret.yaml"): 0o600} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{home, dir, dir + "/config.yaml", dir + "/.runner"} {
		if err := os.Chown(path, uid, uid); err != nil {
			t.Fatal(err)
		}
	}

	var out bytes.Buffer
	v := newSplit()
	v.Session = cli.NewSession(cli.World{Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }}, nil)
	v.host.dir, v.path = dir, plan
	v.h = v.host.look(t.Context(), v.Session)
	if err := os.Remove(filepath.Join(dir, "config.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(base, "secret.yaml"), filepath.Join(dir, "config.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := v.readPlan(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, r := range runner.Moves(v.plan, v.h.Dir) {
		changes, err := v.newRunner(r)
		if err == nil {
			err = changes[0].do(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(configOf(r))
		if err != nil || strings.Contains(string(data), "magpie") || !strings.Contains(string(data), r.Labels[0]) {
			t.Errorf("%s, %v", data, err)
		}
		if err := changes[0].undo(t.Context()); err == nil || strings.Contains(err.Error(), "no systemd") {
			continue // whether its service runs cannot be asked here
		}
	}
}

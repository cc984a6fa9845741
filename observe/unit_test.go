package observe

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// systemd reads each unit, and knows every setting in it.
func TestUnitsAreUnderstood(t *testing.T) {
	for _, system := range []bool{true, false} {
		dir := t.TempDir()
		program := filepath.Join(dir, "hostguard")
		if err := os.WriteFile(program, nil, 0o755); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, UnitName)
		if err := os.WriteFile(file, []byte(Unit(program, system)), 0o644); err != nil {
			t.Fatal(err)
		}
		args := []string{"verify", "--man=no", "--recursive-errors=no", file}
		if out, err := exec.Command("systemd-analyze", args...).CombinedOutput(); err != nil ||
			strings.Contains(string(out), UnitName) {
			t.Errorf("system %v: systemd-analyze verify: %v\n%s", system, err, out)
		}
	}
}

func TestSystemUnitIsConfined(t *testing.T) {
	file := filepath.Join(t.TempDir(), UnitName)
	if err := os.WriteFile(file, []byte(Unit("/bin/true", true)), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=30", file).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
	t.Logf("%s", out[max(0, len(out)-200):])
}

package install

import (
	"os"
	"path/filepath"
	"testing"
)

// A user's prefix has a link to a directory of root's: an uninstall by root removed the
// program there.
func TestRootRemovesNothingWhereOthersLead(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root becomes other users")
	}
	base, err := os.MkdirTemp("/var/tmp", "uninstall")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	prefix, program := filepath.Join(base, "prefix"), File{Path: filepath.Join(base, "hostguard"), Data: []byte(Marker)}
	for _, err := range []error{
		os.Chmod(base, 0o755), os.Mkdir(prefix, 0o755), os.Symlink(base, filepath.Join(prefix, "bin")),
		os.WriteFile(program.Path, program.Data, 0o755), os.Chown(prefix, 54321, 54321),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	led := program
	led.Path = filepath.Join(prefix, "bin", "hostguard")
	if plan, err := PlanRemoval([]File{led}); err == nil {
		t.Errorf("it would remove %q", plan)
	}
	if plan, err := PlanRemoval([]File{program}); err != nil || len(plan) != 1 || plan[0].Do != Remove {
		t.Error(plan, err)
	}
}

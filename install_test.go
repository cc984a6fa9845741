package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A user without root installs below their home, and is told that the runner
// does not look there.
func TestAUserInstallsBelowTheirHome(t *testing.T) {
	home, err := os.MkdirTemp("/tmp", "hg")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(home)
	if err := os.Chmod(home, 0o755); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(home, "hostguard") // TestMain makes this binary the real main
	self, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(program, self, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	hostguard := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(program, args...)
		cmd.Dir, cmd.Env = "/", []string{"HOME=" + home}
		if os.Geteuid() == 0 {
			if err := os.Chown(home, 65534, 65534); err != nil {
				t.Fatal(err)
			}
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	bin := filepath.Join(home, ".local/bin")
	out := hostguard("install", "-apply")
	for _, want := range []string{fmt.Sprintf("  create   %q\n", bin+"/hostguard"),
		fmt.Sprintf("services do not look in %q", bin), fmt.Sprintf("      HOSTGUARD_BIN: %q\n",
			bin+"/hostguard"), "\ndone; "} {
		if !strings.Contains(out, want) {
			t.Errorf("want %q in:\n%s", want, out)
		}
	}
	if target, err := os.Readlink(bin + "/hostguard-post-task"); err != nil || target != "hostguard" {
		t.Errorf("hostguard-post-task is a link to %q, %v", target, err)
	}
	if out := hostguard("install", "-apply"); !strings.Contains(out, "\nnothing to change\n") {
		t.Errorf("a second install:\n%s", out)
	}
}

// A release that was damaged on its way is not installed.
func TestInstallChecksTheSumBesideIt(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "hostguard")
	self, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(program, self, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	for sum, want := range map[string]string{
		fmt.Sprintf("%x", sha256.Sum256(self)): "nothing is changed yet",
		strings.Repeat("0", 64): "is not that of \"" + dir + "/SHA256SUMS\": it is damaged or was " +
			"changed; get the release again",
	} {
		if err := os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(sum+"  hostguard\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		out, _ := exec.Command(program, "install", "-prefix", filepath.Join(dir, "opt")).CombinedOutput()
		if !strings.Contains(string(out), want) {
			t.Errorf("want %q in:\n%s", want, out)
		}
	}
}

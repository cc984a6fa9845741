package e2e

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hostguard/e2e/act"
)

// repository makes dir a git repository of what this checkout has, with one
// commit that is the same everywhere.
func repository(t *testing.T, dir string) {
	t.Helper()
	if err := act.Copy(dir); err != nil {
		t.Fatal(err)
	}
	command(t, dir, nil, "git", "init", "--quiet", "--initial-branch=main")
	command(t, dir, nil, "git", "add", "--all")
	command(t, dir, []string{"GIT_AUTHOR_DATE=2026-01-02T03:04:05Z", "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z"},
		"git", "-c", "user.name=ci", "-c", "user.email=ci@localhost", "commit", "--quiet", "--message=All")
}

// command runs a program to its end and returns what it printed.
func command(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestReleaseIsReproducible(t *testing.T) {
	t.Parallel()
	one, _ := released(t)
	two := filepath.Join(t.TempDir(), "of another name")
	repository(t, two)

	// Nothing that was compiled before is used.
	command(t, two, []string{"GOCACHE=" + filepath.Join(t.TempDir(), "cache"), "TMPDIR=" + t.TempDir(), "TZ=Asia/Taipei", "GOAMD64=v3", "GOARM64=v9.0", "GOFLAGS=-buildmode=pie"}, "make", "dist")
	for _, arch := range []string{"amd64", "arm64"} {
		binary := "dist/hostguard-linux-" + arch
		a, b := readFile(t, filepath.Join(one, binary)), readFile(t, filepath.Join(two, binary))
		if !bytes.Equal(a, b) {
			t.Errorf("two builds of %s differ", binary)
		}
		static(t, filepath.Join(one, binary))
	}
	settings := filepath.Join(t.TempDir(), "gitconfig")
	writeFile(t, settings, "[core]\nautocrlf = true\nfileMode = false\n[i18n]\ncommitEncoding = ISO-8859-1\n[tag]\ngpgSign = true\n", 0o644)
	command(t, two, []string{"TMPDIR=" + t.TempDir(), "LC_ALL=C", "GOAMD64=v2", "GIT_CONFIG_GLOBAL=" + settings}, "make", "release")

	head, sums := command(t, one, nil, "git", "rev-parse", "HEAD"), "dist/SHA256SUMS"
	for tag, files := range map[string][]string{
		"v1.0.0": {
			sums, "dist/hostguard-linux-amd64", "dist/hostguard-linux-amd64.cdx.json",
			"dist/hostguard-linux-arm64", "dist/hostguard-linux-arm64.cdx.json",
		},
		"v1.0.0-download": {sums},
	} {
		if a, b := command(t, one, nil, "git", "rev-parse", tag), command(t, two, nil, "git", "rev-parse", tag); a != b {
			t.Errorf("the tag %s is %s here and %s there", tag, a, b)
		}
		if parent := command(t, one, nil, "git", "rev-parse", tag+"^"); parent != head {
			t.Errorf("the tag %s was made of %s, want the last commit, %s", tag, parent, head)
		}
		added := command(t, one, nil, "git", "diff", "--name-status", "HEAD", tag)
		if want := "A\t" + strings.Join(files, "\nA\t"); added != want {
			t.Errorf("the tag %s differs from the repository by\n%s\nwant\n%s", tag, added, want)
		}
	}
	if command(t, one, nil, "git", "status", "--porcelain") != "" {
		t.Error("a release leaves changes behind")
	}

	command(t, filepath.Join(one, "dist"), nil, "sha256sum", "--check", "--strict", "SHA256SUMS")
	var version struct {
		Version, Commit, Go string
		Modules             []struct{ Path, Version, Sum string }
	}
	said := command(t, one, nil, "dist/"+distName, "version", "-json")
	if err := json.Unmarshal([]byte(said), &version); err != nil {
		t.Fatal(err)
	}
	if version.Version != "1.0.0" || version.Commit != head || version.Go == "" || len(version.Modules) == 0 {
		t.Errorf("version -json says %s", said)
	}
	sbom := string(readFile(t, filepath.Join(one, "dist/hostguard-linux-arm64.cdx.json")))
	for _, m := range version.Modules {
		if want := "pkg:golang/" + m.Path + "@" + m.Version; !strings.Contains(sbom, want) {
			t.Errorf("the SBOM does not have %s", want)
		}
	}
	if strings.Contains(sbom, os.TempDir()) {
		t.Error("the SBOM names a folder of this machine")
	}
}

// A tag that moves leaves the old release on runners that have it.
func TestReleaseRefusesToMoveATag(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	repository(t, dir)
	command(t, dir, nil, "git", "tag", "v1.0.0")
	for _, c := range []struct{ change, want string }{
		{"", "the tag v1.0.0 is of another release: raise VERSION"},
		{"changed", "there are changes without a commit"},
	} {
		if c.change != "" {
			writeFile(t, filepath.Join(dir, "README.md"), c.change, 0o644)
		}
		cmd := exec.CommandContext(t.Context(), "sh", "release.sh")
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%v, want %q, got:\n%s", err, c.want, out)
		}
	}
	if command(t, dir, nil, "git", "rev-parse", "v1.0.0") != command(t, dir, nil, "git", "rev-parse", "HEAD") {
		t.Error("the tag has moved")
	}
}

// static checks that a program needs nothing of the machine that runs it.
func static(t *testing.T, path string) {
	t.Helper()
	file, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("%s is not static: it has a program header %v", path, p.Type)
		}
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

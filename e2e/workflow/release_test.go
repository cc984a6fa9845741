package workflow

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"aead.dev/minisign"

	"hostguard/e2e/rig/act"
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

	// Nothing that was compiled before is used, for one of the two binaries: it takes
	// minutes. The tags below have both.
	other := []string{
		"GOCACHE=" + filepath.Join(t.TempDir(), "cache"), "TMPDIR=" + t.TempDir(),
		"TZ=Asia/Taipei", "GOAMD64=v3", "GOARM64=v9.0", "GOFLAGS=-buildmode=pie",
	}
	const fresh = "dist/hostguard-linux-arm64"
	command(t, two, other, "make", fresh)
	if !bytes.Equal(readFile(t, filepath.Join(one, fresh)), readFile(t, filepath.Join(two, fresh))) {
		t.Errorf("two builds of %s differ", fresh)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		static(t, filepath.Join(one, "dist/hostguard-linux-"+arch))
	}
	settings := filepath.Join(t.TempDir(), "gitconfig")
	const odd = "[core]\nautocrlf = true\nfileMode = false\n" +
		"[i18n]\ncommitEncoding = ISO-8859-1\n[tag]\ngpgSign = true\n"
	writeFile(t, settings, odd, 0o644)
	env := []string{"TMPDIR=" + t.TempDir(), "LC_ALL=C", "GOAMD64=v2", "GIT_CONFIG_GLOBAL=" + settings}
	command(t, two, env, "make", "release")

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
		if want := "D\t.gitea/workflows/ci.yaml\nA\t" + strings.Join(files, "\nA\t"); added != want {
			t.Errorf("the tag %s differs from the repository by\n%s\nwant\n%s", tag, added, want)
		}
	}
	if command(t, one, nil, "git", "status", "--porcelain") != "" {
		t.Error("a release leaves changes behind")
	}

	checked := command(t, filepath.Join(one, "dist"), nil, "sha256sum", "--check", "--strict", "SHA256SUMS")
	for _, file := range []string{"hostguard_1.0.0-1_amd64.deb", "hostguard_1.0.0-1_arm64.deb",
		"hostguard-1.0.0-1.x86_64.rpm", "hostguard-1.0.0-1.aarch64.rpm", "hostguard_1.0.0-r1_x86_64.apk",
		"hostguard_1.0.0-r1_aarch64.apk", "hostguard-1.0.0-image.tar"} {
		if !strings.Contains(checked, file+": OK") {
			t.Errorf("the sums have no %s", file)
		}
		if !bytes.Equal(readFile(t, filepath.Join(one, "dist", file)), readFile(t, filepath.Join(two, "dist", file))) {
			t.Errorf("two builds of %s differ", file)
		}
	}
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

// hasWorkflows lists the files of a commit that a Gitea, Forgejo or GitHub would run.
func hasWorkflows(t *testing.T, repository, commit string) (files []string) {
	t.Helper()
	for file := range strings.Lines(command(t, repository, nil, "git", "ls-tree", "-r", "--name-only", commit)) {
		for _, of := range []string{".gitea/", ".github/", ".forgejo/"} {
			if strings.HasPrefix(file, of+"workflows/") {
				files = append(files, file)
			}
		}
	}
	return files
}

// What is pushed to a server runs there: hostguard's own CI took the lock of a
// host that had only adopted it.
func TestReleaseRunsNothingOnTheServerThatItIsPushedTo(t *testing.T) {
	t.Parallel()
	source, root := released(t)
	if len(hasWorkflows(t, source, "main")) == 0 {
		t.Error("the source has no workflow: this test shows nothing, and its own CI is gone")
	}
	server := filepath.Join(root, "wooo/hostguard")
	carried := filepath.Join(t.TempDir(), "carried") // by the bundle
	command(t, source, nil, "git", "clone", "--quiet", "--mirror", filepath.Join(source, "hostguard.bundle"), carried)
	for repository, want := range map[string]string{
		server:  "refs/heads/main\nrefs/tags/v1.0.0",
		carried: "refs/tags/v1.0.0",
	} {
		refs := command(t, repository, nil, "git", "for-each-ref", "--format=%(refname)")
		if refs != want {
			t.Errorf("%s has %q, want %q", repository, refs, want)
		}
		for ref := range strings.FieldsSeq(refs) {
			if files := hasWorkflows(t, repository, ref); len(files) > 0 {
				t.Errorf("%s has %q", ref, files)
			}
		}
	}
	if files := hasWorkflows(t, source, "v1.0.0-download"); len(files) > 0 {
		t.Errorf("the tag without binaries has %q", files)
	}

	checkout := filepath.Join(t.TempDir(), "checkout")
	command(t, source, nil, "git", "clone", "--quiet", "--branch", "v1.0.0", server, checkout)
	labels := func(dir string) string {
		cmd := exec.CommandContext(t.Context(), filepath.Join(checkout, "dist", distName), "runner", "labels",
			"-checkout", t.TempDir(), "-local-repo", "wooo/hostguard="+dir)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("runner labels: %v: %s", err, out)
		}
		return string(out)
	}
	if said := labels(source); !strings.Contains(said, "awoooi-host") {
		t.Errorf("runner labels of the source does not show its CI:\n%s", said)
	}
	if said := labels(checkout); strings.Contains(said, "ci.yaml") || !strings.Contains(said, "jobs: 0;") {
		t.Errorf("runner labels of the release:\n%s", said)
	}
}

// withoutBuilding returns a directory of programs where make only writes a file of sums: what
// is built does not matter to all tests of a release.
func withoutBuilding(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "make"), "#!/bin/sh\nmkdir -p $2/dist && echo $3 >$2/dist/SHA256SUMS\n", 0o755)
	return dir
}

// A branch that is pushed over leaves old code on runners, so that one moves from
// release to release without force.
func TestTheNextReleaseFollowsTheOneBefore(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "source")
	repository(t, dir)
	tools := withoutBuilding(t)
	server := newBare(t, filepath.Join(t.TempDir(), "server"))
	for _, version := range []string{"1.2.0", "1.10.0", "1.10.1"} {
		writeFile(t, filepath.Join(dir, "VERSION"), version+"\n", 0o644)
		command(t, dir, nil, "git", "-c", "user.name=ci", "-c", "user.email=ci@localhost",
			"commit", "--quiet", "--all", "--allow-empty", "--message", version)
		command(t, dir, []string{"PATH=" + tools + ":" + os.Getenv("PATH")}, "sh", "release.sh")
		for _, kind := range []string{"", "-download"} {
			tag := "v" + version + kind
			command(t, dir, nil, "git", "push", "--quiet", server.dir, tag+":refs/heads/main"+kind, tag)
			if files := hasWorkflows(t, dir, tag); len(files) > 0 {
				t.Errorf("%s has %q", tag, files)
			}
		}
	}
	// A second time, and after later ones, it is the same.
	command(t, dir, nil, "git", "checkout", "--quiet", "v1.2.0^")
	command(t, dir, []string{"PATH=" + tools + ":" + os.Getenv("PATH")}, "sh", "release.sh")
}

// The owner signs by one variable. Both tags then have the signature, which minisign takes, and
// it is the same each time, as the tags are.
func TestAReleaseIsSignedWithTheOwnersKey(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "source")
	repository(t, dir)
	tools := withoutBuilding(t)
	owner := newSigner(t)
	secret, _ := owner.private.MarshalText()
	public, _ := owner.public.MarshalText()
	keys := t.TempDir()
	writeFile(t, filepath.Join(keys, "minisign.key"), string(secret), 0o600)
	writeFile(t, filepath.Join(keys, "minisign.pub"), string(public)+"\n", 0o644)
	sign := func(key string) ([]byte, error) {
		cmd := exec.CommandContext(t.Context(), "sh", "release.sh")
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+tools+":"+os.Getenv("PATH"), "HOSTGUARD_SIGN_KEY="+key)
		return cmd.CombinedOutput()
	}
	for _, key := range []string{filepath.Join(keys, "missing"), filepath.Join(keys, "minisign.pub")} {
		if out, err := sign(key); err == nil || !strings.Contains(string(out), "release.sh: ") ||
			command(t, dir, nil, "git", "tag") != "" {
			t.Errorf("with the key %q: %v: %s", key, err, out)
		}
	}
	for range 2 { // the second moves no tag
		if out, err := sign(filepath.Join(keys, "minisign.key")); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	sums := readFile(t, filepath.Join(dir, "dist/SHA256SUMS"))
	for _, tag := range []string{"v1.0.0", "v1.0.0-download"} {
		signature := command(t, dir, nil, "git", "show", tag+":dist/SHA256SUMS.minisig")
		if !minisign.Verify(owner.public, sums, []byte(signature+"\n")) ||
			!strings.Contains(signature, "\ntrusted comment: hostguard 1.0.0\n") {
			t.Errorf("%s: not the owner's signature of 1.0.0:\n%s", tag, signature)
		}
	}
	if _, err := exec.LookPath("minisign"); err != nil {
		t.Fatal(err, ": run make engines")
	}
	said := command(t, dir, nil, "minisign", "-V", "-m", "dist/SHA256SUMS", "-p", filepath.Join(keys, "minisign.pub"))
	if !strings.Contains(said, "Trusted comment: hostguard 1.0.0") {
		t.Errorf("minisign says %q", said)
	}
}

// A tag that moves leaves the old release on runners that have it.
func TestReleaseRefusesToMoveATag(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	repository(t, dir)
	command(t, dir, nil, "git", "tag", "v1.0.0")
	tools := withoutBuilding(t)
	for _, c := range []struct{ change, want string }{
		{"", "the tag v1.0.0 is of another release: raise VERSION"},
		{"changed", "there are changes without a commit"},
	} {
		if c.change != "" {
			writeFile(t, filepath.Join(dir, "README.md"), c.change, 0o644)
		}
		cmd := exec.CommandContext(t.Context(), "sh", "release.sh")
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+tools+":"+os.Getenv("PATH"))
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

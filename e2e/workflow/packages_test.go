package workflow

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// debianRoot is a Debian 12 to install packages in: what is written there goes to a directory
// of the test, above the tree that install.sh has unpacked.
type debianRoot struct {
	t          *testing.T
	tree, kept string
}

func newDebianRoot(t *testing.T) *debianRoot {
	t.Helper()
	tree, err := filepath.Abs("../../.cache/systemd")
	if err == nil {
		tree, err = filepath.EvalSymlinks(tree)
	}
	if err != nil {
		t.Fatal(err, ": run e2e/install.sh")
	}
	kept := t.TempDir()
	for _, dir := range []string{"above", "work", "root"} {
		if err := os.Mkdir(filepath.Join(kept, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return &debianRoot{t, tree, kept}
}

// put puts a file into the root.
func (r *debianRoot) put(from, name string) {
	r.t.Helper()
	writeFile(r.t, filepath.Join(r.kept, "above", name), string(readFile(r.t, from)), 0o644)
}

// run runs a script there, as root, and returns what it printed and its exit status.
func (r *debianRoot) run(script string) (string, int) {
	r.t.Helper()
	const enter = `cd "$1" && mount -t overlay -o lowerdir="$2",upperdir=above,workdir=work overlay root &&
		mount -t proc proc root/proc && exec chroot root /bin/sh -ec "$3"`
	cmd := exec.CommandContext(r.t.Context(), "unshare", "--mount", "--pid", "--fork", "--kill-child",
		"sh", "-c", enter, "sh", r.kept, r.tree, script)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"}
	out, err := cmd.CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		r.t.Fatal(err)
	}
	return strings.TrimSpace(string(out)), cmd.ProcessState.ExitCode()
}

// want expects that a script succeeds, and returns what it printed.
func (r *debianRoot) want(script string) string {
	r.t.Helper()
	out, status := r.run(script)
	if status != 0 {
		r.t.Fatalf("%s: exit status %d:\n%s", script, status, out)
	}
	return out
}

// packagedFiles returns the files that each package has: those of an install, and a few.
func packagedFiles(t *testing.T, program string) (paths []string) {
	t.Helper()
	var plan struct{ Changes []struct{ Path string } }
	cmd := exec.CommandContext(t.Context(), program, "install", "-prefix", "/nowhere/usr", "-json")
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &plan)
	}
	if err != nil || len(plan.Changes) == 0 {
		t.Fatal(err, string(out))
	}
	for _, c := range plan.Changes {
		path := strings.TrimPrefix(c.Path, "/nowhere")
		if strings.HasPrefix(path, "/usr/share/man/") {
			path += ".gz"
		}
		paths = append(paths, path)
	}
	paths = append(paths, "/usr/lib/systemd/system/hostguard-observe.service", "/usr/share/doc/hostguard/CHANGELOG.md",
		"/usr/share/doc/hostguard/copyright")
	slices.Sort(paths)
	return paths
}

// A package has what an install puts in place; its removal leaves nothing, not even the link
// of an observer that was enabled.
func TestTheDebianPackageIsInstalledAndRemoved(t *testing.T) {
	t.Parallel()
	source, _ := released(t)
	r := newDebianRoot(t)
	r.put(filepath.Join(source, "dist/hostguard_1.0.0-1_amd64.deb"), "hostguard.deb")
	const files = "find / -xdev ! -path '/proc*' ! -path '/var/lib/dpkg*' ! -path '/var/log/*' " +
		"! -path '/var/cache/*' | sort"
	before := r.want(files)
	r.want("dpkg -i /hostguard.deb; dpkg -i /hostguard.deb") // an upgrade, too
	if said := r.want("dpkg --verify hostguard; hostguard version"); !strings.HasPrefix(said, "hostguard 1.0.0 ") {
		t.Errorf("verified, it is %q", said)
	}
	var has []string
	for path := range strings.FieldsSeq(r.want(`dpkg -L hostguard | while read f; do [ -d "$f" ] || echo "$f"; done`)) {
		has = append(has, path)
	}
	slices.Sort(has)
	want := packagedFiles(t, filepath.Join(source, "dist/hostguard-linux-amd64"))
	if !slices.Equal(has, want) {
		t.Errorf("the package has other files than an install:\n%s", difference(want, has))
	}
	said := r.want("bash -e /usr/bin/hostguard-job-completed.sh")
	if !strings.HasPrefix(said, "hostguard-job-completed: ") {
		t.Errorf("the hook says %q", said)
	}
	said = r.want("zcat /usr/share/man/man1/hostguard-status.1.gz")
	if !strings.Contains(said, "Part of the package") {
		t.Errorf("the manual is\n%s", said)
	}

	// Its program does not install itself a second time, and no other takes the package's place.
	said = r.want("hostguard install -apply")
	if !strings.Contains(said, `a package has installed hostguard 1.0.0`) ||
		!strings.Contains(said, "nothing to change") ||
		!strings.Contains(said, `post_task_script: "/usr/bin/hostguard-post-task"`) {
		t.Errorf("install says\n%s", said)
	}
	if said, status := r.run("hostguard install -observe -apply"); status != 2 ||
		!strings.Contains(said, "systemctl enable --now hostguard-observe.service") {
		t.Errorf("install -observe: status %d:\n%s", status, said)
	}
	for _, how := range []string{"-apply", "-uninstall -apply"} {
		said, status := r.run("cp /usr/bin/hostguard /root/other; exec /root/other install -prefix /usr " + how)
		if status != 3 || !strings.Contains(said, "something else has this name") {
			t.Errorf("install -prefix /usr %s: status %d:\n%s", how, status, said)
		}
	}
	r.want("rm /root/other; dpkg --verify hostguard")

	// The observer is there, and runs where somebody wants it.
	if said, _ := r.run("systemctl is-enabled hostguard-observe"); said != "disabled" {
		t.Errorf("the observer is %s", said)
	}
	const enabled = "/etc/systemd/system/multi-user.target.wants/hostguard-observe.service"
	// An upgrade leaves it enabled.
	r.want("systemctl enable hostguard-observe; dpkg -i /hostguard.deb; test -L " + enabled)
	r.want("dpkg --purge hostguard")
	if after := r.want(files); after != before {
		t.Errorf("a removal leaves:\n%s", difference(strings.Split(before, "\n"), strings.Split(after, "\n")))
	}
}

// A package that counts as half installed, or cannot be removed, is a machine to repair by hand.
func TestASystemdThatRefusesKeepsNoPackageFromBeingInstalledOrRemoved(t *testing.T) {
	t.Parallel()
	r := newDebianRoot(t)
	r.put("../../packaging/installed.sh", "installed.sh")
	r.put("../../packaging/removing.sh", "removing.sh")
	// As in a container with the host's /run, there is no systemd to ask.
	const refused = "Failed to connect to bus"
	r.want("mkdir -p /run/systemd/system")
	for _, script := range []string{"/installed.sh", "/removing.sh remove"} {
		said := r.want("SYSTEMD_IGNORE_CHROOT=1 sh " + script)
		if !strings.Contains(said, refused) {
			t.Errorf("%s: nothing was refused:\n%s", script, said)
		}
	}
}

// difference returns what the second list has more, after a plus, and less, after a minus.
func difference(one, two []string) string {
	var lines strings.Builder
	for _, line := range two {
		if !slices.Contains(one, line) {
			lines.WriteString("+" + line + "\n")
		}
	}
	for _, line := range one {
		if !slices.Contains(two, line) {
			lines.WriteString("-" + line + "\n")
		}
	}
	return lines.String()
}

// The packages for other systems and processors have the same files, and the program of the
// release.
func TestAllPackagesHaveTheSameFiles(t *testing.T) {
	t.Parallel()
	source, _ := released(t)
	dist := filepath.Join(source, "dist")
	want := packagedFiles(t, filepath.Join(dist, distName))
	for _, arch := range []struct{ goarch, name string }{{"amd64", "x86_64"}, {"arm64", "aarch64"}} {
		program := readFile(t, filepath.Join(dist, "hostguard-linux-"+arch.goarch))
		rpm := filepath.Join(dist, "hostguard-1.0.0-1."+arch.name+".rpm")
		unpacked := t.TempDir()
		command(t, unpacked, nil, "sh", "-ec", `busybox rpm2cpio "$1" | busybox cpio -id 2>/dev/null`, "sh", rpm)
		deb := t.TempDir()
		command(t, deb, nil, "dpkg-deb", "-x", filepath.Join(dist, "hostguard_1.0.0-1_"+arch.goarch+".deb"), ".")
		apk := apkFiles(t, filepath.Join(dist, "hostguard_1.0.0-r1_"+arch.name+".apk"))
		packages := map[string]map[string][]byte{"rpm": below(t, unpacked), "deb": below(t, deb), "apk": apk}
		for name, files := range packages {
			var has []string
			for path := range files {
				if !strings.HasPrefix(path, "/.") { // apk's own
					has = append(has, path)
				}
			}
			slices.Sort(has)
			if !slices.Equal(has, want) {
				t.Errorf("%s of %s has other files than an install:\n%s", name, arch.goarch, difference(want, has))
			}
			if !bytes.Equal(files["/usr/bin/hostguard"], program) {
				t.Errorf("%s of %s has another program than the release", name, arch.goarch)
			}
			if link := files["/usr/bin/hostguard-health"]; string(link) != "-> hostguard" {
				t.Errorf("%s of %s: hostguard-health is %.20q", name, arch.goarch, link)
			}
		}
	}
}

// below returns the files of a tree, of a link where it leads.
func below(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := strings.TrimPrefix(path, dir)
		if target, err := os.Readlink(path); err == nil {
			files[name] = []byte("-> " + target)
			return nil
		}
		files[name], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// apkFiles returns the files of a package of Alpine: two archives, one behind the other, each
// of them compressed.
func apkFiles(t *testing.T, path string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for r := bufio.NewReader(bytes.NewReader(readFile(t, path))); ; {
		z, err := gzip.NewReader(r)
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		z.Multistream(false)
		part, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		for entries := tar.NewReader(bytes.NewReader(part)); ; {
			h, err := entries.Next()
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // the first has no end
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			switch h.Typeflag {
			case tar.TypeReg:
				if files["/"+h.Name], err = io.ReadAll(entries); err != nil {
					t.Fatal(err)
				}
			case tar.TypeSymlink:
				files["/"+h.Name] = []byte("-> " + h.Linkname)
			}
		}
	}
}

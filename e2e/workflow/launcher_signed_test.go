package workflow

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"aead.dev/minisign"
)

// signer is an owner of releases, with a key of minisign.
type signer struct {
	public  minisign.PublicKey
	private minisign.PrivateKey
}

func newSigner(t *testing.T) signer {
	t.Helper()
	public, private, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return signer{public, private}
}

// sign signs a text as minisign does since 0.9, by the BLAKE2b of it.
func (s signer) sign(text, comment string) string {
	r := minisign.NewReader(strings.NewReader(text))
	_, _ = r.Read(make([]byte, len(text)))
	return string(r.SignWithComments(s.private, comment, "signature from minisign secret key"))
}

// legacy signs a text as minisign did before.
func (s signer) legacy(text, comment string) string {
	return string(minisign.SignWithComments(s.private, []byte(text), comment, "signature from minisign secret key"))
}

// withKey gives the host of a launcher a public key: one below its own directory, since the
// machine's /etc is everybody's.
func (l *launcher) withKey(key minisign.PublicKey) {
	l.t.Helper()
	path := filepath.Join(l.dir, "etc/minisign.pub")
	script, err := os.ReadFile("../../hostguard.sh")
	if err != nil {
		l.t.Fatal(err)
	}
	const real = "key=/etc/hostguard/minisign.pub "
	if strings.Count(string(script), real) != 1 {
		l.t.Fatalf("hostguard.sh does not say %q once", real)
	}
	l.write("action/hostguard.sh", strings.Replace(string(script), real, "key='"+path+"' ", 1), 0o644)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		l.t.Fatal(err)
	}
	text, _ := key.MarshalText()
	l.write("etc/minisign.pub", string(text)+"\n", 0o644)
}

// launcherNeeds is what the launcher needs on PATH beside what it checks a signature with.
var launcherNeeds = []string{"base64", "chmod", "cmp", "cp", "grep", "head", "mktemp", "mv", "readlink", "rm", "sed",
	"sha256sum", "stat", "tail", "tr", "uname", "wc", "cat", "cut"}

// withOnly leaves the launcher those tools and these others.
func (l *launcher) withOnly(others ...string) {
	l.t.Helper()
	only := l.t.TempDir()
	for _, tool := range append(append(others, launcherNeeds...), l.shell[0]) {
		path, err := exec.LookPath(tool)
		if err == nil {
			err = os.Symlink(path, filepath.Join(only, tool))
		}
		if err != nil {
			l.t.Fatal(err)
		}
	}
	l.env = append(l.env, "PATH="+only)
}

// A release that was built or changed by somebody else than the owner of the host's key does
// not run, whichever program checks it.
func TestLauncherRunsOnlyWhatTheHostsKeyHasSigned(t *testing.T) {
	owner, other := newSigner(t), newSigner(t)
	for _, verifier := range []string{"openssl", "minisign"} {
		t.Run(verifier, func(t *testing.T) {
			if _, err := exec.LookPath(verifier); err != nil {
				t.Fatal(err, ": run make engines")
			}
			inEveryShell(t, func(t *testing.T, l *launcher) {
				l.dist("1.2.3")
				l.withKey(owner.public)
				l.withOnly(verifier)
				left := t.TempDir()
				l.env = append(l.env, "TMPDIR="+left)
				sums := string(readFile(t, filepath.Join(l.dir, "action/dist/SHA256SUMS")))
				good := owner.sign(sums, "hostguard 1.2.3")
				lines := strings.SplitAfter(good, "\n")
				older := owner.sign(sums, "hostguard 1.2.2")
				legacy := other.legacy(sums, "hostguard 1.2.3")
				hostile := owner.sign(sums, "x\r::add-path::/x")
				foreign := strings.SplitAfter(owner.sign("other\n", "hostguard 1.2.3"), "\n")

				l.refused("SHA256SUMS is not signed, and this host has a public key")
				for name, c := range map[string]struct{ signature, want string }{
					"another key":       {other.sign(sums, "hostguard 1.2.3"), "or is by another key, and is not run"},
					"a legacy of one":   {legacy, "or is by another key, and is not run"},
					"other sums":        {owner.sign(sums+"\n", "hostguard 1.2.3"), "damaged or was changed"},
					"an older version":  {older, `is signed for "hostguard 1.2.2", not for`},
					"a changed comment": {strings.Replace(older, "1.2.2", "1.2.3", 1), "damaged"},
					"another comment's": {lines[0] + lines[1] + lines[2] + foreign[3], "damaged or was changed"},
					"cut":               {good[:len(good)-20], "damaged or was changed"},
					"two lines":         {lines[0] + lines[1], `is signed for "", not for`},
					"more lines":        {good + lines[1], "has other lines than a signature"},
					"no base64":         {lines[0] + "%%%\n" + lines[2] + lines[3], "damaged or was changed"},
					"nothing":           {"", `is signed for "", not for`},
					"a hostile comment": {hostile, `is signed for "x::add-path::/x", not for`},
				} {
					l.write("action/dist/SHA256SUMS.minisig", c.signature, 0o644)
					t.Log(name)
					l.refused(c.want)
				}
				for _, signature := range []string{good, owner.legacy(sums, "hostguard 1.2.3")} {
					l.write("action/dist/SHA256SUMS.minisig", signature, 0o644)
					_ = os.Remove(l.copyOfDist())
					l.ran(l.copyOfDist())
				}
				if left, err := os.ReadDir(left); err != nil || len(left) > 0 {
					t.Errorf("it leaves %v, %v", left, err)
				}
			})
		})
	}
}

// A key that others can change says nothing; without a program to check it with nothing runs.
func TestLauncherTrustsOnlyAKeyOfRoots(t *testing.T) {
	owner := newSigner(t)
	inEveryShell(t, func(t *testing.T, l *launcher) {
		l.dist("1.2.3")
		l.withKey(owner.public)
		l.withOnly("openssl")
		sums := string(readFile(t, filepath.Join(l.dir, "action/dist/SHA256SUMS")))
		l.write("action/dist/SHA256SUMS.minisig", owner.sign(sums, "hostguard 1.2.3"), 0o644)
		key, dir := filepath.Join(l.dir, "etc/minisign.pub"), filepath.Join(l.dir, "etc")
		for _, c := range []struct {
			path  string
			mode  os.FileMode
			owner int
		}{{key, 0o664, 0}, {key, 0o646, 0}, {key, 0o644, 65534}, {dir, 0o777, 0}, {dir, 0o755, 65534}} {
			if err := os.Chmod(c.path, c.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(c.path, c.owner, 0); err != nil {
				t.Fatal(err)
			}
			l.refused("others than root may change the public key")
			if err := os.Chown(c.path, 0, 0); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(c.path, map[bool]os.FileMode{true: 0o644, false: 0o755}[c.path == key]); err != nil {
				t.Fatal(err)
			}
		}
		l.env = l.env[:len(l.env)-1]
		l.withOnly()
		l.refused("there is neither minisign nor openssl to check")
	})
}

// A dist that was downloaded is signed as well, since its sums are.
func TestLauncherChecksTheSignatureBeforeADownload(t *testing.T) {
	l := newLauncher(t, []string{"dash"})
	owner := newSigner(t)
	l.sums(l.binary("released", "1.2.3"))
	l.withKey(owner.public)
	l.env = append(l.env, "HOSTGUARD_URL=http://127.0.0.1:1/never-asked")
	l.refused("SHA256SUMS is not signed")
	sums := string(readFile(t, filepath.Join(l.dir, "action/dist/SHA256SUMS")))
	l.write("action/dist/SHA256SUMS.minisig", owner.sign(sums, "hostguard 1.2.3"), 0o644)
	l.refused(fmt.Sprintf("cannot fetch http://127.0.0.1:1/never-asked/v1.2.3/%s: ", distName))
}

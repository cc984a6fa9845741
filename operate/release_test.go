package operate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aead.dev/minisign"
)

// signedRelease is a release's directory, as it was signed by minisign 0.11 with a key without
// a password, and a host with its public key.
type signedRelease struct {
	t        *testing.T
	dir, key string
	sums     string
}

func newSignedRelease(t *testing.T) *signedRelease {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root has files that nobody else may change")
	}
	dir := t.TempDir()
	r := &signedRelease{t: t, dir: dir, key: filepath.Join(dir, "host/minisign.pub")}
	if err := os.Mkdir(filepath.Join(dir, "host"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.sums = r.fixture("SHA256SUMS", "SHA256SUMS")
	r.fixture("SHA256SUMS.minisig", "SHA256SUMS.minisig")
	r.fixture("minisign.pub", "host/minisign.pub")
	return r
}

// fixture puts a file of testdata in place.
func (r *signedRelease) fixture(name, as string) string {
	r.t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata/release", name))
	if err != nil {
		r.t.Fatal(err)
	}
	r.write(as, string(data))
	return string(data)
}

func (r *signedRelease) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r *signedRelease) remove(name string) {
	r.t.Helper()
	if err := os.Remove(filepath.Join(r.dir, name)); err != nil {
		r.t.Fatal(err)
	}
}

// check checks the release as if its program had the sum that is signed.
func (r *signedRelease) check(version string) error {
	sum, _, _ := strings.Cut(r.sums, " ")
	return checkRelease(r.key, filepath.Join(r.dir, "hostguard-linux-amd64"), sum, version)
}

// refused expects an error of one line.
func (r *signedRelease) refused(err error, want string) {
	r.t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\n\x1b") {
		r.t.Errorf("want one line with %q, got %v", want, err)
	}
}

func TestAReleaseThatMinisignHasSignedIsAccepted(t *testing.T) {
	for _, signature := range []string{"SHA256SUMS.minisig", "legacy.minisig"} {
		r := newSignedRelease(t)
		r.fixture(signature, "SHA256SUMS.minisig")
		if err := r.check("1.2.3"); err != nil {
			t.Errorf("%s: %v", signature, err)
		}
	}
}

// Without a key nothing but a sum that differs is refused, as ever.
func TestAHostWithoutAKeyNeedsNoSignature(t *testing.T) {
	r := newSignedRelease(t)
	r.remove("host/minisign.pub")
	for _, without := range []string{"SHA256SUMS.minisig", "SHA256SUMS"} {
		r.remove(without)
		if err := r.check("1.2.3"); err != nil {
			t.Error(err)
		}
	}
	r.write("SHA256SUMS", strings.Repeat("0", 64)+"  hostguard-linux-amd64\n")
	r.refused(r.check("1.2.3"), "it is damaged or was changed")
}

func TestAReleaseThatIsNotWhatTheOwnerHasSignedIsRefused(t *testing.T) {
	r := newSignedRelease(t)
	good := r.fixture("SHA256SUMS.minisig", "SHA256SUMS.minisig")
	lines := strings.SplitAfter(good, "\n")
	_, other, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	// By a key that has the number of the owner's: the number is no secret.
	forged := string(minisign.SignWithComments(other, []byte(r.sums), "hostguard 1.2.3", "x"))
	var s minisign.Signature
	if err := s.UnmarshalText([]byte(forged)); err != nil {
		t.Fatal(err)
	}
	theirs := s.KeyID
	s.KeyID = 0xADC791D31584F56F
	numbered, _ := s.MarshalText()
	if theirs == s.KeyID {
		t.Fatal("both keys have one number")
	}
	for name, c := range map[string]struct{ signature, want string }{
		"another key":            {forged, "get the release from its owner"},
		"the number of ours":     {string(numbered), "is not what was signed"},
		"a changed comment":      {strings.Replace(good, "1.2.3", "1.2.4", 1), "is not what was signed"},
		"cut in the signature":   {lines[0] + lines[1][:40], "not a signature of minisign"},
		"cut in the last line":   {good[:len(good)-9], "not a signature of minisign"},
		"without a comment":      {lines[0] + lines[1] + lines[3], "not a signature of minisign"},
		"a line more":            {good + "more\n", "not a signature of minisign"},
		"an empty line more":     {good + "\n", "not a signature of minisign"},
		"nothing":                {"", "not a signature of minisign"},
		"another algorithm":      {strings.Replace(good, "RUR", "RUV", 1), "not a signature of minisign"},
		"longer than one can be": {good + strings.Repeat("\n", maxSignature), "not a signature of minisign"},
	} {
		t.Log(name)
		r.write("SHA256SUMS.minisig", c.signature)
		r.refused(r.check("1.2.3"), c.want)
	}
	r.write("SHA256SUMS.minisig", good)
	r.refused(r.check("1.2.4"), `is signed for "hostguard 1.2.3", not for "hostguard 1.2.4": it is of another version`)
	r.write("SHA256SUMS", r.sums+strings.Repeat("0", 64)+"  more\n")
	r.refused(r.check("1.2.3"), "is not what was signed: it is damaged or was changed")
	r.write("SHA256SUMS", r.sums)
	r.refused(checkRelease(r.key, filepath.Join(r.dir, "renamed"), "", "1.2.3"), `has no sum of "renamed"`)
	r.remove("SHA256SUMS.minisig")
	r.refused(r.check("1.2.3"), "is not signed: there is no ")
	r.remove("SHA256SUMS")
	r.refused(r.check("1.2.3"), "install from the directory of a signed release")
}

// A key that another user may change would be that user's.
func TestAKeyThatOthersMayChangeIsNotUsed(t *testing.T) {
	r := newSignedRelease(t)
	dir := filepath.Dir(r.key)
	for _, change := range []func() error{
		func() error { return os.Chmod(r.key, 0o666) },
		func() error { return os.Chown(r.key, 65534, 0) },
		func() error { return os.Chown(dir, 65534, 0) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		r.refused(r.check("1.2.3"), "others than root may change it")
		if err := os.Chmod(r.key, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(r.key, 0, 0); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.check("1.2.3"); err != nil {
		t.Error(err)
	}
	r.write("host/minisign.pub", "untrusted comment: minisign public key\nAAAA\n")
	r.refused(r.check("1.2.3"), "read the public key ")
	r.remove("host/minisign.pub")
	if err := os.Symlink("nowhere", r.key); err != nil {
		t.Fatal(err)
	}
	r.refused(r.check("1.2.3"), "read the public key ")
}

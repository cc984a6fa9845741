package operate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"aead.dev/minisign"

	"hostguard/install"
	"hostguard/internal/safefile"
)

// releaseKey is where a host has the public key of the owner of its releases. Root puts it
// there, and hostguard.sh reads it too.
const releaseKey = "/etc/hostguard/minisign.pub"

// maxSignature bounds a key and a signature, which have less than 400 bytes.
const maxSignature = 4096

// checkOwnRelease checks this program, by what is beside it.
func checkOwnRelease(sum, version string) error {
	path, err := os.Executable()
	if err != nil {
		return err
	}
	return checkRelease(releaseKey, path, sum, version)
}

// checkRelease checks that the sum of a program is that of the SHA256SUMS beside it, if
// there is one. Where the host has a public key there has to be one, and its owner has to
// have signed it for the version.
//
// It keeps a damaged, changed or mistaken release from being installed. It does not protect
// from a program that was made to harm: that one would not check itself.
func checkRelease(keyPath, program, sum, version string) error {
	key, err := readKey(keyPath)
	if err != nil {
		return err
	}
	path, name := filepath.Join(filepath.Dir(program), "SHA256SUMS"), filepath.Base(program)
	sums, err := safefile.Read(path, 1<<20) // whoever could put it there: the program may lie in /tmp
	switch {
	case errors.Is(err, fs.ErrNotExist) && key == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no %q, and this host has a public key, %q, to check it with: install from the "+
			"directory of a signed release", path, keyPath)
	case err != nil:
		return err
	}
	if key != nil {
		if err := checkSignature(*key, path, sums, version); err != nil {
			return fmt.Errorf("%w (by the public key %q)", err, keyPath)
		}
	}
	listed := false
	for line := range strings.Lines(string(sums)) {
		want, found := strings.CutSuffix(strings.TrimSpace(line), "  "+name)
		if found && want != sum {
			return fmt.Errorf("this program's sum %s is not that of %q: it is damaged or was changed; get the "+
				"release again", sum, path)
		}
		listed = listed || found
	}
	if key != nil && !listed {
		return fmt.Errorf("%q has no sum of %q: a program keeps the name that it has in its release", path, name)
	}
	return nil
}

// readKey returns the public key of a host, or nil if it has none.
func readKey(path string) (*minisign.PublicKey, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err := install.CheckOwners(path, 0); err != nil {
		return nil, fmt.Errorf("read the public key %w; make it root's and not writable by others", err)
	}
	key := new(minisign.PublicKey)
	text, err := safefile.Read(path, maxSignature)
	if err == nil {
		err = key.UnmarshalText(text)
	}
	if err != nil {
		return nil, fmt.Errorf("read the public key %q: %w", path, err)
	}
	return key, nil
}

// checkSignature checks that the owner of a key has signed the sums of a version, by the
// file that has the name of theirs with .minisig behind it.
func checkSignature(key minisign.PublicKey, path string, sums []byte, version string) error {
	beside := path + ".minisig"
	text, err := safefile.Read(beside, maxSignature)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%q is not signed: there is no %q; get a signed release", path, beside)
	}
	if err != nil {
		return err
	}
	var signature minisign.Signature
	switch err := signature.UnmarshalText(text); {
	case err != nil, strings.Count(strings.TrimSuffix(string(text), "\n"), "\n") != 3:
		return fmt.Errorf("%q is not a signature of minisign: it is damaged; get the release again", beside)
	case signature.KeyID != key.ID():
		return fmt.Errorf("%q is by the key %016X, not by %016X: get the release from its owner",
			beside, signature.KeyID, key.ID())
	case !minisign.Verify(key, sums, text):
		return fmt.Errorf("%q is not what was signed: it is damaged or was changed; get the release again", path)
	case signature.TrustedComment != "hostguard "+version:
		return fmt.Errorf("%q is signed for %.100q, not for \"hostguard %s\": it is of another version; get the "+
			"release again", path, signature.TrustedComment, version)
	}
	return nil
}

package hostile

import (
	"fmt"
	"strings"
	"testing"

	"aead.dev/minisign"
)

// A downloaded program lies in /tmp, beside a pipe of another user's, and a user's prefix
// leads to root's: root waited for the pipe, and removed its own program.
func TestAnInstallOfRootsTouchesRootsFilesAlone(t *testing.T) {
	t.Parallel()
	m := boot(t)
	m.Want(0, "eve", "mkfifo -m 666 /tmp/SHA256SUMS; mkdir -p ~/.local; ln -s /opt/hg/bin ~/.local/bin")
	m.Want(0, "root", "cp $(command -v hostguard) /tmp/hostguard")
	m.Want(3, "root", "timeout -k 1 60 /tmp/hostguard install -prefix /opt/hg -apply", "not a regular file")
	m.Want(0, "eve", "rm /tmp/SHA256SUMS")
	m.Want(0, "root", "umask 0; /tmp/hostguard install -prefix /opt/hg -apply", "done")
	m.Want(3, "root", "/tmp/hostguard install -uninstall -apply -prefix /home/eve/.local",
		"others than root may change it")
	m.Is("root", "ls /opt/hg/bin | grep -cx hostguard", "1")
	m.Is("root", "find /opt/hg -perm -002 ! -type l", "")
}

// A host that has the public key of its releases' owner takes no others from a mirror, nor
// what somebody has built by mistake; and what is installed runs again without them.
func TestAHostWithAKeyInstallsSignedReleasesAlone(t *testing.T) {
	t.Parallel()
	m := boot(t)
	public, private, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, _ := public.MarshalText()
	m.Give("root", "/etc/hostguard/minisign.pub", string(key)+"\n")
	m.Want(0, "root", "mkdir /tmp/dist; cp $(command -v hostguard) /tmp/dist/hostguard-linux")
	const install = "/tmp/dist/hostguard-linux install -prefix /opt/hg -apply"
	m.Want(3, "root", install, `there is no "/tmp/dist/SHA256SUMS", and this host has a public key`)
	m.Want(0, "root", "cd /tmp/dist; sha256sum hostguard-linux >SHA256SUMS")
	m.Want(3, "root", install, `"/tmp/dist/SHA256SUMS" is not signed`)
	sums := m.Want(0, "root", "cat /tmp/dist/SHA256SUMS") + "\n"
	version := strings.Fields(m.Want(0, "root", "hostguard version"))[1]
	m.Give("root", "/tmp/dist/SHA256SUMS.minisig",
		string(minisign.SignWithComments(private, []byte(sums), "hostguard "+version, "")))
	m.Want(0, "root", install, "done; undo with")
	m.Want(0, "root", "hostguard=/opt/hg/bin/hostguard; $hostguard install -prefix /opt/hg -apply", "nothing to change")
	m.Want(0, "root", "chmod 666 /etc/hostguard/minisign.pub; echo x >>/opt/hg/bin/hostguard")
	m.Want(3, "root", install, `"/etc/hostguard/minisign.pub": others than root may change it`)
	m.Want(0, "root", "/tmp/dist/hostguard-linux install -prefix /opt/hg -uninstall -apply", "done; undo with")
}

// The service that cleans needs little, the runner's what jobs need; and a umask that gives
// all away gives nothing.
func TestUnitsAreConfined(t *testing.T) {
	t.Parallel()
	m := boot(t)
	register(m, "eve")
	const root = "/srv/github"
	m.Want(0, "root", "mkdir -p "+root+"/bin "+root+"/_diag/pages; cd "+root+"; touch run.sh .runner; chown -R eve .")
	m.Want(0, "root", "umask 0; hostguard runner cleanup-timer -runner-root "+root+" -apply", "done")
	m.Want(0, "root", "umask 0; hostguard runner service -runner-dir /home/eve/act-runner -apply", "done")
	m.Is("root", "find /etc/systemd /home/eve -perm -002 ! -type l", "")
	for name, most := range map[string]float64{"hostguard-clean-diag.service": 1.5, unit: 9.3} {
		said := m.Want(0, "root", "systemd-analyze security --no-pager "+name+" | tail -n 1")
		_, figure, _ := strings.Cut(said, ": ")
		var exposure float64
		if _, err := fmt.Sscan(figure, &exposure); err != nil || exposure > most {
			t.Errorf("%s, want at most %v", said, most)
		}
		t.Log(said)
	}
}

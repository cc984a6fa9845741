package docker

import (
	"errors"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// socketAt makes a socket on which nobody listens.
func socketAt(t *testing.T, path string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	listener.Close()
	return path
}

// Before, everybody was told to join the group that owns the socket, root's too.
func TestWhatHelpsWithASocketWithoutPermission(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, who gives sockets away")
	}
	root := openDir(t)
	group, err := user.LookupGroupId("1") // every system has one, of another name
	if err != nil {
		t.Fatal(err)
	}
	gid, _ := strconv.Atoi(group.Gid)
	for name, c := range map[string]struct {
		path     string
		mode     os.FileMode
		uid, gid int
		have     string // also exists below /
		by       string
		want     string
	}{
		"of a group": {path: "docker.sock", mode: 0o660, gid: gid,
			want: "sudo usermod -aG " + group.Name + " " + userName() + ", then log in again"},
		"of a group of the host, in a container": {path: "docker.sock", mode: 0o660, gid: 61234, by: "DOCKER_HOST",
			want: "add this user to the group 61234 that owns it; in a container: docker run --group-add 61234"},
		"of root alone": {path: "docker.sock", mode: 0o660,
			want: "it is root's alone: sudo groupadd --system docker"},
		"of the group, which may not": {path: "docker.sock", mode: 0o600, gid: gid, want: "it is root's alone"},
		"of snap": {path: "docker.sock", mode: 0o660, have: "var/snap/docker/x",
			want: "Docker's snap has no group of its own: "},
		"of another user": {path: "docker.sock", mode: 0o600, uid: 61234, gid: 61234,
			want: "it is of user 61234 alone: run it as that user"},
		"of Podman": {path: "podman/podman.sock", mode: 0o660,
			want: "use this user's own Podman: systemctl --user enable --now podman.socket"},
		"beside rootless Docker": {path: "docker.sock", mode: 0o660, gid: gid,
			have: "run/user/" + strconv.Itoa(os.Geteuid()) + "/docker.sock",
			want: "for the one of this user set DOCKER_HOST=unix://"},
		"beside rootless Docker, by choice": {path: "docker.sock", mode: 0o660, gid: gid, by: "DOCKER_HOST",
			have: "run/user/" + strconv.Itoa(os.Geteuid()) + "/docker.sock", want: "sudo usermod -aG " + group.Name},
		"in a directory of another user": {path: "user/docker.sock/none", want: "its directory "},
	} {
		dir, err := os.MkdirTemp(root, "")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, c.path)
		if c.mode != 0 {
			socketAt(t, path)
			if err := errors.Join(os.Chown(path, c.uid, c.gid), os.Chmod(path, c.mode)); err != nil {
				t.Fatal(err)
			}
		}
		if c.have != "" {
			socketAt(t, filepath.Join(dir, c.have))
		}
		e := &Engine{at: endpoint{host: "unix://" + path, by: c.by, root: dir}}
		u, ok := errors.AsType[*Unusable](e.explain(os.ErrPermission))
		if !ok || errors.Is(u, ErrUsage) || !strings.Contains(u.What, "no permission for the Docker socket") ||
			!strings.HasPrefix(u.Fix, c.want) {
			t.Errorf("%s: %v, want the fix %q", name, u, c.want)
		}
	}
}

// Nobody listens at the usual socket, and this user has one of his own.
func TestAnotherSocketIsNamed(t *testing.T) {
	own := "run/user/" + strconv.Itoa(os.Geteuid())
	for path, want := range map[string]bool{
		own + "/docker.sock": true, own + "/podman/podman.sock": true, "run/podman/podman.sock": true,
		"run/user/61234/docker.sock": false,
	} {
		root := openDir(t)
		socketAt(t, filepath.Join(root, path))
		for _, by := range []string{"", "DOCKER_HOST"} {
			e := &Engine{at: endpoint{host: usualSocket, by: by, root: root}}
			other := e.at.otherSocket()
			if (other == filepath.Join(root, path)) != (want && by == "") {
				t.Errorf("%s, by %q: %q", path, by, other)
			}
		}
	}
}

// A runner whose containers are on another daemon than the one that is asked is not idle
// because that one has none.
func TestTheRunnersDaemonIsTheOneThatIsAsked(t *testing.T) {
	root := openDir(t)
	usual := socketAt(t, filepath.Join(root, "run/docker.sock"))
	own := socketAt(t, filepath.Join(root, "run/user", strconv.Itoa(os.Geteuid()), "docker.sock"))
	if err := os.Symlink("run", filepath.Join(root, "var")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(".", filepath.Join(root, "run/run")); err != nil { // /var/run is /run
		t.Fatal(err)
	}
	for _, c := range []struct {
		asked   string
		context bool
		runners string
		same    bool
	}{
		{usual, false, "", true}, {own, false, "", true}, {usual, true, "", true},
		{own, true, "", false}, {own, true, "-", false}, {own, false, "-", true},
		{own, true, "unix://" + own, true}, {usual, false, "unix://" + own, false},
		{usual, false, "unix://" + filepath.Join(root, "var/run/docker.sock"), true},
		{usual, false, "tcp://10.0.0.1", false}, {usual, false, "nonsense", false},
	} {
		e := &Engine{at: endpoint{host: "unix://" + c.asked, named: c.context, by: "x", root: root}}
		if err := e.CheckSame(c.runners); (err == nil) != c.same {
			t.Errorf("%+v: %v", c, err)
		}
	}
	e := &Engine{at: endpoint{host: "unix://" + own, named: true, by: "x", root: openDir(t)}}
	if err := e.CheckSame(""); err != nil { // the runner has none
		t.Error(err)
	}
	e.at = endpoint{host: "tcp://10.0.0.1:2375", by: "DOCKER_HOST"}
	refused(t, e.CheckSame("tcp://10.0.0.2"), `the runner's containers are on the Docker daemon at "tcp://10.0.0.2`,
		"set DOCKER_HOST=tcp://10.0.0.2:2375")
}

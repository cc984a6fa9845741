package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestADockerSocketWithoutPermissionIsSaidAsSuch(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "hg") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "docker.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	self, err := os.Open("/proc/self/exe") // its folder may be closed to others
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	for path, mode := range map[string]os.FileMode{socket: 0, dir: 0o755} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("/proc/self/fd/3", "acquire-lock")
	cmd.Args[0] = "hostguard" // TestMain makes this binary the real main
	cmd.ExtraFiles = []*os.File{self}
	cmd.Dir, cmd.Env = "/", []string{"DOCKER_HOST=unix://" + socket}
	fix := fmt.Sprintf("it is of user %d alone: run it as that user", os.Geteuid())
	if os.Geteuid() == 0 { // whom no mode stops
		fix = "it is root's alone: sudo groupadd --system docker; sudo usermod -aG docker "
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	out, _ := cmd.CombinedOutput()
	want := `hostguard: acquire-lock: no permission for the Docker socket "unix://` + socket + `"; ` + fix
	if cmd.ProcessState.ExitCode() != 3 || !strings.Contains(string(out), want) {
		t.Errorf("status %d, %q, want 3 and %q", cmd.ProcessState.ExitCode(), out, want)
	}
}

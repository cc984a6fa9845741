package privsep

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const stranger = 54321 // a user whom no host has

// TestMain is also the helper process of the tests.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == Command {
		os.Exit(Serve(os.Stdin, os.Stdout, map[string]Handler{
			"self": Handle(self), "hang": Handle(hang), "read": Handle(read), "shout": Handle(shout),
		}))
	}
	os.Exit(m.Run())
}

func read(path string) ([]byte, error) { return os.ReadFile(path) }

func hang(path string) ([]byte, error) { return os.ReadFile(path) }

func shout(n int) (string, error) { return strings.Repeat("a", n), errors.New("\x1b[2J\n::stop::") }

// state is what a helper finds of itself.
type state struct {
	Status, Dir string
	Environ     []string
	Open        []string
	Session     bool // of its own
	Terminal    error
	Dumpable    uintptr
	Gains       error // to become root again
}

func self(struct{}) (s state, err error) {
	status, err := os.ReadFile("/proc/self/status")
	s.Status, s.Environ = string(status), os.Environ()
	s.Dir, _ = os.Getwd()
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		link, _ := os.Readlink("/proc/self/fd/" + e.Name())
		s.Open = append(s.Open, e.Name()+" "+link)
	}
	id, _, _ := syscall.Syscall(syscall.SYS_GETSID, 0, 0, 0)
	s.Session = int(id) == os.Getpid()
	_, ttyErr := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if ttyErr == nil {
		s.Dir += " has a terminal"
	}
	s.Dumpable, _, _ = syscall.Syscall6(syscall.SYS_PRCTL, 3, 0, 0, 0, 0, 0)
	if os.Getuid() != 0 && syscall.Setuid(0) == nil {
		s.Dir += " is root again"
	}
	return s, err
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root becomes other users")
	}
}

// A helper has nothing of the process that it works for but its question.
func TestAHelperHasNothingOfRoots(t *testing.T) {
	needRoot(t)
	t.Setenv("GITEA_TOKEN", "canary")
	log, err := os.Open("/etc/hostname") // open in this process, and not closed on exec
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, log.Fd(), syscall.F_SETFD, 0); errno != 0 {
		t.Fatal(errno)
	}
	var h Helpers
	s, err := Ask[state](t.Context(), &h, stranger, "self", struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Uid:\t54321\t54321\t54321\t54321\n", "Gid:\t54321\t54321\t54321\t54321\n", "Groups:\t \n", "NoNewPrivs:\t1\n",
		"CapPrm:\t0000000000000000\n", "CapEff:\t0000000000000000\n", "CapAmb:\t0000000000000000\n",
	} {
		if !strings.Contains(s.Status, want) {
			t.Errorf("no %q in\n%s", want, s.Status)
		}
	}
	if s.Dir != "/" || !s.Session || s.Dumpable != 0 || strings.Contains(strings.Join(s.Environ, " "), "canary") {
		t.Errorf("%+v", s)
	}
	for _, open := range s.Open {
		if strings.Contains(open, "hostname") || strings.Contains(open, "/dev/pts") {
			t.Errorf("open in the helper: %s", open)
		}
	}
	// Another process of the same user cannot look into it.
	trace := exec.Command("readlink", fmt.Sprintf("/proc/%d/fd/0", h.of[stranger].cmd.Process.Pid))
	trace.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
	if out, err := trace.CombinedOutput(); err == nil {
		t.Errorf("a process of the same user reads %s", out)
	}
}

// Nor does a helper of its own user's let itself be traced: nothing but itself sees to that.
func TestAHelperOfItsOwnUserIsNotDumpable(t *testing.T) {
	var h Helpers
	s, err := Ask[state](t.Context(), &h, os.Geteuid(), "self", struct{}{})
	if err != nil || s.Dumpable != 0 {
		t.Errorf("dumpable %d, %v", s.Dumpable, err)
	}
}

// No number leaves a helper root's.
func TestAHelperBecomesAUserOrEnds(t *testing.T) {
	needRoot(t)
	var h Helpers
	s, err := Ask[state](t.Context(), &h, -1, "self", struct{}{})
	if err == nil || !strings.Contains(err.Error(), "become the user: invalid argument") {
		t.Errorf("%v\n%s", err, s.Status)
	}
}

// After a helper that gave no answer in time nothing of that user's is asked for a while: else
// each of his files delays a report as long.
func TestAHelperThatIsLateDelaysOnce(t *testing.T) {
	h := Helpers{late: map[int]time.Time{os.Geteuid(): time.Now()}}
	if _, err := Ask[state](t.Context(), &h, os.Geteuid(), "self", struct{}{}); !errors.Is(err, errLate) {
		t.Error(err)
	}
	h.late[os.Geteuid()] = time.Now().Add(-pause)
	if _, err := Ask[state](t.Context(), &h, os.Geteuid(), "self", struct{}{}); err != nil {
		t.Error(err)
	}
}

// What it may not read stays unread, and errors keep their kind.
func TestAHelperReadsAsItsUser(t *testing.T) {
	needRoot(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	var h Helpers
	data, err := Ask[[]byte](t.Context(), &h, stranger, "read", secret)
	if !errors.Is(err, fs.ErrPermission) || data != nil {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := Ask[[]byte](t.Context(), &h, stranger, "read", "/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// A helper that hangs, or says too much or what no text may contain, costs its request and
// no more.
func TestAHelperIsBounded(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o666); err != nil {
		t.Fatal(err)
	}
	var h Helpers
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := Ask[[]byte](ctx, &h, os.Geteuid(), "hang", pipe); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	_, err := Ask[string](t.Context(), &h, os.Geteuid(), "shout", 1)
	if err == nil || strings.ContainsAny(err.Error(), "\x1b\n") {
		t.Errorf("%q", err)
	}
	if _, err := Ask[state](t.Context(), &h, os.Geteuid(), "none", 1); err == nil || err.Error() != "unknown request" {
		t.Error(err)
	}
	_, err = Ask[int](t.Context(), &h, os.Geteuid(), "self", struct{}{})
	if err == nil || !strings.Contains(err.Error(), "invalid answer") {
		t.Error(err)
	}
}

func TestWhoDecidesOverAPath(t *testing.T) {
	needRoot(t)
	dir, err := os.MkdirTemp("/var/tmp", "decider")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, err := range []error{
		os.Chmod(dir, 0o755), os.MkdirAll(in("theirs/roots"), 0o755), os.MkdirAll(in("roots/deep"), 0o755),
		os.Mkdir(in("open"), 0o755), os.Chmod(in("open"), 0o777), os.Mkdir(in("sticky"), 0o755),
		os.Chmod(in("sticky"), 0o777|fs.ModeSticky), os.WriteFile(in("sticky/roots"), nil, 0o600),
		os.Chown(in("theirs"), stranger, stranger), os.Symlink("theirs", in("link")),
		os.Symlink("/etc", in("planted")), os.Lchown(in("planted"), stranger, stranger),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]int{
		"/": 0, "/etc/passwd": 0, in("roots/deep/none"): 0, in("theirs"): stranger, in("theirs/roots"): stranger,
		in("theirs/none/at/all"): stranger, in("link/roots"): stranger, in("planted"): stranger,
		in("planted/passwd"): stranger, in("open/x"): Nobody, in("sticky/roots"): 0, in("sticky/none"): Nobody,
		in("roots/../theirs/x"): stranger,
	} {
		if got, err := Decider(path); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", path, got, err, want)
		}
	}
}

// BenchmarkFirstRequest is what a command pays for a user.
func BenchmarkFirstRequest(b *testing.B) {
	for b.Loop() {
		var h Helpers
		if _, err := Ask[[]byte](b.Context(), &h, os.Geteuid(), "read", "/etc/hostname"); err != nil {
			b.Fatal(err)
		}
		for _, p := range h.of {
			p.kill()
		}
	}
}

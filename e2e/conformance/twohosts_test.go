package conformance

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hostguard/e2e/rig/contend"
)

// host is a machine as far as hostguard can see: with a machine id, a boot and processes of
// its own. Its way to the Gitea can be cut.
type host struct {
	t     *testing.T
	store contend.Store
	dir   string
	name  string
	init  *exec.Cmd
	link  *link
}

// newHost makes a host of a name that reaches the server by a proxy of its own.
func newHost(t *testing.T, s contend.Store, server, name string) *host {
	h := &host{t: t, store: s, dir: t.TempDir(), name: name, link: newLink(t, server)}
	h.store.Env = append([]string{"HOSTGUARD_GITEA_URL=" + h.link.url}, s.Env[1:]...)
	id := strings.Repeat(fmt.Sprintf("%x", name[0]), 16)
	boot := fmt.Sprintf("%s-%s-%s-%s-%s", id[:8], id[:4], id[:4], id[:4], id[:12])
	for file, text := range map[string]string{"machine-id": id + "\n", "boot-id": boot + "\n"} {
		if err := os.WriteFile(filepath.Join(h.dir, file), []byte(text), 0o444); err != nil {
			t.Fatal(err)
		}
	}
	ready := filepath.Join(h.dir, "ready")
	h.init = exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private",
		"sh", "-c", `
mount -t proc proc /proc && mount --bind "$1/machine-id" /etc/machine-id &&
mount --bind "$1/boot-id" /proc/sys/kernel/random/boot_id && mount -t tmpfs tmpfs /run/lock &&
: >"$1/ready" && exec sleep 600`,
		"host", h.dir)
	h.init.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := h.init.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = h.init.Process.Kill()
		_ = h.init.Wait()
	})
	await(t, "the host "+name, func() bool { _, err := os.Stat(ready); return err == nil })
	return h
}

// command is one of the host's, of hostguard.
func (h *host) command(args ...string) *exec.Cmd {
	return h.enter(append([]string{binaryOf(h.t)}, args...)...)
}

// enter is a command on the host.
func (h *host) enter(args ...string) *exec.Cmd {
	pid := h.init.Process.Pid
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		h.t.Fatal(err)
	}
	enter := []string{"--target", strings.TrimSpace(string(children)), "--mount", "--pid", "--"}
	cmd := exec.Command("nsenter", append(enter, args...)...)
	cmd.Env = h.store.Environ()
	return cmd
}

// run runs one to its end.
func (h *host) run(args ...string) (out string, status int) {
	text, err := h.command(args...).CombinedOutput()
	return string(text), contend.Status(err)
}

func await(t *testing.T, what string, look func() bool) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); !look(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited three minutes for %s", what)
		}
	}
}

// link is a proxy that can be cut, be slow, and answer nonsense in the server's place.
type link struct {
	url   string
	cut   atomic.Bool
	fails atomic.Int32 // every so manieth request is answered with 500, after it was done
	slow  atomic.Int64 // nanoseconds
	asked atomic.Int32
}

func newLink(t *testing.T, server string) *link {
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{url: "http://" + listener.Addr().String()}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorLog = log.New(io.Discard, "", 0) // clients that are killed
	proxy.ModifyResponse = func(r *http.Response) error {
		if every := l.fails.Load(); every > 0 && l.asked.Load()%every == 0 {
			r.StatusCode = http.StatusInternalServerError
		}
		return nil
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.asked.Add(1)
		if l.cut.Load() {
			if connection, _, err := http.NewResponseController(w).Hijack(); err == nil {
				connection.Close()
			}
			return
		}
		time.Sleep(time.Duration(l.slow.Load()))
		proxy.ServeHTTP(w, r)
	})}
	go func() { _ = s.Serve(listener) }()
	t.Cleanup(func() { _ = s.Close() })
	return l
}

// Two hosts that share nothing but the Gitea.
func TestTwoHostsExcludeEachOther(t *testing.T) {
	t.Parallel()
	server, store := startGitea(t)
	a, b := newHost(t, store, server.URL, "a"), newHost(t, store, server.URL, "b")
	lock := []string{"-lock-name", "deploy"}

	t.Run("the dead of one are given back by it alone", func(t *testing.T) {
		holder := a.command(append([]string{"with-lock"}, append(lock, "--", "sleep", "300")...)...)
		var printed contend.Log
		holder.Stdout, holder.Stderr = &printed, &printed
		if err := holder.Start(); err != nil {
			t.Fatal(err)
		}
		await(t, "the holder", func() bool { return strings.Contains(printed.String(), "acquired lock") })
		if out, status := b.run(append([]string{"acquire-lock", "-timeout", "2s"}, lock...)...); status != 1 {
			t.Errorf("the other host: status %d: %s", status, out)
		}
		// hostguard first, which else gives back when its command has ended.
		if out, err := a.enter("sh", "-c", `for name in hostguard sleep; do for p in /proc/[0-9]*; do
	case ${p#/proc/},$(cat $p/comm) in 1,*) ;; *,$name) kill -9 ${p#/proc/} ;; esac
done; done`).CombinedOutput(); err != nil {
			t.Fatalf("kill the holder: %v: %s", err, out)
		}
		_ = holder.Wait()
		if out, status := b.run(append([]string{"acquire-lock", "-timeout", "2s"}, lock...)...); status != 1 {
			t.Errorf("the other host, which cannot see that it is dead: status %d: %s", status, out)
		}
		// Any command of the host, about whatever lock.
		if out, status := a.run("release-lock", "-lock-name", "another"); status != 0 ||
			!strings.Contains(out, `gave back lock "deploy"`) {
			t.Errorf("its own host: status %d: %s", status, out)
		}
		if out, status := b.run("with-lock", "-timeout", "20s", "-lock-name", "deploy", "--", "true"); status != 0 {
			t.Errorf("the other host: status %d: %s", status, out)
		}
	})

	t.Run("a cut link", func(t *testing.T) {
		detector := filepath.Join(t.TempDir(), "detector")
		section := append([]string{"with-lock", "-timeout", "2m", "-lock-name", "deploy", "--"},
			contend.Inside(detector, "6")...)
		holder := a.command(section...)
		var printed contend.Log
		holder.Stdout, holder.Stderr = &printed, &printed
		if err := holder.Start(); err != nil {
			t.Fatal(err)
		}
		await(t, "the holder", func() bool { return strings.Contains(printed.String(), "acquired lock") })
		a.link.cut.Store(true)
		waiter := b.command(section...)
		if err := waiter.Start(); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(9*time.Second, func() { a.link.cut.Store(false) }) // after its section: it gives back late
		if err := holder.Wait(); err != nil {
			t.Errorf("the holder: %v: %s", err, printed.String())
		}
		if err := waiter.Wait(); err != nil {
			t.Errorf("the waiter: %v", err)
		}
		if !strings.Contains(printed.String(), "gave back lock") {
			t.Errorf("the holder's log: %s", printed.String())
		}
	})

	t.Run("a later holder has a higher fence", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "fence")
		for _, h := range []*host{a, b, a} {
			out, status := h.run("with-lock", "-lock-name", "deploy", "--",
				"sh", "-c", `exec "$0" check-fence -file "$1"`, binaryOf(t), file)
			if status != 0 || !strings.Contains(out, "is written to") {
				t.Errorf("host %s: status %d: %s", h.name, status, out)
			}
		}
	})

	t.Run("errors and slow answers", func(t *testing.T) {
		detector := filepath.Join(t.TempDir(), "detector")
		a.link.fails.Store(7)
		b.link.slow.Store(int64(300 * time.Millisecond))
		defer a.link.fails.Store(0)
		done := make(chan error)
		const each = 10
		for _, h := range []*host{a, b} {
			go func() {
				for range each {
					cmd := h.command(append([]string{"with-lock", "-timeout", "3m", "-lock-name", "deploy", "--"},
						contend.Inside(detector, "0.02")...)...)
					if out, err := cmd.CombinedOutput(); err != nil && !strings.Contains(string(out), "500") {
						done <- fmt.Errorf("host %s: %w: %s", h.name, err, out)
						return
					} else if contend.Status(err) == contend.Overlap {
						done <- fmt.Errorf("host %s: an overlap", h.name)
						return
					}
				}
				done <- nil
			}()
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		a.link.fails.Store(0)
		b.link.slow.Store(0)
		await(t, "nothing to be left", func() bool {
			_, _ = a.run("release-lock", "-lock-name", "another")
			_, _ = b.run("release-lock", "-lock-name", "another")
			names, err := store.Names()
			return err == nil && len(names) == 0
		})
	})
}

func binaryOf(t *testing.T) string {
	t.Helper()
	binary, err := contend.Hostguard()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

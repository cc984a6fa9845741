package proof

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hostguard/e2e/rig/contend"
)

// crowdedDaemon is a Docker daemon with very many networks, all of which it lists whatever
// it is asked for, and those that are made.
type crowdedDaemon struct {
	crowd []byte // of a list

	mu    sync.Mutex
	made  map[string]map[string]any
	lists int
}

// ServeHTTP implements http.Handler.
func (d *crowdedDaemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w.Header().Set("Api-Version", "1.45")
	switch {
	case strings.HasSuffix(r.URL.Path, "/_ping"):
	case strings.HasSuffix(r.URL.Path, "/networks"):
		d.lists++
		_, _ = w.Write(d.crowd)
		for _, n := range d.made {
			data, _ := json.Marshal(n)
			_, _ = w.Write(append([]byte(","), data...))
		}
		_, _ = w.Write([]byte("]"))
	case strings.HasSuffix(r.URL.Path, "/networks/create"):
		var n map[string]any
		_ = json.NewDecoder(r.Body).Decode(&n)
		id := fmt.Sprintf("%064x", 1_000_000+len(d.made))
		n["Id"], n["Created"] = id, time.Now()
		d.made[id] = n
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(n)
	case r.Method == http.MethodDelete:
		delete(d.made, filepath.Base(r.URL.Path))
		w.WriteHeader(http.StatusNoContent)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (d *crowdedDaemon) listed() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lists
}

// The SDK's client, which decodes a whole list at once, took 215 MB and more.
func TestALockAmongVeryManyNetworks(t *testing.T) {
	var crowd bytes.Buffer
	for i := range 100_000 {
		fmt.Fprintf(&crowd, `%c{"Name":"net-%d","Id":"%064x","Created":"2026-01-01T00:00:00Z","Driver":"bridge",`+
			`"IPAM":{"Config":[{"Subnet":"10.0.0.0/24"}]},"Labels":{"com.docker.compose.project":"p%d"}}`,
			"[,"[min(i, 1)], i, i, i)
	}
	r, err := contend.NewRig(contend.Store{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	daemon := &crowdedDaemon{crowd: crowd.Bytes(), made: map[string]map[string]any{}}
	socket := filepath.Join(r.Dir, "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: daemon}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
	for _, c := range []struct{ command, want string }{
		{"status", "free"}, {"acquire-lock", "acquired lock"}, {"status", "held"}, {"release-lock", "gave back lock"},
	} {
		cmd := exec.Command(r.Binary, c.command, "-lock-name", r.Lock)
		cmd.Env = []string{"DOCKER_HOST=unix://" + socket, "PATH=" + os.Getenv("PATH")}
		before := daemon.listed()
		begin := time.Now()
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), c.want) {
			t.Fatalf("%s: %v, %s", c.command, err, out)
		}
		lists := daemon.listed() - before
		usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		t.Logf("%s: %s, %s of CPU, %d MB, %d lists of %d MB", c.command, time.Since(begin).Round(time.Millisecond),
			cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime(), usage.Maxrss>>10, lists, crowd.Len()>>20)
		if most := int64(180); usage.Maxrss>>10 > most {
			t.Errorf("%s took %d MB, want at most %d", c.command, usage.Maxrss>>10, most)
		}
		if lists > 10 {
			t.Errorf("%s requests %d lists", c.command, lists)
		}
	}
}

package docker

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// listing connects to a daemon that writes a list of networks.
func listing(t *testing.T, write func(w *bufio.Writer)) *Engine {
	t.Helper()
	e, _ := serve(t, write)
	return e
}

// serve returns how often the daemon was connected to as well.
func serve(t *testing.T, write func(w *bufio.Writer)) (e *Engine, connections *atomic.Int64) {
	t.Helper()
	connections = new(atomic.Int64)
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.45")
		if strings.HasSuffix(r.URL.Path, "/networks") {
			buffered := bufio.NewWriter(w)
			write(buffered)
			buffered.Flush()
		}
	}), ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
	e, err = Connect(t.Context(), func(name string) string {
		return map[string]string{"DOCKER_HOST": "unix://" + socket}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	return e, connections
}

func TestListsShareAConnection(t *testing.T) {
	long := fmt.Sprintf(`[{"Name":"n","Id":"%064x","Labels":{"a":"%s"}}]`+"\n", 1, strings.Repeat("x", 20_000))
	for _, answer := range []string{"[]\n", "null\n", "[]", long} {
		e, connections := serve(t, func(w *bufio.Writer) { fmt.Fprint(w, answer) })
		before := connections.Load()
		for range 5 {
			if _, err := e.List(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
		}
		if n := connections.Load() - before; n > 0 {
			t.Errorf("%.20q: %d more connections for 5 lists", answer, n)
		}
	}
}

func TestVeryManyNetworks(t *testing.T) {
	e := listing(t, func(w *bufio.Writer) {
		for i := range 100_000 {
			fmt.Fprintf(w, `%c{"Name":"n-%d","Id":"%064x","Created":"2026-01-01T00:00:00Z","Scope":"local",`+
				`"Driver":"bridge","IPAM":{"Driver":"default","Options":{},`+
				`"Config":[{"Subnet":"10.0.0.0/24","Gateway":"10.0.0.1"}]},`+
				`"Containers":{},"Options":{"com.docker.network.bridge.name":"br-%d"},"Labels":{"a":"b"}}`,
				"[,"[min(i, 1)], i, i, i)
		}
		fmt.Fprint(w, "]")
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := time.Now()
	entries, err := e.List(t.Context(), "n-7")
	took := time.Since(begin)
	runtime.ReadMemStats(&after)
	if err != nil || len(entries) != 11111 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	allocated := (after.TotalAlloc - before.TotalAlloc) >> 20
	t.Logf("100,000 networks took %s and %d MB", took, allocated)
	if allocated > 150 { // 54; the SDK's client took 364
		t.Errorf("100,000 networks took %d MB", allocated)
	}
}

func TestLongLabelsAreNotKept(t *testing.T) {
	e := listing(t, func(w *bufio.Writer) {
		for i := range 64 {
			fmt.Fprintf(w, `%c{"Name":"n-%d","Id":"%064x","Labels":{"a":"b","long":"%s"}}`, "[,"[min(i, 1)], i, i,
				strings.Repeat("x", 1<<20))
		}
		fmt.Fprint(w, "]")
	})
	entries, err := e.List(t.Context(), "")
	if err != nil || len(entries) != 64 || entries[0].Labels["a"] != "b" || len(entries[0].Labels) != 1 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	if kept := memory.HeapAlloc >> 20; kept > 32 {
		t.Errorf("%d MB are kept", kept)
	}
}

func TestOddAnswersAreNoList(t *testing.T) {
	for answer, want := range map[string]int{
		"[]": 0, "null": 0, `[{"Name":"n","Id":"` + strings.Repeat("0", 64) + `"}]`: 1,
		"": -1, "{}x": -1, `[{"Name":"n"}`: -1, `[{"Name":"n"},`: -1, `[1]`: -1, `<html>`: -1,
	} {
		entries, err := listing(t, func(w *bufio.Writer) { fmt.Fprint(w, answer) }).List(t.Context(), "")
		if want < 0 && err == nil || want >= 0 && (err != nil || len(entries) != want) {
			t.Errorf("%q: %v, %v", answer, entries, err)
		}
	}
}

func TestANetworkWithAnOddIDIsHeldByUnknown(t *testing.T) {
	const id = "_GitHubActionsFileCommandDelimeter_"
	e := listing(t, func(w *bufio.Writer) {
		fmt.Fprintf(w, `[{"Name":"build","Id":%q,"Labels":{"hostguard.version":"1"}}]`, id)
	})
	entries, err := e.List(t.Context(), "build")
	if err != nil || len(entries) != 1 || entries[0].ID == id || entries[0].Labels != nil {
		t.Errorf("List = %+v, %v", entries, err)
	}
}

// The daemon compiles each filter for every network that it has.
func TestTheFiltersOfAListAreShortAndLetAllThatIsAskedForThrough(t *testing.T) {
	for _, prefixes := range [][]string{
		{"b"}, {"build"}, {"awoooi-cd-docker-build-lock"}, {"a.b.c.d.e.f.g"},
		{"awoooi-cd-docker-build-lock", "hg-0123456789abcdef-"}, {"x", "hg-0123456789abcdef-t-0", "y.z"},
	} {
		filters := somewhere(prefixes)
		for _, filter := range filters.Get("name") {
			if len(filter) > 10 {
				t.Errorf("of the filters for %q %q is longer than 10", prefixes, filter)
			}
		}
		for _, prefix := range prefixes {
			if !filters.Match("name", prefix+"-more") {
				t.Errorf("the filters %q hide %q", filters.Get("name"), prefix)
			}
		}
	}
	if filters := somewhere([]string{"a.b"}); filters.Match("name", "axb") {
		t.Error("a dot is any letter")
	}
}

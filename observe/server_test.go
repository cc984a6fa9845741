package observe

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func newServer() *Server {
	return &Server{Metrics: NewMetrics("1.2.3"), LastLook: time.Now,
		Document: func() ([]byte, error) { return []byte(`{"full":true}`), nil },
		Since:    func(t string) []byte { return []byte(`{"since":"` + t + `"}`) },
		Files:    http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page") }),
	}
}

func TestServerAnswersOnlyWhatShows(t *testing.T) {
	for _, test := range []struct {
		method, host, path string
		status             int
		body               string
	}{
		{"GET", "127.0.0.1:8437", "/", 200, "page"},
		{"HEAD", "localhost:8437", "/", 200, ""},
		{"GET", "[::1]:8437", "/data.json", 200, `{"full":true}`},
		{"GET", "LocalHost.", "/metrics", 200, "hostguard_build_info"},
		{"GET", "localhost", "/healthz", 200, "ok"},
		{"GET", "ci-host-1:8437", "/data.json", 200, "full"},
		{"GET", "192.0.2.7:8437", "/data.json", 200, "full"},
		{"POST", "localhost", "/", 405, "changes nothing"},
		{"DELETE", "localhost", "/data.json", 405, "changes nothing"},
		{"GET", "evil.example:8437", "/data.json", 421, "unknown Host"},
		{"GET", "localhost.evil.example", "/data.json", 421, "unknown Host"},
		{"GET", "192.0.2.8", "/data.json", 421, "unknown Host"},
		{"GET", "", "/data.json", 421, "unknown Host"},
	} {
		s := newServer()
		s.Names = []string{"ci-host-1", "192.0.2.7"}
		request := httptest.NewRequest(test.method, "http://x"+test.path, nil)
		request.Host = test.host
		answer := httptest.NewRecorder()
		s.Handler().ServeHTTP(answer, request)
		if answer.Code != test.status || !strings.Contains(answer.Body.String(), test.body) {
			t.Errorf("%s %s of %q: %d %.60q, want %d %q", test.method, test.path, test.host, answer.Code, answer.Body,
				test.status, test.body)
		}
	}
}

func TestServerIsUnhealthyWhenNothingWasSeenForLong(t *testing.T) {
	for _, last := range []time.Time{{}, time.Now().Add(-2 * unhealthyAfter)} {
		s := newServer()
		s.LastLook = func() time.Time { return last }
		answer := httptest.NewRecorder()
		s.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "http://localhost/healthz", nil))
		if answer.Code != http.StatusServiceUnavailable {
			t.Errorf("last look %s: %d", last, answer.Code)
		}
	}
}

func TestServerHidesWhyTheHistoryCannotBeRead(t *testing.T) {
	s := newServer()
	s.Document = func() ([]byte, error) { return nil, errors.New("open /root/secret") }
	answer := httptest.NewRecorder()
	s.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "http://localhost/data.json", nil))
	if answer.Code != http.StatusInternalServerError || strings.Contains(answer.Body.String(), "secret") {
		t.Errorf("%d %q", answer.Code, answer.Body)
	}
}

// served is a server that listens on a socket, until the test ends.
func served(t *testing.T, s *Server) *http.Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "page.sock")
	l, err := Listen("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, l) }()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return &http.Client{Transport: transport}
}

// next returns the next event, without its comments.
func next(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	event := ""
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "\n" && event != "" {
			return event
		}
		if line != "\n" && line[0] != ':' {
			event += line
		}
	}
}

func TestServerSendsEvents(t *testing.T) {
	s := newServer()
	client := served(t, s)
	answer, err := client.Get("http://localhost/events?since=17")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if kind := answer.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Errorf("Content-Type %q", kind)
	}
	lines := bufio.NewReader(answer.Body)
	if got := next(t, lines); got != "event: update\ndata: {\"since\":\"17\"}\n" {
		t.Errorf("the first event is %q", got)
	}
	if !s.Watched() {
		t.Error("no page counts as open")
	}
	s.Publish([]byte(`{"n":1}`))
	if got := next(t, lines); got != "event: update\ndata: {\"n\":1}\n" {
		t.Errorf("the second event is %q", got)
	}
}

func TestServerDropsWhoIsTooSlow(t *testing.T) {
	s := newServer()
	updates, ok := s.subscribe() // and reads nothing
	if !ok {
		t.Fatal("not subscribed")
	}
	for range maxBehind + 1 {
		s.Publish([]byte("{}"))
	}
	for range maxBehind {
		<-updates
	}
	if _, open := <-updates; open || s.Watched() {
		t.Error("it is still there")
	}
}

func TestServerBoundsItsClients(t *testing.T) {
	s := newServer()
	for range maxClients {
		if _, ok := s.subscribe(); !ok {
			t.Fatal("too few")
		}
	}
	answer := httptest.NewRecorder()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // one that is let in is gone again
	s.Handler().ServeHTTP(answer, httptest.NewRequestWithContext(ctx, "GET", "http://localhost/events", nil))
	if answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Retry-After") == "" {
		t.Errorf("one more gets %d", answer.Code)
	}
}

// Whoever opens connections and sends nothing more cannot keep others out for ever, nor
// make this process grow.
func TestServerBoundsItsConnections(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	inner, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	l := limit(inner)
	var conns []net.Conn
	for range maxConnections {
		if _, err := net.Dial("unix", path); err != nil {
			t.Fatal(err)
		}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	if _, err := net.Dial("unix", path); err != nil {
		t.Fatal(err)
	}
	accepted := make(chan error)
	go func() {
		_, err := l.Accept()
		accepted <- err
	}()
	select {
	case <-accepted:
		t.Error("one more was accepted")
	case <-time.After(50 * time.Millisecond):
	}
	conns[0].Close()
	conns[0].Close() // counts once
	if err := <-accepted; err != nil {
		t.Error(err)
	}
}

func TestServerRefusesLongHeaders(t *testing.T) {
	client := served(t, newServer())
	request, err := http.NewRequest("GET", "http://localhost/", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X", strings.Repeat("x", 64<<10))
	answer, err := client.Do(request)
	if err != nil {
		return // it hung up
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("the answer is %d", answer.StatusCode)
	}
}

func TestAnAddressThatOthersReachHasToBeAllowed(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0", "ci-host-1:0", "[::]:0"} {
		if err := CheckAddress(address, false); err == nil || !strings.Contains(err.Error(), "-allow-remote") {
			t.Errorf("%q: %v", address, err)
		}
	}
	for address, allowed := range map[string]bool{"127.0.0.1:0": false, "[::1]:0": false, "localhost:0": false,
		"0.0.0.0:0": true, "unix:/run/x": false} {
		if err := CheckAddress(address, allowed); err != nil {
			t.Errorf("%q: %v", address, err)
		}
	}
	if err := CheckAddress("8437", false); err == nil || !strings.Contains(err.Error(), "must be HOST:PORT") {
		t.Errorf("a port alone: %v", err)
	}
}

func TestListenTakesASocketThatAKilledObserverLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen("unix:" + path); err == nil || !strings.Contains(err.Error(), "another process has") {
		t.Errorf("while it lives: %v", err)
	}
	left.SetUnlinkOnClose(false)
	left.Close()
	l, err := Listen("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen("unix:" + path); err == nil {
		t.Error("a file was replaced")
	}
}

// pipe is a listener of one connection that no kernel has, so that its time can be synthetic.
type pipe struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipe) Close() error   { close(p.closed); return nil }
func (p pipe) Addr() net.Addr { return &net.UnixAddr{} }

// Whoever sends a request byte by byte is not waited for.
func TestServerHangsUpOnWhoSendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := pipe{make(chan net.Conn), make(chan struct{})}
		ended := make(chan error)
		go func() { ended <- newServer().Serve(ctx, l) }()
		client, server := net.Pipe()
		l.conns <- server
		begin := time.Now()
		if _, err := io.WriteString(client, "GET / HTTP/1.1\r\nHost: local"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(client); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("it hung up after %s", took)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

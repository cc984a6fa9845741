package observe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Server serves the page, its data and the metrics. It only answers GET and HEAD: nothing on
// the page acts on a lock. It asks for no password, for it shows what "status" shows to
// everybody on the host, and listens where only this host can reach it.
type Server struct {
	Names    []string               // further names of this host by which it may be asked
	Metrics  *Metrics               // for /metrics
	Files    http.Handler           // for / and all files of the page
	Document func() ([]byte, error) // for /data.json: all that the page shows at first
	Since    func(t string) []byte  // for /events: what a page that has all until t lacks; nil is nothing
	LastLook func() time.Time       // for /healthz: when the locks were last seen

	mu      sync.Mutex
	clients map[chan []byte]bool // of /events
	closed  bool
}

const (
	maxClients     = 32  // pages that are open
	maxConnections = 128 // at once, the pages' included
	maxBehind      = 8   // events that a client may be behind before it is dropped
	heartbeat      = 10 * time.Second
	writeTime      = 10 * time.Second // for an answer, or an event
	unhealthyAfter = time.Minute      // without a look
)

// Serve answers requests until ctx ends.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler: s.Handler(), MaxHeaderBytes: 8 << 10, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: writeTime,
		WriteTimeout: 3 * writeTime, IdleTimeout: time.Minute,
		ErrorLog: log.New(io.Discard, "", 0), // else whoever connects fills the journal
	}
	stop := context.AfterFunc(ctx, func() {
		s.drop()
		server.Close()
	})
	defer stop()
	if err := server.Serve(limit(l)); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Handler returns what answers requests.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/metrics", s.metrics)
	mux.HandleFunc("/healthz", s.health)
	mux.HandleFunc("/data.json", s.data)
	mux.HandleFunc("/events", s.events)
	if s.Files != nil {
		mux.Handle("/", s.Files)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "this page only shows; it changes nothing", http.StatusMethodNotAllowed)
		case !s.known(r.Host):
			http.Error(w, "unknown Host; give its name to -allow-remote", http.StatusMisdirectedRequest)
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

// known reports whether this server is asked by a name of its own. A page of the web could
// else lead its own name to this address, and read the answers (DNS rebinding): it cannot do
// that to an address or to localhost.
func (s *Server) known(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsLoopback() || slices.Contains(s.Names, host)
	}
	return host == "localhost" || slices.Contains(s.Names, host)
}

func (s *Server) metrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_ = s.Metrics.Write(w) // who has gone does not read an error either
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	last := s.LastLook()
	if age := time.Since(last); last.IsZero() || age > unhealthyAfter {
		http.Error(w, "the locks have not been seen for more than "+unhealthyAfter.String(),
			http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

func (s *Server) data(w http.ResponseWriter, _ *http.Request) {
	data, err := s.Document()
	if err != nil {
		http.Error(w, "the history cannot be read", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(data)
}

// events sends what changes, as server-sent events, until the client goes or is too slow.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	updates, ok := s.subscribe()
	if !ok {
		w.Header().Set("Retry-After", "30")
		http.Error(w, "too many pages are open", http.StatusServiceUnavailable)
		return
	}
	defer s.unsubscribe(updates)
	w.Header().Set("Content-Type", "text/event-stream")
	if r.Method == http.MethodHead {
		return
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	control := http.NewResponseController(w)
	text := []byte(": hello\n\n")
	if update := s.Since(r.URL.Query().Get("since")); update != nil {
		text = event(update)
	}
	for {
		_ = control.SetWriteDeadline(time.Now().Add(writeTime))
		if _, err := w.Write(text); err != nil || control.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-beat.C:
			text = []byte(": alive\n\n")
		case update, open := <-updates:
			if !open {
				return
			}
			text = update
		}
	}
}

// Publish sends an update of the page's data, a line of JSON, to all pages.
func (s *Server) Publish(update []byte) {
	text := event(update)
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.clients {
		select {
		case c <- text:
		default: // it gets everything when it connects again
			delete(s.clients, c)
			close(c)
		}
	}
}

func event(update []byte) []byte { return fmt.Appendf(nil, "event: update\ndata: %s\n\n", update) }

// Watched reports whether a page is open.
func (s *Server) Watched() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.clients) > 0
}

func (s *Server) subscribe() (updates chan []byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.clients) >= maxClients {
		return nil, false
	}
	if s.clients == nil {
		s.clients = map[chan []byte]bool{}
	}
	updates = make(chan []byte, maxBehind)
	s.clients[updates] = true
	return updates, true
}

func (s *Server) unsubscribe(updates chan []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, updates)
}

// drop ends all events.
func (s *Server) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c := range s.clients {
		delete(s.clients, c)
		close(c)
	}
}

// limited is a listener with so many connections at once; more wait in the kernel's queue.
type limited struct {
	net.Listener
	free chan struct{}
}

func limit(l net.Listener) net.Listener { return limited{l, make(chan struct{}, maxConnections)} }

func (l limited) Accept() (net.Conn, error) {
	l.free <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &limitedConn{Conn: c, done: sync.OnceFunc(func() { <-l.free })}, nil
}

type limitedConn struct {
	net.Conn
	done func()
}

func (c *limitedConn) Close() error {
	defer c.done()
	return c.Conn.Close()
}

// CheckAddress refuses what is no address, and without allowed one that others than this host
// reach.
func CheckAddress(address string, allowed bool) error {
	if strings.HasPrefix(address, unixPrefix) {
		return nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("listen on %q: must be HOST:PORT, unix:PATH or none", address)
	}
	ip, err := netip.ParseAddr(host)
	if !allowed && host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return fmt.Errorf("listen on %q: others could read who builds what here; give -allow-remote if that is "+
			"meant, or use ssh -L", address)
	}
	return nil
}

// unixPrefix begins the address of a socket, which is its path.
const unixPrefix = "unix:"

// Listen opens an address that CheckAddress accepts.
func Listen(address string) (net.Listener, error) {
	if path, isUnix := strings.CutPrefix(address, unixPrefix); isUnix {
		return listenUnix(path)
	}
	return net.Listen("tcp", address)
}

// listenUnix listens on a socket, whose path may have been left by a killed observer.
func listenUnix(path string) (net.Listener, error) {
	l, err := net.Listen("unix", path)
	if err == nil {
		return l, nil
	}
	info, statErr := os.Lstat(path)
	if statErr != nil || info.Mode().Type() != os.ModeSocket {
		return nil, err
	}
	if c, dialErr := net.DialTimeout("unix", path, time.Second); dialErr == nil {
		c.Close()
		return nil, fmt.Errorf("listen on %q: another process has this socket", path)
	}
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	return net.Listen("unix", path)
}

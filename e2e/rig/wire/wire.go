// Package wire stands between clients and a Docker daemon, on a socket of its
// own, and does to requests and answers what happens to them now and then.
package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Fate is what happens to one request.
type Fate struct {
	Act   Act
	Delay time.Duration // of the request; it goes on although its client has gone
	Hold  time.Duration // of the answer, or how long a stream of events may last
	Then  func()        // when the daemon has done it, before the answer
}

// Act is where the connection breaks.
type Act int

const (
	Pass        Act = iota
	DropRequest     // before the daemon has seen it
	CutRequest      // when the daemon has seen a part
	DropReply       // when it is done, and nobody hears
	CutReply        // in the middle of the answer
)

// Proxy is one such socket.
type Proxy struct {
	// Rewrite, if any, changes the answer to a request.
	Rewrite func(r *http.Request, answer []byte) []byte

	decide func(*http.Request) Fate
	to     string
	daemon *http.Client
	server *http.Server
	dir    string
}

// Start starts a proxy to the daemon at an address such as DOCKER_HOST has. It
// asks decide for the fate of each request, of several at once.
func Start(to string, decide func(*http.Request) Fate) (*Proxy, error) {
	dir, err := os.MkdirTemp("/tmp", "hg") // the path of a socket is short
	if err != nil {
		return nil, err
	}
	p := &Proxy{decide: decide, to: strings.TrimPrefix(to, "unix://"), dir: dir}
	p.daemon = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", p.to)
		},
	}}
	listener, err := net.Listen("unix", filepath.Join(dir, "docker.sock"))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	p.server = &http.Server{Handler: p}
	go func() { _ = p.server.Serve(listener) }() // until Close
	return p, nil
}

// Host returns the proxy's address as DOCKER_HOST has it.
func (p *Proxy) Host() string { return "unix://" + filepath.Join(p.dir, "docker.sock") }

// Close ends the proxy and all connections through it.
func (p *Proxy) Close() error {
	err := p.server.Close()
	p.daemon.CloseIdleConnections()
	return errors.Join(err, os.RemoveAll(p.dir))
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	fate := p.decide(r)
	time.Sleep(fate.Delay)
	switch fate.Act {
	case DropRequest:
		hangUp(w, nil)
		return
	case CutRequest:
		p.cutRequest(r, body)
		hangUp(w, nil)
		return
	}
	stream := strings.HasSuffix(r.URL.Path, "/events")
	ctx := context.WithoutCancel(r.Context())
	if stream {
		ctx = r.Context()
		if fate.Hold > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, fate.Hold)
			defer cancel()
		}
	}
	request := r.Clone(ctx)
	request.RequestURI, request.URL.Scheme, request.URL.Host = "", "http", "docker"
	request.Body = io.NopCloser(bytes.NewReader(body))
	answer, err := p.daemon.Do(request)
	if err != nil {
		hangUp(w, nil)
		return
	}
	defer answer.Body.Close()
	maps.Copy(w.Header(), answer.Header)
	if stream {
		w.WriteHeader(answer.StatusCode)
		copyStream(w, answer.Body)
		return
	}
	body, err = io.ReadAll(answer.Body)
	if err != nil {
		hangUp(w, nil)
		return
	}
	if p.Rewrite != nil {
		body = p.Rewrite(r, body)
	}
	if fate.Then != nil {
		fate.Then()
	}
	time.Sleep(fate.Hold)
	switch fate.Act {
	case DropReply:
		hangUp(w, nil)
		return
	case CutReply:
		var last bytes.Buffer
		answer.Header.Set("Content-Length", fmt.Sprint(len(body)+1))
		fmt.Fprintf(&last, "HTTP/1.1 %s\r\n", answer.Status)
		_ = answer.Header.Write(&last)
		fmt.Fprintf(&last, "\r\n%s", body[:len(body)/2])
		hangUp(w, last.Bytes())
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	if answer.StatusCode == http.StatusNoContent {
		w.Header().Del("Content-Length")
	}
	w.WriteHeader(answer.StatusCode)
	_, _ = w.Write(body) // the client may have gone
}

// hangUp sends some last bytes and ends the client's connection.
func hangUp(w http.ResponseWriter, last []byte) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_, _ = conn.Write(last)
	_ = conn.Close()
}

// cutRequest sends the daemon a part of a request and goes away.
func (p *Proxy) cutRequest(r *http.Request, body []byte) {
	conn, err := net.Dial("unix", p.to)
	if err != nil {
		return
	}
	defer conn.Close()
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
		r.Method, r.URL.RequestURI(), len(body)+1)
	_, _ = conn.Write(append([]byte(text), body[:len(body)/2]...))
}

func copyStream(w http.ResponseWriter, from io.Reader) {
	flush := http.NewResponseController(w)
	_ = flush.Flush()
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		if _, writeErr := w.Write(buffer[:n]); err != nil || writeErr != nil || flush.Flush() != nil {
			return
		}
	}
}

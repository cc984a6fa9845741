// Package page looks at the page in a real browser, headless: what it shows, at which width
// and in which light, what it does when its server dies, and how fast it is.
package page

import (
	"context"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"hostguard/page"
)

// server serves a document as the observer does.
type server struct {
	t        *testing.T
	mu       sync.Mutex
	document *page.Document
	updates  map[chan *page.Document]struct{}
	address  string
	http     *http.Server
}

func serve(t *testing.T, d *page.Document) *server {
	s := &server{t: t, document: d, updates: map[chan *page.Document]struct{}{}, address: "127.0.0.1:0"}
	s.start()
	t.Cleanup(s.kill)
	return s
}

// page serves the page without data.
func (s *server) page() { s.listen(page.Files()) }

func (s *server) listen(h http.Handler) {
	s.t.Helper()
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.address = listener.Addr().String()
	s.http = &http.Server{Handler: h, ErrorLog: stdlog.New(io.Discard, "", 0)}
	go s.http.Serve(listener)
}

func (s *server) start() {
	s.t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/", page.Files())
	mux.HandleFunc("/data.json", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		body := s.document.AppendJSON(nil)
		s.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	})
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		updates := make(chan *page.Document, 8)
		s.mu.Lock()
		s.updates[updates] = struct{}{}
		s.mu.Unlock()
		defer func() {
			s.mu.Lock()
			delete(s.updates, updates)
			s.mu.Unlock()
		}()
		_, _ = io.WriteString(w, ": hello\n\n")
		for {
			w.(http.Flusher).Flush()
			select {
			case d := <-updates:
				_, _ = fmt.Fprintf(w, "event: update\ndata: %s\n\n", d.AppendJSON(nil))
			case <-r.Context().Done():
				return
			}
		}
	})
	s.listen(mux)
}

func (s *server) kill() { _ = s.http.Close() }

// send sends an update to each page that listens, and waits for one that does.
func (s *server) send(d *page.Document) {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		s.mu.Lock()
		n := len(s.updates)
		for c := range s.updates {
			c <- d
		}
		s.mu.Unlock()
		if n > 0 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal("no page listens to /events")
		}
	}
}

// browser is started once, by the first test that needs it: a tab is cheap.
var browser = sync.OnceValues(func() (context.Context, error) {
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.ExecPath("chromium"),
		chromedp.Flag("lang", "en-US"), chromedp.Flag("hide-scrollbars", true))
	allocator, _ := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, _ := chromedp.NewContext(allocator)
	endBrowser = func() { _ = chromedp.Cancel(ctx) }
	return ctx, chromedp.Run(ctx)
})

var endBrowser = func() {}

func TestMain(m *testing.M) {
	status := m.Run()
	endBrowser()
	os.Exit(status)
}

// tab is one page of the browser. Its clock is that of UTC.
type tab struct {
	*testing.T
	ctx   context.Context
	close func() // a browser has six connections to a server, and a page keeps one
	mu    sync.Mutex
	// errors are what the browser complained of, such as a broken policy.
	errors []string
}

type look struct {
	width, height int
	dark          bool
	touch         bool
}

func open(t *testing.T, address string, l look) *tab {
	t.Helper()
	parent, err := browser()
	if err != nil {
		t.Fatalf("start chromium: %v: run sh e2e/install.sh", err)
	}
	ctx, cancel := chromedp.NewContext(parent)
	ctx, stop := context.WithTimeout(ctx, 2*time.Minute)
	b := &tab{T: t, ctx: ctx, close: func() { stop(); cancel() }}
	t.Cleanup(b.close)
	chromedp.ListenTarget(ctx, func(e any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch e := e.(type) {
		case *runtime.EventExceptionThrown:
			b.errors = append(b.errors, e.ExceptionDetails.Error())
		case *cdplog.EventEntryAdded:
			if e.Entry.Level == cdplog.LevelError && !strings.Contains(e.Entry.Text, "ERR_CONNECTION_REFUSED") &&
				!strings.Contains(e.Entry.Text, "ERR_INCOMPLETE_CHUNKED_ENCODING") &&
				!strings.Contains(e.Entry.Text, "404 (Not Found)") {
				b.errors = append(b.errors, e.Entry.Text)
			}
		}
	})
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, e := range b.errors {
			t.Errorf("the browser complains: %s", e)
		}
	})
	b.do(
		chromedp.EmulateViewport(int64(l.width), int64(l.height)),
		b.light(l.dark),
		emulation.SetTimezoneOverride("UTC"),
	)
	if l.touch {
		b.do(emulation.SetTouchEmulationEnabled(true))
	}
	b.do(chromedp.Navigate(address))
	return b
}

func (b *tab) light(dark bool) chromedp.Action {
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	return emulation.SetEmulatedMedia().
		WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme},
			{Name: "prefers-reduced-motion", Value: "reduce"}})
}

func (b *tab) do(actions ...chromedp.Action) {
	b.Helper()
	if err := chromedp.Run(b.ctx, actions...); err != nil {
		b.Fatal(err)
	}
}

// eval returns the value of an expression in the page.
func eval[T any](b *tab, expression string) (value T) {
	b.Helper()
	b.do(chromedp.Evaluate(expression, &value))
	return value
}

// wait waits until an expression is true. A page that has just been left may still have been
// asked: that one is no more, and the new one is.
func (b *tab) wait(expression string) {
	b.Helper()
	var yes bool
	poll := chromedp.Poll(expression, &yes, chromedp.WithPollingTimeout(30*time.Second))
	err := chromedp.Run(b.ctx, poll)
	for range 3 {
		if err == nil || !strings.Contains(err.Error(), "Cannot find context with specified id") {
			break
		}
		err = chromedp.Run(b.ctx, poll)
	}
	if err != nil {
		b.Fatalf("%s: %v; the page says:\n%.2000s", expression, err, b.text("body"))
	}
}

// text is what one sees of an element.
func (b *tab) text(selector string) string {
	b.Helper()
	return eval[string](b, fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector))
}

// shot keeps a picture for whoever runs the tests with -artifacts.
func (b *tab) shot(name string) {
	b.Helper()
	var png []byte
	b.do(chromedp.FullScreenshot(&png, 100))
	if err := os.WriteFile(filepath.Join(b.ArtifactDir(), name+".png"), png, 0o644); err != nil {
		b.Fatal(err)
	}
}

package wire

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Each fate shows on both sides as it is meant to: an attack that does not take
// place finds nothing.
func TestFates(t *testing.T) {
	var whole, cut atomic.Int32 // requests that the daemon has read
	socket := filepath.Join(t.TempDir(), "daemon")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	daemon := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			cut.Add(1)
			return
		}
		whole.Add(1)
		_, _ = io.WriteString(w, "an answer")
	})}
	go func() { _ = daemon.Serve(listener) }()
	defer daemon.Close()

	for name, c := range map[string]struct {
		act    Act
		answer string
		fails  bool
		whole  int32
	}{
		"passes":           {act: Pass, answer: "AN ANSWER", whole: 1},
		"request dropped":  {act: DropRequest, fails: true},
		"request cut":      {act: CutRequest, fails: true},
		"reply dropped":    {act: DropReply, fails: true, whole: 1},
		"reply cut midway": {act: CutReply, answer: "AN A", fails: true, whole: 1},
	} {
		t.Run(name, func(t *testing.T) {
			whole.Store(0)
			done := false
			p, err := Start("unix://"+socket, func(*http.Request) Fate { return Fate{Act: c.act, Then: func() { done = true }} })
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			p.Rewrite = func(_ *http.Request, answer []byte) []byte { return []byte(strings.ToUpper(string(answer))) }
			dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(p.Host(), "unix://"))
			}
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}}
			var answer []byte
			resp, err := client.Post("http://docker/networks/create", "text/plain", strings.NewReader("a request"))
			if err == nil {
				answer, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			if (err != nil) != c.fails || string(answer) != c.answer {
				t.Errorf("answer %q, %v", answer, err)
			}
			if whole.Load() != c.whole || done != (c.whole == 1) {
				t.Errorf("the daemon read %d requests, want %d; done: %v", whole.Load(), c.whole, done)
			}
		})
	}
	for end := time.Now().Add(5 * time.Second); cut.Load() == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if cut.Load() == 0 {
		t.Error("no request came in part")
	}
}

package observe

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hostguard/history"
)

// reported keeps what a notifier reports.
type reported chan string

func (r reported) report(format string, args ...any) { r <- fmt.Sprintf(format, args...) }

// notify runs looks through a tracker and a notifier, and returns what it queued.
func notify(n *Notifier, looks ...Look) (notices []Notice) {
	var tr Tracker
	for _, l := range looks {
		open, ended := tr.Look(l)
		n.Saw(l, open, ended)
	}
	for len(n.queue) > 0 {
		notices = append(notices, <-n.queue)
	}
	return notices
}

func TestNotifierSendsOneNoticeForEachLongWaitAndTakeover(t *testing.T) {
	n := NewNotifier("ci-host-1", 15*time.Minute, func(string, ...any) {})
	waiting := claim(2, 0)
	var looks []Look
	for second := 0.0; second <= 1000; second += 10 {
		waiters := []Claimant{waiting}
		if second >= 500 { // which is not long at the end
			waiters = append(waiters, claim(3, 500))
		}
		looks = append(looks, look(second, held("a", claim(1, 0)).waiting(waiters...)))
	}
	looks = append(looks, look(1010, held("a", claim(1, 0).with(gone("its container is gone"))).waiting(waiting)),
		look(1011, held("a", waiting)), look(1012))
	notices := notify(n, looks...)
	if len(notices) != 2 {
		t.Fatalf("%d notices, want 2: %+v", len(notices), notices)
	}
	if w := notices[0]; w.Event != "wait" || w.Lock != "a" || w.Repository != "wooo/r2" || w.Seconds != 900 ||
		w.Host != "ci-host-1" || !w.Since.Equal(at(0)) || !w.Time.Equal(at(900)) || w.Evidence != "" {
		t.Errorf("the wait: %+v", w)
	}
	if o := notices[1]; o.Event != "takeover" || o.Repository != "wooo/r1" || o.Evidence != "its container is gone" {
		t.Errorf("the takeover: %+v", o)
	}
}

func TestNotifierHandsANoticeToTheProgramAndTheURL(t *testing.T) {
	received := make(chan []byte, 2)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != "POST" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s, %q", r.Method, r.Header.Get("Content-Type"))
		}
		received <- body
	}))
	defer server.Close()
	dir := t.TempDir()
	n := NewNotifier("h", time.Minute, func(format string, args ...any) { t.Errorf(format, args...) })
	n.URL, n.Command = server.URL, script(t, dir, `echo "$#" >args; cat >body.new; mv body.new body`)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { n.Run(ctx); close(ended) }()
	n.put(Notice{Event: "wait", Repository: `a"; rm -rf /`})
	body := <-received // the program has ended before
	cancel()
	<-ended
	fromFile, err := os.ReadFile(filepath.Join(dir, "body"))
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{body, fromFile} {
		var got Notice
		if err := json.Unmarshal(data, &got); err != nil || got.Repository != `a"; rm -rf /` {
			t.Errorf("%q: %v", data, err)
		}
	}
	if args, err := os.ReadFile(filepath.Join(dir, "args")); string(args) != "0\n" {
		t.Errorf("arguments: %q, %v", args, err)
	}
}

func script(t *testing.T, dir, text string) string {
	t.Helper()
	path := filepath.Join(dir, "notify")
	if err := os.WriteFile(path, []byte("#!/bin/sh\ncd '"+dir+"' && "+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestNotifierReportsAFailureAndGoesOn(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }))
	down := httptest.NewServer(nil)
	down.Close()
	defer server.Close()
	for url, want := range map[string]string{server.URL + "/?token=secret": "the answer is 500",
		down.URL + "/?token=secret": "connection refused"} {
		reports := make(reported, 4)
		n := NewNotifier("h", time.Minute, reports.report)
		n.URL, n.Command = url, script(t, t.TempDir(), "exit 3")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { n.Run(ctx); close(ended) }()
		n.put(Notice{})
		if got := <-reports; !strings.Contains(got, "exit status 3") {
			t.Errorf("the program: %q", got)
		}
		if got := <-reports; !strings.Contains(got, want) || strings.Contains(got, "secret") {
			t.Errorf("the URL: %q, want %q and no secret", got, want)
		}
		cancel()
		<-ended
	}
}

// A receiver that hangs must not stop the looks.
func TestNotifierNeverWaits(t *testing.T) {
	reports := make(reported, 100)
	n := NewNotifier("h", time.Minute, reports.report) // and nothing runs it
	for range maxNotices + 3 {
		n.put(n.notice("wait", at(0), history.Interval{}))
	}
	if len(n.queue) != maxNotices || len(reports) != 3 {
		t.Errorf("%d queued, %d reports", len(n.queue), len(reports))
	}
}

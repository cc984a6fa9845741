package steps

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"hostguard/internal/cli"
)

// A bug must not leave a terminal that neither echoes nor scrolls.
func TestAPanicGivesTheTerminalBack(t *testing.T) {
	screen, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer screen.Close()
	shown := make(chan string)
	go func() {
		var all bytes.Buffer
		_, _ = all.ReadFrom(screen)
		shown <- all.String()
	}()
	s := cli.NewSession(cli.World{Stdin: tty, Stdout: tty, Stderr: tty, Getenv: func(string) string { return "" }}, nil)
	looks := make(chan looked)
	go func() {
		looks <- looked{report: quietReport()}
		looks <- looked{panicked: "a bug"}
	}()
	func() {
		defer func() {
			if p := recover(); p != "a bug" {
				t.Errorf("recovered %v", p)
			}
		}()
		_ = (&hostStatus{Session: s}).redraw(t.Context(), looks)
	}()
	tty.Close()
	if got := <-shown; !strings.HasSuffix(got, "\x1b[?25h\x1b[?1049l") || !strings.Contains(got, "q quit") {
		t.Errorf("%q", got)
	}
}

func TestAWatchOutlivesAStoreThatDoesNotAnswer(t *testing.T) {
	var out bytes.Buffer
	s := cli.NewSession(cli.World{Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }}, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	looks := make(chan looked)
	go func() {
		looks <- looked{report: quietReport()}
		for range 3 {
			looks <- looked{err: context.DeadlineExceeded}
		}
		held := quietReport()
		held.Time = held.Time.Add(time.Minute)
		held.Locks[1].Holders = []entryReport{holderEntry(claimOf("aa", "wooo/docs", "build", "63", "", 0), 0, "")}
		for range 2 { // the second is taken when the first is printed
			looks <- looked{report: held}
		}
		cancel(context.Canceled)
	}()
	if err := (&hostStatus{Session: s}).printChanges(ctx, looks); err != context.Canceled {
		t.Error(err)
	}
	if got := out.String(); strings.Count(got, "context deadline exceeded; looking again\n") != 1 ||
		!strings.Contains(got, "deploy             ") || !strings.Contains(got, "wooo/docs build #63\n") {
		t.Error(got)
	}
}

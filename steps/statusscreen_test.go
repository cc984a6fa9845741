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
	const restored = "\x1b[?25h\x1b[?1049l"
	shown := make(chan string)
	go func() { // not to the end, which does not come while keys are awaited
		var all []byte
		for buffer := make([]byte, 4096); !bytes.HasSuffix(all, []byte(restored)); {
			n, err := screen.Read(buffer)
			if all = append(all, buffer[:n]...); err != nil {
				break
			}
		}
		shown <- string(all)
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
	defer tty.Close()
	select {
	case got := <-shown:
		if !strings.Contains(got, "q quit") {
			t.Errorf("%q", got)
		}
	case <-time.After(10 * time.Second):
		t.Error("the terminal is not given back")
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

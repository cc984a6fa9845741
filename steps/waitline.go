package steps

import (
	"sync"
	"time"

	"hostguard/internal/cli"
	"hostguard/internal/terminal"
)

// waitLine is the line of a terminal that says what a command waits for. It is rewritten each
// second, since the time goes on between two looks.
type waitLine struct {
	session *cli.Session
	style   terminal.Style
	stop    func()

	mu   sync.Mutex
	text func() string
}

// newWaitLine returns the line, or nil where lines cannot be rewritten: then a log is written.
func newWaitLine(s *cli.Session) *waitLine {
	style, ok := s.Terminal()
	if !ok || !style.Redraws {
		return nil
	}
	return &waitLine{session: s, style: style}
}

// show shows a text now, and again each second until end.
func (w *waitLine) show(text func() string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = text
	w.session.Rewrite(w.style, text())
	if w.stop == nil {
		w.stop = w.tick()
	}
}

// tick rewrites the line each second until stop has returned.
func (w *waitLine) tick() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				w.mu.Lock()
				w.session.Rewrite(w.style, w.text())
				w.mu.Unlock()
			}
		}
	}()
	return func() { close(done); <-ended }
}

// end removes the line.
func (w *waitLine) end() {
	if w == nil || w.stop == nil {
		return
	}
	w.stop()
	w.stop = nil
	w.session.Rewrite(w.style, "")
}

// noticeAfter is the wait after which a job's log gets a notice: who only looks at the list of
// annotations sees what it waits for.
const noticeAfter = time.Minute

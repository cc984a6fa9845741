package cli

import (
	"fmt"
	"io"
	"sync"

	"hostguard/internal/actions"
	"hostguard/internal/terminal"
)

// Terminal returns how the output is laid out for a person who looks at it; false where it is
// a log, a pipe or a file.
func (c *Console) Terminal() (terminal.Style, bool) {
	if c.InWorkflow() {
		return terminal.Style{}, false
	}
	return terminal.Of(c.shown, c.getenv)
}

// UTF8 reports whether what reads the output shows other characters than ASCII: the log of a
// runner, or a terminal with such a locale.
func (c *Console) UTF8() bool { return c.InWorkflow() || terminal.UTF8(c.getenv) }

// Rewrite shows text as the last line of a terminal, in place of the text that it showed last
// and until anything else is printed; "" removes it. Call it only where Terminal's style Redraws.
func (c *Console) Rewrite(style terminal.Style, text string) {
	if !c.quiet {
		text = style.Show(actions.Plain(text))
		c.live.show(c.shown, terminal.Clip(text, style.Width-1)) // in the last column it would wrap
	}
}

// PrintStyled prints lines that are laid out for a terminal. Their foreign text must have gone
// through actions.Plain.
func (c *Console) PrintStyled(lines []string) error {
	for _, line := range lines {
		if _, err := fmt.Fprintln(c.out, line); err != nil {
			return err
		}
	}
	return nil
}

// liveLine is the last line of a terminal while it is rewritten.
type liveLine struct {
	mu    sync.Mutex
	shown io.Writer // where the line is; nil if there is none
}

const eraseLine = "\r\x1b[K"

func (l *liveLine) show(w io.Writer, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if text == "" {
		l.erase()
		return
	}
	l.shown = w
	_, _ = io.WriteString(w, eraseLine+text)
}

func (l *liveLine) erase() {
	if l.shown != nil {
		_, _ = io.WriteString(l.shown, eraseLine)
		l.shown = nil
	}
}

// before returns a writer to w that removes the line first: both streams may be one terminal.
func (l *liveLine) before(w io.Writer) io.Writer { return afterLine{l, w} }

type afterLine struct {
	line *liveLine
	w    io.Writer
}

func (a afterLine) Write(p []byte) (int, error) {
	a.line.mu.Lock()
	defer a.line.mu.Unlock()
	a.line.erase()
	return a.w.Write(p)
}

package terminal

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Screen is a terminal's alternate screen, which is redrawn in place. Its owner must call
// Close, also after a panic: until then the terminal neither echoes nor scrolls.
type Screen struct {
	out   *os.File
	in    *os.File
	state *term.State // of in; nil if that is no terminal
	drawn []string
	width int // of what is drawn
	tall  int
}

// OpenScreen switches the terminal out to its alternate screen. If in is a terminal too, its
// keys are read one by one, without echo and without signals.
func OpenScreen(in io.Reader, out io.Writer) (*Screen, error) {
	file, ok := out.(*os.File)
	if !ok {
		return nil, fmt.Errorf("open the screen: %w", os.ErrInvalid)
	}
	s := &Screen{out: file}
	if keys, ok := in.(*os.File); ok && term.IsTerminal(int(keys.Fd())) {
		state, err := term.MakeRaw(int(keys.Fd()))
		if err != nil {
			return nil, fmt.Errorf("read keys one by one: %w", err)
		}
		s.in, s.state = keys, state
	}
	const alternate, hideCursor = "\x1b[?1049h", "\x1b[?25l"
	if _, err := file.WriteString(alternate + hideCursor); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close gives the terminal back as it was.
func (s *Screen) Close() {
	_, _ = s.out.WriteString("\x1b[?25h\x1b[?1049l")
	if s.state != nil {
		_ = term.Restore(int(s.in.Fd()), s.state)
	}
}

// Height returns how many lines the screen has.
func (s *Screen) Height() int {
	if _, height, err := term.GetSize(int(s.out.Fd())); err == nil && height > 0 {
		return height
	}
	return 24
}

// Draw shows the lines of a width, as many as fit, and writes only those that have changed.
func (s *Screen) Draw(lines []string, width int) error {
	height := s.Height()
	lines = lines[:min(len(lines), height)]
	var b strings.Builder
	if width != s.width || height != s.tall { // a terminal reflows what it shows when its size changes
		b.WriteString("\x1b[2J")
		s.drawn, s.width, s.tall = nil, width, height
	}
	for i := range max(len(lines), len(s.drawn)) {
		line, before := "", ""
		if i < len(lines) {
			line = Clip(lines[i], width)
		}
		if i < len(s.drawn) {
			before = s.drawn[i]
		}
		if line != before {
			fmt.Fprintf(&b, "\x1b[%d;1H%s\x1b[K", i+1, line)
		}
	}
	s.drawn = make([]string, len(lines))
	for i, line := range lines {
		s.drawn[i] = Clip(line, width)
	}
	_, err := s.out.WriteString(b.String())
	return err
}

// What the keys that are no characters send.
const (
	Interrupt = "\x03" // Ctrl-C
	EndOfFile = "\x04" // Ctrl-D
	Enter     = "\r"
	Up        = "\x1b[A"
	Down      = "\x1b[B"
)

// Keys delivers the keys that are pressed, until there are none any more. Where no key can be
// read it is nil.
func (s *Screen) Keys() <-chan string {
	if s.in == nil {
		return nil
	}
	keys := make(chan string)
	go func() {
		defer close(keys)
		pressed := make([]byte, 64) // several, of who types fast
		for {
			n, err := s.in.Read(pressed)
			if err != nil || n == 0 {
				return
			}
			for text := string(pressed[:n]); text != ""; {
				key := text[:1]
				if strings.HasPrefix(text, Up) || strings.HasPrefix(text, Down) {
					key = text[:len(Up)]
				}
				keys <- key
				text = text[len(key):]
			}
		}
	}()
	return keys
}

// ReaderGone reports whether w is a pipe that nobody reads any more: who writes seldom would
// see that late.
func ReaderGone(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	fds := []unix.PollFd{{Fd: int32(file.Fd())}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
}

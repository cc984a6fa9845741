// Package terminal is what hostguard knows of the screen that it prints to: its width, the
// characters and colours that it shows, and how it is redrawn in place.
//
// Not guaranteed: that the terminal shows what it declares. Text from outside must have no
// control character when it comes here (see actions.Plain).
package terminal

import (
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/term"
)

// Style is how text is laid out for whoever reads it.
type Style struct {
	Width  int  // columns
	UTF8   bool // it shows other characters than ASCII
	Colour bool
	// Redraws means that lines can be rewritten: it is a terminal, and no dumb one.
	Redraws bool
}

// defaultWidth is that of a terminal which reports none.
const defaultWidth = 80

// Of returns the style of the terminal that w is, by its size and the usual variables: TERM,
// NO_COLOR, CLICOLOR, CLICOLOR_FORCE, COLUMNS and those of the locale. It is false if w is no
// terminal and none is asked for by CLICOLOR_FORCE.
func Of(w io.Writer, getenv func(string) string) (Style, bool) {
	file, ok := w.(*os.File)
	is := ok && term.IsTerminal(int(file.Fd()))
	force := getenv("CLICOLOR_FORCE")
	forced := force != "" && force != "0"
	if !is && !forced {
		return Style{}, false
	}
	dumb := getenv("TERM") == "dumb"
	s := Style{
		Width: defaultWidth, UTF8: UTF8(getenv), Redraws: is && !dumb,
		Colour: getenv("NO_COLOR") == "" && (forced || is && !dumb && getenv("CLICOLOR") != "0"),
	}
	// No terminal is wider than its kernel can report: lines are padded to the width.
	if columns, err := strconv.ParseUint(getenv("COLUMNS"), 10, 16); err == nil && columns > 0 {
		s.Width = int(columns)
	}
	if is {
		if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
			s.Width = width
		}
	}
	return s, true
}

// UTF8 reports whether the locale's characters are UTF-8.
func UTF8(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} { // the first that is set decides
		if value := strings.ToUpper(getenv(name)); value != "" {
			return strings.Contains(value, "UTF-8") || strings.Contains(value, "UTF8")
		}
	}
	return false
}

// Colour is one of the colours that every terminal has in its own palette. A colour only
// repeats what shape and word show.
type Colour string

const (
	Bold   Colour = "1"
	Dim    Colour = "2"
	Red    Colour = "31"
	Green  Colour = "32"
	Yellow Colour = "33"
	Purple Colour = "35"
)

// Paint returns text in a colour, where there are colours.
func (s Style) Paint(c Colour, text string) string {
	if !s.Colour || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

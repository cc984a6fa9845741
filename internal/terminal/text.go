package terminal

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// columns returns how many columns a character takes: none if it is drawn over the one before,
// two if it is an ideograph or a picture.
func columns(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) || r >= 0x1160 && r <= 0x11ff { // the last are parts of Hangul
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// Width returns how many columns text takes. What Paint adds takes none.
func Width(text string) (n int) {
	eachRune(text, func(part string, columns int) bool {
		n += columns
		return true
	})
	return n
}

// longestPaint is the length of the longest sequence of Paint's.
const longestPaint = len("\x1b[35m")

// eachRune calls visit with each character and each sequence of Paint's, until it returns false.
func eachRune(text string, visit func(part string, columns int) bool) {
	for text != "" {
		n, wide := 1, 0
		if end := strings.IndexByte(text[:min(len(text), longestPaint)], 'm'); text[0] == '\x1b' && end > 0 {
			n = end + 1
		} else {
			r, size := utf8.DecodeRuneInString(text)
			n, wide = size, columns(r)
		}
		if !visit(text[:n], wide) {
			return
		}
		text = text[n:]
	}
}

// Show returns text in characters that the terminal has: others than ASCII are written as Go
// quotes them, where it has no UTF-8.
func (s Style) Show(text string) string {
	if s.UTF8 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if r < unicode.MaxASCII {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRuneToASCII(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

// Cut returns text in at most n columns, without its middle if it is longer: names begin with
// their owner and end with what differs. It must not be painted yet.
func (s Style) Cut(text string, n int) string {
	text = s.Show(text)
	if Width(text) <= n {
		return text
	}
	mark := "…"
	if !s.UTF8 {
		mark = ".."
	}
	room := n - Width(mark)
	if room < 2 {
		return first(text, max(n, 0))
	}
	tail := last(text, room/2)
	return first(text, room-Width(tail)) + mark + tail
}

// first returns what fits into n columns from the beginning of text.
func first(text string, n int) string {
	end, used := 0, 0
	eachRune(text, func(part string, columns int) bool {
		if used += columns; used > n {
			return false
		}
		end += len(part)
		return true
	})
	return text[:end]
}

// last returns what fits into n columns from the end of text.
func last(text string, n int) string {
	begin, left := 0, Width(text)
	eachRune(text, func(part string, columns int) bool {
		if left <= n && columns > 0 { // an accent belongs to the letter before it
			return false
		}
		begin += len(part)
		left -= columns
		return true
	})
	return text[begin:]
}

// Clip returns the beginning of a painted line that fits into n columns.
func Clip(line string, n int) string {
	if Width(line) <= n {
		return line
	}
	var b strings.Builder
	used := 0
	eachRune(line, func(part string, columns int) bool {
		if used += columns; columns == 0 && strings.HasPrefix(part, "\x1b") || used <= n {
			b.WriteString(part)
		}
		return true
	})
	return b.String()
}

// Pad returns text with spaces after it, up to n columns.
func Pad(text string, n int) string { return text + strings.Repeat(" ", max(0, n-Width(text))) }

// PadLeft returns text with spaces before it, up to n columns.
func PadLeft(text string, n int) string { return strings.Repeat(" ", max(0, n-Width(text))) + text }

// Fold returns text in lines of at most n columns, broken at spaces; all but the first begin
// with indent. A word that is longer is cut in its middle.
func (s Style) Fold(text string, n int, indent string) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		begin := ""
		if len(lines) > 0 {
			begin = indent
		}
		word = s.Cut(word, n-Width(begin))
		switch {
		case line == "":
			line = begin + word
		case Width(line)+1+Width(word) <= n:
			line += " " + word
		default:
			lines, line = append(lines, line), indent+s.Cut(word, n-Width(indent))
		}
	}
	return append(lines, line)
}

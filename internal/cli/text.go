package cli

import (
	"fmt"
	"strings"
	"time"
)

// Word returns a foreign value in the form of the old reports: unchanged if it is a
// plain word, else quoted. It must not start a line.
func Word(s string) string {
	if len(s) > 200 {
		s = s[:200] + "..."
	}
	if s == "" || strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
			strings.ContainsRune("._-/:@+%~", r))
	}) {
		return fmt.Sprintf("%q", s)
	}
	return s
}

// Since returns a time and its age.
func Since(t, now time.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	return fmt.Sprintf("%s (%s ago)", t.UTC().Format("2006-01-02 15:04:05Z"), Short(now.Sub(t)))
}

// Short returns a duration, rounded to the precision that matters at its size.
func Short(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	default:
		return d.Round(time.Second).String()
	}
}

// Plural returns a count with its noun.
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

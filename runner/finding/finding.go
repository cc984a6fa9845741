// Package finding is the form in which everything that judges a host reports what
// it found.
package finding

import "fmt"

// Level is how bad something is.
type Level int

const (
	OK Level = iota
	Warn
	Bad
)

func (l Level) String() string { return [...]string{"ok", "warn", "bad"}[l] }

// MarshalText implements encoding.TextMarshaler.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// Finding is one thing that is not as it should be. Evidence is text of ours, in
// which what others wrote is quoted; Fix is a command, or what to change where.
type Finding struct {
	Layer    int    `json:"layer"` // of doctor
	Level    Level  `json:"level"`
	Evidence string `json:"evidence"`
	Fix      string `json:"fix"`
}

// List is what was found, to be added to. The words of a finding are a format, in which
// what others wrote is quoted.
type List []Finding

// Warn adds what may be wrong.
func (l *List) Warn(layer int, fix, format string, args ...any) {
	l.Add(layer, Warn, fix, format, args...)
}

// Bad adds what is wrong.
func (l *List) Bad(layer int, fix, format string, args ...any) {
	l.Add(layer, Bad, fix, format, args...)
}

// Add adds a finding.
func (l *List) Add(layer int, level Level, fix, format string, args ...any) {
	*l = append(*l, Finding{layer, level, fmt.Sprintf(format, args...), fix})
}

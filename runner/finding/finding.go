// Package finding holds the findings of all checks of a host.
package finding

import "fmt"

// Level is the severity of a finding.
type Level int

const (
	OK Level = iota
	Warn
	Bad
)

func (l Level) String() string { return [...]string{"ok", "warn", "bad"}[l] }

// MarshalText implements encoding.TextMarshaler.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// Finding is one problem. Evidence is our text, with foreign text quoted; Fix is a
// command, or what to change where.
type Finding struct {
	Layer    int    `json:"layer"` // of doctor
	Level    Level  `json:"level"`
	Evidence string `json:"evidence"`
	Fix      string `json:"fix"`
}

// List collects findings. The format of a finding must quote foreign text.
type List []Finding

// Warn adds a finding that may be a problem.
func (l *List) Warn(layer int, fix, format string, args ...any) {
	l.Add(layer, Warn, fix, format, args...)
}

// Bad adds a finding that is a problem.
func (l *List) Bad(layer int, fix, format string, args ...any) {
	l.Add(layer, Bad, fix, format, args...)
}

// Add adds a finding.
func (l *List) Add(layer int, level Level, fix, format string, args ...any) {
	*l = append(*l, Finding{layer, level, fmt.Sprintf(format, args...), fix})
}

// Package finding is the form in which everything that judges a host reports what
// it found.
package finding

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

// New returns a finding.
func New(layer int, level Level, evidence, fix string) Finding {
	return Finding{layer, level, evidence, fix}
}

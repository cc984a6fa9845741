package steps

import (
	"strings"
	"testing"
)

func FuzzDurationNeedsAUnitAndIsNotNegative(f *testing.F) {
	for _, s := range []string{"5", "-1s", "1y", "30m", "1h30m", "0", "1e3", "", "9999999h", ".5s", "+1s", "0x1p-2", "NaN"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := parseDuration(s)
		if err == nil && (d < 0 || !strings.ContainsAny(s, "hmsuµμn")) {
			t.Errorf("parseDuration(%q) = %v", s, d)
		}
		again, err2 := parseDuration(d.String())
		if err == nil && (err2 != nil || again != d) {
			t.Errorf("parseDuration(%q) = %v, which reads as %v, %v", s, d, again, err2)
		}
		if err != nil && d != 0 {
			t.Errorf("parseDuration(%q) = %v and %v", s, d, err)
		}
	})
}

package docker

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostguard/pressure"
)

func TestLinesOfTopAreRead(t *testing.T) {
	now := time.Date(2026, 5, 21, 12, 0, 0, 500, time.UTC)
	got, ok := parseTop([]string{"41", "40", "01:30", "1-02:03:04", "2048", "next-build (v16.4.6)"}, now)
	want := pressure.Listed{
		Process: pressure.Process{
			PID: 41, Parent: 40, Argv: []string{"next-build", "(v16.4.6)"},
			Start: now.Add(-90 * time.Second).Truncate(time.Second),
		},
		Usage: pressure.Usage{CPU: 26*time.Hour + 3*time.Minute + 4*time.Second, Memory: 2 << 20},
	}
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		t.Errorf("parseTop, %v (-want +got):\n%s", ok, diff)
	}
	got, ok = parseTop([]string{"41", "40", "?", "-", "", ""}, now)
	if !ok || got.PID != 41 || !got.Start.IsZero() || got.CPU != 0 || len(got.Argv) > 0 {
		t.Errorf("what cannot be read: %+v, %v", got, ok)
	}
	for _, line := range [][]string{
		nil, {"41"},
		{"x", "40", "0:01", "0:01", "1", "a"}, {"41", "x", "0:01", "0:01", "1", "a"},
	} {
		if got, ok := parseTop(line, now); ok {
			t.Errorf("%q: %+v", line, got)
		}
	}
}

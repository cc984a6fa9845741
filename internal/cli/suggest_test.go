package cli

import (
	"strings"
	"testing"
)

func TestAMistypedWordMeansTheNearestKnownOne(t *testing.T) {
	known := []string{"clean-diag", "acquire-lock", "release-lock", "status", "runner audit", "runner drain",
		"runner resume", "status-all"}
	for typed, want := range map[string]string{
		"staus": "status", "sttaus": "status", "statuss": "status", "acquire": "acquire-lock",
		"aquire-lock": "acquire-lock", "audit": "runner audit", "drian": "runner drain", "runner audti": "runner audit",
		"rel":  "release-lock",
		"stat": "", "frobnicate": "", "x": "", "": "", "runner": "", "re": "", strings.Repeat("status", 100): "",
	} {
		if got := nearest(typed, known); got != want {
			t.Errorf("nearest(%q) = %q, want %q", typed, got, want)
		}
	}
}

package hexid

import "testing"

func TestIs(t *testing.T) {
	for s, want := range map[string]bool{
		"0123456789abcdef": true, "0123456789ABCDEF": false,
		"0123456789abcde": false, "0123456789abcdeg": false, "": false,
	} {
		if Is(s, 16) != want {
			t.Errorf("Is(%q, 16) = %t", s, !want)
		}
	}
}

package actrunner

import (
	"encoding/base64"
	"strings"
	"testing"
)

func TestTaskOfAToken(t *testing.T) {
	token := func(payload string) string {
		return "eyJhbGciOiJIUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2lnbmF0dXJl"
	}
	for payload, want := range map[string]string{
		`{"scp":"Actions.Results:12:34","TaskID":49,"RunID":12,"JobID":34,"ac":"[]","exp":1790000000}`: "49",
		`{"TaskID":9223372036854775807}`:  "9223372036854775807",
		`{"TaskID":0}`:                    "",
		`{"TaskID":-4}`:                   "",
		`{"TaskID":"49"}`:                 "",
		`{"TaskID":49.5}`:                 "",
		`{"TaskID":92233720368547758070}`: "",
		`{"RunID":12}`:                    "",
		`[49]`:                            "",
		`{"TaskID":49} x`:                 "",
		strings.Repeat("[", 9000):         "",
	} {
		if got := TaskOfToken(token(payload)); got != want {
			t.Errorf("TaskOfToken of %.60s = %q, want %q", payload, got, want)
		}
	}
	for _, token := range []string{
		"", "..", "a.b", "a.%.c",
		token(`{"TaskID":49}`) + ".x",
		"x." + strings.Repeat("A", 20<<10) + ".x",
	} {
		if got := TaskOfToken(token); got != "" {
			t.Errorf("TaskOfToken(%.60q) = %q, want none", token, got)
		}
	}
}

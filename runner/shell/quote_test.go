package shell

import (
	"os/exec"
	"strings"
	"testing"
	"unicode"
)

// What is printed for pasting is one word, and the one that was meant.
func TestAShellReadsWhatWasQuoted(t *testing.T) {
	for _, word := range []string{
		"", "a", "/srv/a b", "it's", "a\"b$HOME\\`d\\`", "~", "~root/x", "*", "a;rm -r b", "-x",
		"#", "!x", "\\", "a\\nb", "{a,b}", "a=b", "é/ü", "100%+x",
		"/srv/" + strings.Repeat("long ", 100) + "end",
		"a\nb", "a\x1b[2J'b", "a\\\r", "a\xffb", "a\u202eb", "end\n", "\t", "::set-env name=x::y\n",
	} {
		quoted := Quote(word)
		if strings.ContainsFunc(quoted, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
			t.Errorf("%q: %q would not be printed as it is", word, quoted)
		}
		shells := []string{"bash", "sh"}
		if strings.HasPrefix(quoted, "$") {
			shells = shells[:1]
		}
		for _, sh := range shells {
			out, err := exec.Command(sh, "-c", "printf %s. "+quoted).Output()
			if err != nil || string(out) != word+"." {
				t.Errorf("%s: %q: %q: %q, %v", sh, word, quoted, out, err)
			}
		}
		if commands, err := Commands("x " + quoted); err != nil || len(commands) != 1 || len(commands[0].Words) != 2 {
			t.Errorf("%q: %+v, %v", quoted, commands, err)
		}
	}
}

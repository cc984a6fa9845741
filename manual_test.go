package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"hostguard/internal/cli"
	"hostguard/internal/filestore"
	"hostguard/operate"
	"hostguard/steps"
)

// The manual page has all that a reader looks up: commands, flags, variables, files and
// exit statuses.
func TestTheManualIsComplete(t *testing.T) {
	commands := slices.Concat(steps.Commands(), operate.Commands())
	page := cli.Manual("mark", "1.0.0", commands)
	text := strings.ReplaceAll(string(page), `\-`, "-")
	want := []string{".\\\" mark\n", ".SH NAME\nhostguard - ", ".SH SYNOPSIS\n", ".SH ENVIRONMENT\n", ".SH FILES\n",
		".SH EXIT STATUS\n", ".SH SEE ALSO\n", filestore.DefaultDir, ".SS hooks of the runner\n"}
	for _, cmd := range commands {
		if cmd.Hook {
			want = append(want, cmd.Name)
			continue
		}
		want = append(want, ".SS "+cmd.Name+"\n")
		for _, in := range cmd.New().Inputs() {
			want = append(want, "\\fB-"+in.Name)
			if !in.FlagOnly {
				want = append(want, "\\fBHOSTGUARD_"+strings.ToUpper(strings.ReplaceAll(in.Name, "-", "_"))+"\\fR\n")
			}
		}
	}
	for _, status := range []int{0, 1, 2, 3, 124, 125, 126, 127, 130, 143} {
		want = append(want, fmt.Sprintf(".TP\n\\fB%d\\fR\n", status))
	}
	for _, part := range want {
		if !strings.Contains(text, part) {
			t.Errorf("the page has no %q", part)
		}
	}
	if again := cli.Manual("mark", "1.0.0", commands); !bytes.Equal(again, page) {
		t.Error("the page differs from run to run")
	}
	mandoc, err := exec.LookPath("mandoc")
	if err != nil {
		t.Skip("mandoc is not installed: the page's macros are not checked")
	}
	cmd := exec.Command(mandoc, "-Tlint")
	cmd.Stdin = bytes.NewReader(page)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("mandoc -Tlint: %v\n%s", err, out)
	}
}

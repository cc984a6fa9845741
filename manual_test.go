package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hostguard/internal/cli"
	"hostguard/internal/filestore"
	"hostguard/operate"
	"hostguard/steps"
)

// The manual has all that a reader looks up: each command on a page of its own with its flags
// and variables; and all variables, files and exit statuses in one place.
func TestTheManualIsComplete(t *testing.T) {
	commands := slices.Concat(steps.Commands(), operate.Commands())
	pages := map[string]string{}
	for _, page := range cli.Manual("mark", "1.0.0", commands) {
		pages[page.Name] = strings.ReplaceAll(string(page.Text), `\-`, "-")
	}
	want := map[string][]string{"hostguard": {".\\\" mark\n", ".SH NAME\nhostguard - ", ".SH SYNOPSIS\n",
		".SH ENVIRONMENT\n", ".SH FILES\n", ".SH EXIT STATUS\n", ".SH SEE ALSO\n", filestore.DefaultDir}}
	for _, cmd := range commands {
		page := "hostguard-" + strings.ReplaceAll(cmd.Name, " ", "-")
		if cmd.Hook {
			page = "hostguard-hooks"
			want[page] = append(want[page], cmd.Name)
		}
		want[page] = append(want[page], ".\\\" mark\n.TH "+strings.ToUpper(page)+" 1 ", ".SH NAME\n"+page, " - ",
			".SH SYNOPSIS\n", ".SH DESCRIPTION\n", ".SH EXIT STATUS\n", ".SH SEE ALSO\n.BR hostguard (1)")
		want["hostguard"] = append(want["hostguard"], ".BR "+page+" (1)")
		for _, in := range cmd.New().Inputs() {
			want[page] = append(want[page], "\\fB-"+in.Name)
			if !in.FlagOnly {
				variable := "\\fBHOSTGUARD_" + strings.ToUpper(strings.ReplaceAll(in.Name, "-", "_")) + "\\fR\n"
				want[page] = append(want[page], variable)
				want["hostguard"] = append(want["hostguard"], variable)
			}
		}
	}
	for _, status := range []int{0, 1, 2, 3, 124, 125, 126, 127, 130, 143} {
		want["hostguard"] = append(want["hostguard"], fmt.Sprintf(".TP\n\\fB%d\\fR\n", status))
	}
	for page, parts := range want {
		for _, part := range parts {
			if !strings.Contains(pages[page], part) {
				t.Errorf("the page %s has no %q", page, part)
			}
		}
	}
	if len(pages) != len(want) {
		t.Errorf("%d pages, want %d", len(pages), len(want))
	}
}

// A page that differs from run to run is in no reproducible package.
func TestTheManualIsTheSameEachTime(t *testing.T) {
	commands := slices.Concat(steps.Commands(), operate.Commands())
	one, two := cli.Manual("mark", "1.0.0", commands), cli.Manual("mark", "1.0.0", commands)
	for i := range one {
		if one[i].Name != two[i].Name || !bytes.Equal(one[i].Text, two[i].Text) {
			t.Errorf("the page %s differs", one[i].Name)
		}
	}
}

// Each page that another names is there.
func TestThePagesOfTheManualNameEachOther(t *testing.T) {
	pages := cli.Manual("mark", "1.0.0", slices.Concat(steps.Commands(), operate.Commands()))
	for _, page := range pages {
		text := strings.ReplaceAll(string(page.Text), `\-`, "-")
		for _, match := range regexp.MustCompile(`(?m)^\.BR (hostguard\S*) \(1\)`).FindAllStringSubmatch(text, -1) {
			if !slices.ContainsFunc(pages, func(p cli.Page) bool { return p.Name == match[1] }) {
				t.Errorf("%s names %s, which is not there", page.Name, match[1])
			}
		}
	}
}

func TestTheManualHasNoFaultOfMandocs(t *testing.T) {
	mandoc, err := exec.LookPath("mandoc")
	if err != nil {
		t.Fatal(err, ": run make engines")
	}
	for _, page := range cli.Manual("mark", "1.0.0", slices.Concat(steps.Commands(), operate.Commands())) {
		cmd := exec.Command(mandoc, "-Tlint")
		cmd.Stdin = bytes.NewReader(page.Text)
		// The pages that one names may not be installed here.
		out, err := cmd.CombinedOutput()
		for line := range strings.Lines(string(out)) {
			if !strings.Contains(line, "referenced manual not found") {
				t.Errorf("mandoc -Tlint: %s: %s", page.Name, line)
			}
		}
		if len(out) == 0 && err != nil {
			t.Errorf("mandoc -Tlint: %s: %v", page.Name, err)
		}
	}
}

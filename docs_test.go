package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"mvdan.cc/sh/v3/syntax"

	"hostguard/operate"
	"hostguard/steps"
)

var update = flag.Bool("update", false, "write the table of docs/inputs.md anew")

// pages are the texts for readers.
func pages(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	return append(all, "README.md", "README.zh-TW.md", "CONTRIBUTING.md", "e2e/README.md")
}

// markdown is what these tests read of a page.
type markdown struct {
	headings []string // with their #
	code     []string // blocks, with their fences
	prose    []string // the other lines, by their number; "" for lines of code
}

func readMarkdown(t *testing.T, path string) (m markdown) {
	t.Helper()
	inCode := false
	for line := range strings.Lines(read(t, path)) {
		line = strings.TrimSuffix(line, "\n")
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		if fence && !inCode {
			m.code = append(m.code, "")
		}
		if fence || inCode {
			m.code[len(m.code)-1] += line + "\n"
			m.prose = append(m.prose, "")
		} else {
			m.prose = append(m.prose, line)
			if strings.HasPrefix(line, "#") {
				m.headings = append(m.headings, line)
			}
		}
		inCode = inCode != fence
	}
	if inCode {
		t.Errorf("%s: a block of code has no end", path)
	}
	return m
}

// anchors are the names of a page's headings in links.
func (m markdown) anchors() (all []string) {
	for _, heading := range m.headings {
		_, text, _ := strings.Cut(heading, " ")
		all = append(all, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, text))
	}
	return all
}

// link is the target of a link or a picture.
var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func TestLinksOfTheDocsLeadSomewhere(t *testing.T) {
	links := 0
	for _, page := range pages(t) {
		for i, line := range readMarkdown(t, page).prose {
			for _, match := range link.FindAllStringSubmatch(line, -1) {
				target, err := url.Parse(match[1])
				if err != nil || target.IsAbs() {
					continue
				}
				links++
				path := page
				if target.Path != "" {
					path = filepath.Join(filepath.Dir(page), target.Path)
				}
				if _, err := os.Stat(path); err != nil {
					t.Errorf("%s:%d: %s: %v", page, i+1, match[1], err)
				} else if target.Fragment != "" && !slices.Contains(readMarkdown(t, path).anchors(), target.Fragment) {
					t.Errorf("%s:%d: %s has no heading #%s", page, i+1, path, target.Fragment)
				}
			}
		}
	}
	if links < 50 {
		t.Errorf("only %d links were found", links)
	}
}

func TestTheIndexOfTheDocsHasEveryPage(t *testing.T) {
	index := read(t, "docs/README.md")
	for _, page := range pages(t) {
		name, found := strings.CutPrefix(page, "docs/")
		if found && name != "README.md" && !strings.Contains(index, "("+name) {
			t.Errorf("docs/README.md has no link to %s", name)
		}
	}
}

// A reader of the source sees whole lines beside a diff.
func TestLinesOfTheDocsAreShort(t *testing.T) {
	const most = 120
	for _, page := range pages(t) {
		for i, line := range readMarkdown(t, page).prose {
			if n := utf8.RuneCountInString(line); n > most && !strings.HasPrefix(strings.TrimSpace(line), "|") &&
				utf8.RuneCountInString(link.ReplaceAllString(line, "]")) > most {
				t.Errorf("%s:%d has %d characters, want at most %d", page, i+1, n, most)
			}
		}
	}
}

// What a reader copies is whole: shell and YAML of the pages parse.
func TestBlocksOfTheDocsParse(t *testing.T) {
	blocks := 0
	for _, page := range pages(t) {
		for _, block := range readMarkdown(t, page).code {
			fence, text, _ := strings.Cut(block, "\n")
			text = text[:strings.LastIndex(strings.TrimSuffix(text, "\n"), "\n")+1]
			indent, language, _ := strings.Cut(fence, "```")
			text = strings.ReplaceAll("\n"+text, "\n"+indent, "\n") // of a list
			var err error
			switch language {
			case "sh":
				_, err = syntax.NewParser().Parse(strings.NewReader(text), page)
			case "yaml":
				err = yaml.Unmarshal([]byte(text), new(any))
			default:
				continue
			}
			blocks++
			if err != nil {
				t.Errorf("%s: %v in:%s", page, err, text)
			}
		}
	}
	if blocks < 20 {
		t.Errorf("only %d blocks were found", blocks)
	}
}

// A translation says the same in the same places.
func TestTheTranslationFollowsTheREADME(t *testing.T) {
	original, translation := readMarkdown(t, "README.md"), readMarkdown(t, "README.zh-TW.md")
	if got, want := levels(translation.headings), levels(original.headings); !slices.Equal(got, want) {
		t.Errorf("README.zh-TW.md has the headings %q, want those of README.md, %q", translation.headings,
			original.headings)
	}
	for i := range max(len(original.code), len(translation.code)) {
		if i >= len(original.code) || i >= len(translation.code) {
			t.Fatalf("README.zh-TW.md has %d blocks of code, want %d", len(translation.code), len(original.code))
		}
		if translation.code[i] != original.code[i] {
			t.Errorf("README.zh-TW.md: block of code %d is\n%swant\n%s", i+1, translation.code[i], original.code[i])
		}
	}
	if t.Failed() {
		return
	}
	got, want := translation.names(), original.names()
	for i := range want {
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("README.zh-TW.md, section %d, names\n%q, want\n%q", i, got[i], want[i])
		}
	}
}

// names are what each section of a page quotes as code, in the order of the alphabet.
func (m markdown) names() (all [][]string) {
	all = [][]string{nil}
	section := ""
	for _, line := range append(m.prose, "#") {
		if !strings.HasPrefix(line, "#") {
			section += line + "\n"
			continue
		}
		for _, name := range quoted("`", section) {
			all[len(all)-1] = append(all[len(all)-1], strings.Join(strings.Fields(name), " "))
		}
		slices.Sort(all[len(all)-1])
		all, section = append(all, nil), ""
	}
	return all
}

// levels are how deep headings are.
func levels(headings []string) (all []int) {
	for _, heading := range headings {
		all = append(all, len(heading)-len(strings.TrimLeft(heading, "#")))
	}
	return all
}

// What the README says is tested is what the tests have.
func TestTheREADMEWorksWithTheVersionsOfTheTests(t *testing.T) {
	_, table, _ := strings.Cut(read(t, "README.md"), "\n## Works with\n")
	table, _, _ = strings.Cut(table, "\n## ")
	for _, test := range []struct{ row, file, version string }{
		{"Gitea", "e2e/rig/gitea/build.go", `const version = "([0-9.]+)"`},
		{"act_runner, gitea-runner", "e2e/rig/gitea-act/go.mod", `=> gitea\.com/gitea/act v([0-9.]+)`},
		{"nektos/act", "e2e/go.mod", `github\.com/nektos/act v([0-9.]+)`},
		{"Docker Engine", "e2e/rig/engine/engine.go", `Old += "([0-9.]+)"`},
		{"Docker Engine", "e2e/rig/engine/engine.go", `New += "([0-9.]+)"`},
	} {
		match := regexp.MustCompile(test.version).FindStringSubmatch(read(t, test.file))
		if match == nil {
			t.Errorf("%s has no version like %s", test.file, test.version)
			continue
		}
		_, row, found := strings.Cut(table, "\n| "+test.row+" | ")
		row, _, _ = strings.Cut(row, "\n")
		versions, how, _ := strings.Cut(row, " | ")
		if !found || !strings.Contains(versions, match[1]) || !strings.Contains(how, "tests") {
			t.Errorf("the README has %q for %s, want tests with %s", row, test.row, match[1])
		}
	}
}

// inputsTable are all inputs of all commands, those that are equal in several commands once.
func inputsTable() string {
	type row struct{ name, variable, value, text string }
	var rows []row
	commands := map[row][]string{}
	for _, cmd := range slices.Concat(steps.Commands(), operate.Commands()) {
		if cmd.Hook {
			continue
		}
		for _, in := range cmd.New().Inputs() {
			r := row{name: in.Name, value: in.Default, text: in.Text}
			if !in.FlagOnly {
				r.variable = "HOSTGUARD_" + strings.ToUpper(strings.ReplaceAll(in.Name, "-", "_"))
			}
			if commands[r] == nil {
				rows = append(rows, r)
			}
			commands[r] = append(commands[r], cmd.Name)
		}
	}
	code := func(text string) string {
		if text == "" {
			return ""
		}
		return "`" + text + "`"
	}
	plain := strings.NewReplacer("|", `\|`, "<", `\<`, "*", `\*`)
	var table strings.Builder
	table.WriteString("\n| input | variable | of | default | what |\n|---|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&table, "| %s | %s | %s | %s | %s |\n", code(r.name), code(r.variable),
			strings.Join(commands[r], ", "), code(r.value), plain.Replace(r.text))
	}
	return table.String() + "\n"
}

func TestTheInputsOfTheDocsAreThoseOfTheProgram(t *testing.T) {
	const page, begin, end = "docs/inputs.md", "<!-- inputs -->\n", "<!-- /inputs -->\n"
	before, rest, _ := strings.Cut(read(t, page), begin)
	table, after, found := strings.Cut(rest, end)
	if !found {
		t.Fatalf("%s has no place for the table", page)
	}
	want := inputsTable()
	if *update {
		if err := os.WriteFile(page, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if table != want {
		t.Errorf("%s has another table than the program; write it by: go test -run Inputs -update .\n%s", page, want)
	}
}

// environment finds where a variable is read by its name.
var environment = regexp.MustCompile(`[gG]etenv\("([A-Z_]+)"\)`)

// Each variable that is read is described, and none that is not.
func TestTheEnvironmentOfTheDocsIsThatOfTheProgram(t *testing.T) {
	_, section, _ := strings.Cut(read(t, "docs/inputs.md"), "\n## Environment\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var described []string
	for line := range strings.Lines(section) {
		if cells := strings.Split(line, " | "); strings.HasPrefix(line, "| `") {
			described = append(described, quoted("`", cells[0])...)
		}
	}
	sources := read(t, "hostguard.sh") + read(t, "action.yml")
	if err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (path == "e2e" || path != "." && strings.HasPrefix(path, ".")):
			return fs.SkipDir
		case strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go"):
			sources += read(t, path)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, match := range environment.FindAllStringSubmatch(sources, -1) {
		if name := match[1]; !slices.Contains(described, name) {
			t.Errorf("docs/inputs.md does not describe %s, which is read", name)
		}
	}
	for _, name := range described {
		name, _, _ = strings.Cut(name, "<")
		if !strings.Contains(sources, name) && !strings.HasPrefix(name, "DOCKER_") { // read by Docker's own client
			t.Errorf("docs/inputs.md describes %s, which nothing reads", name)
		}
	}
	if len(described) < 40 {
		t.Errorf("docs/inputs.md describes only %d variables", len(described))
	}
}

// The first minute with hostguard as the README has it, in two terminals. The file backend
// stands for Docker's locks, and curl and docker only do what their commands are for.
func TestTheFirstMinuteOfTheREADME(t *testing.T) {
	_, section, _ := strings.Cut(read(t, "README.md"), "\n## Try it\n")
	_, section, _ = strings.Cut(section, "\n```sh\n")
	commands, section, _ := strings.Cut(section, "\n```\n")
	_, section, _ = strings.Cut(section, "prints `")
	said, _, _ := strings.Cut(section, "`")

	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, script := range map[string]string{
		// TestMain makes this binary the real main, by its name.
		"curl": `case $2 in
*/SHA256SUMS) sha256sum hostguard-linux-* >SHA256SUMS ;;
*) printf '#!/bin/bash\nexec -a hostguard "$SELF" "$@"\n' >"${2##*/}" ;;
esac`,
		"docker": `echo "$*" && [ -e "$DIR/built" ] || { touch "$DIR/built" && read -r _ <"$DIR/end"; }`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	end := filepath.Join(dir, "end")
	if err := syscall.Mkfifo(end, 0o600); err != nil {
		t.Fatal(err)
	}
	finish, err := os.OpenFile(end, os.O_RDWR, 0) // closed it ends a build that nobody finishes
	if err != nil {
		t.Fatal(err)
	}
	defer finish.Close()
	env := append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "DIR="+dir, "SELF="+self,
		"HOSTGUARD_LOCK_BACKEND=file", "HOSTGUARD_LOCK_NAME=first-minute-"+rand.Text())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	// terminal types the commands and waits for a line of their output.
	terminal := func(line string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, "bash", "-ec", commands)
		cmd.Dir, cmd.Env = t.TempDir(), env
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = cmd.Stdout
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		pattern := regexp.MustCompile(strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".*"))
		lines := bufio.NewScanner(out)
		var all []string
		for lines.Scan() {
			if all = append(all, lines.Text()); pattern.MatchString(lines.Text()) {
				return cmd
			}
		}
		t.Fatalf("no line %q in:\n%s", line, strings.Join(all, "\n"))
		return nil
	}
	first := terminal("build -t shop .")
	second := terminal(said)
	if _, err := finish.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []*exec.Cmd{first, second} {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
}

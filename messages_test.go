package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

const messagesPage = "docs/messages.md"

// message is a text that a user of the binary can read.
type message struct {
	at   string // where the source has it: FILE:LINE
	text string // its format, with … in the place of each value
}

// messagePlace is which argument of a call, or field of a composite literal, is a message.
var messagePlace = map[string]int{
	"errors.New": 0, "fmt.Errorf": 0, "Errorf": 0, "Usagef": 0, "Refusedf": 0, "Warning": 0, "Notice": 0, "Error": 0,
	"http.Error": 1, "ErrorAt": 1, "Report": 0, "unusable": 1, "Unusable": 0, "Refused": 1, "NotRunner": 1,
}

// sourceOf lists the files of this module that end up in the binary.
func sourceOf(t *testing.T) (files []string) {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", "-json=Dir,GoFiles,Module", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for list := json.NewDecoder(strings.NewReader(string(out))); ; {
		var pkg struct {
			Dir     string
			GoFiles []string
			Module  struct{ Main bool }
		}
		if err := list.Decode(&pkg); errors.Is(err, io.EOF) {
			return files
		} else if err != nil {
			t.Fatal(err)
		}
		if !pkg.Module.Main {
			continue
		}
		for _, name := range pkg.GoFiles {
			path, err := filepath.Rel(root, filepath.Join(pkg.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, path)
		}
	}
}

// messagesOf returns the errors, warnings and notices that a file makes, and all of its texts.
func messagesOf(t *testing.T, path string) (all []message, texts []string) {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	constants := constantsOf(file)
	add := func(expr ast.Expr) {
		if text := constants.textOf(expr); strings.ContainsFunc(text, unicode.IsLetter) {
			all = append(all, message{fmt.Sprintf("%s:%d", path, files.Position(expr.Pos()).Line), text})
		}
	}
	ast.Inspect(file, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.CallExpr:
			if i, found := messagePlace[nameOf(n.Fun)]; found && i < len(n.Args) {
				add(n.Args[i])
			}
		case *ast.CompositeLit:
			if i, found := messagePlace[nameOf(n.Type)]; found && i < len(n.Elts) {
				add(n.Elts[i])
			}
		case *ast.FuncDecl:
			if n.Recv != nil && n.Name.Name == "Error" && n.Body != nil && len(n.Body.List) == 1 {
				if result, ok := n.Body.List[0].(*ast.ReturnStmt); ok {
					add(result.Results[0])
				}
			}
		case *ast.BinaryExpr:
			texts = append(texts, constants.textOf(n))
		case *ast.BasicLit:
			texts = append(texts, constants.textOf(n))
		}
		return true
	})
	return all, texts
}

// nameOf names a function or a type: with its package if that is of the standard library, else by its
// last word.
func nameOf(expr ast.Expr) string {
	switch e := expr.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		if of, ok := e.X.(*ast.Ident); ok && slices.Contains([]string{"errors", "fmt", "http"}, of.Name) {
			return of.Name + "." + e.Sel.Name
		}
		return e.Sel.Name
	}
	return ""
}

// verbs are directives of fmt; several values side by side are one.
var verbs = regexp.MustCompile(`(%[-+# 0]*(\[\d+\])?(\*|\d+)?(\.(\*|\d+))?[a-zA-Z]|…)+`)

// constants are the texts with a name in a file.
type constants map[string]ast.Expr

func constantsOf(file *ast.File) constants {
	all := constants{}
	ast.Inspect(file, func(node ast.Node) bool {
		if decl, ok := node.(*ast.GenDecl); ok && decl.Tok == token.CONST {
			for _, spec := range decl.Specs {
				if value := spec.(*ast.ValueSpec); len(value.Names) == len(value.Values) {
					for i, name := range value.Names {
						all[name.Name] = value.Values[i]
					}
				}
			}
		}
		return true
	})
	return all
}

// textOf is what the source shows of a text, with … for what only a run knows.
func (c constants) textOf(expr ast.Expr) string {
	text := strings.ReplaceAll(c.formatOf(expr), "%%", "\x00")
	text = strings.ReplaceAll(verbs.ReplaceAllString(text, "…"), "\x00", "%")
	return strings.Join(strings.Fields(text), " ")
}

func (c constants) formatOf(expr ast.Expr) string {
	switch e := expr.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); e.Kind == token.STRING && err == nil {
			return text
		}
	case *ast.Ident:
		if value, found := c[e.Name]; found {
			return c.formatOf(value)
		}
	case *ast.BinaryExpr:
		return c.formatOf(e.X) + c.formatOf(e.Y)
	case *ast.ParenExpr:
		return c.formatOf(e.X)
	case *ast.CallExpr: // of a text that is changed a little, such as Replace(Sprintf(…))
		if len(e.Args) > 0 {
			return c.formatOf(e.Args[0])
		}
	}
	return "…"
}

// explained are the texts in the first cells of a page's tables, each with the number of its line.
// It reports rows that explain nothing.
func explained(t *testing.T, path string) map[string]int {
	t.Helper()
	all := map[string]int{}
	number := 0
	for line := range strings.Lines(read(t, path)) {
		number++
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for _, text := range quoted("`", cells[0]) {
			if first, twice := all[text]; twice {
				t.Errorf("%s:%d: %q is in line %d already", path, number, text, first)
			}
			all[text] = number
		}
		if len(cells) < 2 || slices.ContainsFunc(cells, func(cell string) bool {
			return strings.TrimSpace(cell) == "" || strings.Contains(cell, "TODO")
		}) {
			t.Errorf("%s:%d: say what it means and what to do: %s", path, number, cells[0])
		}
	}
	return all
}

// Whoever searches for the words of a message finds what it means. "go test -run Messages -update ."
// follows a message that got other words, and adds a row, to be filled in, for one that is new.
func TestTheMessagesOfTheProgramAreExplained(t *testing.T) {
	page := explained(t, messagesPage)
	known := map[string]bool{}
	var all []message
	for _, path := range sourceOf(t) {
		messages, texts := messagesOf(t, path)
		all = append(all, messages...)
		for _, text := range texts {
			known[text] = true
		}
	}
	if len(all) < 400 {
		t.Errorf("only %d messages were found", len(all))
	}
	for _, m := range all {
		known[m.text] = true
	}
	var gone []string
	for text := range page {
		if !known[text] {
			gone = append(gone, text)
		}
	}
	slices.Sort(gone)
	var missing []message
	for _, m := range all {
		if _, found := page[m.text]; !found {
			page[m.text] = 0
			missing = append(missing, m)
		}
	}
	if *update {
		updateMessages(t, missing, gone)
		return
	}
	for _, m := range missing {
		t.Errorf("%s: %s does not explain `%s`", m.at, messagesPage, m.text)
	}
	for _, text := range gone {
		t.Errorf("%s:%d explains `%s`, which the program does not say", messagesPage, page[text], text)
	}
}

// updateMessages puts a missing message in the place of a similar one that is gone, and the others in
// rows that still have to be filled in.
func updateMessages(t *testing.T, missing []message, gone []string) {
	t.Helper()
	page, rows := read(t, messagesPage), ""
	for _, m := range missing {
		i := slices.IndexFunc(gone, func(old string) bool { return similar(old, m.text) })
		if i < 0 {
			rows += "| `" + m.text + "` | TODO | TODO |\n"
			continue
		}
		page = strings.ReplaceAll(page, "`"+gone[i]+"`", "`"+m.text+"`")
		gone = slices.Delete(gone, i, i+1)
	}
	if rows != "" {
		page += "\n## To be explained\n\n| message | what it means | what to do |\n|---|---|---|\n" + rows
	}
	if err := os.WriteFile(messagesPage, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
}

// similar reports whether two texts have most of their words in common.
func similar(a, b string) bool {
	words, of := strings.Fields(a), strings.Fields(b)
	common := 0
	for _, word := range words {
		if word != "…" && slices.Contains(of, word) {
			common++
		}
	}
	return 2*common > max(len(words), len(of))
}

func TestMessagesAreFoundInTheirSource(t *testing.T) {
	const source = `package p
func f(s Session, path string, err error) error {
	s.Warning("%d%% of %q are" + " gone", 3, path)
	s.Print("no message")
	const limit = "at most %v"
	if err := errors.New(short.Replace(fmt.Sprintf(limit, path))); err != nil {
		return cli.Usagef("open %.100q: %w%s", path, err, path)
	}
	return &Refused{path, "a link"}
}
func (e *Late) Error() string { return "later than " + e.limit }
`
	path := filepath.Join(t.TempDir(), "p.go")
	if err := os.WriteFile(path, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	messages, _ := messagesOf(t, path)
	var got []string
	for _, m := range messages {
		got = append(got, m.text)
	}
	want := []string{"…% of … are gone", "at most …", "open …: …", "a link", "later than …"}
	if !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	if want := path + ":3"; messages[0].at != want {
		t.Errorf("the first is at %s, want %s", messages[0].at, want)
	}
}

package main

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// runBy lists the blocks of shell and YAML of the documents, and by which test each is run or why it
// is not: the table of e2e/README.md.
func runBy(t *testing.T) (rows []blockRow) {
	t.Helper()
	const page = "e2e/README.md"
	_, section, _ := strings.Cut(read(t, page), "\n## Blocks of shell and YAML\n")
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if len(cells) != 3 || !strings.HasPrefix(line, "| [") {
			continue
		}
		row := blockRow{page: filepath.Join(filepath.Dir(page), link.FindStringSubmatch(cells[0])[1]), how: cells[2]}
		if cells[1] != "all" {
			row.begins = strings.ReplaceAll(strings.Trim(cells[1], "`"), `\|`, "|")
		}
		rows = append(rows, row)
	}
	return rows
}

// blockRow is a row of that table; a row for all blocks of a page has no begin.
type blockRow struct{ page, begins, how string }

// testName is that of a test in a row of the table.
var testName = regexp.MustCompile("`(Test[A-Za-z]+)`")

// A block that nobody runs is one that somebody has decided so.
func TestEachBlockOfTheDocsIsRunOrListed(t *testing.T) {
	rows := runBy(t)
	used := map[blockRow]bool{}
	blocks := 0
	for _, page := range pages(t) {
		if page == "README.zh-TW.md" { // has the blocks of README.md
			continue
		}
		for _, block := range readMarkdown(t, page).code {
			fence, text, _ := strings.Cut(block, "\n")
			if _, language, _ := strings.Cut(fence, "```"); language != "sh" && language != "yaml" {
				continue
			}
			blocks++
			text = strings.TrimSpace(text)
			i := slices.IndexFunc(rows, func(r blockRow) bool {
				return r.page == page && strings.HasPrefix(text, r.begins)
			})
			if i < 0 {
				first, _, _ := strings.Cut(text, "\n")
				t.Errorf("e2e/README.md has no row for the block of %s that begins with: %s", page, first)
				continue
			}
			if used[rows[i]] && rows[i].begins != "" {
				t.Errorf("e2e/README.md: two blocks of %s begin with: %s", page, rows[i].begins)
			}
			used[rows[i]] = true
		}
	}
	tests := testsOfTheRepository(t)
	for _, row := range rows {
		if !used[row] {
			t.Errorf("e2e/README.md: no block of %s begins with: %s", row.page, row.begins)
		}
		for _, name := range testName.FindAllStringSubmatch(row.how, -1) {
			if !strings.Contains(tests, "func "+name[1]+"(") {
				t.Errorf("e2e/README.md names %s, which is no test", name[1])
			}
		}
	}
	if blocks < 20 {
		t.Errorf("only %d blocks were found", blocks)
	}
}

// testsOfTheRepository is the source of all tests.
func testsOfTheRepository(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	if err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "." && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case strings.HasSuffix(path, "_test.go"):
			all.WriteString(read(t, path))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all.String()
}

package shell

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// Limits of a text. The parser descends a level of its own stack for each bracket, pipe
// or condition, and real scripts have one in some thirty characters.
const (
	maxText   = 256 << 10
	fewLevels = 200
	perLevel  = 16
	maxNested = 10 // scripts within scripts
)

var (
	errTooMuch   = errors.New("the script is too long or too nested")
	errTooNested = fmt.Errorf("scripts within scripts, more than %d levels deep", maxNested)
)

// Commands returns the simple commands of a script in the order in which they begin to
// run, without the programs that only start them. An error means that a part of the
// script is not known, and may have more commands.
func Commands(script string) ([]Command, error) {
	var all []Command
	err := scan(script, maxNested, func(c Command) { all = append(all, c) })
	return all, err
}

// CommandsOf returns the simple commands that a command, given as words, runs.
func CommandsOf(words []string) ([]Command, error) {
	var all []Command
	s := scanner{more: maxNested, add: func(c Command) { all = append(all, c) }}
	s.command(0, words, "")
	return all, s.err
}

// MayUseDocker reports whether a script that cannot be parsed completely may have a
// command of Docker's: a script that does not name Docker has none.
func MayUseDocker(script string) bool {
	script = strings.NewReplacer("\\\n", "", "\\", "", `"`, "", "'", "").Replace(script)
	return strings.Contains(script, "docker") || strings.Contains(script, "podman")
}

// scan reads a script, in which scripts may be nested up to more levels deep.
func scan(script string, more int, add func(Command)) error {
	if more == 0 {
		return errTooNested
	}
	text, restore := withoutExpressions(script)
	levels := 0
	for _, open := range []string{"(", "{", "[", "|", "if", "while", "until"} {
		levels += strings.Count(text, open)
	}
	if len(text) > maxText || levels > fewLevels+len(text)/perLevel {
		return errTooMuch
	}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(text), "")
	s := scanner{text: text, restore: restore, more: more, add: add, err: err}
	s.statements(file) // statements before a syntax error run anyway
	return s.err
}

// scanner goes through the statements of a parsed script.
type scanner struct {
	text    string // of the parsed script
	restore *strings.Replacer
	more    int
	add     func(Command)
	err     error // the first
}

// statements adds the commands of all statements in a tree. Commands in the words of
// another command precede it: their output is its arguments.
func (s *scanner) statements(root syntax.Node) {
	var open []syntax.Node
	input := map[*syntax.Stmt]string{} // the known input of each
	syntax.Walk(root, func(n syntax.Node) bool {
		if n != nil {
			open = append(open, n)
			if pipe, ok := n.(*syntax.BinaryCmd); ok && pipe.Op == syntax.Pipe {
				input[pipe.Y] = s.printed(pipe.X)
			}
			return true
		}
		last := open[len(open)-1]
		open = open[:len(open)-1]
		statement, ok := last.(*syntax.Stmt)
		if !ok {
			return true
		}
		if call, ok := statement.Cmd.(*syntax.CallExpr); ok && len(call.Args) > 0 {
			s.command(int(call.Pos().Line()), s.words(call.Args), s.input(statement, input[statement]))
		}
		return true
	})
}

// printed returns the certain output of a statement: a here-document printed by cat.
func (s *scanner) printed(statement *syntax.Stmt) string {
	if call, ok := statement.Cmd.(*syntax.CallExpr); ok && len(call.Args) == 1 && s.word(call.Args[0]) == "cat" {
		return s.input(statement, "")
	}
	return ""
}

// input returns the here-document or here-string that a statement reads, or else other.
func (s *scanner) input(statement *syntax.Stmt, other string) string {
	for _, r := range statement.Redirs {
		switch {
		case r.Hdoc != nil:
			var b strings.Builder
			if name := r.Word.Lit(); name == "" || strings.Contains(name, `\`) { // quoted, so nothing expands
				b.WriteString(r.Hdoc.Lit())
			} else {
				s.parts(&b, r.Hdoc.Parts, true)
			}
			other = s.restore.Replace(b.String())
		case r.Op == syntax.WordHdoc:
			other = s.word(r.Word)
		}
	}
	return other
}

// command adds a command, or the commands of the script that it runs.
func (s *scanner) command(line int, words []string, input string) {
	words, script := started(words)
	if len(words) == 0 {
		return
	}
	program := words[0]
	words = slices.Clone(words)
	words[0] = path.Base(program)
	if script == "" && readsScript(words) {
		script = input
	}
	if script == "" {
		s.add(Command{line, words, program})
		return
	}
	err := scan(script, s.more-1, func(c Command) {
		c.Line = line
		s.add(c)
	})
	if s.err == nil {
		s.err = err
	}
}

func (s *scanner) words(words []*syntax.Word) []string {
	all := make([]string, 0, len(words))
	for _, w := range words {
		all = append(all, s.word(w))
	}
	return all
}

// word returns a word without its quotes, and with its expansions unchanged.
func (s *scanner) word(w *syntax.Word) string {
	var b strings.Builder
	s.parts(&b, w.Parts, false)
	return s.restore.Replace(b.String())
}

func (s *scanner) parts(b *strings.Builder, parts []syntax.WordPart, quoted bool) {
	for _, part := range parts {
		switch part := part.(type) {
		case *syntax.Lit:
			unescape(b, part.Value, quoted)
		case *syntax.SglQuoted:
			b.WriteString(part.Value)
		case *syntax.DblQuoted:
			s.parts(b, part.Parts, true)
		default:
			b.WriteString(s.text[part.Pos().Offset():part.End().Offset()])
		}
	}
}

// unescape removes the backslashes that quote a character.
func unescape(b *strings.Builder, text string, quoted bool) {
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) && (!quoted || strings.IndexByte("$`\"\\\n", text[i+1]) >= 0) {
			if i++; text[i] == '\n' {
				continue
			}
		}
		b.WriteByte(text[i])
	}
}

// withoutExpressions replaces each ${{ … }}, which a runner evaluates before any shell
// sees it, by a word; restore puts the expressions back.
func withoutExpressions(script string) (text string, restore *strings.Replacer) {
	var b strings.Builder
	var pairs []string
	for {
		before, rest, found := strings.Cut(script, "${{")
		inner, after, ended := strings.Cut(rest, "}}")
		if !found || !ended {
			break
		}
		word := fmt.Sprintf("hostguard_expression_%d_", len(pairs)/2)
		pairs = append(pairs, word, "${{"+inner+"}}")
		b.WriteString(before + word)
		script = after
	}
	b.WriteString(script)
	return b.String(), strings.NewReplacer(pairs...)
}

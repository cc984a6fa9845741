package runner

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// ConfigWant is what a config.yaml should say below runner. What is zero here
// is left alone.
type ConfigWant struct {
	Capacity        int
	ShutdownTimeout time.Duration
	Labels          []string // all of them, in any order
}

// EditConfig makes a config.yaml say what is wanted, and tells in clauses for
// people what that changes: none where it says so already or by default, and then
// edited is data.
//
// Each value is found by its position and exchanged in the text, since writing
// the file anew from its tree would lose blank lines and break examples that are
// commented out. The result is read again: every other value is as before, or the
// edit is refused with the line to change by hand. No byte is changed but those
// of the values, and no comment goes but the one behind a label that goes.
func EditConfig(data []byte, want ConfigWant) (edited []byte, changes []string, err error) {
	for _, l := range want.Labels {
		if l == "" || strings.TrimSpace(l) != l || strings.Contains(l, ",") {
			return nil, nil, fmt.Errorf("%.200q is no label; give one without commas, and without blanks around it", l)
		}
	}
	text, bom := bytes.CutPrefix(data, []byte("\ufeff"))
	f := configText{text: string(text), eol: "\n"}
	if first, _, _ := strings.Cut(f.text, "\n"); strings.HasSuffix(first, "\r") {
		f.eol = "\r\n"
	}
	open := f.text != "" && !strings.HasSuffix(f.text, "\n")
	if open {
		f.text += f.eol
	}
	// A new key goes to the top of its mapping: the last one first.
	if len(want.Labels) > 0 {
		if changes, err = f.editLabels(want.Labels); err != nil {
			return nil, nil, err
		}
	}
	scalar := func(key, text string, meaning func(Config) string) {
		var said []string
		if err == nil {
			said, err = f.editScalar(key, text, meaning)
			changes = append(said, changes...)
		}
	}
	if want.ShutdownTimeout != 0 {
		scalar("shutdown_timeout", Duration(want.ShutdownTimeout), func(c Config) string { return Duration(c.ShutdownTimeout) })
	}
	if want.Capacity != 0 {
		scalar("capacity", strconv.Itoa(want.Capacity), func(c Config) string { return strconv.Itoa(c.Capacity) })
	}
	if err != nil {
		return nil, nil, err
	}
	if len(changes) == 0 {
		return data, nil, nil
	}
	if open {
		f.text = strings.TrimSuffix(f.text, f.eol)
	}
	if bom {
		f.text = "\ufeff" + f.text
	}
	return []byte(f.text), changes, nil
}

// editScalar makes a key mean what text does.
func (f *configText) editScalar(key, text string, meaning func(Config) string) ([]string, error) {
	c, err := ParseConfig([]byte(f.text))
	if err != nil {
		return nil, err
	}
	is := meaning(c)
	if c.unreadable(key) {
		is = "not readable"
	}
	if is == text {
		return nil, nil
	}
	change := fmt.Sprintf("set runner.%s to %s (is %s)", key, text, is)
	if root, err := parseYAML([]byte(f.text)); err == nil && value(value(root, "runner"), key) == nil {
		change = fmt.Sprintf("set runner.%s to %s (not set, which means %s)", key, text, is)
	}
	return []string{change}, f.setScalar(key, text, func(c Config) bool { return meaning(c) == text })
}

// unreadable tells that a key of runner is a problem.
func (c Config) unreadable(key string) bool {
	return slices.ContainsFunc(c.Problems, func(p string) bool { return strings.HasPrefix(p, "runner."+key+" ") })
}

// configText is a config.yaml between two edits. Its last line is ended.
type configText struct{ text, eol string }

// document is the one document of the file, as it is written: with aliases.
func (f *configText) document() (*yaml.Node, error) {
	if strings.Count(f.text, "\r") != strings.Count(f.text, "\r\n") || strings.ContainsAny(f.text, "\u0085\u2028\u2029") || !utf8.ValidString(f.text) {
		return nil, errors.New("its lines do not all end in LF or CRLF, or it is no UTF-8")
	}
	decoder := yaml.NewDecoder(strings.NewReader(f.text))
	var doc, more yaml.Node
	if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
		return &yaml.Node{Kind: yaml.MappingNode, Line: 1, Column: 1}, nil
	} else if err != nil {
		return nil, err
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("it has several documents")
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" && root.Value == "" {
		return &yaml.Node{Kind: yaml.MappingNode, Line: 1, Column: 1}, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, errNoMapping
	}
	return root, nil
}

// entry is a key of a mapping with its value, as written; nil, nil if there is
// none.
func entry(mapping *yaml.Node, key string) (k, v *yaml.Node, err error) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		n := mapping.Content[i]
		if n.ShortTag() == "!!merge" && k == nil {
			err = fmt.Errorf("line %d merges keys from elsewhere", n.Line)
		}
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		if n.Value != key {
			continue
		}
		if k != nil {
			return nil, nil, fmt.Errorf("lines %d and %d have the same key", k.Line, mapping.Content[i].Line)
		}
		k, v = mapping.Content[i], mapping.Content[i+1]
	}
	if k != nil {
		err = nil // a mapping's own keys go before those that it merges
	}
	return k, v, err
}

// byHand refuses an edit.
func byHand(key, text string, line int, why error) error {
	where := ""
	if line > 0 {
		where = fmt.Sprintf(" in line %d", line)
	}
	return fmt.Errorf("runner.%s cannot be changed safely: %w; change it by hand%s, to %s", key, why, where, text)
}

var (
	errNotPlain  = errors.New("it is not a plain value on one line")
	errElsewhere = errors.New("that would change something else as well")
)

// setScalar sets a key of runner to a plain scalar.
func (f *configText) setScalar(key, text string, wanted func(Config) bool) error {
	line := key + ": " + text
	root, err := f.document()
	if err != nil {
		return byHand(key, line, 0, err)
	}
	runner, k, v, err := f.find(root, key)
	if err != nil {
		return byHand(key, line, lineOf(runner), err)
	}
	if k == nil {
		return f.insert(root, runner, key, line, []string{line}, wanted)
	}
	var edited string
	if v.Value == "" && v.Style == 0 && v.ShortTag() == "!!null" {
		_, colon, ok := f.span(k)
		if !ok || !strings.HasPrefix(f.text[colon:], ":") {
			return byHand(key, line, k.Line, errNotPlain)
		}
		edited = f.text[:colon+1] + " " + text + f.text[colon+1:]
	} else {
		at, end, ok := f.span(v)
		if !ok {
			return byHand(key, line, k.Line, errNotPlain)
		}
		edited = f.text[:at] + text + f.text[end:]
	}
	if !f.becomes(edited, key, wanted) {
		return byHand(key, line, k.Line, errElsewhere)
	}
	return nil
}

// find finds a key of runner. Without a mapping there, runner is the key
// "runner" itself, or nil.
func (f *configText) find(root *yaml.Node, key string) (runner, k, v *yaml.Node, err error) {
	k, v, err = entry(root, "runner")
	switch {
	case err != nil || k == nil:
		return nil, nil, nil, err
	case v.Kind == yaml.ScalarNode && v.ShortTag() == "!!null":
		return k, nil, nil, nil
	case v.Kind != yaml.MappingNode:
		return k, nil, nil, errors.New("runner is no mapping of its own")
	}
	runner = k
	if k, v, err = entry(v, key); err != nil {
		return runner, nil, nil, err
	}
	return runner, k, v, nil
}

func lineOf(n *yaml.Node) int {
	if n == nil {
		return 0
	}
	return n.Line
}

// insert adds a key to runner, in lines whose first is the key's, and runner
// itself where that is missing: above the example of it that is commented out, or
// else at the top of the mapping, or at the end of the file.
func (f *configText) insert(root, runner *yaml.Node, key, byhand string, add []string, wanted func(Config) bool) error {
	lines := strings.SplitAfter(f.text, "\n")
	lines = lines[:len(lines)-1] // what is behind the last line's end
	var places []int
	indent := 0
	if len(root.Content) > 0 {
		indent = root.Content[0].Column - 1
	}
	if runner == nil {
		add = append([]string{"runner:"}, indented(add, 2)...)
		if at := example(lines, "runner"); at >= 0 {
			places = append(places, at)
		}
		places = append(places, len(lines))
	} else {
		_, v, _ := entry(root, "runner")
		indent = runner.Column + 1
		if v.Kind == yaml.MappingNode && len(v.Content) > 0 {
			indent = v.Content[0].Column - 1
		}
		last := len(lines)
		for i := 0; i < len(root.Content); i += 2 {
			if line := root.Content[i].Line; line > runner.Line {
				last = min(last, line-1)
			}
		}
		if at := example(lines[runner.Line:last], key); at >= 0 {
			places = append(places, runner.Line+at)
		}
		places = append(places, runner.Line)
	}
	var text strings.Builder
	for _, line := range indented(add, indent) {
		text.WriteString(line + f.eol)
	}
	for _, at := range places {
		if f.becomes(strings.Join(slices.Insert(slices.Clone(lines), at, text.String()), ""), key, wanted) {
			return nil
		}
	}
	if runner != nil {
		return byHand(key, byhand+" below runner", runner.Line, errors.New("there is no place for it that is safe"))
	}
	return byHand(key, byhand+" below a new key runner", 0, errors.New("there is no place for it that is safe"))
}

func indented(lines []string, by int) []string {
	var all []string
	for _, line := range lines {
		all = append(all, strings.Repeat(" ", by)+line)
	}
	return all
}

var (
	commentedKey     = regexp.MustCompile(`^[ \t]*#[# \t]*([A-Za-z_]+):(?:[ \t\r\n]|$)`)
	commentedSection = regexp.MustCompile(`^# ?[A-Za-z_]+:[ \t\r\n]*$`)
)

// example is the line in which a key is commented out, before another section
// is; -1 if there is none.
func example(lines []string, key string) int {
	for i, line := range lines {
		if m := commentedKey.FindStringSubmatch(line); m != nil && m[1] == key {
			return i
		}
		if key != "runner" && commentedSection.MatchString(line) {
			break
		}
	}
	return -1
}

// becomes takes an edit if it makes the key as wanted and nothing else different.
func (f *configText) becomes(edited, key string, wanted func(Config) bool) bool {
	before, errBefore := parseYAML([]byte(f.text))
	after, errAfter := parseYAML([]byte(edited))
	c, err := ParseConfig([]byte(edited))
	if errBefore != nil || errAfter != nil || err != nil || !wanted(c) || c.unreadable(key) {
		return false
	}
	now := configText{edited, f.eol}
	if _, err := now.document(); err != nil || !same(without(before, key), without(after, key)) {
		return false
	}
	f.text = edited
	return true
}

// without is a configuration without one key of runner, and without a runner of
// which that leaves nothing.
func without(root *yaml.Node, key string) *yaml.Node {
	return filtered(root, "runner", func(runner *yaml.Node) *yaml.Node {
		rest := filtered(runner, key, func(*yaml.Node) *yaml.Node { return nil })
		if len(rest.Content) == 0 && (rest.Kind == yaml.MappingNode || rest.Tag == "!!null") {
			return nil
		}
		return rest
	})
}

// filtered is a mapping in which another value is at a key, or none.
func filtered(n *yaml.Node, key string, other func(*yaml.Node) *yaml.Node) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return n
	}
	rest := &yaml.Node{Kind: n.Kind, Tag: n.Tag}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind == yaml.ScalarNode && k.Value == key {
			if v = other(v); v == nil {
				continue
			}
		}
		rest.Content = append(rest.Content, k, v)
	}
	return rest
}

// same compares trees in which aliases are written out.
func same(a, b *yaml.Node) bool {
	return a.Kind == b.Kind && a.Tag == b.Tag && a.Value == b.Value && slices.EqualFunc(a.Content, b.Content, same)
}

// offset is where a node begins in the text. Columns count characters.
func (f *configText) offset(n *yaml.Node) (int, bool) {
	at := 0
	for range n.Line - 1 {
		end := strings.IndexByte(f.text[at:], '\n')
		if end < 0 {
			return 0, false
		}
		at += end + 1
	}
	for range n.Column - 1 {
		_, size := utf8.DecodeRuneInString(f.text[at:])
		at += size
	}
	return at, at < len(f.text)
}

// span is where a scalar stands that has its value's text on one line, plain or
// in quotes; false for any other, as one with an anchor, a tag or an escape.
func (f *configText) span(n *yaml.Node) (at, end int, ok bool) {
	at, ok = f.offset(n)
	if !ok || n.Kind != yaml.ScalarNode || n.Value == "" && n.Style == 0 {
		return 0, 0, false
	}
	raw := n.Value
	switch n.Style {
	case 0:
	case yaml.SingleQuotedStyle:
		raw = "'" + raw + "'"
	case yaml.DoubleQuotedStyle:
		raw = `"` + raw + `"`
	default:
		return 0, 0, false
	}
	return at, at + len(raw), strings.HasPrefix(f.text[at:], raw) && !strings.Contains(raw, "\n")
}

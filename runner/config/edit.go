package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"hostguard/runner/yamltree"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Want holds the wanted settings of a config.yaml. Settings that are zero do not change.
type Want struct {
	Capacity        int
	ShutdownTimeout time.Duration
	Labels          []string // all of them, in any order

	Registration  string // runner.file
	EnvFile       string // runner.env_file
	CacheDir      string // cache.dir
	WorkdirParent string // host.workdir_parent
}

// Edit changes the settings of a config.yaml, and returns a description of each change:
// none if the file has the settings already or by default, and then edited is data.
//
// Each value is found by its position and replaced in the text, since writing the file
// from its tree would lose blank lines and break commented-out examples. The result is
// parsed again: every other value must be as before, or the edit is refused with the
// line to change by hand. Only the bytes of values change, and only the comment behind
// a removed label is removed.
func Edit(data []byte, want Want) (edited []byte, changes []string, err error) {
	for _, l := range want.Labels {
		if l == "" || strings.TrimSpace(l) != l || strings.Contains(l, ",") {
			return nil, nil, fmt.Errorf("%.200q is not a label; give one without commas and surrounding blanks", l)
		}
	}
	text, bom := bytes.CutPrefix(data, []byte("\ufeff"))
	f := configText{text: string(text), eol: "\n", section: "runner"}
	if first, _, _ := strings.Cut(f.text, "\n"); strings.HasSuffix(first, "\r") {
		f.eol = "\r\n"
	}
	open := f.text != "" && !strings.HasSuffix(f.text, "\n")
	if open {
		f.text += f.eol
	}
	// A new key goes to the top of its mapping, so the last one is added first.
	if len(want.Labels) > 0 {
		if changes, err = f.editLabels(want.Labels); err != nil {
			return nil, nil, err
		}
	}
	scalar := func(section, key, text string, meaning func(Config) string) {
		var change []string
		if err == nil && text != "" {
			f.section = section
			change, err = f.editScalar(key, text, meaning)
			changes = append(change, changes...)
		}
	}
	scalar("host", "workdir_parent", want.WorkdirParent, func(c Config) string { return c.WorkdirParent })
	scalar("cache", "dir", want.CacheDir, func(c Config) string { return c.CacheDir })
	scalar("runner", "env_file", want.EnvFile, func(c Config) string { return c.EnvFile })
	if want.ShutdownTimeout != 0 {
		scalar("runner", "shutdown_timeout", Duration(want.ShutdownTimeout),
			func(c Config) string { return Duration(c.ShutdownTimeout) })
	}
	if want.Capacity != 0 {
		scalar("runner", "capacity", strconv.Itoa(want.Capacity),
			func(c Config) string { return strconv.Itoa(c.Capacity) })
	}
	scalar("runner", "file", want.Registration, func(c Config) string { return c.Registration })
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

// editScalar sets a key to a value, and returns a description of the change, if any.
func (f *configText) editScalar(key, text string, meaning func(Config) string) ([]string, error) {
	c, err := Parse([]byte(f.text))
	if err != nil {
		return nil, err
	}
	is := meaning(c)
	was := "is " + cmp.Or(scalarOf(is), "empty")
	if f.section == "runner" && c.unreadable(key) {
		is, was = "", "is not readable"
	}
	if is == text {
		return nil, nil
	}
	if root, err := yamltree.Parse([]byte(f.text)); err == nil &&
		yamltree.Value(yamltree.Value(root, f.section), key) == nil {
		was = "not set"
		if is != "" {
			was += ", which means " + is
		}
	}
	change := fmt.Sprintf("set %s.%s to %s (%s)", f.section, key, scalarOf(text), was)
	return []string{change}, f.setScalar(key, scalarOf(text), func(c Config) bool { return meaning(c) == text })
}

// scalarOf returns a text as a YAML scalar, quoted if it could mean something else.
func scalarOf(text string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-"
	if strings.Trim(text, plain) == "" && !strings.HasPrefix(text, "-") {
		return text
	}
	return strconv.Quote(text)
}

// unreadable reports whether a key of runner is a problem.
func (c Config) unreadable(key string) bool {
	return slices.ContainsFunc(c.Problems, func(p string) bool { return strings.HasPrefix(p, "runner."+key+" ") })
}

// configText is a config.yaml between two edits. It ends with a newline.
type configText struct {
	text, eol string
	section   string // the section to edit
}

// document returns the only document of the file, with aliases not expanded.
func (f *configText) document() (*yaml.Node, error) {
	if strings.Count(f.text, "\r") != strings.Count(f.text, "\r\n") ||
		strings.ContainsAny(f.text, "\u0085\u2028\u2029") || !utf8.ValidString(f.text) {
		return nil, errors.New("its lines do not all end in LF or CRLF, or it is not UTF-8")
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
		return nil, yamltree.ErrNoMapping
	}
	return root, nil
}

// entry returns a key of a mapping and its value, without expanding aliases; nil, nil if
// there is none.
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
		err = nil // a mapping's own keys take precedence over merged ones
	}
	return k, v, err
}

// byHand returns the refusal of an edit, with the change to make by hand.
func (f *configText) byHand(key, text string, line int, why error) error {
	where := ""
	if line > 0 {
		where = fmt.Sprintf(" in line %d", line)
	}
	return fmt.Errorf("%s.%s cannot be changed safely: %w; change it by hand%s, to %s", f.section, key, why, where,
		text)
}

var (
	errNotPlain  = errors.New("it is not a plain value on one line")
	errElsewhere = errors.New("that would change something else as well")
	errNoPlace   = errors.New("no safe place for it was found")
)

// setScalar sets a key of the section to a scalar.
func (f *configText) setScalar(key, text string, wanted func(Config) bool) error {
	line := key + ": " + text
	root, err := f.document()
	if err != nil {
		return f.byHand(key, line, 0, err)
	}
	runner, k, v, err := f.find(root, key)
	if err != nil {
		return f.byHand(key, line, lineOf(runner), err)
	}
	if k == nil {
		return f.insert(root, runner, key, line, []string{line}, wanted)
	}
	var edited string
	if v.Value == "" && v.Style == 0 && v.ShortTag() == "!!null" {
		_, colon, ok := f.span(k)
		if !ok || !strings.HasPrefix(f.text[colon:], ":") {
			return f.byHand(key, line, k.Line, errNotPlain)
		}
		edited = f.text[:colon+1] + " " + text + f.text[colon+1:]
	} else {
		at, end, ok := f.span(v)
		if !ok {
			return f.byHand(key, line, k.Line, errNotPlain)
		}
		edited = f.text[:at] + text + f.text[end:]
	}
	if !f.accept(edited, key, wanted) {
		return f.byHand(key, line, k.Line, errElsewhere)
	}
	return nil
}

// find returns a key of the section and its value. section is the key of the section
// itself, or nil if there is none.
func (f *configText) find(root *yaml.Node, key string) (section, k, v *yaml.Node, err error) {
	k, v, err = entry(root, f.section)
	switch {
	case err != nil || k == nil:
		return nil, nil, nil, err
	case v.Kind == yaml.ScalarNode && v.ShortTag() == "!!null":
		return k, nil, nil, nil
	case v.Kind != yaml.MappingNode:
		return k, nil, nil, fmt.Errorf("%s is not a mapping of its own", f.section)
	}
	section = k
	if k, v, err = entry(v, key); err != nil {
		return section, nil, nil, err
	}
	return section, k, v, nil
}

func lineOf(n *yaml.Node) int {
	if n == nil {
		return 0
	}
	return n.Line
}

// insert adds a key to the section, as lines of which the first has the key, and the
// section itself if it is missing: above its commented-out example, or else at the top
// of the mapping, or at the end of the file.
func (f *configText) insert(
	root, section *yaml.Node, key, byhand string, add []string, wanted func(Config) bool,
) error {
	lines := strings.SplitAfter(f.text, "\n")
	lines = lines[:len(lines)-1] // the empty string after the last newline
	var places []int
	indent := 0
	if len(root.Content) > 0 {
		indent = root.Content[0].Column - 1
	}
	if section == nil {
		add = append([]string{f.section + ":"}, indented(add, 2)...)
		if at := f.example(lines, f.section); at >= 0 {
			places = append(places, at)
		}
		places = append(places, len(lines))
	} else {
		_, v, _ := entry(root, f.section)
		indent = section.Column + 1
		if v.Kind == yaml.MappingNode && len(v.Content) > 0 {
			indent = v.Content[0].Column - 1
		}
		last := len(lines)
		for i := 0; i < len(root.Content); i += 2 {
			if line := root.Content[i].Line; line > section.Line {
				last = min(last, line-1)
			}
		}
		if at := f.example(lines[section.Line:last], key); at >= 0 {
			places = append(places, section.Line+at)
		}
		places = append(places, section.Line)
	}
	var text strings.Builder
	for _, line := range indented(add, indent) {
		text.WriteString(line + f.eol)
	}
	for _, at := range places {
		if f.accept(strings.Join(slices.Insert(slices.Clone(lines), at, text.String()), ""), key, wanted) {
			return nil
		}
	}
	if section != nil {
		return f.byHand(key, byhand+" below "+f.section, section.Line, errNoPlace)
	}
	return f.byHand(key, byhand+" below a new key "+f.section, 0, errNoPlace)
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

// example returns the index of the line with a commented-out key, before the next
// commented-out section; -1 if there is none.
func (f *configText) example(lines []string, key string) int {
	for i, line := range lines {
		if m := commentedKey.FindStringSubmatch(line); m != nil && m[1] == key {
			return i
		}
		if key != f.section && commentedSection.MatchString(line) {
			break
		}
	}
	return -1
}

// accept keeps an edit that sets key as wanted and changes no other value.
func (f *configText) accept(edited, key string, wanted func(Config) bool) bool {
	before, errBefore := yamltree.Parse([]byte(f.text))
	after, errAfter := yamltree.Parse([]byte(edited))
	c, err := Parse([]byte(edited))
	if errBefore != nil || errAfter != nil || err != nil || !wanted(c) || f.section == "runner" && c.unreadable(key) {
		return false
	}
	now := configText{text: edited, eol: f.eol}
	if _, err := now.document(); err != nil || !same(f.without(before, key), f.without(after, key)) {
		return false
	}
	f.text = edited
	return true
}

// without returns a configuration without one key of the section, and without the
// section if it has no other keys.
func (f *configText) without(root *yaml.Node, key string) *yaml.Node {
	return filtered(root, f.section, func(section *yaml.Node) *yaml.Node {
		rest := filtered(section, key, func(*yaml.Node) *yaml.Node { return nil })
		if len(rest.Content) == 0 && (rest.Kind == yaml.MappingNode || rest.Tag == "!!null") {
			return nil
		}
		return rest
	})
}

// filtered returns a mapping in which other replaces the value of a key, or removes it.
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

// same compares trees whose aliases are expanded.
func same(a, b *yaml.Node) bool {
	return a.Kind == b.Kind && a.Tag == b.Tag && a.Value == b.Value && slices.EqualFunc(a.Content, b.Content, same)
}

// offset returns the position of a node in the text. Columns count characters.
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

// span returns the position of a scalar whose text is its value on one line, plain or
// in quotes; false for any other, such as one with an anchor, a tag or an escape.
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

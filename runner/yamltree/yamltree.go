// Package yamltree parses untrusted YAML into a tree of nodes, within bounds, and looks
// up values in it. A missing value, or one of another kind, is nil, "" or no items.
package yamltree

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Limits of a file. Real ones have some kilobytes and hundreds of nodes.
const (
	MaxFile   = 1 << 20
	maxNodes  = 50_000
	maxNested = 64
)

// Parse parses one document. Aliases and merge keys are expanded, within a limit:
// otherwise a few lines of aliases to aliases would become gigabytes.
func Parse(data []byte) (*yaml.Node, error) {
	if len(data) > MaxFile {
		return nil, fmt.Errorf("%d bytes, more than the limit of %d", len(data), MaxFile)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) == 0 {
		return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}, nil
	}
	left := budget{maxNodes, MaxFile}
	return expand(doc.Content[0], 0, &left)
}

var errTooMuch = fmt.Errorf("more than %d nodes, %d levels or %d bytes of text, with aliases expanded", maxNodes,
	maxNested, MaxFile)

// budget is the number of nodes and bytes of text that may follow.
type budget struct{ nodes, bytes int }

// expand returns a copy of a tree with aliases and merge keys expanded. What an alias
// stood for has its name as Anchor.
func expand(n *yaml.Node, level int, left *budget) (*yaml.Node, error) {
	alias := ""
	for n.Kind == yaml.AliasNode {
		alias, n = n.Value, n.Alias
	}
	left.nodes--
	left.bytes -= len(n.Value)
	if left.nodes < 0 || left.bytes < 0 || level > maxNested {
		return nil, errTooMuch
	}
	out := &yaml.Node{Kind: n.Kind, Tag: n.ShortTag(), Value: n.Value, Line: n.Line, Anchor: alias}
	for i := 0; i < len(n.Content); i++ {
		merge := n.Kind == yaml.MappingNode && i%2 == 0 && n.Content[i].ShortTag() == "!!merge"
		if merge {
			i++
		}
		child, err := expand(n.Content[i], level+1, left)
		if err != nil {
			return nil, err
		}
		if !merge {
			out.Content = append(out.Content, child)
			continue
		}
		// Before the keys of the mapping itself, so that Value finds those.
		for _, from := range Mappings(child) {
			out.Content = append(from.Content[:len(from.Content):len(from.Content)], out.Content...)
		}
	}
	return out, nil
}

// Mappings returns a mapping itself, or the mappings of a list.
func Mappings(n *yaml.Node) []*yaml.Node {
	switch n.Kind {
	case yaml.MappingNode:
		return []*yaml.Node{n}
	case yaml.SequenceNode:
		var all []*yaml.Node
		for _, item := range n.Content {
			if item.Kind == yaml.MappingNode {
				all = append(all, item)
			}
		}
		return all
	}
	return nil
}

// Value returns the last value of a key in a mapping, or nil.
func Value(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := len(n.Content) - 2; i >= 0; i -= 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// Text returns a scalar's text; "" for anything else, and for null.
func Text(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return ""
	}
	return n.Value
}

// Texts returns a scalar, or the scalars of a list.
func Texts(n *yaml.Node) []string {
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		n = &yaml.Node{Content: []*yaml.Node{n}}
	}
	var all []string
	for _, item := range n.Content {
		if s := Text(item); s != "" {
			all = append(all, s)
		}
	}
	return all
}

// Pair is one key of a mapping.
type Pair struct {
	Key   string
	Value *yaml.Node
}

// Pairs returns the keys of a mapping, each once, in the order of the file.
func Pairs(n *yaml.Node) []Pair {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	var all []Pair
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		p := Pair{n.Content[i].Value, n.Content[i+1]}
		if at, again := seen[p.Key]; again {
			all[at] = p
			continue
		}
		seen[p.Key] = len(all)
		all = append(all, p)
	}
	return all
}

// ErrNoMapping reports a document that is not a mapping.
var ErrNoMapping = errors.New("not a YAML mapping")

// quotedValue is the beginning of a value in an error of the YAML library, which may be
// a secret.
var quotedValue = regexp.MustCompile(" `[^`]*`")

// Reason returns an error of the YAML library in one line and without values.
func Reason(err error) error {
	var types *yaml.TypeError
	if !errors.As(err, &types) {
		return err
	}
	return errors.New(quotedValue.ReplaceAllString(strings.Join(types.Errors[:min(len(types.Errors), 3)], "; "), ""))
}

// ErrorAt returns an error that begins with the node's line.
func ErrorAt(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("line %d: %s", max(1, n.Line), fmt.Sprintf(format, args...))
}

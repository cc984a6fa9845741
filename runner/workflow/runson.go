package workflow

import (
	"fmt"
	"hostguard/runner/yamltree"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Limits of a matrix: its legs, by GitHub's limit, and its keys, of which real ones have
// a handful. Without them a file of 190 kB takes a minute.
const (
	maxCombinations = 256
	maxKeys         = 64
)

// demands returns the different sets of labels of a job's runs-on, over its matrix.
func demands(runsOn, matrix *yaml.Node) []Demand {
	written := yamltree.Texts(runsOn)
	labels, group := yamltree.Value(runsOn, "labels"), yamltree.Text(yamltree.Value(runsOn, "group"))
	if labels != nil || group != "" {
		written = yamltree.Texts(labels)
		if group != "" { // to Gitea it is one more label
			written = append(written, group)
		}
	}
	if len(written) == 0 {
		return []Demand{{Unresolved: "the job has no runs-on"}}
	}
	if !slices.ContainsFunc(written, hasExpression) {
		return []Demand{{Labels: written, Alias: runsOn.Anchor}}
	}
	legs, err := combinations(matrix)
	if err != nil {
		return []Demand{{Labels: written, Unresolved: err.Error()}}
	}
	var all []Demand
	for _, leg := range legs {
		d := resolve(written, leg)
		same := func(o Demand) bool { return o.Unresolved == d.Unresolved && slices.Equal(o.Labels, d.Labels) }
		if !slices.ContainsFunc(all, same) {
			all = append(all, d)
		}
	}
	return all
}

func hasExpression(s string) bool { return strings.Contains(s, "${{") }

var (
	expression = regexp.MustCompile(`\$\{\{\s*(.*?)\s*\}\}`)
	ofMatrix   = regexp.MustCompile(`^matrix((?:\.[A-Za-z_][A-Za-z0-9_-]*|\['[^']+'\])+)$`)
	part       = regexp.MustCompile(`\.([^.\[]+)|\['([^']+)'\]`)
)

// resolve evaluates the labels for one leg of the matrix. A list in a leg is several
// labels.
func resolve(written []string, leg map[string]*yaml.Node) Demand {
	d := Demand{}
	for _, label := range written {
		if whole := expression.FindString(label); whole == strings.TrimSpace(label) {
			values := yamltree.Texts(valueOf(whole, leg))
			if len(values) == 0 || slices.ContainsFunc(values, hasExpression) {
				return Demand{Labels: written, Unresolved: fmt.Sprintf("%.100s has no value in this file", whole)}
			}
			d.Labels = append(d.Labels, values...)
			continue
		}
		unknown := ""
		d.Labels = append(d.Labels, expression.ReplaceAllStringFunc(label, func(e string) string {
			v := yamltree.Text(valueOf(e, leg))
			if v == "" || hasExpression(v) {
				unknown = e
			}
			return v
		}))
		if unknown != "" {
			return Demand{Labels: written, Unresolved: fmt.Sprintf("%.100s has no value in this file", unknown)}
		}
	}
	return d
}

// valueOf returns the value of an expression such as matrix.config.os in a leg, or nil.
func valueOf(e string, leg map[string]*yaml.Node) *yaml.Node {
	m := ofMatrix.FindStringSubmatch(expression.FindStringSubmatch(e)[1])
	if m == nil {
		return nil
	}
	var value *yaml.Node
	for i, key := range part.FindAllStringSubmatch(m[1], -1) {
		if name := key[1] + key[2]; i == 0 {
			value = leg[name]
		} else {
			value = yamltree.Value(value, name)
		}
	}
	return value
}

// combinations returns the legs of a matrix: the product of its lists, without the legs
// that exclude names, and with what include adds to legs or as legs of their own.
func combinations(matrix *yaml.Node) ([]map[string]*yaml.Node, error) {
	legs := []map[string]*yaml.Node{{}}
	names := map[string]bool{}
	for _, p := range yamltree.Pairs(matrix) {
		if p.Key == "include" || p.Key == "exclude" {
			continue
		}
		if p.Value.Kind != yaml.SequenceNode {
			continue // an expression, whose value is not in the file
		}
		if names[p.Key] = true; len(names) > maxKeys {
			return nil, fmt.Errorf("its matrix has more than %d keys", maxKeys)
		}
		var more []map[string]*yaml.Node
		for _, leg := range legs {
			for _, v := range p.Value.Content {
				if len(more) == maxCombinations {
					return nil, fmt.Errorf("its matrix has more than %d legs", maxCombinations)
				}
				more = append(more, with(leg, p.Key, v))
			}
		}
		legs = more
	}
	includes, excludes := entries(yamltree.Value(matrix, "include")), entries(yamltree.Value(matrix, "exclude"))
	if max(len(includes), len(excludes)) > maxCombinations {
		return nil, fmt.Errorf("its matrix has more than %d entries to include or exclude", maxCombinations)
	}
	legs = slices.DeleteFunc(legs, func(leg map[string]*yaml.Node) bool {
		return slices.ContainsFunc(excludes, func(e []yamltree.Pair) bool { return len(e) > 0 && matches(leg, e, names) })
	})
	product := legs
	for _, e := range includes {
		alone := true
		for _, leg := range product {
			if len(names) > 0 && matches(leg, e, names) {
				add(leg, e)
				alone = false
			}
		}
		if !alone {
			continue
		}
		if len(legs) == maxCombinations {
			return nil, fmt.Errorf("its matrix has more than %d legs", maxCombinations)
		}
		leg := map[string]*yaml.Node{}
		add(leg, e)
		legs = append(slices.Clip(legs), leg)
	}
	if len(names) == 0 && len(legs) > 1 {
		legs = legs[1:] // of include alone: the empty product is no leg
	}
	return legs, nil
}

// entries returns the items of include or exclude.
func entries(n *yaml.Node) (all [][]yamltree.Pair) {
	if n != nil {
		for _, entry := range yamltree.Mappings(n) {
			all = append(all, yamltree.Pairs(entry))
		}
	}
	return all
}

func add(leg map[string]*yaml.Node, entry []yamltree.Pair) {
	for _, p := range entry {
		leg[p.Key] = p.Value
	}
}

func with(leg map[string]*yaml.Node, key string, v *yaml.Node) map[string]*yaml.Node {
	more := maps.Clone(leg)
	more[key] = v
	return more
}

// matches reports whether entry has leg's value for every matrix key it names.
func matches(leg map[string]*yaml.Node, entry []yamltree.Pair, names map[string]bool) bool {
	for _, p := range entry {
		if names[p.Key] && !equal(leg[p.Key], p.Value) {
			return false
		}
	}
	return true
}

// equal compares two values, which may be mappings: {os: x} is not {os: y}.
func equal(a, b *yaml.Node) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Kind == b.Kind && a.Value == b.Value && slices.EqualFunc(a.Content, b.Content, equal)
}

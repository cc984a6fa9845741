package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// editLabels sets runner.labels, without changing the items that stay.
func (f *configText) editLabels(labels []string) ([]string, error) {
	c, err := Parse([]byte(f.text))
	if err != nil {
		return nil, err
	}
	var has []string
	for _, l := range c.Labels {
		has = append(has, l.Full)
	}
	var changes []string
	for _, l := range labels {
		if !slices.Contains(has, l) {
			changes = append(changes, fmt.Sprintf("add %.200q to runner.labels", l))
		}
	}
	for _, l := range has {
		if !slices.Contains(labels, l) {
			changes = append(changes, fmt.Sprintf("remove %.200q from runner.labels", l))
		}
	}
	if changes == nil {
		return nil, nil
	}
	return changes, f.setLabels(labels)
}

func (f *configText) setLabels(labels []string) error {
	const key = "labels"
	wanted := func(c Config) bool {
		for _, l := range labels {
			if !slices.ContainsFunc(c.Labels, func(has Label) bool { return has.Full == l }) {
				return false
			}
		}
		return !slices.ContainsFunc(c.Labels, func(has Label) bool { return !slices.Contains(labels, has.Full) })
	}
	quoted := make([]string, 0, len(labels))
	for _, l := range labels {
		quoted = append(quoted, strconv.Quote(l))
	}
	byhand := key + ": [" + strings.Join(quoted, ", ") + "]"
	root, err := f.document()
	if err != nil {
		return f.byHand(key, byhand, 0, err)
	}
	runner, k, v, err := f.find(root, key)
	if err != nil {
		return f.byHand(key, byhand, lineOf(runner), err)
	}
	if k == nil {
		return f.insert(root, runner, key, byhand, append([]string{key + ":"}, listed(quoted, 2)...), wanted)
	}
	var edited string
	switch {
	case v.Kind == yaml.SequenceNode && v.Style&yaml.FlowStyle != 0:
		edited, err = f.flowList(v, labels)
	case v.Kind == yaml.SequenceNode:
		edited, err = f.blockList(v, labels)
	case v.Kind == yaml.ScalarNode && v.Value == "" && v.Style == 0:
		edited = f.below(k.Line, listed(quoted, k.Column+1))
	default:
		err = errors.New("it is not a list of its own")
	}
	if err == nil && !f.accept(edited, key, wanted) {
		err = errElsewhere
	}
	if err != nil {
		return f.byHand(key, byhand, k.Line, err)
	}
	return nil
}

// listed returns the items of a block list.
func listed(quoted []string, indent int) []string {
	var lines []string
	for _, q := range quoted {
		lines = append(lines, strings.Repeat(" ", indent)+"- "+q)
	}
	return lines
}

// below returns the text with more lines inserted after one.
func (f *configText) below(line int, more []string) string {
	lines := strings.SplitAfter(f.text, "\n")
	var all strings.Builder
	for _, m := range more {
		all.WriteString(m + f.eol)
	}
	return strings.Join(slices.Insert(lines, line, all.String()), "")
}

// splitLabels returns which items of a list stay, and the labels that none of these has.
// One item may hold several labels, separated by commas.
func splitLabels(list *yaml.Node, labels []string) (stays []bool, missing []string, err error) {
	missing = slices.Clone(labels)
	for _, item := range list.Content {
		if item.Kind != yaml.ScalarNode {
			return nil, nil, fmt.Errorf("line %d of the list is not a text of its own", item.Line)
		}
		var c Config
		if item.ShortTag() != "!!null" {
			c.addLabels(item.Value)
		}
		stay := !slices.ContainsFunc(c.Labels, func(l Label) bool { return !slices.Contains(labels, l.Full) })
		stays = append(stays, stay)
		if stay {
			missing = slices.DeleteFunc(missing, func(l string) bool {
				return slices.ContainsFunc(c.Labels, func(has Label) bool { return has.Full == l })
			})
		}
	}
	return stays, missing, nil
}

// blockList returns the text without the lines of removed items, and with new items
// after the last one.
func (f *configText) blockList(list *yaml.Node, labels []string) (string, error) {
	stays, missing, err := splitLabels(list, labels)
	if err != nil {
		return "", err
	}
	lines := strings.SplitAfter(f.text, "\n")
	indent, last := 0, 0
	for i, item := range list.Content {
		at, end, ok := f.span(item)
		start := strings.LastIndexByte(f.text[:at], '\n') + 1
		dash := strings.TrimRight(f.text[start:at], " \t")
		switch {
		case stays[i] && i+1 < len(list.Content): // its form is irrelevant
		case !ok || strings.TrimLeft(dash, " ") != "-" || !onlyComment(f.text[end:]):
			return "", fmt.Errorf("line %d of the list is not a plain item on a line of its own", item.Line)
		}
		if !stays[i] {
			lines[item.Line-1] = ""
		}
		indent, last = len(dash)-1, item.Line
	}
	var quoted []string
	for _, l := range missing {
		quoted = append(quoted, strconv.Quote(l))
	}
	var more strings.Builder
	for _, line := range listed(quoted, indent) {
		more.WriteString(line + f.eol)
	}
	lines[last-1] += more.String()
	return strings.Join(lines, ""), nil
}

// onlyComment reports whether the rest of a line is empty or a comment.
func onlyComment(text string) bool {
	rest, _, _ := strings.Cut(text, "\n")
	trimmed := strings.Trim(rest, " \t\r")
	return trimmed == "" || trimmed[0] == '#' && rest[0] != '#'
}

// flowList returns the text with a new list in brackets, on one line.
func (f *configText) flowList(list *yaml.Node, labels []string) (string, error) {
	stays, missing, err := splitLabels(list, labels)
	if err != nil {
		return "", err
	}
	errForm := errors.New("it is not a plain list on one line")
	start, ok := f.offset(list)
	if !ok || f.text[start] != '[' {
		return "", errForm
	}
	var items []string
	at := start + 1
	for i, item := range list.Content {
		begin, end, ok := f.span(item)
		if !ok || begin < at || strings.Trim(f.text[at:begin], " \t,") != "" {
			return "", errForm
		}
		if stays[i] {
			items = append(items, f.text[begin:end])
		}
		at = end
	}
	between, _, found := strings.Cut(f.text[at:], "]")
	if !found || strings.Trim(between, " \t,") != "" {
		return "", errForm
	}
	for _, l := range missing {
		items = append(items, strconv.Quote(l))
	}
	return f.text[:start+1] + strings.Join(items, ", ") + f.text[at+len(between):], nil
}

package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Label is one label of a runner's configuration, such as
// "ubuntu-latest:docker://image" or "awoooi-host:host".
type Label struct {
	Name   string
	Schema string // host, docker, or another
	Full   string
}

// ParseLabel parses a label as the runner does: the default schema is host.
func ParseLabel(s string) Label {
	l := Label{Full: s}
	parts := strings.SplitN(s, ":", 3)
	l.Name, l.Schema = parts[0], "host"
	if len(parts) > 1 {
		l.Schema = parts[1]
	}
	return l
}

// Shared is the owner of labels that belong to nobody.
const Shared = "shared"

// shared are the first words of labels that name a system or a machine, not an
// owner.
var shared = []string{
	"alpine", "amd64", "any", "arm", "arm64", "centos", "debian", "default", "docker", "fedora", "gpu", "host", "latest",
	"linux", "mac", "macos", "node", "self", "shared", "ubuntu", "windows", "x64", "x86",
}

// OwnerOf returns the owner of a label: the first word of its name ("awoooi" of
// "awoooi-host"), or Shared.
func OwnerOf(name string) string {
	word := strings.ToLower(name)
	if end := strings.IndexFunc(word, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }); end >= 0 {
		word = word[:end] // the word becomes part of a path, too
	}
	if word == "" || slices.Contains(shared, strings.TrimRight(word, "0123456789")) || slices.Contains(shared, word) {
		return Shared
	}
	return word
}

// OwnersOf returns the owners of labels, in their order.
func OwnersOf(labels []Label) []string {
	var owners []string
	for _, l := range labels {
		if o := OwnerOf(l.Name); !slices.Contains(owners, o) {
			owners = append(owners, o)
		}
	}
	return owners
}

// MostCommonOwner returns the owner of most labels, the first among equals, or "".
func MostCommonOwner(labels []Label) string {
	var order []string
	count := map[string]int{}
	for _, l := range labels {
		if o := OwnerOf(l.Name); o != Shared {
			if count[o]++; count[o] == 1 {
				order = append(order, o)
			}
		}
	}
	if len(order) == 0 {
		return ""
	}
	return slices.MaxFunc(order, func(a, b string) int {
		return cmp.Or(cmp.Compare(count[a], count[b]), cmp.Compare(slices.Index(order, b), slices.Index(order, a)))
	})
}

// ClassOf returns the class of a label for an owner: shared_queue, OWN_dedicated or
// foreign_dedicated.
func ClassOf(name, own string) string {
	switch o := OwnerOf(name); o {
	case Shared:
		return "shared_queue"
	case strings.ToLower(own):
		return o + "_dedicated"
	}
	return "foreign_dedicated"
}

// Foreign returns the labels that belong to another owner.
func Foreign(labels []Label, own string) []Label {
	var foreign []Label
	for _, l := range labels {
		if ClassOf(l.Name, own) == "foreign_dedicated" {
			foreign = append(foreign, l)
		}
	}
	return foreign
}

// CheckLabels refuses labels that a runner would not accept.
func CheckLabels(labels []string) error {
	seen := map[string]bool{}
	for _, s := range labels {
		l := ParseLabel(s)
		switch {
		case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || unicode.IsSpace(r) }) || l.Name == "":
			return fmt.Errorf("%.200q is not a label; it must be NAME:host or NAME:docker://IMAGE", s)
		case l.Schema != "host" && l.Schema != "docker":
			return fmt.Errorf("label %.200q is neither :host nor :docker://IMAGE", s)
		case seen[l.Name]:
			return fmt.Errorf("duplicate label %.200q", l.Name)
		}
		seen[l.Name] = true
	}
	return nil
}

// Removed returns the names that a runner would lose with other labels.
func Removed(have []Label, want []string) []string {
	var names []string
	for _, l := range have {
		if !slices.ContainsFunc(want, func(w string) bool { return ParseLabel(w).Name == l.Name }) &&
			!slices.Contains(names, l.Name) {
			names = append(names, l.Name)
		}
	}
	return names
}

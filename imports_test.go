package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// leaves are packages of the standard library alone that any other may use: what is
// known of runners' names, of identifiers, of files that strangers may have put there and
// of processes that open them is known once.
var leaves = []string{"hostguard/internal/actrunner", "hostguard/internal/hexid", "hostguard/internal/mounts",
	"hostguard/internal/privsep", "hostguard/internal/safefile"}

// The parts that decide over locks and deletions depend on nothing that others
// write, the runner's reads YAML and shell, and no domain package depends on another. All may
// use the leaves. Within the runner's, a reader knows no judge.
func TestDomainPackagesKeepToTheStandardLibrary(t *testing.T) {
	const yaml = "go.yaml.in/yaml/v3"
	const syntax, fileutil = "mvdan.cc/sh/v3/syntax", "mvdan.cc/sh/v3/fileutil" // the one imports the other
	const yamltree, finding = "hostguard/runner/yamltree", "hostguard/runner/finding"
	const config, shell = "hostguard/runner/config", "hostguard/runner/shell"
	for domain, may := range map[string][]string{
		"lock": nil, "clean": nil, "pressure": nil, "history": nil,
		"observe": {"hostguard/history"}, "page": {"hostguard/history"},
		"internal/actrunner": nil, "internal/hexid": nil, "internal/mounts": nil, "internal/privsep": nil,
		"internal/safefile": nil,
		"runner/finding":    nil, "runner/shell": {syntax, fileutil}, "runner/yamltree": {yaml},
		"runner/config":   {yaml, yamltree},
		"runner/workflow": {yaml, syntax, fileutil, yamltree, finding, config, shell},
		"runner":          {yaml, syntax, fileutil, yamltree, finding, config, shell, "hostguard/runner/workflow"},
	} {
		out, err := exec.Command("go", "list", "-deps", "./"+domain).Output()
		if err != nil {
			t.Fatal(err)
		}
		may = append(append(may, "hostguard/"+domain), leaves...)
		for path := range strings.FieldsSeq(string(out)) {
			first, _, _ := strings.Cut(path, "/")
			standard := !strings.Contains(first, ".") && first != "hostguard" // or vendored into it
			if !standard && !slices.Contains(may, path) {
				t.Errorf("%s imports %s", domain, path)
			}
		}
	}
}

// rooms are those that are made of others, each with what it may import of this
// module beside the packages above and the adapters.
var rooms = map[string][]string{
	"hostguard": {"hostguard/internal/cli", "hostguard/steps", "hostguard/operate"},
	"hostguard/steps": {"hostguard/internal/cli", "hostguard/internal/lockwire",
		"hostguard/internal/pressurewire"},
	"hostguard/operate": {"hostguard/internal/cli", "hostguard/internal/lockwire",
		"hostguard/internal/pressurewire"},
	"hostguard/internal/pressurewire": {"hostguard/internal/cli", "hostguard/internal/lockwire"},
	"hostguard/internal/lockwire":     {"hostguard/internal/cli"},
	"hostguard/internal/cli":          nil,
	"hostguard/packaging/tree":        {"hostguard/internal/cli", "hostguard/steps", "hostguard/operate"},
}

// main knows the commands, these what they have in common, and nothing knows
// them: what a job calls does not know what an operator calls.
func TestImportsGoOneWay(t *testing.T) {
	for _, fields := range imports(t, "./...") {
		for _, path := range fields[1:] {
			if _, room := rooms[path]; room && !slices.Contains(rooms[fields[0]], path) {
				t.Errorf("%s imports %s", fields[0], path)
			}
		}
	}
	for _, path := range imports(t, "./internal/cli")[0] {
		if strings.HasPrefix(path, "hostguard/") && path != "hostguard/internal/cli" &&
			path != "hostguard/internal/actions" && path != "hostguard/internal/terminal" {
			t.Errorf("internal/cli imports %s", path)
		}
	}
}

// An adapter imports the domain package whose interface it implements, and no
// adapter another; a package of names alone is none.
func TestAdaptersDoNotImportEachOther(t *testing.T) {
	for _, fields := range imports(t, "./internal/...") {
		if _, room := rooms[fields[0]]; room {
			continue
		}
		if i := slices.IndexFunc(fields[1:], func(path string) bool {
			return strings.HasPrefix(path, "hostguard/internal/") && !slices.Contains(leaves, path)
		}); i >= 0 {
			t.Errorf("%s imports %s", fields[0], fields[1+i])
		}
	}
}

// imports lists packages, each with what it imports itself.
func imports(t *testing.T, pattern string) (all [][]string) {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, pattern).Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		all = append(all, strings.Fields(line))
	}
	return all
}

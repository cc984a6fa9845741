package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// leaves are packages of the standard library alone that any other may use: what is
// known of runners' names, of identifiers and of files that strangers may have put
// there is known once.
var leaves = []string{"hostguard/internal/actrunner", "hostguard/internal/hexid", "hostguard/internal/safefile"}

// The parts that decide over locks and deletions depend on nothing that others
// write, the runner's reads YAML, and no domain package depends on another. All may
// use the leaves. Within the runner's, a reader knows no judge.
func TestDomainPackagesKeepToTheStandardLibrary(t *testing.T) {
	const yaml = "go.yaml.in/yaml/v3"
	yamltree, finding, config, shell := "hostguard/runner/yamltree", "hostguard/runner/finding", "hostguard/runner/config", "hostguard/runner/shell"
	for domain, may := range map[string][]string{
		"lock": nil, "clean": nil, "pressure": nil,
		"internal/actrunner": nil, "internal/hexid": nil, "internal/safefile": nil,
		"runner/finding": nil, "runner/shell": nil, "runner/yamltree": {yaml},
		"runner/config":   {yaml, yamltree},
		"runner/workflow": {yaml, yamltree, finding, config, shell},
		"runner":          {yaml, yamltree, finding, config, shell, "hostguard/runner/workflow"},
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

// An adapter imports the domain package whose interface it implements, and no
// adapter another; a package of names alone is none.
func TestAdaptersDoNotImportEachOther(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./internal/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if i := slices.IndexFunc(fields[1:], func(path string) bool {
			return strings.HasPrefix(path, "hostguard/internal/") && !slices.Contains(leaves, path)
		}); i >= 0 {
			t.Errorf("%s imports %s", fields[0], fields[1+i])
		}
	}
}

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"hostguard/internal/cli"
	"hostguard/operate"
	"hostguard/steps"
)

// The JSON of each command is described in docs/schema. Readers have to accept keys that
// a later version adds; here no key is accepted that its schema does not name.

// schemas is where the schemas are, whatever directory a script is in.
var schemas, _ = filepath.Abs("docs/schema")

// checkSchema returns why a text is not one line of the JSON that a schema describes.
func checkSchema(name, text string) error {
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	files, err := filepath.Glob(schemas + "/*.json")
	if err != nil {
		return err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		closeObjects(schema)
		if err := compiler.AddResource(file, schema); err != nil {
			return err
		}
	}
	compiled, err := compiler.Compile(filepath.Join(schemas, name+".json"))
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(text)) // fails at a second value
	if err != nil {
		return err
	}
	return compiled.Validate(value)
}

// closeObjects makes a schema refuse keys that it does not name.
func closeObjects(schema any) {
	switch schema := schema.(type) {
	case map[string]any:
		if _, object := schema["properties"].(map[string]any); object {
			schema["additionalProperties"] = false
		}
		for _, part := range schema {
			closeObjects(part)
		}
	case []any:
		for _, part := range schema {
			closeObjects(part)
		}
	}
}

// schema NAME checks the stdout of the last command.
func schema(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: schema name")
	}
	ts.Check(checkSchema(args[0], ts.ReadFile("stdout")))
}

func TestTheJSONOfEachCommandIsChecked(t *testing.T) {
	var scripts strings.Builder
	for _, dir := range []string{"internal/cli", "steps", "operate"} {
		paths, _ := filepath.Glob(dir + "/testdata/script/*.txtar")
		for _, path := range paths {
			scripts.WriteString(read(t, path))
		}
	}
	want := []string{"plan.json", "version.json"} // plan: of several commands
	for _, cmd := range slices.Concat(steps.Commands(), operate.Commands()) {
		if !slices.ContainsFunc(cmd.New().Inputs(), func(in cli.Input) bool { return in.Name == "json" }) {
			continue
		}
		name := strings.ReplaceAll(cmd.Name, " ", "-")
		want = append(want, name+".json")
		// What a plan prints on a host with systemd and Docker is checked beside it, in operate.
		if plan := strings.Contains(read(t, filepath.Join(schemas, name+".json")), `"$ref": "plan.json"`); !plan &&
			!strings.Contains(scripts.String(), "\nschema "+name+"\n") {
			t.Errorf("no script checks the JSON of %s", cmd.Name)
		}
	}
	var got []string
	files, err := os.ReadDir(schemas)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		got = append(got, f.Name())
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("docs/schema has %q, want %q", got, want)
	}
}

// A reader of docs/json.md gets what the program prints.
func TestTheExamplesOfJSONAreValid(t *testing.T) {
	const page = "docs/json.md"
	files, err := filepath.Glob(schemas + "/*.json")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, section := range strings.Split(read(t, page), "\n## ")[1:] {
		links := link.FindAllStringSubmatch(section, -1)
		blocks := strings.Split(section, "\n```json\n")
		if len(links) == 0 || len(blocks) < 2 {
			t.Errorf("%s: a section without a schema or an example: %.40q", page, section)
			continue
		}
		name := strings.TrimSuffix(filepath.Base(links[0][1]), ".json")
		for _, block := range blocks[1:] {
			example, _, _ := strings.Cut(block, "\n```\n")
			if err := checkSchema(name, example); err != nil {
				t.Errorf("%s, %s: %v", page, name, err)
			}
		}
		for _, target := range links {
			shown[filepath.Base(target[1])] = true
		}
	}
	for _, file := range files {
		if !shown[filepath.Base(file)] {
			t.Errorf("%s has no example of %s", page, filepath.Base(file))
		}
	}
}

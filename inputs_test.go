package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"hostguard/internal/cli"
	"hostguard/operate"
	"hostguard/steps"
)

// Each input is described once, in the table of its command. These tests name what
// actions, shims, README and docs lack of it, or have beside it.

// tables are the inputs of commands.
func tables(commands []cli.Command) map[string][]cli.Input {
	all := map[string][]cli.Input{}
	for _, cmd := range commands {
		all[cmd.Name] = cmd.New().Inputs()
	}
	return all
}

// ofSteps are the inputs that a workflow gives to a step, by name and command.
func ofSteps() map[string]map[string]cli.Input {
	all := map[string]map[string]cli.Input{}
	for _, cmd := range steps.Commands() {
		if !cmd.Step {
			continue
		}
		for _, in := range cmd.New().Inputs() {
			if in.FlagOnly {
				continue
			}
			if all[in.Name] == nil {
				all[in.Name] = map[string]cli.Input{}
			}
			all[in.Name][cmd.Name] = in
		}
	}
	return all
}

func TestATableIsComplete(t *testing.T) {
	for name, inputs := range tables(slices.Concat(steps.Commands(), operate.Commands())) {
		seen := map[string]bool{}
		for _, in := range inputs {
			if seen[in.Name] || in.Text == "" {
				t.Errorf("%s: input %q is there twice, or has no text", name, in.Name)
			}
			seen[in.Name] = true
		}
		s := cli.NewSession(cli.World{Getenv: func(string) string { return "" }}, nil)
		if _, err := s.Read(inputs, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// action is what these tests read of an action.yml.
type action struct {
	Inputs map[string]struct{ Description string }
	Runs   struct {
		Steps []struct{ Env map[string]string }
	}
}

func readAction(t *testing.T, path string) (a action) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = yaml.Unmarshal(data, &a)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestTheActionHasTheInputsOfTheSteps(t *testing.T) {
	a, want := readAction(t, "action.yml"), ofSteps()
	env := a.Runs.Steps[0].Env
	for name, of := range want {
		in, found := a.Inputs[name]
		if !found {
			t.Errorf("action.yml has no input %s", name)
		}
		for command, row := range of {
			if !saysDefault(in.Description, row.Default) {
				t.Errorf("action.yml: the description of %s does not name the default %s of %s", name, row.Default,
					command)
			}
		}
	}
	for name := range a.Inputs {
		if name != "step" && name != "job-status" && want[name] == nil {
			t.Errorf("action.yml: no step has an input %s", name)
		}
		variable := "HOSTGUARD_INPUT_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		if name == "step" {
			variable = "HOSTGUARD_STEP"
		}
		if got, want := env[variable], "${{ inputs."+name+" }}"; got != want {
			t.Errorf("action.yml: %s is %q, want %q", variable, got, want)
		}
		delete(env, variable)
	}
	delete(env, "HOSTGUARD_ACTION")
	for variable := range env {
		t.Errorf("action.yml: %s is the variable of no input", variable)
	}
}

// saysDefault reports whether a text names a default, as its last words or before a
// comma.
func saysDefault(text, value string) bool {
	quoted := regexp.QuoteMeta(value)
	return value == "" || regexp.MustCompile(`[Dd]efault `+quoted+`\b|else `+quoted+`\b`).MatchString(text)
}

func TestTheLockActionHasTheInputsOfAcquireLock(t *testing.T) {
	a := readAction(t, "lock/action.yml")
	var want []string
	for name, of := range ofSteps() {
		row, found := of["acquire-lock"]
		if !found {
			continue
		}
		want = append(want, name)
		if in, found := a.Inputs[name]; !found || !saysDefault(in.Description, row.Default) {
			t.Errorf("lock/action.yml has no input %s, or its description does not name the default %q", name,
				row.Default)
		}
	}
	for name := range a.Inputs {
		if name != "job-status" && !slices.Contains(want, name) {
			t.Errorf("lock/action.yml: acquire-lock has no input %s", name)
		}
	}
	lists := regexp.MustCompile(`for \(const name of \[(.*)\]\)`).FindAllStringSubmatch(read(t, "lock/main.js"), -1)
	if len(lists) != 2 {
		t.Fatalf("lock/main.js has %d lists of inputs, want those of acquire-lock and those that post.js needs",
			len(lists))
	}
	handed, kept := quoted("'", lists[0][1]), quoted("'", lists[1][1])
	for _, name := range want {
		if !slices.Contains(handed, name) {
			t.Errorf("lock/main.js does not hand over %s", name)
		}
	}
	for _, name := range handed {
		if !slices.Contains(want, name) {
			t.Errorf("lock/main.js: acquire-lock has no input %s", name)
		}
	}
	for _, name := range kept {
		if _, found := ofSteps()[name]["release-lock"]; !found {
			t.Errorf("lock/main.js keeps %s, which release-lock does not have", name)
		}
	}
}

func TestTheREADMEHasTheInputsOfTheSteps(t *testing.T) {
	_, table, _ := strings.Cut(read(t, "README.md"), "| input | step | default |\n|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	where := map[string][]string{
		"all":   {"clean-diag", "wait-pressure", "acquire-lock", "release-lock"},
		"locks": {"acquire-lock", "release-lock"},
	}
	want := ofSteps()
	has := map[string]bool{"step": true}
	for line := range strings.Lines(table) {
		cells := strings.Split(line, " | ")
		if len(cells) != 3 {
			t.Fatalf("README.md: %q is no row of three", line)
		}
		commands := where[cells[1]]
		if commands == nil {
			commands = []string{cells[1]}
		}
		defaults := quoted("`", cells[2])
		for _, name := range quoted("`", cells[0]) {
			has[name] = true
			if name == "step" {
				continue
			}
			if got := len(want[name]); got != len(commands) {
				t.Errorf("README.md: %s is an input of %d steps, not of %d", name, got, len(commands))
			}
			for _, command := range commands {
				row, found := want[name][command]
				if !found {
					t.Errorf("README.md: %s has no input %s", command, name)
				}
				if row.Default != "" && !slices.Contains(defaults, row.Default) {
					t.Errorf("README.md: the row of %s does not name the default %s of %s", name, row.Default, command)
				}
			}
		}
	}
	for name := range want {
		if !has[name] {
			t.Errorf("README.md: the table of inputs has no %s", name)
		}
	}
}

// commandLine is a call of hostguard in a text.
var commandLine = regexp.MustCompile("(?m)hostguard ((?:runner )?[a-z-]+)((?: +[^`\\s;|#&]+)*)")

func TestTheDocsUseFlagsThatAreThere(t *testing.T) {
	all := tables(slices.Concat(steps.Commands(), operate.Commands()))
	files := []string{"README.md"}
	for _, pattern := range []string{"docs/*.md", "examples/*", "examples/*/*"} {
		more, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, more...)
	}
	lines := 0
	for _, file := range files {
		if info, err := os.Stat(file); err != nil || info.IsDir() {
			continue
		}
		for _, call := range commandLine.FindAllStringSubmatch(read(t, file), -1) {
			inputs, found := all[call[1]]
			if !found {
				continue
			}
			lines++
			for arg := range strings.FieldsSeq(call[2]) {
				if arg == "--" {
					break
				}
				name, _, _ := strings.Cut(strings.TrimRight(strings.TrimPrefix(arg, "-"), `",.):`), "=")
				if strings.HasPrefix(arg, "-") && !slices.ContainsFunc(inputs, func(in cli.Input) bool { return in.Name == name }) {
					t.Errorf("%s: %q: %s has no flag %s", file, call[0], call[1], arg)
				}
			}
		}
	}
	if lines < 20 {
		t.Errorf("only %d command lines were found in %d files", lines, len(files))
	}
}

// quoted are the texts between two of a quote.
func quoted(quote, text string) (all []string) {
	for _, match := range regexp.MustCompile(fmt.Sprintf("%[1]s([^%[1]s]+)%[1]s", quote)).FindAllStringSubmatch(text, -1) {
		all = append(all, match[1])
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

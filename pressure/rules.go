package pressure

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Rule knows one kind of heavy build by the tokens of its arguments. Tokens are
// compared whole: npm, npx and "sh -c" repeat the words of what they start in
// one token of their own (npx renames itself to the single token
// "npm exec next build"), and are not the build.
type Rule struct {
	tool    string   // what it is called
	program string   // the program, or the script that node runs, without directory
	title   string   // what the process renames itself to, alone or before " ("
	valued  []string // flags before the command that take the next token as value
	endless []string // flags of a watcher: waiting for one would never end

	// heavy decides by the words: the arguments that are no flags.
	heavy func(words []string) bool
}

// Known are the builds that hostguard knows. Each was run from npm, with node
// 20.20, and read in /proc; rules_test.go holds what was seen.
func Known() []Rule {
	return []Rule{
		// next 16.4.6: starts as "node", ".../node_modules/.bin/next", "build";
		// after 0.3 s the same process is the one token "next-build (v16.4.6)",
		// cut off where its old arguments ended. 14.2 has no such title.
		// Its workers are "node", ".../jest-worker/processChild.js";
		// "next start" and "next dev" become "next-server (v16.4.6)".
		{tool: "next build", program: "next", title: "next-build", heavy: first("build")},

		// turbo 2.11.11: "node", ".../node_modules/.bin/turbo", "run", "build",
		// and below it the native ".../@turbo/linux-64/bin/turbo", "run",
		// "build", and below that "npm run build" for each package. "turbo
		// daemon" and "turbo watch build" stay for ever and are mostly idle.
		{tool: "turbo build", program: "turbo", heavy: turboTasks,
			valued: []string{"--filter", "-F", "--cwd", "--concurrency", "--cache", "--cache-dir", "--cache-workers",
				"--output-logs", "--log-order", "--log-prefix", "--ui", "--api", "--team", "--token", "--verbosity", "--root-turbo-json"}},

		// vite 8.3.8: "node", ".../node_modules/.bin/vite", "build", one
		// process to the end. "vite", "vite dev" and "vite preview" serve.
		{tool: "vite build", program: "vite", heavy: first("build"), endless: []string{"--watch", "-w"},
			valued: []string{"--config", "-c", "--base", "--logLevel", "-l", "--configLoader", "--filter", "-f", "--mode", "-m"}},
	}
}

func first(want string) func([]string) bool {
	return func(words []string) bool { return len(words) > 0 && words[0] == want }
}

// turboTasks finds a build among the tasks: "turbo build", "turbo run lint
// build", "turbo run web#build", "turbo run build:docs". Without "run" the
// first word may be a command of its own: "turbo watch build".
func turboTasks(words []string) bool {
	if len(words) == 0 || slices.Contains(turboCommands, words[0]) {
		return false
	}
	return slices.ContainsFunc(words, func(task string) bool {
		task = task[strings.LastIndexByte(task, '#')+1:]
		return task == "build" || strings.HasPrefix(task, "build:")
	})
}

// turboCommands are those whose arguments may be a task or package "build".
var turboCommands = []string{"daemon", "docs", "exec", "g", "gen", "generate", "ls", "prune", "query", "watch"}

// Pattern reads a rule from an input: a program's name and words that must
// stand among its arguments as whole tokens, in this order; flags and other
// words may stand between ("make -C docs all" is matched by "make all"),
// because which flags of an unknown program take a value cannot be known.
func Pattern(text string) (Rule, error) {
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return Rule{}, errors.New("a pattern holds an unprintable character; write a program and its subcommand, such as gradle assemble")
	}
	tokens := strings.Fields(text)
	if len(tokens) == 0 {
		return Rule{}, errors.New("a pattern is empty; write a program and its subcommand, such as gradle assemble")
	}
	for _, token := range tokens {
		if strings.Contains(token, "/") {
			return Rule{}, fmt.Errorf("%q holds a slash; write the program's name without its directory", token)
		}
		if strings.HasPrefix(token, "-") {
			return Rule{}, fmt.Errorf("%q is a flag, and flags are not compared; write a program and its subcommand", token)
		}
	}
	return Rule{tool: strings.Join(tokens, " "), program: tokens[0], heavy: inOrder(tokens[1:])}, nil
}

func inOrder(want []string) func([]string) bool {
	return func(words []string) bool {
		left := want
		for _, word := range words {
			if len(left) > 0 && word == left[0] {
				left = left[1:]
			}
		}
		return len(left) == 0
	}
}

// toolOf names the build that a process is, or nothing.
func toolOf(argv []string, rules []Rule) string {
	name, args := program(argv)
	for _, r := range rules {
		if len(argv) == 1 && r.title != "" && (argv[0] == r.title || strings.HasPrefix(argv[0], r.title+" (")) {
			return r.tool
		}
		if name != r.program {
			continue
		}
		if words, ok := r.words(args); ok && r.heavy(words) {
			return r.tool
		}
	}
	return ""
}

// program is the name of what runs, and its arguments: behind node and its
// flags, the script.
func program(argv []string) (name string, args []string) {
	if len(argv) == 0 {
		return "", nil
	}
	name, args = path.Base(argv[0]), argv[1:]
	if name != "node" && name != "nodejs" { // bun 1.4 starts a "node" of its own for each of these tools
		return name, args
	}
	for i := 0; i < len(args); i++ {
		switch arg := args[i]; {
		case slices.Contains(nodeRunsText, arg):
			return "", nil
		case slices.Contains(nodeValued, arg):
			i++
		case !strings.HasPrefix(arg, "-"):
			script := path.Base(arg)
			return strings.TrimSuffix(script, path.Ext(script)), args[i+1:] // vite/bin/vite.js
		}
	}
	return "", nil
}

var (
	nodeRunsText = []string{"-e", "--eval", "-p", "--print", "-pe", "-c", "--check"}
	nodeValued   = []string{"-r", "--require", "--import", "--loader", "--experimental-loader", "--env-file", "-C", "--conditions", "--title"}
)

// words are the arguments that are no flags, up to "--"; what follows it is
// for somebody else.
func (r Rule) words(args []string) (words []string, ok bool) {
	for i := 0; i < len(args); i++ {
		switch arg := args[i]; {
		case arg == "--":
			return words, true
		case slices.Contains(r.endless, arg):
			return nil, false
		case slices.Contains(r.valued, arg):
			i++
		case !strings.HasPrefix(arg, "-"):
			words = append(words, arg)
		}
	}
	return words, true
}

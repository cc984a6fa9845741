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

// Rule recognizes one kind of heavy build by the tokens of its arguments. Tokens are
// compared whole: npm, npx and "sh -c" repeat the words of what they start in
// one token of their own (npx renames itself to the single token
// "npm exec next build"), and are not the build.
type Rule struct {
	tool       string   // its name in reports
	programs   []string // the program, or the script that node runs, without directory
	title      string   // what the process renames itself to, alone or before " ("
	valued     []string // flags before the command that take the next token as value
	watchFlags []string // flags of a watcher or server: waiting for one would never end

	// heavy decides by the words: the arguments that are not flags.
	heavy func(words []string) bool

	// grouped is for tools that read "-cw" as "-c -w".
	grouped bool
	// light is for tools that are over in a moment on a small project: such a
	// process counts only above a weight, see lightCPU.
	light bool
	// joined is for tools that put their whole command line into one token.
	joined bool
	// hidesArguments is for tools that rename themselves to their bare name, a server
	// and a build alike. The process above shows which it is, see judgeByParent, or
	// else whether it works or waits, see busyShare.
	hidesArguments bool
	// asked is for patterns: such a program may only wait for a daemon that works for it
	// (gradle assemble), and counts as long as it runs.
	asked bool
}

// watching are the flags of most bundlers for a build that does not end.
var watching = []string{"--watch", "-w"}

// Known returns the builds that hostguard knows. Those marked "run" were run from
// npm, with node 20.20, and read in /proc; e2e/builds runs some of them again
// and again. Those marked "read" are taken from the source of that version.
func Known() []Rule {
	return []Rule{
		// Next.js. Run, 16.4.6: starts as "node", ".../node_modules/.bin/next",
		// "build"; after 0.3 s the same process is the one token
		// "next-build (v16.4.6)", cut off where its old arguments ended. 14.2
		// has no such title. Its workers are "node",
		// ".../jest-worker/processChild.js"; "next start" and "next dev" become
		// "next-server (v16.4.6)".
		{tool: "next build", programs: []string{"next"}, title: "next-build", heavy: first("build")},

		// Turborepo. Run, 2.11.11: "node", ".../node_modules/.bin/turbo", "run",
		// "build", and below it the native ".../@turbo/linux-64/bin/turbo",
		// "run", "build", and below that "npm run build" for each package.
		// "turbo daemon" and "turbo watch build" stay for ever and are mostly
		// idle.
		{tool: "turbo build", programs: []string{"turbo"}, heavy: turboTasks,
			valued: []string{"--filter", "-F", "--cwd", "--concurrency", "--cache", "--cache-dir", "--cache-workers",
				"--output-logs", "--log-order", "--log-prefix", "--ui", "--api", "--team", "--token", "--verbosity",
				"--root-turbo-json"}},

		// Vite. Run, 8.3.8: "node", ".../node_modules/.bin/vite", "build", one
		// process to the end. "vite", "vite dev" and "vite preview" serve.
		// SvelteKit, SolidStart and Qwik build by "vite build".
		{tool: "vite build", programs: []string{"vite"}, heavy: first("build"), watchFlags: watching,
			valued: []string{"--config", "-c", "--base", "--logLevel", "-l", "--configLoader", "--filter", "-f", "--mode",
				"-m"}},

		// webpack. Run, webpack-cli 7.3.1: "node", ".../node_modules/.bin/webpack",
		// and after 0.2 s the one token "webpack", whatever it does. The first
		// word may be an entry file, so what is no build is listed.
		{tool: "webpack", programs: []string{"webpack", "webpack-cli"}, hidesArguments: true, watchFlags: watching,
			heavy: anyBut("serve", "server", "s", "watch", "w", "info", "i", "configtest", "t", "version", "v", "help", "h",
				"init", "create", "c", "loader", "l", "plugin", "p"),
			valued: []string{"--config", "-c", "--mode", "--env", "--name", "--node-env", "--entry", "-o", "--output-path", "-d",
				"--devtool", "-t", "--target"}},

		// Rollup. Run, 4.68: "node", ".../.bin/rollup", "-c". No title. "-cw" is
		// "-c -w", a watcher.
		{tool: "rollup", programs: []string{"rollup"}, grouped: true, heavy: anyBut(),
			watchFlags: append([]string{"-h", "--help", "-v", "--version"}, watching...)},

		// Nuxt. Run, 4.4 with nuxi 3.37: "node", ".../.bin/nuxt", "build".
		// "generate" builds and renders; "nuxt dev" (with a
		// ".../dist/dev/index.mjs" below it), "preview" and "start" serve.
		{tool: "nuxt build", programs: []string{"nuxt", "nuxi", "nuxt-cli"}, heavy: first("build", "generate")},

		// Astro. Run, 5.18 (6.0 wants node 22; read): "node", ".../.bin/astro",
		// "build". No title.
		{tool: "astro build", programs: []string{"astro"}, heavy: first("build"), watchFlags: watching,
			valued: []string{"--root", "--config", "--mode", "--outDir", "--site", "--base"}},

		// Angular. Run, 20.3: "node", ".../.bin/ng", "build", after 0.1 s the one
		// token "ng build --configuration production", and then with the project,
		// "ng build (app)". "ng run app:build" is the same build.
		{tool: "ng build", programs: []string{"ng"}, joined: true, heavy: angularBuild, watchFlags: watching},

		// Gatsby. Run, 5.16: "node", ".../.bin/gatsby", "build"; below it workers,
		// ".../gatsby-worker/dist/child.js". "gatsby develop" and "gatsby serve" serve.
		{tool: "gatsby build", programs: []string{"gatsby"}, heavy: first("build")},

		// Docusaurus. Run, 3.10: "node", ".../.bin/docusaurus", "build";
		// "deploy" builds first.
		{tool: "docusaurus build", programs: []string{"docusaurus"}, heavy: first("build", "deploy")},

		// Remix and its successor. Run, 2.17 and 7.18: "node", ".../.bin/remix",
		// "vite:build"; "react-router", "build".
		{tool: "remix build", programs: []string{"remix"}, heavy: first("build", "vite:build")},
		{tool: "react-router build", programs: []string{"react-router"}, heavy: first("build")},

		// Parcel. Run, 2.16: "node", ".../.bin/parcel", "build"; its workers
		// are threads. "parcel index.html" and "parcel watch" serve.
		{tool: "parcel build", programs: []string{"parcel"}, heavy: first("build"), watchFlags: []string{"--watch"}},

		// esbuild. Run, 0.28: the native program. Vite, Astro, Nuxt, Angular, tsup
		// and dev servers keep one with --service as a helper; that one is theirs.
		{tool: "esbuild", programs: []string{"esbuild"}, light: true, heavy: anyBut(),
			watchFlags: []string{"--watch", "--serve", "--servedir", "--service", "--version", "--help"}},

		// The TypeScript compiler. Run, 5.9: "node", ".../.bin/tsc", "-b". An
		// editor's tsserver.js is another script.
		{tool: "tsc", programs: []string{"tsc", "vue-tsc"}, light: true, heavy: anyBut(),
			watchFlags: append([]string{"--version", "-v", "--help", "-h", "--init", "--showConfig"}, watching...)},
	}
}

func first(commands ...string) func([]string) bool {
	return func(words []string) bool { return len(words) > 0 && slices.Contains(commands, words[0]) }
}

func anyBut(commands ...string) func([]string) bool {
	return func(words []string) bool { return len(words) == 0 || !slices.Contains(commands, words[0]) }
}

func angularBuild(words []string) bool {
	if len(words) > 1 && words[0] == "run" { // PROJECT:TARGET[:CONFIGURATION]
		parts := strings.Split(words[1], ":")
		return len(parts) > 1 && parts[1] == "build"
	}
	return len(words) > 0 && (words[0] == "build" || words[0] == "b")
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

// Pattern returns the rule that an input describes: a program's name and words that
// must be among its arguments as whole tokens, in this order; flags and other words
// may be between them ("make all" matches "make -C docs all"), because which flags of
// an unknown program take a value cannot be known.
func Pattern(text string) (Rule, error) {
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return Rule{}, errors.New("a pattern holds an unprintable character; " +
			"write a program and its subcommand, such as gradle assemble")
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
	return Rule{tool: strings.Join(tokens, " "), programs: tokens[:1], heavy: inOrder(tokens[1:]), asked: true}, nil
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

// match is what a process is by its arguments alone.
type match struct {
	tool string // "" if it is not a build
	// These are those of its rule.
	light, hidesArguments, asked bool
}

// matchOf returns the build that a process is. Where several rules match, a pattern
// goes first, and one that may only count last.
func matchOf(argv []string, rules []Rule) (best match) {
	name, args := program(argv)
	for _, r := range rules {
		m := match{tool: r.tool, light: r.light, asked: r.asked}
		switch {
		case r.renamed(argv):
		case !slices.Contains(r.programs, name):
			if !r.joined || len(argv) != 1 || !slices.Contains(r.programs, firstWord(argv[0])) {
				continue
			}
			if words, ok := r.words(strings.Fields(argv[0])[1:]); !ok || !r.heavy(words) {
				continue
			}
		case r.hidesArguments && len(argv) == 1:
			m.hidesArguments = true
		default:
			if words, ok := r.words(args); !ok || !r.heavy(words) {
				continue
			}
		}
		if m.asked {
			return m
		}
		if best.tool == "" || (best.light || best.hidesArguments) && !m.light && !m.hidesArguments {
			best = m
		}
	}
	return best
}

// renamed reports whether a process has the rule's title. Docker shows it as two
// arguments: its ps joins all by spaces.
func (r Rule) renamed(argv []string) bool {
	if r.title == "" || len(argv) == 0 || !strings.HasPrefix(argv[0], r.title) {
		return false
	}
	rest := argv[0][len(r.title):]
	return strings.HasPrefix(rest, " (") || rest == "" && (len(argv) == 1 || strings.HasPrefix(argv[1], "("))
}

func firstWord(text string) string {
	word, _, _ := strings.Cut(text, " ")
	return word
}

// judgeByParent reports whether a program is a heavy build, by the command line of
// the process that started it: "sh", "-c", "webpack serve", as npm and yarn do, or
// "node", ".../pnpm", "exec", "webpack", "serve". known is false where that does not
// name the program.
func judgeByParent(argv []string, tool string, rules []Rule) (heavy, known bool) {
	r := rules[slices.IndexFunc(rules, func(r Rule) bool { return r.tool == tool })]
	tokens := strings.FieldsFunc(strings.Join(argv, " "), func(c rune) bool { return strings.ContainsRune(" \t\n'\"", c) })
	at := slices.IndexFunc(tokens, func(token string) bool { return slices.Contains(r.programs, path.Base(token)) })
	if at <= 0 { // a process of its own name is a worker's parent, and hides its arguments too
		return false, false
	}
	words, ok := r.words(tokens[at+1:])
	return ok && r.heavy(words), true
}

// program returns the name of the program that runs, and its arguments: after node
// and its flags, the script.
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
	nodeValued   = []string{"-r", "--require", "--import", "--loader", "--experimental-loader", "--env-file", "-C",
		"--conditions", "--title"}
)

// words returns the arguments that are not flags, up to "--"; what follows it is for
// another program.
func (r Rule) words(args []string) (words []string, ok bool) {
	for i := 0; i < len(args); i++ {
		switch arg := args[i]; {
		case arg == "--":
			return words, true
		case slices.ContainsFunc(r.watchFlags, func(flag string) bool {
			return isFlag(flag, arg) || r.grouped && inGroup(flag, arg)
		}):
			return nil, false
		case slices.Contains(r.valued, arg):
			i++
		case !strings.HasPrefix(arg, "-"):
			words = append(words, arg)
		}
	}
	return words, true
}

// isFlag reports whether an argument is the flag, with a value or without.
func isFlag(flag, arg string) bool {
	value, ok := strings.CutPrefix(arg, flag)
	return ok && (value == "" || strings.HasPrefix(value, "=") && value != "=false")
}

// inGroup reports whether a flag of one letter is among those of "-cw".
func inGroup(flag, arg string) bool {
	return len(flag) == 2 && len(arg) > 2 && arg[0] == '-' && arg[1] != '-' && !strings.Contains(arg, "=") &&
		strings.Contains(arg, flag[1:])
}

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
	programs   []string // the program, or the script that an interpreter runs, without directory
	title      string   // what the process renames itself to, alone or before " ("
	valued     []string // flags before the command that take the next token as value
	required   []string // flags, all of which are given: "make -j"
	watchFlags []string // flags of a watcher or server, for which waiting would never end, or of what does not build

	// heavy decides by the words: the arguments that are not flags.
	heavy func(words []string) bool

	// subcommand returns the arguments as words that heavy can judge, for tools whose
	// command has several words, or which take what they build as the value of a flag.
	subcommand func(args []string) []string

	// grouped is for tools that read "-cw" as "-c -w".
	grouped bool
	// anywhere is for patterns: their program may be any file of that name.
	anywhere bool
	// light is for tools that are over in a moment on a small project: such a
	// process counts only above a weight, see lightCPU.
	light bool
	// joined is for tools that put their whole command line into one token.
	joined bool
	// hidesArguments is for tools that rename themselves to their bare name, a server
	// and a build alike. The process above shows which it is, see judgeByParent, or
	// else whether it works or waits, see busyShare.
	hidesArguments bool
	// client is for programs that may only wait for a daemon that works for them (gradle
	// assemble, docker build): such a process counts as long as it runs.
	client bool
	// runsAnything is for tools that start more than a build: below a "go test" or a make
	// of ours may be the runners of other jobs.
	runsAnything bool
}

// Pattern returns the rule that an input describes: a program's name and what must be
// among its arguments: words as whole tokens, in this order; flags such as --release,
// in any; and neither words nor flags after "!". Other arguments may be between them
// ("make all" matches "make -C docs all"), because which flags of an unknown program
// take a value cannot be known. Interpreters, launchers and wrappers are seen through:
// "sphinx-build" is "python3 /usr/bin/sphinx-build" too. A watcher or a server is no
// build, unless the pattern names its word.
func Pattern(text string) (Rule, error) {
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return Rule{}, errors.New("a pattern holds an unprintable character; " +
			"write a program and its subcommand, such as gradle assemble")
	}
	tokens := strings.Fields(text)
	if len(tokens) == 0 {
		return Rule{}, errors.New("a pattern is empty; write a program and its subcommand, such as gradle assemble")
	}
	r := Rule{tool: strings.Join(tokens, " "), programs: tokens[:1], anywhere: true, client: true,
		watchFlags: slices.Clone(watchingLong)}
	var want, never []string
	for i, token := range tokens {
		bare, excluded := strings.CutPrefix(token, "!")
		switch {
		case strings.Contains(token, "/"):
			return Rule{}, fmt.Errorf("%q holds a slash; write the program's name without its directory", token)
		case i == 0 && (excluded || strings.HasPrefix(token, "-")):
			return Rule{}, fmt.Errorf("%q is no program; write a program and its subcommand, such as gradle assemble",
				token)
		case excluded && bare == "":
			return Rule{}, fmt.Errorf("%q excludes nothing; write the word or flag behind the exclamation mark", token)
		case excluded && strings.HasPrefix(bare, "-"):
			r.watchFlags = append(r.watchFlags, bare)
		case excluded:
			never = append(never, bare)
		case strings.HasPrefix(token, "-"):
			r.required = append(r.required, token)
			r.watchFlags = slices.DeleteFunc(r.watchFlags, func(flag string) bool { return flag == token })
		case i > 0:
			want = append(want, token)
		}
	}
	r.subcommand = subcommands[tokens[0]]
	r.heavy = func(words []string) bool {
		serves := len(words) > 0 && slices.Contains(serving, words[0]) && !slices.Contains(want, words[0])
		return !serves && inOrder(want, words) &&
			!slices.ContainsFunc(words, func(word string) bool { return slices.Contains(never, word) })
	}
	return r, nil
}

// serving are commands of servers and watchers, which do not end.
var serving = []string{"dev", "develop", "preview", "serve", "server", "watch"}

func inOrder(want, words []string) bool {
	for _, word := range words {
		if len(want) > 0 && word == want[0] {
			want = want[1:]
		}
	}
	return len(want) == 0
}

// match is what a process is by its arguments alone.
type match struct {
	tool string // "" if it is not a build
	// These are those of its rule, or of a daemon that rests.
	light, hidesArguments, client, runsAnything bool
}

// index finds the rules that a command line may be of: a look at thousands of processes
// has some hundred nanoseconds for each.
type index struct {
	rules  []Rule
	named  map[string][]int // by the name of a program
	titled []int
}

func indexOf(rules []Rule) *index {
	x := &index{rules: rules, named: map[string][]int{}}
	for i, r := range rules {
		for _, name := range r.programs {
			x.named[name] = append(x.named[name], i)
		}
		if r.title != "" {
			x.titled = append(x.titled, i)
		}
	}
	return x
}

// match returns the build that a process is. Where several rules match, a pattern
// goes first, and one that may only count last.
func (x *index) match(argv []string) (best match) {
	if len(argv) == 0 {
		return best
	}
	all := programs(argv)
	for _, i := range x.of(argv, all) {
		r := &x.rules[i]
		for _, p := range all {
			m, ok := r.match(p, argv)
			switch may := m.light || m.hidesArguments; {
			case !ok:
			case r.anywhere && !may:
				return m
			case best.tool == "", !may && (best.light || best.hidesArguments):
				best = m
			}
		}
	}
	return best
}

// of returns the rules that name a program of a command line, in their order.
func (x *index) of(argv []string, all []program) (rules []int) {
	for _, i := range x.titled {
		if strings.HasPrefix(argv[0], x.rules[i].title) {
			rules = append(rules, i)
		}
	}
	for _, p := range all {
		bare := strings.TrimRight(p.name, versionDigits)
		for end := len(bare); end <= len(p.name); end++ { // "python" and "python3" are names
			rules = append(rules, x.named[p.name[:end]]...)
		}
		if ext := path.Ext(p.name); ext != "" && p.in != "" {
			rules = append(rules, x.named[strings.TrimSuffix(p.name, ext)]...)
		}
	}
	if word := firstWord(argv[0]); len(argv) == 1 && word != argv[0] {
		rules = append(rules, x.named[word]...)
	}
	if len(rules) > 1 {
		slices.Sort(rules)
		rules = slices.Compact(rules)
	}
	return rules
}

// match reports whether a program, of a process with these arguments, is the rule's
// build, and which.
func (r *Rule) match(p program, argv []string) (m match, ok bool) {
	m = match{tool: r.tool, light: r.light, hidesArguments: p.rests, client: r.client, runsAnything: r.runsAnything}
	switch {
	case r.renamed(argv):
	case !p.isCalled(r.programs) || !r.anywhere && !p.installed():
		return m, r.joined && len(argv) == 1 && slices.Contains(r.programs, firstWord(argv[0])) &&
			r.builds(strings.Fields(argv[0])[1:])
	case p.rests:
	case r.hidesArguments && len(argv) == 1:
		m.hidesArguments = true
	default:
		return m, r.builds(p.args)
	}
	return m, true
}

// builds judges by the arguments of a rule's program.
func (r Rule) builds(args []string) bool {
	if r.subcommand != nil {
		args = r.subcommand(args)
	}
	words, ok := r.words(args)
	return ok && r.heavy(words)
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

// words returns the arguments that are not flags, up to "--"; what follows it is for
// another program. It returns false where the flags show that nothing is built.
func (r Rule) words(args []string) (words []string, ok bool) {
	missing := slices.Clone(r.required)
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			break
		}
		missing = slices.DeleteFunc(missing, func(flag string) bool { return r.isFlag(flag, arg) })
		switch {
		case slices.ContainsFunc(r.watchFlags, func(flag string) bool { return r.isFlag(flag, arg) }):
			if i+1 == len(args) || args[i+1] != "false" { // "--watch false"
				return nil, false
			}
			i++
		case slices.Contains(r.valued, arg):
			i++
		case !strings.HasPrefix(arg, "-"):
			words = append(words, arg)
		}
	}
	return words, len(missing) == 0
}

// isFlag reports whether an argument is the flag, with a value or without: "--watch",
// "--watch=true", "--watch.skipWrite", "/nodemode:1".
func (r Rule) isFlag(flag, arg string) bool {
	value, ok := strings.CutPrefix(arg, flag)
	return ok && (value == "" || strings.ContainsAny(value[:1], "=.:") && value != "=false") ||
		r.grouped && inGroup(flag, arg)
}

// inGroup reports whether a flag of one letter is among those of "-cw".
func inGroup(flag, arg string) bool {
	return len(flag) == 2 && len(arg) > 2 && arg[0] == '-' && arg[1] != '-' && !strings.Contains(arg, "=") &&
		strings.Contains(arg, flag[1:])
}

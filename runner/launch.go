package runner

import (
	"bytes"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"hostguard/internal/actrunner"
	"hostguard/runner/shell"
)

// Launch is how a unit starts a runner's daemon, itself or by a script.
type Launch struct {
	Argv  []string // of the daemon; nil if the unit is not known to start one
	Dir   string   // where it works, "" if that is not known
	Named bool     // its program has a runner's name; else only its subcommand is a runner's
}

// Config returns the configuration that the launch names, or "".
func (l Launch) Config() string {
	config := actrunner.ConfigOf(l.Argv)
	if config == "" || path.IsAbs(config) {
		return config
	}
	return path.Join(l.Dir, config)
}

const (
	maxScripts    = 10 // that one command leads to
	maxNestedRuns = 5
)

// Starting is what a command is started with.
type Starting struct {
	Dir       string
	Variables map[string]string
	// Read returns the text of a shell script, or of a file of variables; "" if it is none.
	Read func(path string) string
}

// FindLaunch follows the command of a unit to the daemon that it starts: through programs
// that only start another, shells, and the scripts that it names.
func FindLaunch(argv []string, s Starting) Launch {
	f := finder{read: s.Read}
	at := site{dir: s.Dir, variables: s.Variables}
	argv = at.expand(argv)
	if len(argv) == 0 {
		return Launch{}
	}
	commands, _ := shell.CommandsOf(argv)
	if l := f.follow(commands, at, 0); l.Argv != nil {
		return l
	}
	// A program that is not known to start others, with the command of a daemon behind it.
	for i := range argv {
		if actrunner.IsDaemon(argv[i:]) && !slices.Contains(elsewhere, path.Base(argv[0])) {
			return Launch{Argv: argv[i:], Dir: s.Dir, Named: true}
		}
	}
	return f.maybe
}

// elsewhere start what they are given in a container or on another host.
var elsewhere = []string{"docker", "docker-compose", "podman", "podman-compose", "nerdctl", "ctr", "lxc", "lxc-attach",
	"incus", "machinectl", "systemd-nspawn", "kubectl", "ssh"}

// StartsOthers reports whether the command of a unit is a shell's, or a shell script: then
// what runs in the unit is what the unit is for. That is not so for a daemon that starts
// what it is told to, such as cron.
func StartsOthers(argv []string, read func(path string) string) bool {
	commands, _ := shell.CommandsOf(argv)
	return len(commands) != 1 || commands[0].Program != argv[0] || read(argv[0]) != ""
}

// finder looks for a daemon.
type finder struct {
	read    func(string) string
	scripts int
	maybe   Launch // the first by its subcommand alone
}

// site is where a command of a script runs.
type site struct {
	dir       string // "" if that is not known
	script    string // "" for the command of the unit itself
	args      []string
	variables map[string]string
}

func (f *finder) follow(commands []shell.Command, at site, depth int) Launch {
	for _, c := range commands {
		words := at.expand(append([]string{c.Program}, c.Words[1:]...))
		if len(words) == 0 {
			continue
		}
		switch name := path.Base(words[0]); {
		case name == "cd" || name == "pushd":
			at.enter(words[1:])
		case (name == "." || name == "source") && len(words) > 1:
			at.assign(f.script(at.path(words[1])))
		case actrunner.IsDaemon(words):
			return Launch{Argv: words, Dir: at.dir, Named: true}
		default:
			if l := f.enter(words, at, depth); l.Argv != nil {
				return l
			}
			if actrunner.MayBeDaemon(words) && !shell.IsShell(name) && f.maybe.Argv == nil {
				f.maybe = Launch{Argv: words, Dir: at.dir}
			}
		}
	}
	return Launch{}
}

// enter follows the script that a command runs.
func (f *finder) enter(words []string, at site, depth int) Launch {
	if shell.IsShell(path.Base(words[0])) {
		isFlag := func(w string) bool { return strings.HasPrefix(w, "-") || strings.HasPrefix(w, "+") }
		i := slices.IndexFunc(words[1:], func(w string) bool { return !isFlag(w) })
		if i < 0 {
			return Launch{}
		}
		words = words[i+1:]
	} else if !strings.Contains(words[0], "/") { // of PATH, where scripts have no business of a runner's
		return Launch{}
	}
	text := f.script(at.path(words[0]))
	if text == "" || depth == maxNestedRuns {
		return Launch{}
	}
	inner := site{dir: at.dir, script: at.path(words[0]), args: words[1:], variables: at.variables}
	inner.assign(text)
	commands, _ := shell.Commands(text)
	return f.follow(commands, inner, depth+1)
}

// script returns the text of a script, of a few.
func (f *finder) script(file string) string {
	if f.scripts >= maxScripts || !path.IsAbs(file) {
		return ""
	}
	text := f.read(file)
	if text != "" {
		f.scripts++
	}
	return text
}

// path returns the full path of a file; "" if it is not known.
func (c site) path(file string) string {
	switch {
	case strings.Contains(file, "$"):
		return ""
	case path.IsAbs(file):
		return path.Clean(file)
	case c.dir == "":
		return ""
	}
	return path.Join(c.dir, file)
}

// enter changes the directory, as cd does.
func (c *site) enter(words []string) {
	words = slices.DeleteFunc(slices.Clone(words), func(w string) bool { return strings.HasPrefix(w, "-") })
	switch {
	case len(words) == 0:
		c.dir = c.variables["HOME"]
	case words[0] == "~" || strings.HasPrefix(words[0], "~/"):
		if c.dir = c.variables["HOME"]; c.dir != "" {
			c.dir = path.Join(c.dir, words[0][1:])
		}
	default:
		c.dir = c.path(words[0])
	}
}

// assign takes the variables that the lines of a script set.
func (c *site) assign(text string) {
	variables := map[string]string{}
	maps.Copy(variables, c.variables)
	c.variables = variables
	for _, v := range parseVariables(text, " \t;&|") {
		name, value, _ := strings.Cut(v, "=")
		if words := c.expand([]string{value}); len(words) > 0 && !strings.Contains(value, "$(") {
			variables[name] = strings.Join(words, " ")
		}
	}
}

// expand replaces variables and the arguments of a script, as systemd and a shell do. What
// is not known stays as it is.
func (c site) expand(words []string) []string {
	var all []string
	for _, word := range words {
		if !strings.Contains(word, "$") {
			all = append(all, word)
			continue
		}
		if word == "$@" || word == "$*" || word == "${@}" {
			all = append(all, c.args...)
			continue
		}
		value := os.Expand(c.ownDir(word), c.value)
		if whole := strings.TrimPrefix(word, "$"); value != word && strings.Trim(whole, nameCharacters) == "" {
			all = append(all, strings.Fields(value)...) // $OPTIONS
			continue
		}
		all = append(all, value)
	}
	return all
}

const nameCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"

// value returns the value of a variable, or of ${NAME:-DEFAULT}.
func (c site) value(name string) string {
	if n, err := strconv.Atoi(name); err == nil {
		switch {
		case n == 0 && c.script != "":
			return c.script
		case n > 0 && n <= len(c.args):
			return c.args[n-1]
		}
		return "${" + name + "}"
	}
	plain, other, isDefault := strings.Cut(name, ":-")
	switch value, known := c.variables[plain]; {
	case known && (value != "" || !isDefault):
		return value
	case isDefault:
		return other
	case name == "$":
		return "$"
	case name == "PWD" && c.dir != "":
		return c.dir
	}
	return "${" + name + "}"
}

// ownDir replaces what scripts write for the directory that they lie in.
func (c site) ownDir(word string) string {
	begin, end := strings.Index(word, "$("), strings.LastIndex(word, ")")
	if c.script == "" || begin < 0 || end < begin || !strings.Contains(word, "dirname") ||
		!strings.Contains(word, "$0") && !strings.Contains(word, "BASH_SOURCE") {
		return word
	}
	return word[:begin] + path.Dir(c.script) + word[end+1:]
}

// ParseVariables returns what the lines of an EnvironmentFile set: NAME=value, without
// quotes.
func ParseVariables(text string) []string { return parseVariables(text, "") }

// parseVariables returns the same of a shell script, in which any of ends is the end of a
// value without quotes.
func parseVariables(text, ends string) []string {
	var all []string
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", "")) {
		line = strings.TrimSpace(line)
		for _, word := range []string{"export ", "readonly ", "local ", "declare -x "} {
			line = strings.TrimPrefix(line, word)
		}
		name, value, found := strings.Cut(line, "=")
		if !found || name == "" || strings.Trim(name, nameCharacters) != "" {
			continue
		}
		if quote := value[:min(1, len(value))]; quote == `"` || quote == "'" {
			value, _, _ = strings.Cut(value[1:], quote)
		} else if i := strings.IndexAny(value, ends); i >= 0 {
			value = value[:i]
		}
		all = append(all, name+"="+strings.TrimSpace(value))
	}
	return all
}

// IsShellScript reports whether a file is a script for a shell.
func IsShellScript(text []byte) bool {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	interpreter, found := bytes.CutPrefix(line, []byte("#!"))
	return found && slices.ContainsFunc(strings.Fields(string(interpreter)),
		func(word string) bool { return shell.IsShell(path.Base(word)) })
}

// ParseUnit returns what the file of a user's service says of how it is started, where its
// manager cannot be asked. A command is left to a shell, whose quotes are systemd's.
func ParseUnit(text, home string) Unit {
	u := Unit{WorkDir: "~"} // the default of a user's service
	section := ""
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		line = strings.ReplaceAll(strings.TrimSpace(line), "%h", home)
		if strings.HasPrefix(line, "[") {
			section = line
			continue
		}
		key, value, _ := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch {
		case section != "[Service]":
		case key == "WorkingDirectory" && value != "":
			u.WorkDir = strings.TrimPrefix(value, "-")
		case key == "Environment":
			u.Environment = append(u.Environment, strings.Trim(value, `"'`))
		case key == "EnvironmentFile":
			u.EnvironmentFiles = append(u.EnvironmentFiles, value)
		case key == "ExecStart" && value != "":
			u.Exec = append(u.Exec, []string{"/bin/sh", "-c", strings.TrimLeft(value, "@-+!:|")})
		}
	}
	return u
}

package shell

import (
	"path"
	"slices"
	"strings"
)

// starter describes a program that runs the command in its arguments.
type starter struct {
	valued   []string // its flags with a value in the next word
	operands int      // the number of words between its flags and the command
}

var starters = map[string]starter{
	"sudo": {valued: []string{
		"-u", "-g", "-C", "-D", "-h", "-p", "-R", "-r", "-T", "-t", "-U",
		"--user", "--group", "--chdir", "--host", "--prompt", "--chroot", "--role", "--type", "--other-user",
	}},
	"doas":    {valued: []string{"-u", "-C"}},
	"runuser": {valued: []string{"-u", "-g", "-G", "--user", "--group", "--supp-group"}},
	"env":     {valued: []string{"-u", "-C", "--unset", "--chdir"}},
	"exec":    {valued: []string{"-a"}},
	"nice":    {valued: []string{"-n", "--adjustment"}},
	"ionice":  {valued: []string{"-c", "-n", "--class", "--classdata"}},
	"time":    {valued: []string{"-f", "-o", "--format", "--output"}},
	"timeout": {valued: []string{"-k", "-s", "--kill-after", "--signal"}, operands: 1},
	"flock":   {valued: []string{"-w", "-E", "--wait", "--timeout", "--conflict-exit-code"}, operands: 1},
	"stdbuf":  {valued: []string{"-i", "-o", "-e", "--input", "--output", "--error"}},
	"taskset": {operands: 1},
	"chrt":    {operands: 1},
	"systemd-run": {valued: []string{"-p", "-u", "-E", "--property", "--unit", "--slice", "--setenv", "--uid", "--gid",
		"--working-directory"}},
	"systemd-cat":     {valued: []string{"-t", "-p", "--identifier", "--priority"}},
	"systemd-inhibit": {},
	"lckdo":           {valued: []string{"-W"}, operands: 1},
	"unbuffer":        {},
	"watch":           {valued: []string{"-n", "--interval"}},
	"chronic":         {},
	"cronic":          {},
	"ifne":            {},
	"run-one":         {},
	"run-this-one":    {},
	"unshare":         {},
	"setpriv": {valued: []string{"--reuid", "--regid", "--groups", "--inh-caps", "--ambient-caps", "--bounding-set",
		"--securebits", "--pdeathsig", "--selinux-label", "--apparmor-profile"}},
	"prlimit":      {valued: []string{"-o", "--output"}},
	"cgexec":       {valued: []string{"-g"}},
	"numactl":      {valued: []string{"-m", "-N", "-C", "-p", "-i", "--membind", "--cpunodebind", "--physcpubind"}},
	"tini":         {valued: []string{"-p", "-e"}},
	"dumb-init":    {valued: []string{"-r", "--rewrite"}},
	"catatonit":    {},
	"gosu":         {operands: 1},
	"su-exec":      {operands: 1},
	"setuidgid":    {operands: 1},
	"s6-setuidgid": {operands: 1},
	"chpst":        {valued: []string{"-u", "-U", "-b", "-e", "-n", "-l", "-L", "-m", "-d", "-o", "-p", "-f", "-c"}},
	"nohup":        {},
	"setsid":       {},
	"command":      {},
	"builtin":      {},
	"busybox":      {},
}

var xargs = starter{valued: []string{
	"-I", "-n", "-P", "-L", "-s", "-d", "-E", "-a",
	"--max-args", "--max-procs", "--max-lines", "--max-chars", "--delimiter", "--arg-file",
}}

// shells run a script from an argument or from stdin.
var shells = []string{"sh", "bash", "dash", "ash", "ksh", "mksh", "zsh"}

// IsShell reports whether a program of that name is a shell.
func IsShell(name string) bool { return slices.Contains(shells, name) }

// started returns a command without the programs that start it, and the script in its
// arguments, if any.
func started(words []string) (rest []string, script string) {
	for len(words) > 0 {
		name, args := path.Base(words[0]), words[1:]
		starts, found := starters[name]
		switch {
		case isAssignment(words[0]):
			words = args
		case slices.Contains(shells, name):
			script, _ = scriptOf(args)
			return words, script
		case name == "eval":
			return words, strings.Join(args, " ")
		case name == "xargs":
			if words = xargs.command(args); len(words) > 0 {
				words = append(slices.Clip(words), "$@") // what it reads
			}
		case name == "find":
			i := slices.IndexFunc(args, func(w string) bool { return slices.Contains(findActions, w) })
			if i < 0 {
				return words, ""
			}
			words = args[i+1:]
			if end := slices.IndexFunc(words, func(w string) bool { return w == ";" || w == "+" }); end >= 0 {
				words = words[:end]
			}
		case name == "env" && splitString(args) != "":
			return words, splitString(args)
		case name == "su", name == "runuser" && valueOf(args, "-c", "--command") != "":
			return words, valueOf(args, "-c", "--command")
		case found:
			words = starts.command(args)
			if name == "flock" && len(words) > 1 && (words[0] == "-c" || words[0] == "--command") {
				return words, words[1]
			}
		default:
			return words, ""
		}
	}
	return nil, ""
}

// findActions are the actions of find that run a command.
var findActions = []string{"-exec", "-execdir", "-ok", "-okdir"}

// command returns the arguments of a starter without its own.
func (s starter) command(args []string) []string {
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		flag := args[0]
		args = args[1:]
		if flag == "--" {
			break
		}
		if s.takesNext(flag) {
			args = args[min(1, len(args)):]
		}
	}
	return args[min(s.operands, len(args)):]
}

// takesNext reports whether the next word is the value of a flag, or of the last flag of
// several in one word.
func (s starter) takesNext(flag string) bool {
	if strings.HasPrefix(flag, "--") {
		return slices.Contains(s.valued, flag)
	}
	i := strings.IndexFunc(flag[1:], func(r rune) bool { return slices.Contains(s.valued, "-"+string(r)) })
	return i >= 0 && i == len(flag)-2
}

// scriptOf returns the script among the arguments of a shell, and whether the shell reads
// one from stdin.
func scriptOf(args []string) (script string, reads bool) {
	given := false
	for len(args) > 0 && len(args[0]) > 1 && strings.ContainsRune("-+", rune(args[0][0])) {
		flag := args[0]
		args = args[1:]
		if flag == "--" {
			break
		}
		long := strings.HasPrefix(flag, "--")
		given = given || !long && flag[0] == '-' && strings.Contains(flag, "c")
		reads = reads || !long && strings.Contains(flag, "s")
		if flag == "--rcfile" || flag == "--init-file" || !long && strings.ContainsAny(flag, "oO") {
			args = args[min(1, len(args)):]
		}
	}
	if given && len(args) > 0 {
		return args[0], false
	}
	return "", !given && (reads || len(args) == 0)
}

// readsScript reports whether a command is a shell that reads its script from stdin.
func readsScript(words []string) bool {
	_, reads := scriptOf(words[1:])
	return reads && slices.Contains(shells, words[0])
}

// splitString returns the command that env splits into its arguments, with the arguments
// that follow, or "".
func splitString(args []string) string {
	for i, a := range args {
		if text, long := strings.CutPrefix(a, "--split-string="); long {
			return strings.Join(append([]string{text}, args[i+1:]...), " ")
		}
		if a == "--split-string" {
			return strings.Join(args[i+1:], " ")
		}
		if !strings.HasPrefix(a, "-") {
			break
		}
		if before, text, short := strings.Cut(a, "S"); short && !strings.HasPrefix(before, "--") {
			return strings.TrimSpace(text + " " + strings.Join(args[i+1:], " "))
		}
	}
	return ""
}

// valueOf returns the value of a flag, or "".
func valueOf(args []string, short, long string) string {
	for i, a := range args {
		if value, found := strings.CutPrefix(a, long+"="); found {
			return value
		}
		last := !strings.HasPrefix(a, "--") && strings.HasPrefix(a, "-") && strings.HasSuffix(a, short[1:])
		if (last || a == long) && i+1 < len(args) {
			return args[i+1]
		}
	}
	return ""
}

func isAssignment(word string) bool {
	name, _, found := strings.Cut(word, "=")
	const characters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"
	return found && name != "" && strings.Trim(name, characters) == ""
}

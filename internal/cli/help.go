package cli

import (
	"fmt"
	"strings"
)

// wantsHelp reports whether a command's own arguments ask for help. The arguments of
// a wrapped command are not its own.
func (cmd Command) wantsHelp(args []string) bool {
	for _, arg := range args {
		if arg == "--" || cmd.Wraps && arg != "" && arg[0] != '-' {
			return false
		}
		if isHelpFlag(arg) {
			return true
		}
	}
	return false
}

func helpMain(all []Command) string {
	var steps, others []string
	for _, cmd := range all {
		switch {
		case cmd.Step:
			steps = append(steps, entry(cmd.Name, cmd.Summary, 14))
		case cmd.Summary != "":
			others = append(others, entry(cmd.Name, cmd.Summary, 14))
		}
	}
	return `hostguard keeps a shared CI host usable.

usage: hostguard COMMAND [FLAG...]

steps of a workflow (also as "uses: wooo/hostguard@v1.0.0" with "step: ..."):
` + strings.Join(steps, "") + `
on the host:
` + strings.Join(others, "") + `  version, help

"hostguard help COMMAND" prints the details. Every input is also read from the
environment: -lock-name from HOSTGUARD_LOCK_NAME, and so on. A flag takes precedence
over the workflow's input, and that over the environment.

exit status: 0 done, 1 refused (not this change's fault), 2 wrong use,
3 hostguard could not do its work, 130 or 143 interrupted.
`
}

// helpGroup returns the list of the commands whose first word is that of a group.
func helpGroup(group string, all []Command) string {
	var list strings.Builder
	for _, cmd := range all {
		if second, found := strings.CutPrefix(cmd.Name, group+" "); found {
			list.WriteString(entry(second, cmd.Summary, 14))
		}
	}
	return "usage: hostguard " + group + " COMMAND [FLAG...]\n\n" + list.String() +
		"\n\"hostguard help " + group + " COMMAND\" prints the details.\n"
}

// help returns the help text of a command.
func (cmd Command) help() string {
	text := cmd.Help
	inputs := cmd.New().Inputs()
	if !strings.HasPrefix(text, "usage: ") {
		text = usage(cmd.Name, inputs) + "\n" + text
	}
	return strings.Replace(text, "{inputs}\n", options(inputs), 1)
}

// lineWidth is the width of help texts.
const lineWidth = 82

// usage returns the synopsis of a command.
func usage(name string, inputs []Input) string {
	text := "usage: hostguard " + name
	width := len(text)
	for _, in := range inputs {
		part := " [" + in.flag() + "]"
		if width += len(part); width > lineWidth {
			text, width = text+"\n        ", 8+len(part)
		}
		text += part
	}
	return text + "\n"
}

// flag returns the input as a flag on a command line.
func (in Input) flag() string {
	arg := in.Arg
	switch {
	case in.boolean && in.Default == "true":
		return "-" + in.Name + "=false"
	case in.boolean:
		return "-" + in.Name
	case arg == "":
		arg = in.arg
	}
	return "-" + in.Name + " " + arg
}

// options returns the list of inputs with their texts, in the order of the table.
func options(inputs []Input) string {
	column := 0
	for _, in := range inputs {
		if n := len(in.flag()); n <= 20 {
			column = max(column, n)
		}
	}
	var list strings.Builder
	for _, in := range inputs {
		list.WriteString(entry(in.flag(), in.description(), column))
	}
	return list.String()
}

// description returns the input's text with its default.
func (in Input) description() string {
	if in.Default == "" || in.boolean {
		return in.Text
	}
	return strings.TrimPrefix(in.Text+"; default "+in.Default, "; ")
}

// entry returns a word and its description in two columns.
func entry(word, text string, column int) string {
	line := fmt.Sprintf("  %-*s  ", column, word)
	if len(word) > column {
		line = fmt.Sprintf("  %s\n  %-*s  ", word, column, "")
	}
	indent, width := strings.Repeat(" ", column+4), column+4
	for i, part := range strings.Fields(text) {
		if i > 0 {
			if width+1+len(part) > lineWidth {
				line, width = line+"\n"+indent, len(indent)
			} else {
				line, width = line+" ", width+1
			}
		}
		line, width = line+part, width+len(part)
	}
	return line + "\n"
}

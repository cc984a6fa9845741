package cli

import (
	"fmt"
	"strings"
)

// asksForHelp finds a request for help among a command's own arguments. What
// follows the inputs of one that wraps another is for that.
func (cmd Command) asksForHelp(args []string) bool {
	for _, arg := range args {
		if arg == "--" || cmd.Wraps && arg != "" && arg[0] != '-' {
			return false
		}
		if arg == "-h" || arg == "-help" || arg == "--help" {
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

usage: hostguard COMMAND [-input value ...]

steps of a workflow (also as "uses: wooo/hostguard@v1.0.0" with "step: ..."):
` + strings.Join(steps, "") + `
on the host:
` + strings.Join(others, "") + `  version, help

"hostguard help COMMAND" tells more. Every input is also read from the
environment: -lock-name from HOSTGUARD_LOCK_NAME, and so on. A flag goes before
the workflow's input, and that before the environment.

exit status: 0 done, 1 refused (not this change's fault), 2 wrong use,
3 hostguard could not do its work, 130 or 143 interrupted.
`
}

// help returns what there is to print about a command.
func (cmd Command) help() string {
	text := cmd.Help
	inputs := cmd.New().Inputs()
	if !strings.HasPrefix(text, "usage: ") {
		text = usage(cmd.Name, inputs) + "\n" + text
	}
	return strings.Replace(text, "{inputs}\n", options(inputs), 1)
}

// lineWidth is how wide help is printed.
const lineWidth = 82

// usage is the synopsis of a command.
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

// flag returns an input as it is written on a command line.
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

// options lists inputs with their texts, in the order of the table.
func options(inputs []Input) string {
	column := 0
	for _, in := range inputs {
		if n := len(in.flag()); n <= 20 {
			column = max(column, n)
		}
	}
	var list strings.Builder
	for _, in := range inputs {
		text := in.Text
		if in.Default != "" && !in.boolean {
			text = strings.TrimPrefix(text+"; default "+in.Default, "; ")
		}
		list.WriteString(entry(in.flag(), text, column))
	}
	return list.String()
}

// entry is a word and what there is to know about it, in a column of its own.
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

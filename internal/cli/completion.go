package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

var completionCommand = Command{Name: "completion", Help: helpCompletion, Argument: []string{"bash", "zsh", "fish"},
	Summary: "print a completion for bash, zsh or fish", New: func() Action { return Func(printCompletion) }}

const helpCompletion = `usage: hostguard completion bash|zsh|fish

Prints the completion of commands, flags and their values for a shell. "hostguard
install" puts those of all three in place.

exit status: 0, or 2 for wrong use.

example: source <(hostguard completion bash)
         hostguard completion fish >~/.config/fish/completions/hostguard.fish
         hostguard completion zsh >"${fpath[1]}/_hostguard"
`

func printCompletion(_ context.Context, s *Session) error {
	_, err := s.Stdout.Write(Completion(s.Argument, "Written by hostguard completion.", s.Commands))
	return err
}

// Completion returns the completion script for bash, zsh or fish, with a mark in it.
func Completion(shell, mark string, all []Command) []byte {
	all = slices.DeleteFunc(slices.Clone(all), func(cmd Command) bool { return cmd.Hook })
	var words []described               // after hostguard
	inGroup := map[string][]described{} // after a group
	for _, cmd := range all {
		if group := groupOf(cmd.Name); group != "" {
			inGroup[group] = append(inGroup[group], described{cmd.Name[len(group)+1:], cmd.Summary})
		} else {
			words = append(words, described{cmd.Name, cmp.Or(cmd.Summary, "print the version")})
		}
	}
	words = append(append(words, groups...), described{"help", "print the details of a command"})
	switch shell {
	case "zsh":
		return zshCompletion(mark, all, words, inGroup)
	case "fish":
		return fishCompletion(mark, all, words, inGroup)
	}
	return bashCompletion(mark, all, words, inGroup)
}

// described is a word with its description.
type described struct{ word, text string }

func wordsOf(list []described) string {
	words := make([]string, 0, len(list))
	for _, c := range list {
		words = append(words, c.word)
	}
	return strings.Join(words, " ")
}

// brief returns the first clause of an input's text.
func (in Input) brief() string {
	text := in.Text
	for _, end := range []string{";", ". ", ": ", " ("} {
		text, _, _ = strings.Cut(text, end)
	}
	return strings.TrimSuffix(text, ".")
}

// offered returns the values that are offered for an input: words, or else directories
// or files.
func (in Input) offered() (values []string, dirs, files bool) {
	arg := cmp.Or(in.Arg, in.arg)
	return in.values, strings.HasPrefix(arg, "DIR"), arg == "FILE"
}

func bashCompletion(mark string, all []Command, words []described, inGroup map[string][]described) []byte {
	var flags, values strings.Builder
	for _, cmd := range all {
		var list []string
		for _, in := range cmd.New().Inputs() {
			word, _, _ := strings.Cut(in.flag(), " ") // -disable=false of what is true
			list = append(list, word)
			offer := "return"
			switch words, dirs, files := in.offered(); {
			case in.boolean:
				continue // it needs no value
			case len(words) > 0:
				offer = "words='" + strings.Join(words, " ") + "'"
			case dirs:
				offer = "_hostguard_paths -d; return"
			case files:
				offer = "_hostguard_paths -f; return"
			}
			fmt.Fprintf(&values, "\t'%s -%s') %s ;;\n", cmd.Name, in.Name, offer)
		}
		list = append(list, cmd.Argument...)
		fmt.Fprintf(&flags, "\t\t\t'%s') words='%s' ;;\n", cmd.Name, strings.Join(list, " "))
	}
	var seconds strings.Builder
	for _, group := range groups {
		fmt.Fprintf(&seconds, "\t\t2:%[1]s | 3:'help %[1]s') words='%[2]s' ;;\n",
			group.word, wordsOf(inGroup[group.word]))
	}
	return fmt.Appendf(nil, `# %[1]s
_hostguard_paths() {
	compopt -o filenames 2>/dev/null
	mapfile -t COMPREPLY < <(compgen "$1" -- "$word")
}

_hostguard() {
	local word=${COMP_WORDS[COMP_CWORD]} flag=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} words= i
	COMPREPLY=()
	for ((i = 2; i < COMP_CWORD; i++)); do
		if [[ ${COMP_WORDS[i]} == -- ]]; then # the command of with-lock
			if ((i == COMP_CWORD - 1)); then
				mapfile -t COMPREPLY < <(compgen -c -- "$word")
			else
				_hostguard_paths -f
			fi
			return
		fi
	done
	case $word:$flag in # bash splits -mode=hard-fail
	=:*) word= ;;
	*:=) flag=${COMP_WORDS[COMP_CWORD - 2]} ;;
	esac
	if ((COMP_CWORD > 2)) && [[ ' %[2]s help ' == *" $command "* ]]; then
		command="$command ${COMP_WORDS[2]}"
	fi
	case "$command ${flag/#--/-}" in
%[3]s	*)
		case $COMP_CWORD:$command in
		1:*) words='%[4]s' ;;
%[5]s		2:help) words='%[4]s' ;;
		*)
			case $command in
%[6]s			esac
			;;
		esac
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _hostguard hostguard
`, mark, wordsOf(groups), values.String(), wordsOf(words), seconds.String(), flags.String())
}

// zshQuote quotes a text for zsh, once more for _describe and _arguments.
func zshQuote(text string) string {
	text = strings.NewReplacer(`\`, `\\`, ":", `\:`, "[", `\[`, "]", `\]`).Replace(text)
	return strings.ReplaceAll(text, "'", `'\''`)
}

func zshCompletion(mark string, all []Command, words []described, inGroup map[string][]described) []byte {
	quoted := func(list []described) string {
		var b strings.Builder
		for _, c := range list {
			fmt.Fprintf(&b, "\t\t\t'%s:%s'\n", c.word, zshQuote(c.text))
		}
		return b.String()
	}
	var cases strings.Builder
	for _, cmd := range all {
		fmt.Fprintf(&cases, "\t('%s')\n\t\t_arguments :", cmd.Name)
		for _, in := range cmd.New().Inputs() {
			switch {
			case in.boolean && in.Default == "true":
				fmt.Fprintf(&cases, " \\\n\t\t\t'-%s=-[%s]:value:(false)'", in.Name, zshQuote(in.brief()))
				continue
			case in.boolean:
				fmt.Fprintf(&cases, " \\\n\t\t\t'-%s[%s]'", in.Name, zshQuote(in.brief()))
				continue
			}
			action := " "
			switch values, dirs, files := in.offered(); {
			case len(values) > 0:
				action = "(" + strings.Join(values, " ") + ")"
			case dirs:
				action = "_directories"
			case files:
				action = "_files"
			}
			fmt.Fprintf(&cases, " \\\n\t\t\t'-%s=[%s]:%s:%s'", in.Name, zshQuote(in.brief()),
				zshQuote(cmp.Or(in.Arg, in.arg)), action)
		}
		if len(cmd.Argument) > 0 {
			fmt.Fprintf(&cases, " \\\n\t\t\t':word:(%s)'", strings.Join(cmd.Argument, " "))
		}
		if cmd.Wraps {
			cases.WriteString(" \\\n\t\t\t'*::command:_normal'")
		}
		cases.WriteString("\n\t\t;;\n")
	}
	var seconds strings.Builder
	for _, group := range groups {
		fmt.Fprintf(&seconds, "\t\t\t%s)\n\t\t\t\tlist=(\n%s\t\t\t\t)\n\t\t\t\t;;\n", group.word,
			quoted(inGroup[group.word]))
	}
	return fmt.Appendf(nil, `#compdef hostguard
# %[1]s
_hostguard() {
	local -a list
	if [[ $words[2] == help ]] && ((CURRENT > 2)); then
		shift words
		((CURRENT--))
	fi
	if ((CURRENT == 2)); then
		list=(
%[2]s		)
		_describe -t commands command list
		return
	fi
	local command=$words[2]
	case $command in
	%[3]s)
		if ((CURRENT == 3)); then
			case $command in
%[4]s			esac
			_describe -t commands command list
			return
		fi
		command="$command $words[3]"
		shift words
		((CURRENT--))
		;;
	esac
	shift words
	((CURRENT--))
	case $command in
%[5]s	esac
}
if [[ $funcstack[1] == _hostguard ]]; then
	_hostguard "$@"
else
	compdef _hostguard hostguard
fi
`, mark, quoted(words), strings.ReplaceAll(wordsOf(groups), " ", " | "), seconds.String(), cases.String())
}

// fishQuote quotes a text for fish.
func fishQuote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
}

func fishCompletion(mark string, all []Command, words []described, inGroup map[string][]described) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `# %s
function __hostguard_at --description 'whether the words before the cursor are these'
	test (string join -- ' ' (commandline -opc)) = (string join ' ' hostguard $argv)
end
function __hostguard_in --description 'whether the words before the cursor begin with these'
	string match -q -- (string join ' ' hostguard $argv '*') (string join -- ' ' (commandline -opc) '')
end
complete -c hostguard -f
`, mark)
	offer := func(list []described, after string) {
		for _, c := range list {
			fmt.Fprintf(&b, "complete -c hostguard -n '__hostguard_at%s' -a %s -d %s\n", after, c.word,
				fishQuote(c.text))
		}
	}
	offer(words, "")
	offer(words, " help")
	for _, group := range groups {
		offer(inGroup[group.word], " "+group.word)
		offer(inGroup[group.word], " help "+group.word)
	}
	for _, cmd := range all {
		for _, in := range cmd.New().Inputs() {
			takes := ""
			switch values, dirs, files := in.offered(); {
			case in.boolean:
			case len(values) > 0:
				takes = " -x -a '" + strings.Join(values, " ") + "'"
			case dirs:
				takes = " -x -a '(__fish_complete_directories)'"
			case files:
				takes = " -r -F"
			default:
				takes = " -x"
			}
			fmt.Fprintf(&b, "complete -c hostguard -n '__hostguard_in %s' -o %s%s -d %s\n", cmd.Name, in.Name, takes,
				fishQuote(in.brief()))
		}
		if len(cmd.Argument) > 0 {
			fmt.Fprintf(&b, "complete -c hostguard -n '__hostguard_at %s' -a '%s'\n", cmd.Name,
				strings.Join(cmd.Argument, " "))
		}
		if cmd.Wraps {
			fmt.Fprintf(&b, "complete -c hostguard -n '__hostguard_in %s; and contains -- -- (commandline -opc)' "+
				"-a '(__fish_complete_command)'\n", cmd.Name)
		}
	}
	return []byte(b.String())
}

package cli

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Completion returns a completion script for bash that starts with mark.
func Completion(mark string, all []Command) []byte {
	var words, runnerWords []string
	var flags strings.Builder
	for _, cmd := range all {
		if cmd.Hook {
			continue
		}
		word, second, _ := strings.Cut(cmd.Name, " ")
		if !slices.Contains(words, word) {
			words = append(words, word)
		}
		if second != "" {
			runnerWords = append(runnerWords, second)
		}
		var of []string
		for _, in := range cmd.New().Inputs() {
			of = append(of, "-"+in.Name)
		}
		fmt.Fprintf(&flags, "\t*:%s:*) words='%s' ;;\n", strings.ReplaceAll(cmd.Name, " ", ":"), strings.Join(of, " "))
	}
	return fmt.Appendf(nil, `# %s
_hostguard() {
	local word=${COMP_WORDS[COMP_CWORD]} words=
	case $COMP_CWORD:${COMP_WORDS[1]}:${COMP_WORDS[2]}: in
	1:*) words='%s help' ;;
	2:runner:*) words='%s' ;;
%s	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -o default -F _hostguard hostguard
`, mark, strings.Join(words, " "), strings.Join(runnerWords, " "), flags.String())
}

// Manual returns the help of all commands as one page for man(1) that starts with mark.
func Manual(mark, version string, all []Command) []byte {
	var page bytes.Buffer
	fmt.Fprintf(&page, ".\\\" %s\n.TH HOSTGUARD 1 \"\" \"hostguard %s\"\n.SH NAME\nhostguard \\- keeps a shared CI "+
		"host usable\n", mark, version)
	section := func(title, text string) {
		fmt.Fprintf(&page, ".SH %s\n.nf\n", strings.ToUpper(title))
		for line := range strings.Lines(strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)) {
			if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
				line = `\&` + line
			}
			page.WriteString(line)
		}
		page.WriteString(".fi\n")
	}
	section("description", helpMain(all))
	for _, cmd := range all {
		if !cmd.Hook {
			section(cmd.Name, cmd.help())
		}
	}
	if i := slices.IndexFunc(all, func(cmd Command) bool { return cmd.Hook }); i >= 0 { // all hooks share one text
		section("hooks", all[i].help())
	}
	return page.Bytes()
}

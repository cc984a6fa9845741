package cli

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Completion is a script for bash, headed by mark. It asks the help for a command's flags.
func Completion(mark string, all []Command) []byte {
	var first, ofRunner []string
	for name := range strings.SplitSeq(names(all), ", ") {
		word, second, _ := strings.Cut(name, " ")
		if !slices.Contains(first, word) {
			first = append(first, word)
		}
		if second != "" {
			ofRunner = append(ofRunner, second)
		}
	}
	return fmt.Appendf(nil, `# %s
_hostguard() {
	local word=${COMP_WORDS[COMP_CWORD]} words='%s help' of='%s'
	if [ "$COMP_CWORD" = 2 ] && [ "${COMP_WORDS[1]}" = runner ]; then
		words=$of
	elif [ "$COMP_CWORD" != 1 ]; then
		words=$(hostguard help "${COMP_WORDS[@]:1:2}" 2>/dev/null | grep -oE '(^|[[ ])-[a-z][a-z-]+' | tr -d '[ ')
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -o default -F _hostguard hostguard
`, mark, strings.Join(first, " "), strings.Join(ofRunner, " "))
}

// Manual is the help as one page for man(1), headed by mark.
func Manual(mark, version string, all []Command) []byte {
	var page bytes.Buffer
	fmt.Fprintf(&page, ".\\\" %s\n.TH HOSTGUARD 1 \"\" \"hostguard %s\"\n.SH NAME\nhostguard \\- keeps a shared CI host usable\n", mark, version)
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
	section("description", helpMain)
	for _, cmd := range all {
		if !cmd.Hook {
			section(cmd.Name, cmd.Help)
		}
	}
	if i := slices.IndexFunc(all, func(cmd Command) bool { return cmd.Hook }); i >= 0 { // they share one
		section("hooks", all[i].Help)
	}
	return page.Bytes()
}

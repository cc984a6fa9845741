package cli

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

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

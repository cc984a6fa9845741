package operate

import (
	"fmt"
	"strings"

	"hostguard/internal/cli"
)

func listed(values []string) string {
	var words []string
	for _, v := range values {
		words = append(words, cli.Word(v))
	}
	return cond(words == nil, "none", strings.Join(words, ","))
}

func cond(which bool, yes, no string) string {
	if which {
		return yes
	}
	return no
}

func quotedList(values []string) string {
	var quoted []string
	for _, value := range values {
		quoted = append(quoted, fmt.Sprintf("%.100q", value))
	}
	return strings.Join(quoted, ", ")
}

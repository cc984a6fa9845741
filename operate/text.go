package operate

import (
	"fmt"
	"strings"

	"hostguard/internal/cli"
)

// listed returns values as a list, or none.
func listed(values []string) string {
	var words []string
	for _, v := range values {
		words = append(words, cli.Word(v))
	}
	return choose(words == nil, "none", strings.Join(words, ","))
}

// choose returns yes or no.
func choose(which bool, yes, no string) string {
	if which {
		return yes
	}
	return no
}

// quotedList returns values as a list of quoted words.
func quotedList(values []string) string {
	var quoted []string
	for _, value := range values {
		quoted = append(quoted, fmt.Sprintf("%.100q", value))
	}
	return strings.Join(quoted, ", ")
}

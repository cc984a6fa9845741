package cli

import "strings"

// maxTyped bounds a word that is compared with known ones; longer ones are no typing errors.
const maxTyped = 40

// nearest returns the known word that a mistyped one most probably means, or "". Of a
// command of two words the second decides: the first one is the same for all.
func nearest(typed string, known []string) (best string) {
	if len(typed) > maxTyped {
		return ""
	}
	typed = last(typed)
	least := len(typed)/3 + 1 // more changes than that make another word
	for _, word := range known {
		if d := distance(typed, last(word)); d < least {
			best, least = word, d
		}
	}
	if best != "" || len(typed) < 3 {
		return best
	}
	for _, word := range known { // a word that is not complete
		if strings.HasPrefix(last(word), typed) {
			if best != "" {
				return "" // it may be either
			}
			best = word
		}
	}
	return best
}

// last returns the last word of a command's name.
func last(name string) string { return name[strings.LastIndexByte(name, ' ')+1:] }

// distance returns the least number of letters to add, remove, replace or swap with the
// next that makes a of b.
func distance(a, b string) int {
	before, above := make([]int, len(b)+1), make([]int, len(b)+1) // the rows before this one
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replaced := above[j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			row[j] = min(above[j]+1, row[j-1]+1, replaced)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above = above, row
	}
	return above[len(b)]
}

// suggestion returns the end of an error about an unknown command: the nearest of the
// known ones, or else all of them.
func suggestion(typed string, known []string) string {
	if near := nearest(typed, known); near != "" {
		return "did you mean " + near + "?"
	}
	return "one of " + strings.Join(known, ", ") + ", or see \"hostguard help\""
}

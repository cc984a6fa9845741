// Package hexid recognizes identifiers that are written in hexadecimal digits, such as
// those of containers, networks, machines and nonces.
package hexid

import "strings"

// Is reports whether s is n lower-case hexadecimal digits. (A compiled expression
// would do, but it costs every start of the program.)
func Is(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == ""
}

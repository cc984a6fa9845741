// Package shell finds commands in shell text, as far as one can tell them without
// running it: enough to find what is written out in a workflow's run or a script of
// cron. What a variable or a function does is not seen.
package shell

import (
	"path"
	"slices"
	"strings"
)

// Command is one simple command: its words, without quotes.
type Command struct {
	Line  int
	Words []string
}

// leading are words that stand before a command.
var leading = []string{"nohup", "if", "then", "else", "elif", "do", "while", "until", "!", "{", "command"}

// starters run the command that their arguments are. These are the flags of
// theirs that take the next word, and how many words are not yet the command.
var starters = map[string]struct {
	valued []string
	Words  int
}{
	"sudo": {[]string{"-u", "-g", "-C", "-D", "-h", "-p", "-R", "-r", "-T", "-t", "-U"}, 0}, "doas": {[]string{"-u", "-C"}, 0},
	"env": {[]string{"-u", "-C"}, 0}, "exec": {[]string{"-a"}, 0}, "nice": {[]string{"-n"}, 0}, "ionice": {[]string{"-c", "-n"}, 0},
	"time": {[]string{"-f", "-o"}, 0}, "timeout": {[]string{"-k", "-s"}, 1},
}

// started is a command without what starts it.
func started(words []string) []string {
	for len(words) > 0 {
		starter, found := starters[path.Base(words[0])]
		switch {
		case found:
			words = skipFlags(words[1:], starter.valued)
			words = words[min(starter.Words, len(words)):]
		case slices.Contains(leading, words[0]) || isAssignment(words[0]):
			words = words[1:]
		default:
			return words
		}
	}
	return words
}

func skipFlags(words, valued []string) []string {
	for len(words) > 0 && strings.HasPrefix(words[0], "-") {
		if slices.Contains(valued, words[0]) && len(words) > 1 {
			words = words[1:]
		}
		words = words[1:]
	}
	return words
}

// withoutRedirections are words without ">file", "2>&1" and "< file".
func withoutRedirections(words []string) (rest []string) {
	for i := 0; i < len(words); i++ {
		w := strings.TrimLeft(words[i], "0123456789")
		switch {
		case w == "" || w[0] != '<' && w[0] != '>':
			rest = append(rest, words[i])
		case strings.Trim(w, "<>&|") == "": // what it names is the next word
			i++
		}
	}
	return rest
}

// Commands returns the simple commands of a script, without what only starts them.
func Commands(script string) []Command {
	var all []Command
	var words []string
	var current strings.Builder
	line, quote, inWord := 1, rune(0), false
	word := func() {
		if inWord {
			words = append(words, current.String())
		}
		current.Reset()
		inWord = false
	}
	end := func(at int) {
		word()
		words = started(withoutRedirections(words))
		if len(words) > 0 && path.Base(words[0]) == "xargs" {
			words = words[1:]
			for len(words) > 0 && strings.HasPrefix(words[0], "-") {
				words = words[1:]
			}
			if len(words) > 0 {
				words = append(words, "$@") // what it reads
			}
		}
		if len(words) > 0 {
			words[0] = path.Base(words[0])
			all = append(all, Command{at, words})
		}
		words = nil
	}
	comment, escaped := false, false
	for _, r := range script {
		switch {
		case r == '\n':
			if comment || quote == 0 && !escaped {
				end(line)
			}
			comment, escaped = false, false
			line++
		case comment:
		case escaped:
			escaped, inWord = false, true
			current.WriteRune(r)
		case r == '\\' && quote != '\'':
			escaped = true
		case quote != 0:
			if r == quote {
				quote = 0
			} else {
				current.WriteRune(r)
			}
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case r == '#' && !inWord:
			comment = true
		case r == '&' && strings.HasSuffix(current.String(), ">"): // 2>&1
			current.WriteRune(r)
		case strings.ContainsRune(";&|()`", r):
			end(line)
		case r == ' ' || r == '\t' || r == '\r':
			word()
		default:
			inWord = true
			current.WriteRune(r)
		}
	}
	end(line)
	return all
}

func isAssignment(word string) bool {
	name, _, found := strings.Cut(word, "=")
	return found && name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// Flag is the value of a flag of hostguard's, or "".
func (c Command) Flag(name string) string {
	for i, w := range c.Words {
		w, value, given := strings.Cut(strings.TrimLeft(w, "-"), "=")
		switch {
		case w != name || !strings.HasPrefix(c.Words[i], "-"):
		case given:
			return value
		case i+1 < len(c.Words):
			return c.Words[i+1]
		}
	}
	return ""
}

// Docker is the subcommand of a docker command and the words after it, without
// flags; nil for another command.
func (c Command) Docker() []string {
	switch c.Words[0] {
	case "docker-compose":
		return append([]string{"compose"}, operands(c.Words[1:])...)
	case "docker", "podman":
		rest := c.Words[1:]
		for len(rest) > 1 && strings.HasPrefix(rest[0], "-") {
			if slices.Contains([]string{"-H", "--host", "-c", "--context", "--config", "-l", "--log-level"}, rest[0]) {
				rest = rest[1:]
			}
			rest = rest[1:]
		}
		return operands(rest)
	}
	return nil
}

func operands(words []string) []string {
	var all []string
	for _, w := range words {
		if !strings.HasPrefix(w, "-") {
			all = append(all, w)
		}
	}
	return all
}

func is(words []string, want ...string) bool {
	return len(words) >= len(want) && slices.Equal(words[:len(want)], want)
}

// Builds tells whether a command builds an image.
func (c Command) Builds() bool {
	d := c.Docker()
	return is(d, "build") || is(d, "buildx", "build") || is(d, "buildx", "b") || is(d, "buildx", "bake") || is(d, "image", "build") || is(d, "builder", "build") ||
		is(d, "compose") && (slices.Contains(d, "build") || slices.Contains(c.Words, "--build"))
}

// PlainLock is the name of a lock that a command makes as a Docker network.
func (c Command) PlainLock() string {
	if d := c.Docker(); !is(d, "network", "create") {
		return ""
	}
	for i := slices.Index(c.Words, "create") + 1; i < len(c.Words); i++ {
		switch w := c.Words[i]; {
		case slices.Contains(networkValued, w):
			i++
		case !strings.HasPrefix(w, "-") && isLockName(w):
			return w
		}
	}
	return ""
}

// networkValued are the flags of "docker network create" that take the next word.
var networkValued = []string{"-d", "--driver", "-o", "--opt", "--label", "--subnet", "--gateway", "--ip-range", "--aux-address", "--ipam-driver", "--ipam-opt", "--scope", "--config-from"}

// PlainUnlock is the name of a lock that a command removes by name.
func (c Command) PlainUnlock() string {
	if d := c.Docker(); is(d, "network", "rm") || is(d, "network", "remove") {
		for _, name := range d[2:] {
			if isLockName(name) {
				return name
			}
		}
	}
	return ""
}

func isLockName(s string) bool { return strings.Contains(strings.ToLower(s), "lock") }

// PrunesNetworks tells whether a command deletes networks that nobody uses, such
// as a lock that was made by plain "docker network create".
func (c Command) PrunesNetworks() bool {
	d := c.Docker()
	return is(d, "network", "prune") || is(d, "system", "prune")
}

// Quote is a word of a command that somebody may copy.
func Quote(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@/:") == "" && s != "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Package shell finds commands in shell text, as far as one can tell them without
// running it: enough to find what is written out in a workflow's run or a script of
// cron. What a variable, a trap or another file does is not seen, and what runs on
// another host (ssh) is none of this one's.
package shell

import (
	"slices"
	"strings"
)

// Command is one simple command: its words, without quotes.
type Command struct {
	Line  int
	Words []string
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

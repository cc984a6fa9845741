// Package shell finds commands in shell text without running it: enough for the commands
// that a workflow's run or a cron script spells out. It does not see what a variable, a
// trap or another file does, and ignores what runs on another host (ssh).
package shell

import (
	"slices"
	"strings"
)

// Command is one simple command, as words without quotes.
type Command struct {
	Line    int
	Words   []string
	Program string // the first word as it is written, which may be a path
}

// Flag returns the value of a hostguard flag, or "".
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

// Docker returns the subcommand of a docker command and the words after it, without
// flags; nil for any other command.
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

// hasPrefix reports whether words begin with these.
func hasPrefix(words []string, want ...string) bool {
	return len(words) >= len(want) && slices.Equal(words[:len(want)], want)
}

// Builds reports whether a command builds an image.
func (c Command) Builds() bool {
	d := c.Docker()
	return hasPrefix(d, "build") || hasPrefix(d, "buildx", "build") || hasPrefix(d, "buildx", "b") ||
		hasPrefix(d, "buildx", "bake") || hasPrefix(d, "image", "build") || hasPrefix(d, "builder", "build") ||
		hasPrefix(d, "compose") && (slices.Contains(d, "build") || slices.Contains(c.Words, "--build"))
}

// StartedByAPI returns the container that a command of curl or another client of HTTP
// starts by Docker's API, or "".
func (c Command) StartedByAPI() string {
	if !slices.Contains([]string{"curl", "wget", "http", "xh"}, c.Words[0]) {
		return ""
	}
	for _, w := range c.Words[1:] {
		_, rest, found := strings.Cut(w, "/containers/")
		name, action, _ := strings.Cut(rest, "/")
		action, _, _ = strings.Cut(action, "?")
		if found && slices.Contains([]string{"start", "restart", "unpause"}, action) {
			return name
		}
	}
	return ""
}

// StartsUnits returns the units that a command of systemctl or of service starts.
func (c Command) StartsUnits() []string {
	words := operands(c.Words[1:])
	switch {
	case len(words) == 0:
		return nil
	case strings.HasPrefix(c.Program, "/etc/init.d/"):
		words = []string{words[0], c.Words[0]}
	case c.Words[0] == "service" && len(words) > 1:
		words = []string{words[1], words[0]}
	case c.Words[0] != "systemctl":
		return nil
	}
	starts := slices.Contains([]string{"start", "restart", "try-restart", "reload-or-restart", "isolate"}, words[0]) ||
		words[0] == "enable" && slices.Contains(c.Words, "--now")
	if !starts {
		return nil
	}
	return words[1:]
}

// PlainLock returns the name of a lock that a command creates as a Docker network.
func (c Command) PlainLock() string {
	if d := c.Docker(); !hasPrefix(d, "network", "create") {
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
var networkValued = []string{"-d", "--driver", "-o", "--opt", "--label", "--subnet", "--gateway", "--ip-range",
	"--aux-address", "--ipam-driver", "--ipam-opt", "--scope", "--config-from"}

// PlainUnlock returns the name of a lock that a command removes by name.
func (c Command) PlainUnlock() string {
	if d := c.Docker(); hasPrefix(d, "network", "rm") || hasPrefix(d, "network", "remove") {
		for _, name := range d[2:] {
			if isLockName(name) {
				return name
			}
		}
	}
	return ""
}

func isLockName(s string) bool { return strings.Contains(strings.ToLower(s), "lock") }

// PrunesNetworks reports whether a command deletes unused networks, such as a lock created
// by plain "docker network create".
func (c Command) PrunesNetworks() bool {
	d := c.Docker()
	return hasPrefix(d, "network", "prune") || hasPrefix(d, "system", "prune")
}

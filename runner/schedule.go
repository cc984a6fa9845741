package runner

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"hostguard/runner/finding"
	"hostguard/runner/shell"
)

// Scheduled is a command that the host runs by itself, from a cron table or a timer,
// with the scripts that it names, one level deep.
type Scheduled struct {
	Where   string // its place, with foreign names quoted
	Command string
	Scripts []Script
}

// Script is a file that a scheduled command names.
type Script struct{ Path, Text string }

// CronLine is a line of a cron table.
type CronLine struct {
	Line    int
	Command string
}

const maxCronLines = 1000

// ParseCrontab parses a cron table; a system's has a user in each line.
func ParseCrontab(data string, withUser bool) []CronLine {
	var all []CronLine
	n := 0
	for line := range strings.Lines(data) {
		n++
		fields := 5
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
			continue
		case line[0] == '@':
			fields = 1
		case !strings.ContainsAny(line[:1], "0123456789*"):
			continue // a variable
		}
		if withUser {
			fields++
		}
		for range fields {
			_, rest, _ := strings.Cut(line, firstSpace(line))
			line = strings.TrimLeft(rest, " \t")
		}
		if line == "" || len(all) == maxCronLines {
			continue
		}
		all = append(all, CronLine{n, line})
	}
	return all
}

func firstSpace(s string) string {
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		return s[i : i+1]
	}
	return " "
}

// ScriptsOf returns the files that a command may run, by an absolute path or a path
// below home.
func ScriptsOf(command, home string) []string {
	var paths []string
	dir := ""
	commands, _ := shell.Commands(command)
	for _, c := range commands {
		if c.Words[0] == "cd" && len(c.Words) > 1 {
			dir = c.Words[1]
		}
	}
	for w := range strings.FieldsFuncSeq(command, func(r rune) bool { return strings.ContainsRune(" \t;&|()\"'<>=", r) }) {
		for _, prefix := range []string{"~/", "$HOME/", "${HOME}/"} {
			if rest, found := strings.CutPrefix(w, prefix); found && home != "" {
				w = path.Join(home, rest)
			}
		}
		if strings.HasPrefix(w, "./") && path.IsAbs(dir) {
			w = path.Join(dir, w)
		}
		if path.IsAbs(w) && !slices.Contains(paths, path.Clean(w)) && len(paths) < 10 {
			paths = append(paths, path.Clean(w))
		}
	}
	return paths
}

// ofContainers matches units that run containers, such as docker-compose@NAME or
// container-NAME. The unit of a runner itself is none.
var ofContainers = regexp.MustCompile(`^(docker|podman|container|compose|docker-compose|podman-compose)[-@.]`)

var mentionsRunner = regexp.MustCompile(`gitea[-_]runner|act[-_]runner`)

// namedIn reports whether a text names the container; the retired runner's has several
// usual names.
func (c Container) namedIn(text string) bool {
	if c.Name == WrappedContainer && mentionsRunner.MatchString(text) {
		return true
	}
	return strings.Contains(text, c.Name) || len(text) >= 12 && strings.HasPrefix(c.ID, text)
}

// checkSchedule reports commands that would start a container again, and commands that
// delete plain locks.
func checkSchedule(schedule []Scheduled, c Container) []finding.Finding {
	var all finding.List
	for _, s := range schedule {
		texts := []Script{{Text: s.Command}}
		for _, script := range append(texts, s.Scripts...) {
			where := s.Where
			reported := map[finding.Finding]bool{} // by layer and level: one of each is enough
			add := func(layer int, level finding.Level, what, evidence, fix string) {
				if kind := (finding.Finding{Layer: layer, Level: level}); !reported[kind] {
					reported[kind] = true
					all.Add(layer, level, fix, "%s %s: %.120q", where, what, evidence)
				}
			}
			commands, err := shell.Commands(script.Text)
			for _, command := range commands {
				if script.Path != "" {
					where = fmt.Sprintf("%s runs %.200q, whose line %d", s.Where, script.Path, command.Line)
				}
				words := strings.Join(command.Words, " ")
				switch c.startedBy(command, script.Text) {
				case finding.Bad:
					add(7, finding.Bad, "starts the retired runner", words,
						"remove it from that command, then "+c.drain())
				case finding.Warn:
					add(7, finding.Warn, "starts containers that it does not name", words,
						fmt.Sprintf("make sure that it leaves out %.100q", c.Name))
				case finding.OK:
					if c.startedIn(command) {
						add(7, finding.Warn, "may start the retired runner", words, "make sure that it does not")
					}
				}
				if command.PrunesNetworks() {
					add(3, finding.Warn, "deletes locks created by plain docker network create", words, pruneFix)
				}
			}
			if err == nil || !shell.MayUseDocker(script.Text) {
				continue
			}
			if script.Path != "" {
				where = fmt.Sprintf("%s runs %.200q, which", s.Where, script.Path)
			}
			if c.namedIn(script.Text) {
				add(7, finding.Warn, "names the retired runner and cannot be read as shell", err.Error(),
					"make sure that it does not start the runner")
			}
			if strings.Contains(script.Text, "prune") {
				add(3, finding.Warn,
					"may delete locks created by plain docker network create, and cannot be read as shell", err.Error(),
					pruneFix)
			}
		}
	}
	return all
}

// composeStarts are the subcommands of compose that start something.
var composeStarts = []string{"up", "start", "restart", "run", "unpause"}

const pruneFix = "take locks with hostguard acquire-lock, which no prune removes, or prune only images and containers"

// harmless are programs that do not run what their arguments name, or on another host.
var harmless = []string{"echo", "printf", "logger", "mail", "wall", "grep", "pgrep", "pkill", "sed", "awk", "ssh"}

// startedIn reports whether a program that is not known is given a command, or the text of
// one, that would start the container.
func (c Container) startedIn(command shell.Command) bool {
	if slices.Contains(harmless, command.Words[0]) {
		return false
	}
	words := strings.FieldsFunc(strings.Join(command.Words[1:], " "), func(r rune) bool {
		return unicode.IsSpace(r) || strings.ContainsRune(`'"();&|`, r)
	})
	for i, word := range words {
		if name := path.Base(word); slices.Contains([]string{"docker", "docker-compose", "podman"}, name) {
			inner := shell.Command{Words: append([]string{name}, words[i+1:]...), Program: word}
			if c.startedBy(inner, "") != finding.OK {
				return true
			}
		}
	}
	return false
}

// startedBy returns Bad if a command of a script starts the container, and Warn if it
// starts a container that a variable names, or others of the same compose project.
func (c Container) startedBy(command shell.Command, script string) finding.Level {
	if name := command.StartedByAPI(); name != "" && c.namedIn(name) {
		return finding.Bad
	}
	for _, unit := range command.StartsUnits() {
		if ofContainers.MatchString(unit) && c.namedIn(unit) {
			return finding.Bad
		}
	}
	d := command.Docker()
	if len(d) > 0 && d[0] == "container" {
		d = d[1:]
	}
	if len(d) == 0 {
		return finding.OK
	}
	compose := -1
	if d[0] == "compose" {
		compose = slices.IndexFunc(d, func(w string) bool { return slices.Contains(composeStarts, w) })
	}
	keepsUp := func(w string) bool { return strings.Contains(w, "always") || strings.Contains(w, "unless-stopped") }
	if compose < 0 && !slices.Contains([]string{"start", "restart", "run", "unpause"}, d[0]) &&
		!(d[0] == "update" && slices.ContainsFunc(command.Words, keepsUp)) {
		return finding.OK
	}
	if slices.ContainsFunc(command.Words, c.namedIn) {
		return finding.Bad
	}
	if compose > 0 && c.ComposeDir == "" && len(d) == compose+1 && c.namedIn(script) {
		return finding.Bad // of the project in a directory of that name
	}
	if compose > 0 && c.ComposeDir != "" && strings.Contains(script, c.ComposeDir) {
		if services := d[compose+1:]; len(services) == 0 || slices.Contains(services, c.ComposeService) {
			return finding.Bad
		}
		return finding.Warn
	}
	if slices.ContainsFunc(command.Words[1:], func(w string) bool { return strings.Contains(w, "$") }) {
		if c.namedIn(script) {
			return finding.Bad // the variable takes its values from this file
		}
		return finding.Warn
	}
	return finding.OK
}

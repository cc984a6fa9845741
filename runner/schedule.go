package runner

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Scheduled is a command that the host runs by itself, from a cron table or a
// timer, with the scripts that it names, one level deep.
type Scheduled struct {
	Where   string // of ours, with names quoted
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

// ParseCrontab reads a cron table, a system's one with a user in each line.
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

// ScriptsOf are the files that a command may run, by an absolute path or one
// below home.
func ScriptsOf(command, home string) []string {
	var paths []string
	dir := ""
	for _, c := range shellCommands(command) {
		if c.words[0] == "cd" && len(c.words) > 1 {
			dir = c.words[1]
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

var mentionsRunner = regexp.MustCompile(`gitea[-_]runner|act[-_]runner`)

// namedIn tells whether a text names the container: the retired one by any of
// its usual names.
func (c Container) namedIn(text string) bool {
	if c.Name == WrappedContainer && mentionsRunner.MatchString(text) {
		return true
	}
	return strings.Contains(text, c.Name) || len(text) >= 12 && strings.HasPrefix(c.ID, text)
}

// checkSchedule finds what would start a container again, and what deletes plain
// locks.
func checkSchedule(schedule []Scheduled, c Container) []Finding {
	var all []Finding
	for _, s := range schedule {
		texts := []Script{{Text: s.Command}}
		for _, script := range append(texts, s.Scripts...) {
			where := s.Where
			told := map[Finding]bool{} // by layer and level: the first of each is enough
			for _, command := range shellCommands(script.Text) {
				if script.Path != "" {
					where = fmt.Sprintf("%s runs %.200q, whose line %d", s.Where, script.Path, command.line)
				}
				add := func(layer int, level Level, what, fix string) {
					if kind := (Finding{Layer: layer, Level: level}); !told[kind] {
						told[kind] = true
						all = append(all, Finding{layer, level, fmt.Sprintf("%s %s: %.120q", where, what, strings.Join(command.words, " ")), fix})
					}
				}
				switch command.revives(c, script.Text) {
				case Bad:
					add(7, Bad, "starts the retired runner", "take it out of that command, then "+c.drain())
				case Warn:
					add(7, Warn, "starts containers that it does not name", fmt.Sprintf("see that it leaves out %.100q", c.Name))
				}
				if command.prunesNetworks() {
					add(3, Warn, "deletes locks made by plain docker network create", "take locks by hostguard acquire-lock, which no prune removes, or prune images and containers only")
				}
			}
		}
	}
	return all
}

// revives judges a command of a script: Bad if it starts the container, Warn if
// it starts what a variable names, or others of the same compose project.
func (command shellCommand) revives(c Container, script string) Level {
	d := command.docker()
	if is(d, "container") {
		d = d[1:]
	}
	compose := -1
	if is(d, "compose") {
		compose = slices.IndexFunc(d, func(w string) bool { return w == "up" || w == "start" || w == "restart" })
	}
	if compose < 0 && !is(d, "start") && !is(d, "restart") && !is(d, "run") && !is(d, "unpause") &&
		!(is(d, "update") && slices.ContainsFunc(command.words, func(w string) bool { return strings.Contains(w, "always") || strings.Contains(w, "unless-stopped") })) {
		return OK
	}
	if slices.ContainsFunc(command.words, c.namedIn) {
		return Bad
	}
	if compose > 0 && c.ComposeDir != "" && strings.Contains(script, c.ComposeDir) {
		if services := d[compose+1:]; len(services) == 0 || slices.Contains(services, c.ComposeService) {
			return Bad
		}
		return Warn
	}
	if slices.ContainsFunc(command.words[1:], func(w string) bool { return strings.Contains(w, "$") }) {
		if c.namedIn(script) {
			return Bad // the variable takes its values from this file
		}
		return Warn
	}
	return OK
}

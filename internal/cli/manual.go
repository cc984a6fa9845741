package cli

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// environment are the variables that no table of inputs has.
var environment = []described{
	{"DOCKER_HOST, DOCKER_CONTEXT, DOCKER_CONFIG, DOCKER_CERT_PATH, DOCKER_TLS_VERIFY, DOCKER_API_VERSION",
		"the Docker daemon to ask, as for docker(1)"},
	{"GITEA_TOKEN", "a token for Gitea: whether a run is still running, and what runners it has. It is never an " +
		"input, so that it is in no command line and no log"},
	{"HOSTGUARD_GITEA_URL, HOSTGUARD_GITEA_ISSUE, HOSTGUARD_GITEA_TOKEN",
		"the Gitea of -lock-backend gitea, the issue whose comments the locks are (OWNER/NAME#NUMBER), and the token " +
			"of the user that they are by. The token is never an input"},
	{"GITEA_SERVER_URL", "the server that GITEA_TOKEN is for, in place of the checkout's remote"},
	{RegistrationVariable, "the registration token of a new runner (runner split)"},
	{"RESTART_NOW", "1 means -restart-now (runner service)"},
	{"TASK_LOG_LINES", "how many lines of the tasks' log to print (runner audit)"},
	{"HOST_WEB_BUILD_PRESSURE_WARN_ONLY", "0 means -mode hard-fail (wait-pressure)"},
	{"HOSTGUARD_BIN", "the program that the action runs, in place of the hostguard on PATH or of the release's"},
	{"HOSTGUARD_URL", "where the action finds the release's binaries"},
	{"TERM, COLUMNS, LC_ALL, LC_CTYPE, LANG", "what the terminal shows"},
	{"NO_COLOR, CLICOLOR, CLICOLOR_FORCE", "no colours; none with 0; colours in a pipe too"},
	{"GITHUB_*, GITEA_*, RUNNER_TEMP", "the job that a step belongs to, as its runner sets them"},
}

// files are what hostguard reads and writes beside what it is given.
var files = []described{
	{"/run/lock/hostguard", "the locks of -lock-backend file"},
	{"/var/log/hostguard/audit.jsonl, ~/.local/state/hostguard/audit.jsonl",
		"who broke which lock and why, of root and of other users"},
	{"~/act-runner", "the directory of the host's runner, if no service names another"},
	{"/etc/systemd/system/hostguard-clean-diag.timer",
		"the timer of runner cleanup-timer; below ~/.config/systemd/user for other users"},
	{"/etc/hostguard/minisign.pub", "the public key of whoever signs this host's releases; install and the action " +
		"take no others then"},
	{"/usr/local/bin/hostguard-job-completed, hostguard-post-task, hostguard-health",
		"the hooks that install puts in place: links to hostguard"},
}

// statuses are the exit statuses. Those of with-lock are in its own help.
var statuses = []struct {
	status int
	text   string
}{
	{StatusOK, "done, or warned under -mode warn-only"},
	{StatusRefused, "refused: the lock was not free in time, the pressure did not end, or a check found a problem"},
	{StatusUsage, "wrong use: an unknown command or flag, or an invalid value"},
	{StatusFailed, "hostguard could not do its work: no Docker, no permission"},
	{StatusLockTimeout, "with-lock: the lock was not free in time"},
	{StatusCannotLock, "with-lock: hostguard could not do its work"},
	{StatusCannotRun, "with-lock: the command exists but cannot be run"},
	{StatusNotFound, "with-lock: there is no such command"},
	{StatusInterrupted, "interrupted by SIGINT"},
	{StatusTerminated, "interrupted by SIGTERM or SIGHUP"},
}

// manualDate is when the page was last reviewed.
const manualDate = "2026-11-27"

// Page is a page of the manual, in section 1: hostguard's own, or a command's.
type Page struct {
	Name string // hostguard, hostguard-acquire-lock
	Text []byte
}

// manual is a page that is being written, in the macros of man(7).
type manual struct {
	bytes.Buffer
	begun bool // the section has text, and the next paragraph needs a break
}

// Manual returns the manual's pages, each with a mark in it: hostguard's own first, then
// one for each command, and one for all hooks.
func Manual(mark, version string, all []Command) []Page {
	pages := []Page{{Name: "hostguard", Text: overview(mark, version, all)}}
	for _, cmd := range documented(all) {
		pages = append(pages, Page{cmd.page(), commandPage(mark, version, cmd, all)})
	}
	return pages
}

// documented returns the commands that have a page: all hooks share one text.
func documented(all []Command) (list []Command) {
	hook := slices.IndexFunc(all, func(cmd Command) bool { return cmd.Hook })
	for i, cmd := range all {
		if !cmd.Hook || i == hook {
			list = append(list, cmd)
		}
	}
	return list
}

// page returns the name of the command's page.
func (cmd Command) page() string {
	if cmd.Hook {
		return "hostguard-hooks"
	}
	return "hostguard-" + strings.ReplaceAll(cmd.Name, " ", "-")
}

// brief returns what the command does, in one line.
func (cmd Command) brief() string {
	if cmd.Hook {
		return "what the runner calls at the end of a job, and before it takes one"
	}
	return cmp.Or(cmd.Summary, "print the version")
}

// begin returns a page with its title and its names.
func begin(mark, version, title, names, brief string) (m manual) {
	fmt.Fprintf(&m, ".\\\" %s\n.TH %s 1 %s \"hostguard %s\"\n", mark, strings.ToUpper(title), manualDate, version)
	m.section("SH NAME")
	m.filled(names + " - " + brief)
	return m
}

// overview returns hostguard's own page.
func overview(mark, version string, all []Command) []byte {
	m := begin(mark, version, "hostguard", "hostguard", "keep a shared CI host usable")
	m.section("SH SYNOPSIS")
	m.line(".B hostguard\n.I COMMAND\n[\\fIFLAG\\fR...]")
	m.section("SH DESCRIPTION")
	m.text("hostguard keeps a CI host usable that several runners, repositories and people share: it cleans what " +
		"dead jobs left behind, waits for the heavy builds of others to end, and keeps the host-wide build lock. A " +
		"workflow runs the steps by the action; an operator runs the other commands on the host.")
	m.text("Every input is a flag, and most are also read from the environment. A flag takes precedence over the " +
		"workflow's input, and that over the environment.")
	m.section("SH COMMANDS")
	for _, cmd := range documented(all) {
		fmt.Fprintf(&m, ".TP\n.BR %s (1)\n", escape(cmd.page()))
		m.filled(cmd.brief())
	}
	m.section("SH ENVIRONMENT")
	for _, v := range variables(all) {
		m.item(v.word, v.text)
	}
	for _, v := range environment {
		m.item(v.word, v.text)
	}
	m.section("SH FILES")
	for _, f := range files {
		m.item(f.word, f.text)
	}
	m.section("SH EXIT STATUS")
	for _, s := range statuses {
		m.item(fmt.Sprint(s.status), s.text)
	}
	var others []string
	for _, cmd := range documented(all) {
		others = append(others, cmd.page()+" (1)")
	}
	m.seeAlso(append(others, "docker (1)", "flock (1)", "timeout (1)", "systemd.unit (5)"))
	return m.Bytes()
}

// commandPage returns the page of a command: what its help says, by sections.
func commandPage(mark, version string, cmd Command, all []Command) []byte {
	names, inputs := cmd.page(), cmd.New().Inputs()
	if cmd.Hook {
		names = "hostguard-hooks, " + strings.Join(hooks(all), ", ")
	}
	m := begin(mark, version, cmd.page(), names, cmd.brief())
	usage, body, _ := strings.Cut(cmd.help(), "\n\n")
	m.section("SH SYNOPSIS")
	m.block(strings.NewReplacer("usage: ", "", "\n       ", "\n").Replace(usage))
	const status, example = "exit status: ", "example: "
	var statuses, examples []string
	m.section("SH DESCRIPTION")
	for paragraph := range strings.SplitSeq(strings.Trim(body, "\n"), "\n\n") {
		switch {
		case len(inputs) > 0 && strings.Trim(paragraph, "\n") == strings.Trim(options(inputs), "\n"):
			// below, in a section of their own
		case strings.HasPrefix(paragraph, status):
			statuses = append(statuses, strings.TrimPrefix(paragraph, status))
		case strings.HasPrefix(paragraph, example):
			indent := "\n" + strings.Repeat(" ", len(example))
			examples = append(examples, strings.ReplaceAll(strings.TrimPrefix(paragraph, example), indent, "\n"))
		case strings.Contains("\n"+paragraph, "\n  "):
			m.block(paragraph)
		default:
			m.text(paragraph)
		}
	}
	if len(inputs) > 0 {
		m.section("SH OPTIONS")
	}
	for _, in := range inputs {
		m.item(in.flag(), in.description())
	}
	for i, v := range variables([]Command{cmd}) {
		if i == 0 {
			m.section("SH ENVIRONMENT")
		}
		m.item(v.word, v.text)
	}
	if len(statuses) > 0 {
		m.section("SH EXIT STATUS")
	}
	for _, text := range statuses {
		m.text(text)
	}
	if len(examples) > 0 {
		m.section("SH EXAMPLES")
	}
	for _, text := range examples {
		m.block(text)
	}
	m.seeAlso(related(cmd, all))
	return m.Bytes()
}

func hooks(all []Command) (names []string) {
	for _, cmd := range all {
		if cmd.Hook {
			names = append(names, cmd.Name)
		}
	}
	return names
}

// related returns the pages beside a command's: hostguard's own, and those of the commands
// of its group, or of no group.
func related(cmd Command, all []Command) []string {
	pages := []string{"hostguard (1)"}
	for _, other := range documented(all) {
		if other.page() != cmd.page() && groupOf(other.Name) == groupOf(cmd.Name) {
			pages = append(pages, other.page()+" (1)")
		}
	}
	return pages
}

// seeAlso writes the last section, of pages with their section: docker (1).
func (m *manual) seeAlso(pages []string) {
	m.section("SH SEE ALSO")
	for i, page := range pages {
		if i < len(pages)-1 {
			page += ","
		}
		m.line(".BR " + escape(page))
	}
}

// variables returns the variables of the inputs that are read from the environment, in
// the order of the commands.
func variables(all []Command) (list []described) {
	of := map[string]int{} // indexes of list
	for _, cmd := range all {
		for _, in := range cmd.New().Inputs() {
			name := hostPrefix + variableName(in.Name)
			switch i, found := of[name]; {
			case in.FlagOnly:
			case found:
				list[i].text += ", " + cmd.Name
			default:
				of[name] = len(list)
				list = append(list, described{name, "-" + in.Name + " of " + cmd.Name})
			}
		}
	}
	return list
}

// section begins a section, by its macro.
func (m *manual) section(title string) {
	m.line("." + title)
	m.begun = false
}

// paragraph begins a paragraph.
func (m *manual) paragraph() {
	if m.begun {
		m.line(".PP")
	}
	m.begun = true
}

// item writes a term and its text.
func (m *manual) item(term, text string) {
	m.begun = true
	fmt.Fprintf(m, ".TP\n\\fB%s\\fR\n", escape(term))
	m.filled(text)
}

// text writes a paragraph.
func (m *manual) text(text string) {
	m.paragraph()
	m.filled(text)
}

// filled writes a text in lines that mandoc's lint takes.
func (m *manual) filled(text string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		word = escape(word)
		if line != "" && len(line)+len(word) > 72 {
			m.line(line)
			line = ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	m.line(line)
}

// block writes a text as it is.
func (m *manual) block(text string) {
	m.paragraph()
	m.line(".nf")
	for line := range strings.Lines(strings.Trim(text, "\n") + "\n") {
		if line = escape(strings.TrimRight(line, " \n")); line == "" {
			line = ".sp"
		}
		m.line(line)
	}
	m.line(".fi")
}

func (m *manual) line(text string) { fmt.Fprintln(m, text) }

// escape returns a text without roff's escapes and macros.
func escape(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}

package steps

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf16"

	"hostguard/internal/actions"
)

// console is all that hostguard says. Its rules:
//
//   - One line says one thing: the operation, the value, what to do.
//   - A value that comes from outside this job (labels, arguments of processes,
//     names of files and containers, API answers) is formatted with %q, after
//     words of ours. Gitea's act fork obeys a command at the start of any line
//     of output, so every line also passes actions.Plain: no control character
//     leaves this program, and no line opens as a command.
//   - In a workflow warnings and errors are annotations on stdout; elsewhere
//     they go to stderr.
//   - No colour: a CI log is no terminal.
type console struct {
	out, err io.Writer
	workflow *actions.Workflow // nil outside a workflow
}

func newConsole(w World) *console {
	c := &console{out: w.Stdout, err: w.Stderr}
	if w.Getenv("GITHUB_ACTIONS") == "true" || w.Getenv("GITEA_ACTIONS") == "true" {
		c.workflow = actions.New(w.Stdout, w.Getenv)
	}
	return c
}

// onStderr sends everything to stderr: stdout belongs to with-lock's command.
// Runners look for annotations on both.
func (c *console) onStderr(w World) {
	c.out = w.Stderr
	if c.workflow != nil {
		c.workflow = actions.New(w.Stderr, w.Getenv)
	}
}

func (c *console) Say(format string, args ...any) {
	fmt.Fprintln(c.out, actions.Plain(fmt.Sprintf(format, args...)))
}

func (c *console) Notice(format string, args ...any) {
	c.annotate((*actions.Workflow).Notice, c.out, "", format, args)
}

func (c *console) Warning(format string, args ...any) {
	c.annotate((*actions.Workflow).Warning, c.err, "warning: ", format, args)
}

func (c *console) Error(format string, args ...any) {
	c.annotate((*actions.Workflow).Error, c.err, "", format, args)
}

func (c *console) annotate(say func(*actions.Workflow, string), plain io.Writer, word, format string, args []any) {
	text := "hostguard: " + fmt.Sprintf(format, args...)
	if c.workflow != nil {
		say(c.workflow, text)
		return
	}
	fmt.Fprintln(plain, actions.Plain(strings.Replace(text, "hostguard: ", "hostguard: "+word, 1)))
}

// Group folds what follows under a title, until the returned function is called.
func (c *console) Group(format string, args ...any) (end func()) {
	title := fmt.Sprintf(format, args...)
	if c.workflow == nil {
		c.Say("%s", title)
		return func() {}
	}
	return c.workflow.Group(title)
}

// Summary adds Markdown to the step's summary, where the runner offers one.
func (c *console) Summary(markdown string) {
	if c.workflow != nil {
		c.workflow.Summary(markdown)
	}
}

// The files of the step are the runner's; outside a workflow there are none.

func (c *console) checkFiles() error {
	if c.workflow == nil {
		return nil
	}
	return c.workflow.Check()
}

func (c *console) output(name, value string) error {
	if c.workflow == nil {
		return nil
	}
	return c.workflow.Output(name, value)
}

func (c *console) env(name, value string) error {
	if c.workflow == nil {
		return nil
	}
	return c.workflow.Env(name, value)
}

func (c *console) state(name, value string) error {
	if c.workflow == nil {
		return nil
	}
	return c.workflow.State(name, value)
}

// JSON prints a value as one line.
func (c *console) JSON(v any) error {
	line, err := printable(v)
	if err == nil {
		_, err = fmt.Fprintln(c.out, line)
	}
	return err
}

// printable is a value as one line of JSON in which everything is escaped that a
// terminal would obey: JSON itself only asks for the characters below the space.
func printable(v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	var line strings.Builder
	for _, r := range string(data) {
		if unicode.IsPrint(r) {
			line.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&line, "\\u%04x", unit)
		}
	}
	return line.String(), nil
}

// Table prints rows as columns. Its first column is of words of ours.
func (c *console) Table(rows [][]string) {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	w.Flush()
	for line := range strings.Lines(table.String()) {
		c.Say("%s", strings.TrimRight(line, " \n"))
	}
}

// word is a value from outside in the old reports' form: as it is where it is a
// plain word, else quoted. It never stands at the start of a line.
func word(s string) string {
	if len(s) > 200 {
		s = s[:200] + "..."
	}
	if s == "" || strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-/:@+%~", r))
	}) {
		return fmt.Sprintf("%q", s)
	}
	return s
}

// help prints a written text as it is.
func (c *console) help(text string) { fmt.Fprint(c.out, text) }

// since says a time as people read it beside how long ago it was.
func since(t, now time.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	return fmt.Sprintf("%s (%s ago)", t.UTC().Format("2006-01-02 15:04:05Z"), short(now.Sub(t)))
}

// short rounds a duration to what matters at its size.
func short(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	default:
		return d.Round(time.Second).String()
	}
}

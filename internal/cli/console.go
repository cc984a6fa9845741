package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf16"

	"hostguard/internal/actions"
)

// Console prints all that hostguard prints. Its rules:
//
//   - One line holds one thing: the operation, the value, what to do.
//   - A value that comes from outside this job (labels, arguments of processes,
//     names of files and containers, API answers) is formatted with %q, after
//     words of ours. Gitea's act fork obeys a command at the start of any line
//     of output, so every line also passes actions.Plain: no control character
//     leaves this program, and no line opens as a command.
//   - In a workflow warnings and errors are annotations on stdout; elsewhere
//     they go to stderr.
//   - No colour: a CI log is no terminal.
type Console struct {
	out, err io.Writer
	workflow *actions.Workflow // nil outside a workflow
}

func newConsole(out, err io.Writer, getenv func(string) string) *Console {
	c := &Console{out: out, err: err}
	if getenv("GITHUB_ACTIONS") == "true" || getenv("GITEA_ACTIONS") == "true" {
		c.workflow = actions.New(out, getenv)
	}
	return c
}

// onStderr sends everything to stderr: stdout belongs to with-lock's command.
// Runners look for annotations on both.
func (c *Console) onStderr(getenv func(string) string) {
	c.out = c.err
	if c.workflow != nil {
		c.workflow = actions.New(c.err, getenv)
	}
}

// InWorkflow reports whether a runner reads what is printed.
func (c *Console) InWorkflow() bool { return c.workflow != nil }

// Say prints a line.
func (c *Console) Say(format string, args ...any) { _ = c.Line(fmt.Sprintf(format, args...)) }

// Line prints a line, and fails if nobody reads any more.
func (c *Console) Line(text string) error {
	_, err := fmt.Fprintln(c.out, actions.Plain(text))
	return err
}

// Notice prints what is worth knowing and no problem.
func (c *Console) Notice(format string, args ...any) {
	c.annotate((*actions.Workflow).Notice, c.out, "", format, args)
}

// Warning prints a problem that hostguard goes on with.
func (c *Console) Warning(format string, args ...any) {
	c.annotate((*actions.Workflow).Warning, c.err, "warning: ", format, args)
}

// Error prints why a command fails.
func (c *Console) Error(format string, args ...any) {
	c.annotate((*actions.Workflow).Error, c.err, "", format, args)
}

func (c *Console) annotate(say func(*actions.Workflow, string), plain io.Writer, word, format string, args []any) {
	text := "hostguard: " + fmt.Sprintf(format, args...)
	if c.workflow != nil {
		say(c.workflow, text)
		return
	}
	fmt.Fprintln(plain, actions.Plain(strings.Replace(text, "hostguard: ", "hostguard: "+word, 1)))
}

// Group folds what follows under a title, until the returned function is called.
func (c *Console) Group(format string, args ...any) (end func()) {
	title := fmt.Sprintf(format, args...)
	if c.workflow == nil {
		c.Say("%s", title)
		return func() {}
	}
	return c.workflow.Group(title)
}

// Summary adds Markdown to the step's summary, where the runner offers one.
func (c *Console) Summary(markdown string) {
	if c.workflow != nil {
		c.workflow.Summary(markdown)
	}
}

// The files of the step are the runner's; outside a workflow there are none.

// CheckFiles fails if a file of the step cannot be written.
func (c *Console) CheckFiles() error {
	if c.workflow == nil {
		return nil
	}
	return c.workflow.Check()
}

// Output sets an output of the step.
func (c *Console) Output(name, value string) error {
	if c.workflow == nil {
		return nil
	}
	return c.workflow.Output(name, value)
}

// Env sets a variable for later steps.
func (c *Console) Env(name, value string) error {
	if c.workflow == nil {
		return nil
	}
	return c.workflow.Env(name, value)
}

// State keeps a value for the post step.
func (c *Console) State(name, value string) error {
	if c.workflow == nil {
		return nil
	}
	return c.workflow.State(name, value)
}

// JSON prints a value as one line.
func (c *Console) JSON(v any) error {
	line, err := Printable(v)
	if err == nil {
		_, err = fmt.Fprintln(c.out, line)
	}
	return err
}

// Printable returns a value as one line of JSON in which everything is escaped that a
// terminal would obey: JSON itself only asks for the characters below the space.
func Printable(v any) (string, error) {
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
func (c *Console) Table(rows [][]string) {
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

// help prints a written text as it is.
func (c *Console) help(text string) { fmt.Fprint(c.out, text) }

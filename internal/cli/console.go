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

// Console prints all output of hostguard. Its rules:
//
//   - A line reports one thing: the operation, the value, what to do.
//   - A value from outside this job (labels, process arguments, names of files
//     and containers, API responses) is formatted with %q and never starts a
//     line. Gitea's fork of act runs a workflow command at the start of any line
//     of output, so every line also passes through actions.Plain: the output has
//     no control character, and no line starts with a workflow command.
//   - In a workflow warnings and errors are annotations on stdout; elsewhere
//     they go to stderr.
//   - Colours and lines that are rewritten are for a terminal alone: a CI log is none.
//   - With -json stdout has the JSON alone; with -quiet only warnings and errors are
//     printed beside it.
type Console struct {
	out, err io.Writer
	json     io.Writer
	workflow *actions.Workflow // nil outside a workflow
	quiet    bool

	getenv        func(string) string
	shown, stderr io.Writer // what out and err write to
	live          *liveLine
}

func newConsole(out, err io.Writer, getenv func(string) string) *Console {
	live := &liveLine{}
	c := &Console{out: live.before(out), err: live.before(err), getenv: getenv, shown: out, stderr: err,
		live: live}
	c.json = c.out
	if getenv("GITHUB_ACTIONS") == "true" || getenv("GITEA_ACTIONS") == "true" {
		c.workflow = actions.New(out, getenv)
	}
	return c
}

// useStderr sends all output but JSON to stderr, since stdout belongs to that, or to
// with-lock's command. Runners read annotations from both.
func (c *Console) useStderr(getenv func(string) string) {
	c.out, c.shown = c.err, c.stderr
	if c.workflow != nil {
		c.workflow = actions.New(c.err, getenv)
	}
}

// InWorkflow reports whether a runner reads what is printed.
func (c *Console) InWorkflow() bool { return c.workflow != nil }

// Print prints a formatted line.
func (c *Console) Print(format string, args ...any) { _ = c.Line(fmt.Sprintf(format, args...)) }

// Line prints a line, and fails if the output has no reader any more.
func (c *Console) Line(text string) error {
	if c.quiet {
		return nil
	}
	_, err := fmt.Fprintln(c.out, actions.Plain(text))
	return err
}

// Notice prints a notice.
func (c *Console) Notice(format string, args ...any) {
	if c.quiet {
		return
	}
	c.annotate((*actions.Workflow).Notice, c.out, "", format, args)
}

// Warning prints a warning.
func (c *Console) Warning(format string, args ...any) {
	c.annotate((*actions.Workflow).Warning, c.err, "warning: ", format, args)
}

// Error prints an error.
func (c *Console) Error(format string, args ...any) {
	c.annotate((*actions.Workflow).Error, c.err, "", format, args)
}

func (c *Console) annotate(emit func(*actions.Workflow, string), plain io.Writer, word, format string, args []any) {
	text := "hostguard: " + fmt.Sprintf(format, args...)
	if c.workflow != nil {
		emit(c.workflow, text)
		return
	}
	fmt.Fprintln(plain, actions.Plain(strings.Replace(text, "hostguard: ", "hostguard: "+word, 1)))
}

// Group folds the following output under a title, until end is called.
func (c *Console) Group(format string, args ...any) (end func()) {
	title := fmt.Sprintf(format, args...)
	if c.workflow == nil || c.quiet {
		c.Print("%s", title)
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

// The runner provides the step's files; outside a workflow there are none.

// CheckFiles reports files of the step that cannot be written.
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

// Env sets a variable for later steps of the job.
func (c *Console) Env(name, value string) error {
	if c.workflow == nil {
		return nil
	}
	return c.workflow.Env(name, value)
}

// State saves a value for the post step of the action.
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
		_, err = fmt.Fprintln(c.json, line)
	}
	return err
}

// Printable returns v as one line of JSON with every non-printable character escaped:
// JSON itself requires that only for characters below the space.
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

// Table prints rows in aligned columns. The first column must not hold foreign text.
func (c *Console) Table(rows [][]string) {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	w.Flush()
	for line := range strings.Lines(table.String()) {
		c.Print("%s", strings.TrimRight(line, " \n"))
	}
}

// Document prints a document for a program, such as a browser, unchanged.
func (c *Console) Document(write func(io.Writer) error) error { return write(c.out) }

// help prints a help text unchanged.
func (c *Console) help(text string) { fmt.Fprint(c.out, text) }

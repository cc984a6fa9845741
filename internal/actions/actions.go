// Package actions communicates with the runner that started this step: workflow
// commands, outputs, environment, state and summary, through go-githubactions.
//
// Guarantee: no text that passes through here can open an output line as a
// workflow command, contains a control character, or breaks out of the value
// that it is written as. Not guaranteed: that the runner shows a summary (Gitea
// does since 1.27) or folds groups.
package actions

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"unicode"

	githubactions "github.com/sethvargo/go-githubactions"
)

// Workflow is the runner's side of one step.
type Workflow struct {
	action *githubactions.Action
	getenv func(string) string
}

func New(w io.Writer, getenv func(string) string) *Workflow {
	return &Workflow{
		action: githubactions.New(githubactions.WithWriter(w), githubactions.WithGetenv(getenv)),
		getenv: getenv,
	}
}

// The log is best effort too: when it is closed (a cancelled job) the step must
// still continue and release what it took.

func (w *Workflow) Notice(text string) {
	_ = recovered(func() { w.action.Noticef("%s", Plain(text)) })
}

func (w *Workflow) Warning(text string) {
	_ = recovered(func() { w.action.Warningf("%s", Plain(text)) })
}

func (w *Workflow) Error(text string) {
	_ = recovered(func() { w.action.Errorf("%s", Plain(text)) })
}

// Group opens a fold in the log; the returned function closes it.
func (w *Workflow) Group(title string) (end func()) {
	_ = recovered(func() { w.action.Group(Plain(title)) })
	return func() { _ = recovered(w.action.EndGroup) }
}

// The files a step writes to, by what they are for.
const (
	outputFile  = "GITHUB_OUTPUT"
	envFile     = "GITHUB_ENV"
	stateFile   = "GITHUB_STATE"
	summaryFile = "GITHUB_STEP_SUMMARY"
)

// Check fails if outputs and variables cannot be written; call it before anything
// that has to be reported through them. A variable that is not set at all means
// that the step has no such file, which is not an error.
func (w *Workflow) Check() error {
	for _, name := range []string{outputFile, envFile, stateFile} {
		path := w.getenv(name)
		if path == "" {
			continue
		}
		if err := checkFile(name, path); err != nil {
			return err
		}
	}
	return nil
}

func checkFile(name, path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0) // go-githubactions would create it
	if err != nil {
		if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
			err = pathErr.Err
		}
		return fmt.Errorf("cannot write %s=%q: %w; the runner gives each step this file, "+
			"unset the variable to run without it", name, path, err)
	}
	return f.Close()
}

// Output sets an output of the step.
func (w *Workflow) Output(name, value string) error {
	return w.write(outputFile, name, value, w.action.SetOutput)
}

// Env sets a variable for the later steps of the job.
func (w *Workflow) Env(name, value string) error {
	return w.write(envFile, name, value, w.action.SetEnv)
}

// State keeps a value for the post step of the same action.
func (w *Workflow) State(name, value string) error {
	return w.write(stateFile, name, value, w.action.SaveState)
}

// Summary adds Markdown to the step's summary. It is best effort: where it cannot be
// written, nothing is lost.
func (w *Workflow) Summary(markdown string) {
	if w.getenv(summaryFile) != "" {
		_ = recovered(func() { w.action.AddStepSummary(markdown) })
	}
}

// write checks a name and a value before they reach go-githubactions, whose
// delimiter in the file is fixed.
func (w *Workflow) write(file, name, value string, set func(name, value string)) error {
	path := w.getenv(file)
	if path == "" {
		return nil
	}
	if err := checkFile(file, path); err != nil {
		return err
	}
	if err := checkValue(value); err != nil {
		return fmt.Errorf("set %s in %s to %q: %w", name, file, value, err)
	}
	if err := recovered(func() { set(name, value) }); err != nil {
		return fmt.Errorf("set %s in %s: %w", name, file, err)
	}
	return nil
}

// delimiter ends a value in the files of go-githubactions v1.3.1.
const delimiter = "_GitHubActionsFileCommandDelimeter_"

func checkValue(value string) error {
	if strings.ContainsFunc(value, unicode.IsControl) {
		return errors.New("the value contains a line end or another control character")
	}
	if strings.Contains(value, delimiter) {
		return errors.New("the value contains the file's delimiter")
	}
	return nil
}

// Value returns any text as one that Output takes: an answer that has been got is not
// lost because others have written the delimiter into what it quotes.
func Value(text string) string { return strings.ReplaceAll(Plain(text), delimiter, "(delimiter)") }

// recovered returns the panic of go-githubactions after a failed write as an error.
func recovered(f func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	f()
	return nil
}

// Plain returns any text as one harmless line: characters that are not printable
// (line ends, escapes, bidirectional overrides) are written as Go quotes them, and
// a line that would begin a workflow command is set off by a bar.
func Plain(text string) string {
	var b strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	line := b.String()
	if opened := strings.TrimLeft(line, " "); strings.HasPrefix(opened, "::") || strings.HasPrefix(opened, "##[") {
		return "| " + line
	}
	return line
}

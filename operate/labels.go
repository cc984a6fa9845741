package operate

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"hostguard/internal/cli"
	"hostguard/internal/gitea"
	"hostguard/internal/runnerdir"
	"hostguard/runner"
	"hostguard/runner/workflow"
)

const helpRunnerLabels = `Prints for each job of each workflow which labels it wants, their owner, and which
runners have them. Changes nothing.

{inputs}

The token is GITEA_TOKEN, else that of the remote's URL. It is never printed, and
never sent after a redirect. GITEA_TOKEN goes to GITEA_SERVER_URL, or, without that,
to the remote's server, if nobody but you and root can change the checkout. The scope
read:repository shows workflows, read:admin all runners of the server.

  ok              a runner that has all labels is online
  offline-only    those that have them are offline or disabled
  unsatisfiable   no runner of the server has them
  unknown         no runner that the token may see has them
  unresolved      the labels are not in the file (an expression, a called workflow)

exit status: 0 printed, 2 wrong use, 3 a repository or all could not be read.

example: hostguard runner labels -local-repo wooo/docs=/srv/docs
`

// labels is one run of runner labels.
type labels struct {
	checkout       string
	repositories   []string
	local          localRepositories
	json, markdown bool
}

func newLabels() *labels { return &labels{local: localRepositories{}} }

func (l *labels) Inputs() []cli.Input {
	return []cli.Input{
		checkoutInput(&l.checkout, `. Its remote "gitea", else "origin", names the server to ask`),
		{Name: "repos", Kind: cli.List(&l.repositories, checkRepository), FlagOnly: true, Arg: "OWNER/NAME,...",
			Text: "default all repositories of the remote's owner"},
		l.local.input(), cli.JSONInput(&l.json),
		{Name: "markdown", Kind: cli.Bool(&l.markdown), FlagOnly: true, Text: "a table for a page or a comment"},
	}
}

func (l *labels) Run(ctx context.Context, s *cli.Session) error {
	if l.json && l.markdown {
		return cli.Usagef("give only one of -json and -markdown")
	}
	report := surveyLabels(ctx, s, l.checkout, l.repositories, l.local)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var err error
	switch {
	case l.json:
		err = s.JSON(report)
	case l.markdown:
		report.printMarkdown(s)
	default:
		report.print(s)
	}
	if err == nil && len(report.Unread) > 0 {
		err = fmt.Errorf("not read: %d; %s", len(report.Unread), report.Unread[0].Why)
	}
	return err
}

// localRepositories are checkouts by repository, for workflows that the server does not
// show.
type localRepositories map[string]string

func (l localRepositories) input() cli.Input {
	return cli.Input{Name: "local-repo", FlagOnly: true, Kind: cli.Value("OWNER/NAME=PATH", func(v string) error {
		full, path, found := strings.Cut(v, "=")
		if err := checkRepository(full); !found || path == "" || err != nil {
			return fmt.Errorf("must be OWNER/NAME=PATH")
		}
		l[full] = path
		return nil
	}), Text: "read a repository's workflows from PATH if the server does not show them; may be repeated"}
}

func checkRepository(full string) error {
	owner, name, found := strings.Cut(full, "/")
	if !found || owner == "" || name == "" || strings.Contains(name, "/") {
		return fmt.Errorf("must be OWNER/NAME")
	}
	return nil
}

// labelsReport is what "runner labels -json" prints.
type labelsReport struct {
	Version       int               `json:"version"` // of this format
	Time          time.Time         `json:"time"`
	Server        string            `json:"server,omitempty"`
	Runners       []workflow.Runner `json:"runners"`
	RunnersUnseen string            `json:"runners_unseen,omitempty"` // why not all are known
	Wants         []workflow.Want   `json:"wants"`
	Notes         []string          `json:"notes"`
	Unread        []unread          `json:"unread"`
}

// unread is a repository that could not be read, or all of them.
type unread struct {
	Repository string `json:"repository,omitempty"`
	Why        string `json:"why"`
}

// surveyLabels reads the repositories from the server that the checkout names, or from
// local checkouts if the server does not show them.
func surveyLabels(
	ctx context.Context, s *cli.Session, checkout string, names []string, local map[string]string,
) labelsReport {
	report := labelsReport{Version: 1, Time: time.Now().UTC(), Runners: []workflow.Runner{}, Notes: []string{},
		Unread: []unread{}}
	remote, inventory, err := openInventory(ctx, s, checkout)
	report.Server = remote.Server
	switch {
	case err != nil:
		report.RunnersUnseen = err.Error()
		if len(names) == 0 && len(local) == 0 {
			report.Unread = append(report.Unread, unread{Why: err.Error()})
		}
	case names == nil:
		var unlisted error
		if names, unlisted = inventory.Siblings(remote.Repository); unlisted != nil {
			report.Unread = append(report.Unread, unread{Why: unlisted.Error()})
			names = []string{remote.Repository}
		}
	}
	for full := range local {
		if !slices.Contains(names, full) {
			names = append(names, full)
		}
	}
	slices.Sort(names)

	var pool workflow.Pool
	var group sync.WaitGroup
	if inventory != nil {
		group.Go(func() {
			var some error
			if pool, some = inventory.Runners(names); some != nil {
				report.RunnersUnseen = some.Error()
			}
		})
	}
	reads := readRepositories(ctx, inventory, err, names, local)
	group.Wait()

	var read []workflow.Repository
	for i, f := range reads {
		report.Notes = append(append(report.Notes, f.broken...), f.notes...)
		if f.err != nil {
			report.Unread = append(report.Unread, unread{names[i], f.err.Error()})
			continue
		}
		read = append(read, f.repository)
	}
	report.Runners = append(report.Runners, pool.Runners...)
	report.Wants = workflow.Matrix(read, pool)
	return report
}

// reading is the result of reading one repository.
type reading struct {
	repository workflow.Repository
	broken     []string // workflows that cannot be read
	notes      []string
	err        error
}

// readRepositories calls readRepository for each name.
func readRepositories(
	ctx context.Context, inventory *gitea.Inventory, err error, names []string, local map[string]string,
) []reading {
	var files runnerdir.Files
	reads := make([]reading, len(names))
	var group sync.WaitGroup
	for i, full := range names {
		group.Go(func() { reads[i] = readRepository(ctx, &files, inventory, err, full, local[full]) })
	}
	group.Wait()
	return reads
}

// readRepository reads a repository from the server, if one is known, or else from the
// checkout, if one is given.
func readRepository(
	ctx context.Context, files *runnerdir.Files, inventory *gitea.Inventory, err error, full, dir string,
) (f reading) {
	f.repository.Name = full
	if inventory != nil {
		err = inventory.WorkflowFiles(full, func(name string, data []byte) {
			w, err := workflow.Parse(name, data)
			if err != nil {
				f.broken = append(f.broken, fmt.Sprintf("%q: workflow %q: %.200q", full, name, err))
				return
			}
			f.repository.Workflows = append(f.repository.Workflows, w)
		})
		if err == nil {
			f.repository.LastRun, err = inventory.LastRuns(full)
			if err != nil {
				f.notes = append(f.notes, err.Error())
			}
			return f
		}
	}
	f.err = err
	if dir == "" {
		return f
	}
	f.notes = append(f.notes, fmt.Sprintf("%q is read from %q: %s", full, dir, err))
	workflows, problems, err := localWorkflows(ctx, files, dir, serverOf(inventory))
	for _, p := range problems {
		f.broken = append(f.broken, fmt.Sprintf("%q: %s", full, p))
	}
	f.repository.Workflows, f.err = workflows, err
	return f
}

// serverOf returns what an inventory's server is.
func serverOf(inventory *gitea.Inventory) runner.Server {
	switch {
	case inventory == nil:
		return runner.UnknownServer
	case inventory.Forgejo() != "":
		return runner.Forgejo
	}
	return runner.Gitea
}

func (r labelsReport) printNotes(s *cli.Session) {
	printed := map[string]bool{"": true}
	texts := append([]string{r.RunnersUnseen}, r.Notes...)
	for i, u := range r.Unread {
		if i == 0 { // the command's error reports it
			printed[u.Why] = true
		}
		texts = append(texts, u.Why)
	}
	for _, text := range texts {
		if !printed[text] {
			printed[text] = true
			s.Warning("%s", text)
		}
	}
}

func (r labelsReport) print(s *cli.Session) {
	r.printNotes(s)
	rows := [][]string{{"verdict", "class", "repository", "workflow", "job", "runs-on", "runners", "last run"}}
	for _, w := range r.Wants {
		rows = append(rows, []string{w.Verdict, cmp.Or(w.Class, "-"), cli.Word(w.Repository), cli.Word(w.Workflow),
			cli.Word(w.Job), runsOn(w), runners(w), lastRun(w)})
	}
	s.Table(rows)
	count := map[string]int{}
	for _, w := range r.Wants {
		count[w.Verdict]++
	}
	s.Print("jobs: %d; ok %d, offline-only %d, unsatisfiable %d, unknown %d, unresolved %d; runners seen: %d",
		len(r.Wants), count[workflow.Satisfiable],
		count[workflow.OfflineOnly], count[workflow.Unsatisfiable], count[workflow.NotSeen],
		count[workflow.Unresolved], len(r.Runners))
}

func (r labelsReport) printMarkdown(s *cli.Session) {
	r.printNotes(s)
	s.Print("| verdict | class | repository | workflow | job | runs-on | runners | last run |")
	s.Print("|---|---|---|---|---|---|---|---|")
	for _, w := range r.Wants {
		s.Print("| %s | %s | %s | %s | %s | %s | %s | %s |", w.Verdict, cmp.Or(w.Class, "-"),
			code(cli.Word(w.Repository)), code(cli.Word(w.Workflow)),
			code(cli.Word(w.Job)), code(runsOn(w)), code(runners(w)), code(lastRun(w)))
	}
}

// code returns a table cell that Markdown shows literally.
func code(s string) string {
	return "`" + strings.NewReplacer("`", "'", "|", `\|`).Replace(s) + "`"
}

func runsOn(w workflow.Want) string {
	words := make([]string, 0, len(w.RunsOn))
	for _, l := range w.RunsOn {
		words = append(words, cli.Word(l))
	}
	if w.Why != "" {
		words = append(words, fmt.Sprintf("(%q)", w.Why))
	}
	return strings.Join(words, ", ")
}

func runners(w workflow.Want) string {
	words := make([]string, 0, len(w.Runners))
	for _, r := range w.Runners {
		state := "idle"
		switch {
		case r.Disabled:
			state = "disabled"
		case !r.Online:
			state = "offline"
		case r.Busy:
			state = "busy"
		}
		words = append(words, cli.Word(r.Name)+" "+state)
	}
	return cmp.Or(strings.Join(words, ", "), "none")
}

func lastRun(w workflow.Want) string {
	switch {
	case w.LastRun == nil:
		return "-"
	case w.LastRun.Started.IsZero():
		return fmt.Sprintf("#%d %s", w.LastRun.Number, cli.Word(w.LastRun.Status))
	}
	return fmt.Sprintf("#%d %s %s", w.LastRun.Number, cli.Word(w.LastRun.Status),
		w.LastRun.Started.Format(time.DateOnly))
}

package operate

import (
	"context"
	"fmt"
	"strings"
	"time"

	"hostguard/history"
	"hostguard/internal/cli"
	"hostguard/internal/lockwire"
)

const helpWhy = `Prints for whom a job waited, from the history that "hostguard observe" keeps: each
lock's holders and the heavy builds that were in its way, for how long, and what is
usual for them. Without -run and -repository it is the last job that waited. Needs
no Docker and no root.

{inputs}

exit status: 0 printed, 1 nothing is known of it, 2 wrong use, 3 the history could
not be read.

example: hostguard why -run https://git.example.com/wooo/shop/actions/runs/12
`

// why is one run of the command.
type why struct {
	history, run, repository, job, number string
	last                                  bool
}

func (y *why) Inputs() []cli.Input {
	return []cli.Input{
		{Name: "run", Kind: cli.Text(&y.run, nil), Arg: "URL", FlagOnly: true, Text: "the run's page"},
		{Name: "repository", Kind: cli.Text(&y.repository, nil), Arg: "OWNER/NAME", FlagOnly: true,
			Text: "the repository of the job"},
		{Name: "job", Kind: cli.Text(&y.job, nil), Arg: "NAME", FlagOnly: true, Text: "with -repository: its job"},
		{Name: "run-number", Kind: cli.Text(&y.number, nil), Arg: "N", FlagOnly: true,
			Text: "with -repository: its run; else the last one"},
		{Name: "last", Kind: cli.Bool(&y.last), FlagOnly: true, Text: "the last job that waited"},
		lockwire.HistoryInput(&y.history),
	}
}

func (y *why) Run(_ context.Context, s *cli.Session) error {
	switch {
	case y.run != "" && y.repository != "" || y.last && (y.run != "" || y.repository != ""):
		return cli.Usagef("give only one of -run, -repository and -last")
	case y.repository == "" && (y.job != "" || y.number != ""):
		return cli.Usagef("-job and -run-number need -repository")
	}
	r, err := lockwire.ReadHistory(s, y.history, time.Time{})
	if err != nil {
		return err
	}
	if y.run == "" && y.repository == "" {
		return y.explainLast(s, r)
	}
	match := y.matches
	if y.run == "" && y.number == "" {
		latest, _ := r.Latest(y.matches)
		match = func(w history.Who) bool { return w.Run == latest.Run && y.matches(w) }
	}
	answers, holds := r.Answers(match), r.Holds(match)
	printed := false
	for _, a := range answers {
		if a = a.AsOf(time.Now()); a.Total >= time.Second {
			if printed {
				s.Print("")
			}
			explain(s, r, a)
			printed = true
		}
	}
	switch {
	case printed:
		return nil
	case len(holds) > 0:
		h := holds[len(holds)-1]
		s.Print("%s did not wait: it %s %s for %s.", history.Name(h.Who), choose(h.Open, "has held", "held"),
			history.Word(h.Name), history.Duration(h.Until.Sub(h.From)))
		return nil
	case len(answers) > 0:
		s.Print("%s", answers[0].Sentence())
		return nil
	}
	s.Print("Nothing is known of that run: the history begins at %s, and the run is not in it.", begin(r))
	return cli.WithStatus(cli.StatusRefused, cli.ErrReported)
}

// begin returns when a history begins.
func begin(r *history.Record) string { return r.Begin.Format("2006-01-02 15:04") }

// matches reports whether a job is the one that the inputs name. The page of a run's job is
// below the run's.
func (y *why) matches(w history.Who) bool {
	if y.run != "" {
		run, _, _ := strings.Cut(strings.TrimRight(y.run, "/"), "/jobs/")
		return w.RunURL != "" && strings.TrimRight(w.RunURL, "/") == run
	}
	return w.Repository == y.repository && (y.job == "" || w.Job == y.job) &&
		(y.number == "" || w.Run == strings.TrimPrefix(y.number, "#"))
}

func (y *why) explainLast(s *cli.Session, r *history.Record) error {
	a, found := r.Last()
	if !found {
		s.Print("No job has waited: the history begins at %s.", begin(r))
		return cli.WithStatus(cli.StatusRefused, cli.ErrReported)
	}
	a = a.AsOf(time.Now())
	s.Print("The last job that waited, %s at %s, %s", a.Subject(), history.Clock(a.From), a.Predicate())
	return nil
}

// explain prints an answer, with a picture if there were several causes.
func explain(s *cli.Session, r *history.Record, a history.Answer) {
	const most = 8
	lines := a.Lines(most)
	if len(lines) < 2 || a.End == history.EndUnseen {
		s.Print("%s", a.Sentence())
	} else {
		s.Print("%s:", a.Heading())
		s.Print("")
		width := 0
		for _, line := range lines {
			width = max(width, len(line.Time))
		}
		for _, line := range lines {
			s.Print("%*s  %s  %s", width+2, line.Time, bar(s, line), line.Cause)
		}
		s.Print("")
	}
	var notes []string
	if day := a.From.Format("Mon 2006-01-02"); day != time.Now().Format("Mon 2006-01-02") {
		notes = append(notes, "It was on "+day+".")
	}
	if a.Place > 1 {
		notes = append(notes, fmt.Sprintf("It came as number %d of the queue.", a.Place))
	}
	longest := history.Part{}
	for _, p := range a.Parts {
		if p.Kind == history.Hold && p.Time > longest.Time {
			longest = p
		}
	}
	const notable = 25 // percent
	stall := r.StallDuring(longest.From, longest.Until)
	if name := history.Name(longest.Who); name != "" && stall.IO >= notable {
		notes = append(notes, fmt.Sprintf("While %s held the lock, IO stall was %d %%.", name, stall.IO))
	}
	if len(notes) > 0 {
		s.Print("%s", strings.Join(notes, " "))
	}
	if address := history.SafeURL(longest.Who.RunURL); address != "" {
		s.Print("%s", address)
	}
}

// bar draws the share of a part.
func bar(s *cli.Session, line history.Line) string {
	const width = 26
	mark := "█"
	switch {
	case line.Kind == history.Build:
		mark = "▒"
	case line.Kind != history.Hold && line.Kind != history.Reserved:
		mark = "░"
	}
	if !s.UTF8() {
		mark = map[string]string{"█": "#", "▒": "+", "░": "."}[mark]
	}
	n := max(1, int(line.Share*width+0.5))
	return strings.Repeat(mark, n) + strings.Repeat(" ", width-min(width, n))
}

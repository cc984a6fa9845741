package operate

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"hostguard/history"
	"hostguard/internal/cli"
	"hostguard/internal/lockwire"
	"hostguard/page"
)

const helpReport = `Prints what the history says of this host, which "hostguard observe" keeps: waits by
repository, who waited for whom, the longest holds, locks that were taken over, how
long heavy builds ran, when nobody watched, and how much each lock is used by hour.
Needs no Docker and no root.

{inputs}

A job counts if its wait or hold ended in the time. The CSV has a row for each
repository, with times in seconds.

exit status: 0 printed, 1 there is no history, 2 wrong use, 3 it could not be read.

example: hostguard report -since 30d -markdown
`

// report is one run of the command.
type report struct {
	history                   string
	since                     time.Duration
	json, markdown, csv, html bool
}

func (p *report) Inputs() []cli.Input {
	return []cli.Input{
		{Name: "since", Kind: cli.Value("TIME", p.setSince), Default: "7d", FlagOnly: true,
			Text: "how far back, such as 12h or 30d"},
		{Name: "markdown", Kind: cli.Bool(&p.markdown), FlagOnly: true, Text: "a page or a comment"},
		cli.JSONInput(&p.json),
		{Name: "csv", Kind: cli.Bool(&p.csv), FlagOnly: true, Text: "for a spreadsheet"},
		{Name: "html", Kind: cli.Bool(&p.html), FlagOnly: true,
			Text: "the page of \"hostguard observe\" as one file, which asks no network"},
		lockwire.HistoryInput(&p.history),
	}
}

// setSince sets the time from days or a duration.
func (p *report) setSince(text string) (err error) {
	if days, found := strings.CutSuffix(text, "d"); found {
		var n int
		n, err = strconv.Atoi(days)
		p.since = time.Duration(min(n, 10000)) * 24 * time.Hour
	} else {
		p.since, err = time.ParseDuration(text)
	}
	if err != nil || p.since < time.Minute || p.since > 3650*24*time.Hour {
		return errors.New("must be from 1m to 3650d, such as 12h or 30d")
	}
	return nil
}

// usualTime is how far back holds are compared, whatever the time of the report.
const usualTime = 30 * 24 * time.Hour

func (p *report) Run(_ context.Context, s *cli.Session) error {
	chosen := 0
	for _, format := range []bool{p.json, p.markdown, p.csv, p.html} {
		if format {
			chosen++
		}
	}
	if chosen > 1 {
		return cli.Usagef("give only one of -markdown, -json, -csv and -html")
	}
	now := time.Now()
	r, err := lockwire.ReadHistory(s, p.history, now.Add(-max(p.since, usualTime)))
	if err != nil {
		return err
	}
	if p.html {
		shown := pageOf(r, now.Add(-p.since), now, s.Version)
		return s.Document(func(w io.Writer) error { return page.Standalone(w, shown) })
	}
	is := r.Report(now.Add(-p.since))
	switch {
	case p.json:
		return s.JSON(reportJSON(is))
	case p.csv:
		return printLines(s, reportCSV(is))
	case p.markdown:
		return printLines(s, reportMarkdown(is, now))
	}
	printReport(s, is, now)
	return nil
}

// pageOf returns what the page shows of a history: the last intervals of the time.
func pageOf(r *history.Record, since, now time.Time, version string) *page.Document {
	intervals := slices.DeleteFunc(r.Intervals(), func(i history.Interval) bool { return i.Until.Before(since) })
	return &page.Document{
		Full: true, Name: r.Host, Program: "hostguard " + version, Now: now, Begin: r.Begin, Look: r.LastLook,
		Bytes: r.Bytes, Days: int(history.DefaultAge / (24 * time.Hour)),
		Intervals: intervals[max(0, len(intervals)-mostShown):], Stalls: r.Stalls, Gaps: r.Gaps,
	}
}

// printLines prints a text line by line.
func printLines(s *cli.Session, text string) error {
	for line := range strings.Lines(text) {
		if err := s.Line(strings.TrimSuffix(line, "\n")); err != nil {
			return err
		}
	}
	return nil
}

// style is how names look in a report.
type style struct {
	code func(string) string      // a repository or a lock
	job  func(history.Who) string // a job, with its run if it has one
	text func(string) string      // any foreign text
	bold func(string) string      // what matters most
}

var plainStyle = style{
	code: history.Word, job: history.Name, text: history.Phrase,
	bold: func(s string) string { return s },
}

var markdownStyle = style{
	code: history.Code, job: history.Who.Markdown,
	text: func(s string) string { return history.Escape(history.Phrase(s)) },
	bold: func(s string) string { return "**" + s + "**" },
}

const outside = "outside any job"

// repository returns a repository's name, or the words for none.
func (t style) repository(name string) string {
	if name == "" {
		return outside
	}
	return t.code(name)
}

// who returns a job, or the words for an unknown one.
func (t style) who(w history.Who) string {
	return orElse(t.job(w), outside)
}

func orElse(text, other string) string {
	return choose(text == "", other, text)
}

// summaryOf returns the sentences at the top of a report.
func summaryOf(is *history.Report, t style) string {
	if !is.Until.After(is.From) {
		return t.bold("Nothing is known of this time.")
	}
	if is.Jobs == 0 {
		return t.bold("No job took a lock or waited.")
	}
	if is.Waited < time.Second {
		return t.bold("Nobody had to wait.") + fmt.Sprintf(" %s.", cli.Plural(is.Jobs, "job"))
	}
	text := fmt.Sprintf("Jobs waited %s in all", history.Duration(is.Waited))
	if percent := int(is.MostShare*100 + 0.5); percent > 0 {
		share := fmt.Sprintf("%d %%", percent)
		if percent >= 45 && percent <= 55 {
			share = "half"
		}
		text += fmt.Sprintf("; %s of it for %s", share, t.job(is.MostFor))
	}
	text = t.bold(text+".") + fmt.Sprintf(" %d of %s waited more than a minute", is.WaitedLong,
		cli.Plural(is.Jobs, "job"))
	if a := is.Longest; a != nil {
		text += fmt.Sprintf(", the longest %s (%s, %s)", history.Duration(a.Total), t.who(a.Who), when(is, a.From))
	}
	return text + "."
}

// when returns a time of a report: with the day of the week if that says which one it was.
func when(is *history.Report, at time.Time) string {
	at = at.In(is.From.Location())
	if !at.Before(is.From) && is.Until.Sub(is.From) <= 7*24*time.Hour {
		return at.Format("Mon 15:04")
	}
	return at.Format("2006-01-02 15:04")
}

// period returns the days of a report, such as "19 to 26 November 2026".
func period(is *history.Report) string {
	from, until := is.From, is.Until
	switch {
	case from.Format("2006-01-02") == until.Format("2006-01-02"):
		return until.Format("2 January 2006")
	case from.Format("2006-01") == until.Format("2006-01"):
		return from.Format("2") + until.Format(" to 2 January 2006")
	case from.Year() == until.Year():
		return from.Format("2 January") + until.Format(" to 2 January 2006")
	}
	return from.Format("2 January 2006") + until.Format(" to 2 January 2006")
}

// grid is a table: the texts of its head and of each row. In Markdown the columns between the
// first ones and the last ones are numbers. As text it begins with its last columns, since no
// line begins with a name.
type grid struct {
	head        []string
	rows        [][]string
	first, last int // columns of text
	lead        int // columns that are first as text
}

const (
	mostRepositories = 10 // rows
	mostColumns      = 6
)

// waitsGrid returns the waits by repository.
func waitsGrid(is *history.Report, t style) grid {
	g := grid{head: []string{"waits", "jobs", "waited", "p50", "p95", "max"}, first: 1, lead: 5}
	for _, w := range is.Repositories[:min(mostRepositories, len(is.Repositories))] {
		g.rows = append(g.rows, []string{t.repository(w.Repository), fmt.Sprint(w.Jobs), fmt.Sprint(w.WaitedLong),
			history.Duration(w.P50), history.Duration(w.P95), history.Duration(w.Max)})
	}
	return g
}

// columns returns the repositories that most was waited for.
func columns(is *history.Report) (names []string) {
	sums := map[string]time.Duration{}
	for _, w := range is.Repositories {
		for name, d := range w.For {
			sums[name] += d
		}
	}
	names = slices.SortedFunc(maps.Keys(sums), func(a, b string) int {
		if sums[a] != sums[b] {
			return int(sums[b] - sums[a])
		}
		return strings.Compare(a, b)
	})
	return names[:min(mostColumns, len(names))]
}

// matrixGrid returns who waited for whom.
func matrixGrid(is *history.Report, t style, mark string) grid {
	names := columns(is)
	g := grid{head: []string{mark}, first: 1, lead: 2}
	for _, name := range names {
		g.head = append(g.head, t.repository(name))
	}
	g.head = append(g.head, "pressure", "other")
	most := time.Duration(0)
	for _, w := range is.Repositories {
		for _, d := range w.For {
			most = max(most, d)
		}
	}
	cell := func(d time.Duration) string {
		switch {
		case d < time.Second/2:
			return "0"
		case d == most:
			return t.bold(history.Duration(d))
		}
		return history.Duration(d)
	}
	for _, w := range is.Repositories[:min(mostRepositories, len(is.Repositories))] {
		if w.Waited < time.Second {
			continue
		}
		row, other := []string{t.repository(w.Repository)}, w.Other
		for name, d := range w.For {
			if !slices.Contains(names, name) {
				other += d
			}
		}
		for _, name := range names {
			row = append(row, cell(w.For[name]))
		}
		g.rows = append(g.rows, append(row, cell(w.Pressure), cell(other)))
	}
	return g
}

// holdsGrid returns the longest holds.
func holdsGrid(is *history.Report, t style) grid {
	g := grid{head: []string{"longest holds", "lock", "held", "usually", "when"}, first: 2, last: 1, lead: 3}
	for _, h := range is.Holds[:min(5, len(is.Holds))] {
		usual := ""
		if h.Usual > 0 {
			usual = history.Duration(h.Usual)
		}
		who := t.who(h.Who)
		if h.Plain {
			who = "a plain docker network"
		}
		g.rows = append(g.rows, []string{who, t.code(h.Name), history.Duration(h.Until.Sub(h.From)), usual,
			when(is, h.From)})
	}
	return g
}

// remarks returns what else happened, each with its title.
func remarks(is *history.Report, t style, now time.Time) (all [][2]string) {
	const most = 3
	if n := len(is.Takeovers); n > 0 {
		var texts []string
		for _, o := range is.Takeovers[max(0, n-most):] {
			text := t.who(o.Who) + ", " + when(is, o.Until)
			if evidence := t.text(o.Evidence); evidence != "" {
				text += ", " + evidence
			}
			if o.Next >= 0 {
				text += fmt.Sprintf("; the next held %s later", history.Duration(o.Next))
			}
			texts = append(texts, text+".")
		}
		all = append(all, [2]string{"Taken over", fmt.Sprintf("%d%s %s", n, choose(n > most, "; the last ones:", "."),
			strings.Join(texts, " "))})
	}
	if is.Builds >= time.Second {
		all = append(all, [2]string{"Heavy builds ran", history.Duration(is.Builds) + "."})
	}
	if len(is.Reservations) > 0 {
		text := history.Duration(is.Reserved)
		if what := t.text(is.Reservations[len(is.Reservations)-1].What); what != "" {
			text += " (" + what + ")"
		}
		all = append(all, [2]string{"Reserved", text + "."})
	}
	if len(is.Gaps) > 0 {
		longest := slices.MaxFunc(is.Gaps, func(a, b history.Gap) int {
			return int(a.Until.Sub(a.From) - b.Until.Sub(b.From))
		})
		all = append(all, [2]string{"Not watched", fmt.Sprintf("%s (%s%s).", history.Duration(is.Unwatched),
			choose(len(is.Gaps) > 1, "the longest time ", ""), when(is, longest.From))})
	}
	if now.Sub(is.Until) > history.MostPause {
		all = append(all, [2]string{"Not watched since", when(is, is.Until) + "."})
	}
	return all
}

// spark draws shares as a line.
func spark(shares [24]float64, utf8 bool) string {
	marks := []rune("▁▂▃▄▅▆▇█")
	if !utf8 {
		marks = []rune("_.:-=+*#")
	}
	var line []rune
	for _, share := range shares {
		height := 0
		if share > 0 {
			height = min(len(marks)-1, 1+int(share*float64(len(marks)-1)))
		}
		line = append(line, marks[height])
	}
	return string(line)
}

// busiest returns the hour in which a lock was used most.
func busiest(u history.LockUse) string {
	most := 0
	for h, share := range u.Hours {
		if share > u.Hours[most] {
			most = h
		}
	}
	return fmt.Sprintf("busiest %02d:00 with %.0f %%", most, u.Hours[most]*100)
}

func reportMarkdown(is *history.Report, now time.Time) string {
	var b strings.Builder
	t := markdownStyle
	fmt.Fprintf(&b, "# %s, %s\n\n%s\n", orElse(history.Escape(history.Word(is.Host)), "this host"), period(is),
		summaryOf(is, t))
	for _, g := range []grid{waitsGrid(is, t), matrixGrid(is, t, "waited ↓ for →"), holdsGrid(is, t)} {
		if len(g.rows) == 0 {
			continue
		}
		b.WriteString("\n| " + strings.Join(g.head, " | ") + " |\n|")
		for i := range g.head {
			b.WriteString(choose(i >= g.first && i < len(g.head)-g.last, "--:|", "---|"))
		}
		b.WriteString("\n")
		for _, row := range g.rows {
			b.WriteString("| " + strings.Join(row, " | ") + " |\n")
		}
	}
	var texts []string
	for _, r := range remarks(is, t, now) {
		texts = append(texts, "**"+r[0]+":** "+r[1])
	}
	if len(texts) > 0 {
		b.WriteString("\n" + strings.Join(texts, "\n") + "\n")
	}
	for _, u := range is.Locks {
		fmt.Fprintf(&b, "\n%s in use, by hour: 00 `%s` 23, %s.\n", t.code(u.Lock), spark(u.Hours, true), busiest(u))
	}
	return b.String()
}

// printReport prints a report as text. A name never is first in a line.
func printReport(s *cli.Session, is *history.Report, now time.Time) {
	t := plainStyle
	s.Print("host %s, %s", orElse(history.Word(is.Host), "unknown"), period(is))
	s.Print("%s", summaryOf(is, t))
	for _, g := range []grid{waitsGrid(is, t), matrixGrid(is, t, "who waited"), holdsGrid(is, t)} {
		if len(g.rows) == 0 {
			continue
		}
		s.Print("")
		var rows [][]string
		for _, row := range append([][]string{g.head}, g.rows...) {
			lead := len(row) - g.lead
			rows = append(rows, slices.Concat(row[lead:], row[1:lead], row[:1]))
		}
		s.Table(rows)
	}
	if all := remarks(is, t, now); len(all) > 0 {
		s.Print("")
		for _, r := range all {
			s.Print("%s: %s", strings.ToLower(r[0]), r[1])
		}
	}
	if len(is.Locks) > 0 {
		s.Print("")
	}
	for _, u := range is.Locks {
		s.Print("in use by hour: 00 %s 23, %s: %s", spark(u.Hours, s.UTF8()), busiest(u), t.code(u.Lock))
	}
}

// reportCSV returns the waits by repository and for whom they were, in seconds.
func reportCSV(is *history.Report) string {
	var b strings.Builder
	w := csv.NewWriter(&b)
	var names []string
	seen := map[string]bool{}
	for _, r := range is.Repositories {
		for name := range r.For {
			if !seen[name] {
				names, seen[name] = append(names, name), true
			}
		}
	}
	slices.Sort(names)
	write := func(row []string) {
		for i, cell := range row {
			row[i] = csvCell(cell)
		}
		_ = w.Write(row) // into a string
	}
	head := []string{"repository", "jobs", "waited more than a minute", "waited", "p50", "p95", "max", "for pressure",
		"for other"}
	for _, name := range names {
		head = append(head, "for "+name)
	}
	write(head)
	seconds := func(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 0, 64) }
	for _, r := range is.Repositories {
		row := []string{r.Repository, fmt.Sprint(r.Jobs), fmt.Sprint(r.WaitedLong), seconds(r.Waited), seconds(r.P50),
			seconds(r.P95), seconds(r.Max), seconds(r.Pressure), seconds(r.Other)}
		for _, name := range names {
			row = append(row, seconds(r.For[name]))
		}
		write(row)
	}
	w.Flush()
	return b.String()
}

// csvCell returns a text as one that a spreadsheet does not take for a formula.
func csvCell(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
	if strings.ContainsAny(text[:min(1, len(text))], "=+-@") {
		return "'" + text
	}
	return text
}

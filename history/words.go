package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// The words of an answer. The page has the same ones in TypeScript, and testdata/words.json
// compares them: a change of one is a change of all three.

// Sentence returns the answer as one sentence, such as "wooo/shop build #12 waited 41m: 3m
// for pressure (next build of wooo/docs), 14m for wooo/docs build #61 (image build), then
// 24m for wooo/blog deploy #97 (image build)." Its figures add up.
func (a Answer) Sentence() string { return a.Subject() + " " + a.Predicate() }

// Predicate returns the sentence without the job.
func (a Answer) Predicate() string {
	units := Units(a.Total, durations(a.Parts))
	named := largest(units, mostCauses)
	var causes []string
	var restTime time.Duration
	rest := 0
	for i, unit := range units {
		switch {
		case slices.Contains(named, i):
			causes = append(causes, a.unit(unit)+" "+a.Parts[i].clause(a.Host))
		case unit > 0:
			restTime, rest = restTime+unit, rest+1
		}
	}
	text := a.verb()
	switch {
	case len(causes) == 1 && rest == 0:
		text += " " + a.Parts[named[0]].clause(a.Host)
	case rest > 0:
		text += ": " + strings.Join(causes, ", ") + fmt.Sprintf(", and %s for %s", a.unit(restTime),
			others(rest))
	case len(causes) > 1:
		last := len(causes) - 1
		text += ": " + strings.Join(causes[:last], ", ") + ", then " + causes[last]
	}
	if a.End == EndUnseen && !a.Open {
		text += choose(len(causes) > 1, "; ", ": ") + fmt.Sprintf("from %s until %s, then %s was not watched",
			Clock(a.From), Clock(a.Until), hostName(a.Host))
		if !a.WatchedAgain.IsZero() {
			text += " until " + Clock(a.WatchedAgain)
		}
	}
	return text + "."
}

// unit returns one of Units, in the total's unit: beside minutes, a minute is no 60 s.
func (a Answer) unit(d time.Duration) string {
	if d == time.Minute && a.Total >= 90*time.Second-time.Second/2 {
		return "1m"
	}
	return Duration(d)
}

// mostCauses is the number of causes that a sentence names.
const mostCauses = 3

// Heading returns the answer without its causes, such as "wooo/shop build #12 waited 41m on
// ci-host-1, 14:02 to 14:43".
func (a Answer) Heading() string {
	text := a.Subject() + " " + a.verb() + prefix(" on ", Word(a.Host))
	if a.Open {
		return text + ", since " + Clock(a.From)
	}
	return text + ", " + Clock(a.From) + " to " + Clock(a.Until)
}

// Line is a part of an answer as a line of a list.
type Line struct {
	Part
	Time  string // in the unit of the total: the lines add up to it
	Share float64
	Cause string
}

// Lines returns at most n causes in their order, and the others as a last line.
func (a Answer) Lines(n int) (lines []Line) {
	units := Units(a.Total, durations(a.Parts))
	named := largest(units, n)
	rest, restTime := 0, time.Duration(0)
	for i, unit := range units {
		switch p := a.Parts[i]; {
		case slices.Contains(named, i):
			cause := p.cause(false)
			switch {
			case p.Kind == Unwatched:
				cause = hostName(a.Host) + " was not watched"
			case p.Usual > 0:
				cause += ", usually " + Duration(p.Usual)
			}
			lines = append(lines, Line{p, a.unit(unit), float64(p.Time) / float64(a.Total), cause})
		case unit > 0:
			rest, restTime = rest+1, restTime+unit
		}
	}
	if rest > 0 {
		share := float64(restTime) / float64(a.Total)
		lines = append(lines, Line{Time: a.unit(restTime), Share: share, Cause: others(rest)})
	}
	return lines
}

// Subject returns the name of the job.
func (a Answer) Subject() string {
	if name := Name(a.Who); name != "" {
		return name
	}
	return "A job"
}

func (a Answer) verb() string {
	total := Duration(a.Total)
	switch {
	case total == "0s" && !a.Open && a.End != EndUnseen && a.End != EndGaveUp:
		return "did not wait"
	case a.Open:
		return "has waited " + total
	case a.End == EndUnseen:
		return "waited at least " + total
	case a.End == EndGaveUp:
		return "gave up after waiting " + total
	default:
		return "waited " + total
	}
}

// clause returns the cause of a part with the word that goes before it.
func (p Part) clause(host string) string {
	if p.Kind == Unwatched {
		return "while " + hostName(host) + " was not watched"
	}
	return "for " + p.Cause()
}

// Cause returns what was in the way.
func (p Part) Cause() string { return p.cause(true) }

// cause returns what was in the way, in a sentence or as a line of its own, which has a
// place for what is usual.
func (p Part) cause(inSentence bool) string {
	of := Name(p.Who)
	var notes []string
	note := func(format, text string) {
		if text = Phrase(text); text != "" {
			notes = append(notes, fmt.Sprintf(format, text))
		}
	}
	switch p.Kind {
	case Build:
		what := Phrase(p.Name)
		if what != "" && of != "" {
			what += " of " + of
		}
		if what += choose(what == "", of, ""); !inSentence {
			return "pressure" + prefix(": ", what)
		}
		return join("pressure", what)
	case Reserved:
		note("%s", p.What)
		return join(strings.TrimSpace("a reservation "+prefix("by ", of)), strings.Join(notes, "; "))
	case Hold:
		if p.Plain {
			return "a plain docker network that nobody signed"
		}
		if of == "" {
			of = "a job of no known name"
		}
		note("%s", p.What)
		if inSentence && p.Unusual() {
			note("usually %s", Duration(p.Usual))
		}
		if p.End == EndTakenOver {
			notes = append(notes, "taken over"+prefix(": ", Phrase(p.Evidence)))
		}
		return join(of, strings.Join(notes, "; "))
	default:
		return "a holder that was not seen"
	}
}

// Unusual reports whether a hold lasted much longer than usual.
func (p Part) Unusual() bool { return p.Usual > 0 && p.Held > p.Usual*9/5 }

// Name returns a job as "wooo/shop build #12", or the person outside any job.
func Name(w Who) string {
	var words []string
	for _, word := range []string{Word(w.Repository), Word(w.Job), prefix("#", Word(w.Run))} {
		if word != "" {
			words = append(words, word)
		}
	}
	if len(words) == 0 {
		return Phrase(w.Person)
	}
	return strings.Join(words, " ")
}

// Duration returns a duration as a person would say it: seconds below 90 s, minutes below
// an hour, and then "1h 05m".
func Duration(d time.Duration) string {
	s := int64((d + time.Second/2) / time.Second)
	m := (s + 30) / 60
	switch {
	case s < 90:
		return fmt.Sprintf("%ds", max(0, s))
	case m < 60:
		return fmt.Sprintf("%dm", m)
	default:
		return fmt.Sprintf("%dh %02dm", m/60, m%60)
	}
}

// Clock returns the time of day, in the time's own zone.
func Clock(t time.Time) string { return t.Format("15:04") }

// Units returns parts of a total in its unit, seconds or minutes: whole ones that add up to
// the total as Duration returns it. Those that lost most by rounding down get what is
// missing; a part can be 0.
func Units(total time.Duration, parts []time.Duration) []time.Duration {
	unit, seconds := time.Second, (total+time.Second/2)/time.Second
	left := int64(seconds)
	if seconds >= 90 {
		unit, left = time.Minute, int64(seconds+30)/60
	}
	units, order := make([]time.Duration, len(parts)), make([]int, len(parts))
	for i, part := range parts {
		units[i], order[i] = part/unit*unit, i
		left -= int64(part / unit)
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(parts[j]%unit, parts[i]%unit) })
	for _, i := range order {
		if left > 0 {
			units[i] += unit
			left--
		}
	}
	return units
}

// largest returns the indexes of at most n of the largest units, in their order; a unit of 0
// is none.
func largest(units []time.Duration, n int) []int {
	var order []int
	for i, unit := range units {
		if unit > 0 {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(units[j], units[i]) })
	order = order[:min(n, len(order))]
	slices.Sort(order)
	return order
}

func durations(parts []Part) []time.Duration {
	all := make([]time.Duration, len(parts))
	for i, p := range parts {
		all[i] = p.Time
	}
	return all
}

// Foreign text has any character in it, and any length.

// mostText is the number of characters of a foreign text that are shown.
const mostText = 60

// clean returns a text as one line without control, format and bidirectional characters, cut.
func clean(s string) string {
	var b strings.Builder
	n, space := 0, false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r) || unicode.In(r, unicode.Z):
			space = n > 0
			continue
		case unicode.In(r, unicode.Cc, unicode.Cf):
			continue
		}
		if space {
			b.WriteByte(' ')
			n, space = n+1, false
		}
		b.WriteRune(r)
		if n++; n > mostText { // enough to cut
			break
		}
	}
	if runes := []rune(b.String()); len(runes) > mostText {
		return strings.TrimRight(string(runes[:mostText-1]), " ") + "…"
	}
	return b.String()
}

// Word returns a foreign name: as it is if it is one plain word, else in quotes, so that it
// cannot pass for the words around it.
func Word(s string) string { return quote(clean(s), "._-/@+:…") }

// Phrase returns a foreign text of several words likewise.
func Phrase(s string) string { return quote(clean(s), "._-/@+:… ,#%") }

func quote(s, plain string) string {
	if strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.In(r, unicode.L, unicode.M, unicode.N) && !strings.ContainsRune(plain, r)
	}) {
		return `"` + strings.ReplaceAll(s, `"`, "'") + `"`
	}
	return s
}

func others(n int) string {
	if n == 1 {
		return "1 other"
	}
	return fmt.Sprintf("%d others", n)
}

func hostName(host string) string {
	if host = Word(host); host == "" {
		return "the host"
	}
	return host
}

// join returns a text with a note in parentheses, if there is one.
func join(text, note string) string {
	if note == "" {
		return text
	}
	return text + " (" + note + ")"
}

// prefix returns a text with another before it, if it is not empty.
func prefix(before, text string) string {
	if text == "" {
		return ""
	}
	return before + text
}

// choose returns yes or no.
func choose(which bool, yes, no string) string {
	if which {
		return yes
	}
	return no
}

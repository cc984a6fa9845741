package history

import (
	"fmt"
	"net/url"
	"strings"
	"time"
)

// leastSummary is the shortest wait that a summary mentions.
const leastSummary = 5 * time.Second

// mostRows is the number of causes in a summary, which has at most 12 lines.
const mostRows = 5

// Markdown returns the answer for the summary of the job that waited; nothing after a short
// wait. meanwhile is the stall during the wait, with a zero Time if that is not known.
func (a Answer) Markdown(meanwhile Stall) string {
	if a.Total < leastSummary {
		return ""
	}
	var b strings.Builder
	units := Units(a.Total, durations(a.Parts))
	shown := largest(units, mostRows)
	b.WriteString(a.headline(shown) + "\n")
	if !(len(shown) == 1 && (a.End == EndGaveUp || a.Parts[shown[0]].End == EndTakenOver)) && len(shown) > 0 {
		b.WriteString("\n| | for | from | until |\n|--:|---|---|---|\n")
		rest, left := 0, time.Duration(0)
		for i, unit := range units {
			switch p := a.Parts[i]; {
			case len(shown) > 0 && shown[0] == i:
				shown = shown[1:]
				fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", a.unit(unit), p.markdown(a.Host), Clock(p.From),
					Clock(p.Until))
			case unit > 0:
				rest, left = rest+1, left+unit
			}
		}
		if rest > 0 {
			fmt.Fprintf(&b, "| %s | %s | | |\n", a.unit(left), others(rest))
		}
	}
	var notes []string
	if a.Host != "" {
		notes = append(notes, "Host "+Code(a.Host))
	}
	if !meanwhile.Time.IsZero() && meanwhile.IO >= 0 {
		notes = append(notes, fmt.Sprintf("IO stall %d %% meanwhile", meanwhile.IO))
	}
	if address := SafeURL(a.Who.RunURL); address != "" {
		notes = append(notes, "`hostguard why -run "+address+"`")
	}
	if len(notes) > 0 {
		b.WriteString("\n" + strings.Join(notes, " · ") + "\n")
	}
	return b.String()
}

// headline returns the first line, given the indexes of the parts that are shown.
func (a Answer) headline(shown []int) string {
	total, lock := Duration(a.Total), Code(a.Lock)
	switch {
	case a.End == EndGaveUp && a.Lock == "":
		return fmt.Sprintf("**The pressure did not end in %s**, not this change's fault.", total)
	case a.End == EndGaveUp:
		text := fmt.Sprintf("**Did not get %s in %s**, not this change's fault.", lock, total)
		if len(shown) == 0 {
			return text
		}
		holder := a.Parts[shown[len(shown)-1]]
		if holder.Kind != Hold {
			return text
		}
		text += fmt.Sprintf(" Held by %s for %s", holder.holder(), Duration(holder.Held))
		if holder.Usual > 0 {
			text += fmt.Sprintf(" (usually %s)", Duration(holder.Usual))
		}
		if evidence := clean(holder.Evidence); evidence != "" {
			text += ": " + Escape(evidence)
		}
		return text + ". Run again, or give a longer `timeout`."
	case a.Lock == "":
		return fmt.Sprintf("**Waited %s** for pressure to end, not this change's fault.", total)
	case len(shown) == 1 && a.Parts[shown[0]].End == EndTakenOver:
		holder := a.Parts[shown[0]]
		text := fmt.Sprintf("**Waited %s** before %s: %s did not give it back", total, lock, holder.holder())
		if evidence := clean(holder.Evidence); evidence != "" {
			text += fmt.Sprintf(" (%s)", Escape(evidence))
		}
		return text + ", so it was taken over."
	default:
		return fmt.Sprintf("**Waited %s** before %s, not this change's fault.", total, lock)
	}
}

// holder returns a hold's job as Markdown.
func (p Part) holder() string {
	switch {
	case p.Plain:
		return "a plain docker network that nobody signed"
	case Name(p.Who) == "":
		return "a job of no known name"
	}
	return p.Who.Markdown()
}

// markdown returns the cause of a part as a cell of a table.
func (p Part) markdown(host string) string {
	note := func(text string) string { return prefix(", ", Escape(clean(text))) }
	switch p.Kind {
	case Build:
		what := Escape(clean(p.Name))
		if of := p.Who.Markdown(); of != "" {
			what = strings.TrimSpace(what + choose(what == "", "", " of ") + of)
		}
		return "pressure" + prefix(": ", what)
	case Reserved:
		return "a reservation" + prefix(" by ", p.Who.Markdown()) + note(p.What)
	case Unwatched:
		return prefix("", Code(host)) + choose(host == "", "the host", "") + " was not watched"
	case Hold:
		text := p.holder() + note(p.What)
		if p.Usual > 0 {
			text += fmt.Sprintf(" (usually %s)", Duration(p.Usual))
		}
		if p.End == EndTakenOver {
			text += ", taken over" + prefix(": ", Escape(clean(p.Evidence)))
		}
		return text
	default:
		return "a holder that was not seen"
	}
}

// Markdown returns a job as "`wooo/shop` build [#12](https://…)".
func (w Who) Markdown() string {
	var words []string
	if w.Repository != "" {
		words = append(words, Code(w.Repository))
	}
	if job := clean(w.Job); job != "" {
		words = append(words, Escape(job))
	}
	if run := clean(w.Run); run != "" {
		text := Escape("#" + run)
		if address := SafeURL(w.RunURL); address != "" {
			text = "[" + text + "](" + address + ")"
		}
		words = append(words, text)
	}
	if len(words) == 0 {
		return Escape(clean(w.Person))
	}
	return strings.Join(words, " ")
}

// Code returns a foreign text as Markdown's code, also in a table.
func Code(s string) string {
	if s = clean(s); s == "" {
		return ""
	}
	return "`" + strings.NewReplacer("`", "'", "|", `\|`).Replace(s) + "`"
}

// Escape returns a text as Markdown that shows just this text: no markup, no mention, no link
// and no reference to an issue.
func Escape(s string) string { return markup.Replace(s) }

var markup = func() *strings.Replacer {
	pairs := []string{"&", "&amp;", "<", "&lt;", ">", "&gt;", "@", "&#64;", "://", "&#58;//", "www.", "www&#46;"}
	for _, c := range "\\`*_{}[]()#!|~" {
		pairs = append(pairs, string(c), fmt.Sprintf("&#%d;", c))
	}
	return strings.NewReplacer(pairs...)
}()

// The characters of an address that need no escape in Markdown, and how many it may have.
const (
	addressCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~:/?#@!$&*+,;=%-"
	mostAddress       = 500
)

// SafeURL returns an address that a link can lead to, or "".
func SafeURL(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil ||
		len(s) > mostAddress || strings.Trim(s, addressCharacters) != "" {
		return ""
	}
	return s
}

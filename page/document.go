// Package page is the browser's view of a host's history: what holds and who waits now, and
// a timeline that explains each wait. It looks only. Files serves it beside a server's
// /data.json and /events, and Standalone writes it as one file with its data inside.
//
// The page itself is written in TypeScript, in src. "make page" bundles it into bundle,
// which is embedded here.
package page

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"hostguard/history"
)

// Document is what the page shows. A server answers /data.json with a full one. The events
// of /events are named "update" and carry either another full one, which replaces all that
// the page has, or one that is not Full: it has the whole Host, but only those intervals,
// stalls and gaps that are new or have changed. Intervals are merged by their ID.
//
// The page asks for /events?since=T, where T is the Now of the document that it has, in
// milliseconds: a server that knows what changed since then sends that first, and one that
// does not sends a full document. A page that hears of no update for 35 s connects anew, so
// a server sends one now and then if only its Look is new.
type Document struct {
	Full    bool
	Name    string // of the host
	Program string // such as "hostguard 1.1.0"
	Now     time.Time
	Begin   time.Time // of the history
	Look    time.Time // the observer's last look
	Bytes   int64     // of the history on disk
	Days    int       // for which it is kept

	Intervals []history.Interval
	Stalls    []history.Stall
	Gaps      []history.Gap
	Host      Host
}

// Host is what is known of the host beside its intervals. What is unknown is left zero.
type Host struct {
	MemoryAvailable, MemoryTotal int64 // bytes
	Load                         float64
	Runners                      []Runner
	LeftBehind                   []LeftBehind
	InSight, OutOfSight          []string // what the observer watches, and what it cannot see
}

// Runner says more of a runner than its interval, whose Name it has.
type Runner struct {
	Name           string
	Busy, Capacity int    // jobs; a Capacity of 0 is unknown
	Note           string // such as "by root: moves to ci-host-2"
}

// LeftBehind is a task container, by the Name of its interval, whose job is over.
type LeftBehind struct{ Name, Note string }

// lookTolerance is for how long after an open interval was last seen the page still takes it
// for going on. An observer looks every few seconds, and more rarely at runners.
const lookTolerance = time.Minute

// The bits of an interval's flags.
const (
	flagOpen = 1 << iota
	flagPlain
)

// AppendJSON appends the document in the form that src/data.ts reads, in which a busy
// host's 50,000 intervals are less than 3 MB:
//
//	{"version": 1, "full": true, "name", "program", "now", "begin", "look", "bytes", "days",
//	 "strings": ["", ...],
//	 "jobs": [[repository, workflow, job, run, url, actor, person], ...],
//	 "intervals": [[id, kind, from, duration, flags, job, name, what, end, evidence], ...],
//	 "stalls": [[time, memory, io, cpu], ...], "gaps": [[from, until], ...], "host": {...}}
//
// Times are milliseconds since 1970. Those of intervals and stalls are since the one before
// in the list, which can be later, and of the first since begin. All but the ID of an
// interval are numbers: texts are places in strings, job is one in jobs, as the distance from
// that of the interval before, and zeros at the end of an array are left out. A run's URL that
// ends in its number is kept without it, up to the slash. An interval that was open, but was
// not seen by the last look, has ended: a history whose observer was killed must not reach to
// now.
func (d *Document) AppendJSON(to []byte) []byte {
	e := encoder{texts: map[string]int{"": 0}, jobs: map[history.Who]int{}, from: d.Begin.UnixMilli()}
	e.list = append(e.list, "")
	intervals := make([]byte, 0, 48*len(d.Intervals)+2)
	intervals = append(intervals, '[')
	for i := range d.Intervals {
		if i > 0 {
			intervals = append(intervals, ',')
		}
		intervals = e.interval(intervals, &d.Intervals[i], d.Look)
	}
	intervals = append(intervals, ']')
	jobs := e.appendJobs(nil)

	to = append(to, `{"version":1,"full":`...)
	to = strconv.AppendBool(to, d.Full)
	to = appendString(append(to, `,"name":`...), d.Name)
	to = appendString(append(to, `,"program":`...), d.Program)
	to = strconv.AppendInt(append(to, `,"now":`...), d.Now.UnixMilli(), 10)
	to = strconv.AppendInt(append(to, `,"begin":`...), d.Begin.UnixMilli(), 10)
	to = strconv.AppendInt(append(to, `,"look":`...), d.Look.UnixMilli(), 10)
	to = strconv.AppendInt(append(to, `,"bytes":`...), d.Bytes, 10)
	to = strconv.AppendInt(append(to, `,"days":`...), int64(d.Days), 10)
	to = appendStrings(append(to, `,"strings":`...), e.list)
	to = append(append(to, `,"jobs":`...), jobs...)
	to = append(append(to, `,"intervals":`...), intervals...)
	to = append(to, `,"stalls":[`...)
	last := d.Begin.UnixMilli()
	for i, s := range thinned(d.Stalls, d.Now.Add(-stallsWhole)) {
		to = appendNumbers(to, i, s.Time.UnixMilli()-last, int64(s.Memory), int64(s.IO), int64(s.CPU))
		last = s.Time.UnixMilli()
	}
	to = append(to, `],"gaps":[`...)
	for i, g := range d.Gaps {
		to = appendNumbers(to, i, g.From.UnixMilli(), g.Until.UnixMilli())
	}
	to = append(to, `],"host":`...)
	return append(d.Host.appendJSON(to), '}')
}

// encoder keeps the tables that a document's intervals share.
type encoder struct {
	texts map[string]int
	list  []string
	jobs  map[history.Who]int
	order []history.Who

	from, of int64 // when the interval before began, and its job
}

func (e *encoder) text(s string) int64 {
	place, known := e.texts[s]
	if !known {
		place = len(e.list)
		e.texts[s] = place
		e.list = append(e.list, s)
	}
	return int64(place)
}

func (e *encoder) job(w history.Who) int64 {
	place, known := e.jobs[w]
	if !known {
		place = len(e.order)
		e.jobs[w] = place
		e.order = append(e.order, w)
	}
	return int64(place)
}

func (e *encoder) interval(to []byte, v *history.Interval, look time.Time) []byte {
	open, end := v.Open, v.End
	if open && v.Until.Before(look.Add(-lookTolerance)) {
		open = false
		if v.Kind != history.Runner { // whose end is its state
			end = history.EndUnseen
		}
	}
	var flags int64
	if open {
		flags |= flagOpen
	}
	if v.Plain {
		flags |= flagPlain
	}
	from, job := v.From.UnixMilli(), e.job(v.Who)
	to = append(appendString(append(to, '['), v.ID), ',')
	numbers := [...]int64{e.text(string(v.Kind)), from - e.from, max(0, v.Until.UnixMilli()-from), flags,
		job - e.of, e.text(v.Name), e.text(v.What), e.text(end), e.text(v.Evidence)}
	e.from, e.of = from, job
	return append(appendRow(to, numbers[:]), ']')
}

// stallsWhole is for how long the page has each sample of stall. Of older ones it has the
// highest of each stallStep, which is what one can see of months.
const stallsWhole, stallStep = 24 * time.Hour, 5 * time.Minute

// thinned returns samples, of which those before a time are one for each stallStep.
func thinned(samples []history.Stall, before time.Time) []history.Stall {
	whole := len(samples)
	for i, s := range samples {
		if !s.Time.Before(before) {
			whole = i
			break
		}
	}
	var thin []history.Stall
	for _, s := range samples[:whole] {
		s.Time = s.Time.Truncate(stallStep)
		if n := len(thin); n > 0 && thin[n-1].Time.Equal(s.Time) {
			last := &thin[n-1]
			last.Memory, last.IO, last.CPU = max(last.Memory, s.Memory), max(last.IO, s.IO), max(last.CPU, s.CPU)
		} else {
			thin = append(thin, s)
		}
	}
	return append(thin, samples[whole:]...)
}

func (e *encoder) appendJobs(to []byte) []byte {
	to = append(to, '[')
	for i, w := range e.order {
		url := strings.TrimSuffix(w.RunURL, "/")
		if prefix, ends := strings.CutSuffix(url, "/"+w.Run); ends && w.Run != "" {
			url = prefix + "/"
		}
		if i > 0 {
			to = append(to, ',')
		}
		row := [...]int64{e.text(w.Repository), e.text(w.Workflow), e.text(w.Job), e.text(w.Run), e.text(url),
			e.text(w.Actor), e.text(w.Person)}
		to = append(appendRow(append(to, '['), row[:]), ']')
	}
	return append(to, ']')
}

func (h *Host) appendJSON(to []byte) []byte {
	to = strconv.AppendInt(append(to, `{"memoryAvailable":`...), h.MemoryAvailable, 10)
	to = strconv.AppendInt(append(to, `,"memoryTotal":`...), h.MemoryTotal, 10)
	to = strconv.AppendFloat(append(to, `,"load":`...), h.Load, 'f', 2, 64)
	to = append(to, `,"runners":[`...)
	for i, r := range h.Runners {
		if i > 0 {
			to = append(to, ',')
		}
		to = appendString(append(to, `{"name":`...), r.Name)
		to = strconv.AppendInt(append(to, `,"busy":`...), int64(r.Busy), 10)
		to = strconv.AppendInt(append(to, `,"capacity":`...), int64(r.Capacity), 10)
		to = append(appendString(append(to, `,"note":`...), r.Note), '}')
	}
	to = append(to, `],"leftBehind":[`...)
	for i, c := range h.LeftBehind {
		if i > 0 {
			to = append(to, ',')
		}
		to = appendString(append(to, `{"name":`...), c.Name)
		to = append(appendString(append(to, `,"note":`...), c.Note), '}')
	}
	to = appendStrings(append(to, `],"inSight":`...), h.InSight)
	return append(appendStrings(append(to, `,"outOfSight":`...), h.OutOfSight), '}')
}

// appendRow appends numbers without the zeros at their end, the first of them always.
func appendRow(to []byte, row []int64) []byte {
	for len(row) > 1 && row[len(row)-1] == 0 {
		row = row[:len(row)-1]
	}
	for i, n := range row {
		if i > 0 {
			to = append(to, ',')
		}
		to = strconv.AppendInt(to, n, 10)
	}
	return to
}

// appendNumbers appends a whole array, the i-th of its list.
func appendNumbers(to []byte, i int, numbers ...int64) []byte {
	if i > 0 {
		to = append(to, ',')
	}
	to = append(to, '[')
	for i, n := range numbers {
		if i > 0 {
			to = append(to, ',')
		}
		to = strconv.AppendInt(to, n, 10)
	}
	return append(to, ']')
}

func appendStrings(to []byte, list []string) []byte {
	to = append(to, '[')
	for i, s := range list {
		if i > 0 {
			to = append(to, ',')
		}
		to = appendString(to, s)
	}
	return append(to, ']')
}

// appendString appends a JSON string that may also stand in a script element of HTML: what
// could end the element or open a comment in it is escaped, and so are the line ends of
// JavaScript.
func appendString(to []byte, s string) []byte {
	const hex = "0123456789abcdef"
	to = append(to, '"')
	for _, r := range s { // an invalid byte is U+FFFD
		switch {
		case r == '"' || r == '\\':
			to = append(to, '\\', byte(r))
		case r < ' ' || r == '<' || r == '>' || r == '&' || r == 0x7f || r == '\u2028' || r == '\u2029':
			to = append(to, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		default:
			to = utf8.AppendRune(to, r)
		}
	}
	return append(to, '"')
}

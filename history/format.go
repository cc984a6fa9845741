package history

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// The files of a history are lines of JSON objects, without objects in them. A line
// with an unknown kind or another version is skipped, and so is an unknown key: a later
// version adds kinds and keys, and changes the version if a key changes its meaning.

const (
	version  = 1
	mostLine = 64 << 10 // bytes of a line that is read
	// These bound the texts of a line that is written, so that it is shorter than mostLine
	// even if each byte is escaped.
	mostBytesOfText = 512
	mostBytesOfURL  = 2048
)

// The kinds of lines beside those of intervals.
const (
	kindLook  = "look"  // the last look, at From, on the host Name: the first of the open intervals
	kindStall = "stall" // a Stall at From
	kindGap   = "gap"   // a Gap
)

// line is one line of a file. Times are in ms since 1970.
type line struct {
	Version    int    `json:"v"`
	Kind       string `json:"kind"`
	ID         string `json:"id,omitempty"`
	Name       string `json:"name,omitempty"`
	Repository string `json:"repository,omitempty"`
	Workflow   string `json:"workflow,omitempty"`
	Job        string `json:"job,omitempty"`
	Run        string `json:"run,omitempty"`
	RunURL     string `json:"url,omitempty"`
	Actor      string `json:"actor,omitempty"`
	Person     string `json:"person,omitempty"`
	What       string `json:"what,omitempty"`
	From       int64  `json:"from"`
	Until      int64  `json:"until,omitempty"`
	Open       bool   `json:"open,omitempty"`
	End        string `json:"end,omitempty"`
	Evidence   string `json:"evidence,omitempty"`
	Plain      bool   `json:"plain,omitempty"`
	Memory     int64  `json:"memory,omitempty"`
	IO         int64  `json:"io,omitempty"`
	CPU        int64  `json:"cpu,omitempty"`
}

func lineOf(i Interval) line {
	return line{
		Version: version, Kind: string(i.Kind), ID: i.ID, Name: i.Name, What: i.What,
		Repository: i.Who.Repository, Workflow: i.Who.Workflow, Job: i.Who.Job, Run: i.Who.Run,
		RunURL: i.Who.RunURL, Actor: i.Who.Actor, Person: i.Who.Person,
		From: i.From.UnixMilli(), Until: max(i.From.UnixMilli(), i.Until.UnixMilli()), Open: i.Open, End: i.End,
		Evidence: i.Evidence, Plain: i.Plain,
	}
}

// appendTo adds the line to data.
func (l line) appendTo(data []byte) []byte {
	l.Version = version
	for _, text := range []*string{&l.ID, &l.Name, &l.Repository, &l.Workflow, &l.Job, &l.Run, &l.Actor, &l.Person,
		&l.What, &l.End, &l.Evidence} {
		*text = cut(*text, mostBytesOfText)
	}
	if len(l.RunURL) > mostBytesOfURL {
		l.RunURL = "" // the half of an address leads elsewhere
	}
	buffer := bytes.NewBuffer(data)
	encoder := json.NewEncoder(buffer)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(l) // texts, numbers and booleans
	return buffer.Bytes()
}

// cut returns at most n bytes of a text, in whole characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// knownKinds are the kinds of lines that a reader keeps, by their place in it.
var knownKinds = []string{kindLook, kindStall, kindGap, string(Hold), string(Wait), string(Pressure), string(Build),
	string(Container), string(Runner), string(Reserved)}

// parser parses lines. It keeps texts that come again and again, such as names of
// repositories, once.
type parser struct{ seen map[string]string }

// text returns a kept text.
func (p *parser) text(b []byte) string {
	if s, found := p.seen[string(b)]; found {
		return s
	}
	s := string(b)
	p.seen[s] = s
	return s
}

// field returns where a key is stored: a text, a number or a boolean; all are nil for an
// unknown key.
func (l *line) field(key []byte) (text *string, number *int64, boolean *bool) {
	switch string(key) {
	case "kind":
		return &l.Kind, nil, nil
	case "id":
		return &l.ID, nil, nil
	case "name":
		return &l.Name, nil, nil
	case "repository":
		return &l.Repository, nil, nil
	case "workflow":
		return &l.Workflow, nil, nil
	case "job":
		return &l.Job, nil, nil
	case "run":
		return &l.Run, nil, nil
	case "url":
		return &l.RunURL, nil, nil
	case "actor":
		return &l.Actor, nil, nil
	case "person":
		return &l.Person, nil, nil
	case "what":
		return &l.What, nil, nil
	case "end":
		return &l.End, nil, nil
	case "evidence":
		return &l.Evidence, nil, nil
	case "from":
		return nil, &l.From, nil
	case "until":
		return nil, &l.Until, nil
	case "memory":
		return nil, &l.Memory, nil
	case "io":
		return nil, &l.IO, nil
	case "cpu":
		return nil, &l.CPU, nil
	case "open":
		return nil, nil, &l.Open
	case "plain":
		return nil, nil, &l.Plain
	}
	return nil, nil, nil
}

// parse returns a line. Nearly all are as a Writer writes them, and quick is several times
// as fast for these as encoding/json, which reads the others.
func (p *parser) parse(data []byte) (l line, ok bool) {
	if len(data) > mostLine {
		return line{}, false
	}
	if l, ok = p.quick(data); !ok {
		l, ok = p.slow(data)
	}
	return l, ok && l.sensible()
}

// sensible reports whether a line is of this version and its times are ones that are
// possible: from 1970 until the year 9999.
func (l *line) sensible() bool {
	const end = 253402300800000
	return l.Version == version && l.From >= 0 && l.From < end && l.Until >= 0 && l.Until < end
}

// quick parses a line without spaces and escapes.
func (p *parser) quick(data []byte) (l line, ok bool) {
	if len(data) < 2 || data[0] != '{' || data[len(data)-1] != '}' || !utf8.Valid(data) {
		return line{}, false
	}
	for rest := data[1:]; ; {
		key, after, ok := quickText(rest)
		if !ok || len(after) < 2 || after[0] != ':' {
			return line{}, false
		}
		rest = after[1:]
		text, number, boolean := l.field(key)
		switch {
		case text != nil:
			var value []byte
			if value, rest, ok = quickText(rest); !ok {
				return line{}, false
			}
			if text == &l.ID { // which does not come again
				*text = string(value)
			} else {
				*text = p.text(value)
			}
		case number != nil || string(key) == "v":
			var value int64
			if value, rest, ok = quickNumber(rest); !ok {
				return line{}, false
			}
			if number == nil {
				l.Version = int(value)
			} else {
				*number = value
			}
		case boolean != nil && bytes.HasPrefix(rest, []byte("true")):
			*boolean, rest = true, rest[4:]
		default:
			return line{}, false
		}
		switch {
		case len(rest) == 1: // the }
			return l, true
		case len(rest) == 0 || rest[0] != ',':
			return line{}, false
		}
		rest = rest[1:]
	}
}

// quickText returns a text in quotes that has no escapes, and what follows it.
func quickText(data []byte) (text, rest []byte, ok bool) {
	if len(data) == 0 || data[0] != '"' {
		return nil, nil, false
	}
	for i, b := range data[1:] {
		switch {
		case b == '"':
			return data[1 : 1+i], data[2+i:], true
		case b == '\\' || b < ' ':
			return nil, nil, false
		}
	}
	return nil, nil, false
}

// quickNumber returns a whole number, and what follows it.
func quickNumber(data []byte) (n int64, rest []byte, ok bool) {
	i := 0
	for i < len(data) && data[i] >= '0' && data[i] <= '9' {
		n = n*10 + int64(data[i]-'0')
		i++
	}
	if i == 0 || i > 18 || data[0] == '0' && i > 1 || i == len(data) || data[i] != ',' && data[i] != '}' {
		return 0, nil, false
	}
	return n, data[i:], true
}

// slow parses any line.
func (p *parser) slow(data []byte) (l line, ok bool) {
	var all map[string]json.RawMessage // a struct would take "KIND" for "kind"
	if json.Unmarshal(data, &all) != nil {
		return line{}, false
	}
	for key, value := range all {
		text, number, boolean := l.field([]byte(key))
		var err error
		switch {
		case key == "v":
			l.Version, err = strconv.Atoi(string(value))
		case text != nil:
			if err = json.Unmarshal(value, text); err == nil {
				*text = p.text([]byte(*text))
			}
		case number != nil:
			err = json.Unmarshal(value, number)
		case boolean != nil:
			err = json.Unmarshal(value, boolean)
		}
		if err != nil {
			return line{}, false
		}
	}
	return l, true
}

// who returns the job of a line.
func (l *line) who() Who {
	return Who{Repository: l.Repository, Workflow: l.Workflow, Job: l.Job, Run: l.Run, RunURL: l.RunURL,
		Actor: l.Actor, Person: l.Person}
}

func (l *line) stall() Stall {
	return Stall{Time: time.UnixMilli(l.From), Memory: int(l.Memory), IO: int(l.IO), CPU: int(l.CPU)}
}

// segmentName returns the name of the file that begins at a time. Names are in the order of
// time.
func segmentName(ms int64) string { return fmt.Sprintf("%013d.jsonl", ms) }

// segmentTime returns the time of a segment's name.
func segmentTime(name string) (ms int64, ok bool) {
	if len(name) != len("1795672800000.jsonl") {
		return 0, false
	}
	ms, err := strconv.ParseInt(name[:13], 10, 64)
	return ms, err == nil && ms >= 0 && name == segmentName(ms)
}

// The other files of a history.
const (
	openName = "open.jsonl" // the last look, and what was open then
	lockName = "lock"       // the writer locks it
)

package history

import (
	"encoding/json"
	"os"
	"testing"
	"time"
)

// facts are the input of a sentence in testdata/words.json. Times are in ms, and the clock
// is that of UTC.
type facts struct {
	Host  string   `json:"host"`
	Who   whoFacts `json:"who"`
	Total int64    `json:"total"`
	Open  bool     `json:"open,omitempty"`
	End   string   `json:"end,omitempty"`
	Parts []struct {
		Milliseconds int64 `json:"ms"`
		Kind         Kind  `json:"kind,omitempty"`
		whoFacts
		Name     string `json:"name,omitempty"`
		What     string `json:"what,omitempty"`
		Plain    bool   `json:"plain,omitempty"`
		Usual    int64  `json:"usual,omitempty"`
		Held     int64  `json:"held,omitempty"`
		End      string `json:"end,omitempty"`
		Evidence string `json:"evidence,omitempty"`
	} `json:"parts"`
	From         int64 `json:"from,omitempty"`
	Until        int64 `json:"until,omitempty"`
	WatchedAgain int64 `json:"watchedAgain,omitempty"`
}

type whoFacts struct {
	Repository string `json:"repository,omitempty"`
	Job        string `json:"job,omitempty"`
	Run        string `json:"run,omitempty"`
	Person     string `json:"person,omitempty"`
}

func (w whoFacts) who() Who {
	return Who{Repository: w.Repository, Job: w.Job, Run: w.Run, Person: w.Person}
}

func (f facts) answer() Answer {
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	at := func(n int64) time.Time {
		if n == 0 {
			return time.Time{}
		}
		return time.UnixMilli(n).UTC()
	}
	a := Answer{Host: f.Host, Who: f.Who.who(), Total: ms(f.Total), Open: f.Open, End: f.End,
		From: at(f.From), Until: at(f.Until), WatchedAgain: at(f.WatchedAgain)}
	for _, p := range f.Parts {
		a.Parts = append(a.Parts, Part{Kind: p.Kind, Name: p.Name, Who: p.who(), What: p.What, Plain: p.Plain,
			End: p.End, Evidence: p.Evidence, Time: ms(p.Milliseconds), Held: ms(p.Held), Usual: ms(p.Usual)})
	}
	return a
}

func TestSentencesAreThoseOfTheTable(t *testing.T) {
	data, err := os.ReadFile("testdata/words.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name  string `json:"name"`
		Input facts  `json:"input"`
		En    string `json:"en"`
	}
	if err := json.Unmarshal(data, &cases); err != nil || len(cases) < 25 {
		t.Fatal(len(cases), err)
	}
	for _, c := range cases {
		if got := c.Input.answer().Sentence(); got != c.En {
			t.Errorf("%s:\n got %s\nwant %s", c.Name, got, c.En)
		}
	}
}

package page

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hostguard/history"
)

// bundle makes a source of the page a module for Node.
func bundle(t *testing.T, source string) string {
	t.Helper()
	sources, err := filepath.Glob("src/*.ts")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range sources { // else go test takes its result from the cache when one has changed
		if _, err := os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	module := filepath.Join(t.TempDir(), "bundle.cjs")
	build := exec.Command(
		"go",
		"tool",
		"-modfile=../tools.mod",
		"esbuild",
		"--bundle",
		"--format=cjs",
		"--platform=node",
		"--log-level=warning",
		"--outfile="+module,
		"src/"+source,
	)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("bundle %s: %v\n%s", source, err, out)
	}
	return module
}

// run runs a script of JavaScript under Node: it has what a bundle exports as page and the
// input as input, and its value comes back.
func run(t *testing.T, module, zone, script string, input, output any) {
	t.Helper()
	data, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	node := exec.Command("node", "-e", `const page = require(process.argv[1]);
		const input = JSON.parse(require("fs").readFileSync(0, "utf8"));
		process.stdout.write(JSON.stringify((() => {`+script+`})()));`, module)
	node.Env = append(os.Environ(), "TZ="+zone)
	node.Stdin = strings.NewReader(string(data))
	node.Stderr = os.Stderr
	out, err := node.Output()
	if err != nil {
		t.Fatalf("run Node, which sh e2e/install.sh brings: %v", err)
	}
	if err := json.Unmarshal(out, output); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func readJSON(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// What the page says in English is what "why" says: both have the same table. The page's
// Chinese is beside it, by the name of the case.
func TestSentencesAreThoseOfWhyAndWholeInChinese(t *testing.T) {
	var cases []struct {
		Name  string          `json:"name"`
		Input json.RawMessage `json:"input"`
		En    string          `json:"en"`
	}
	readJSON(t, "../history/testdata/words.json", &cases)
	var zh map[string]string
	readJSON(t, "testdata/words.zh-Hant.json", &zh)
	var got []struct{ En, Zh string }
	run(t, bundle(t, "words.ts"), "UTC", `
		const who = (w) => ({ repository: "", job: "", run: "", person: "", ...w });
		return input.map(({ input: a }) => {
			const answer = { from: 0, until: 0, watchedAgain: 0, end: "", open: false, ...a, who: who(a.who),
				parts: a.parts.map((p) => ({ kind: "", name: "", what: "", plain: false, end: "", evidence: "", held: 0,
					usual: 0, ...p, who: who(p), time: p.ms })) };
			return { en: page.en.sentence(answer), zh: page.zh.sentence(answer) };
		});`, cases, &got)
	if len(got) != len(cases) || len(zh) != len(cases) {
		t.Errorf("%d cases, %d answers, %d Chinese ones", len(cases), len(got), len(zh))
	}
	for i, c := range cases {
		if got[i].En != c.En {
			t.Errorf("%s:\ngot  %s\nwant %s", c.Name, got[i].En, c.En)
		}
		if got[i].Zh != zh[c.Name] {
			t.Errorf("%s:\ngot  %s\nwant %s", c.Name, got[i].Zh, zh[c.Name])
		}
	}
}

// Both languages say all: a function that throws or a word that is missing is seen here.
func TestBothLanguagesHaveTheSameWords(t *testing.T) {
	var differ []string
	run(t, bundle(t, "words.ts"), "UTC", `
		const paths = (o, at = "") => Object.entries(o).flatMap(([k, v]) =>
			v && typeof v === "object" ? paths(v, at + k + ".")
				: at + k + " " + typeof v + " " + (typeof v === "function" ? v.length : ""));
		const [en, zh] = [paths(page.en), paths(page.zh)];
		return [...en.filter((p) => !zh.includes(p)), ...zh.filter((p) => !en.includes(p))];`, nil, &differ)
	for _, d := range differ {
		t.Errorf("only one language has %s", d)
	}
}

func TestTicksAreRoundTimesOfTheClockAcrossDaylightSavingAndMonths(t *testing.T) {
	type query struct {
		Zone, From, Until string
		Most              int
		want              string
	}
	module := bundle(t, "time.ts")
	for name, q := range map[string]query{
		"clocks go forward": {"Europe/Berlin", "2026-03-28T12:00", "2026-03-30T12:00", 10,
			"12:00 18:00 03-29! 06:00 12:00 18:00 03-30! 06:00 12:00"},
		"the hour that is left out": {"Europe/Berlin", "2026-03-29T00:30", "2026-03-29T05:30", 6,
			"01:00 03:00 04:00 05:00"},
		"clocks go back": {"America/New_York", "2026-10-31T12:00", "2026-11-02T00:00", 8,
			"12:00 18:00 11-01! 06:00 12:00 18:00 11-02!"},
		"the hour that comes twice": {"America/New_York", "2026-11-01T00:00", "2026-11-01T03:00", 6,
			"11-01! 01:00 01:00 02:00 03:00"},
		"by half an hour": {"Australia/Lord_Howe", "2026-10-03T12:00", "2026-10-04T18:00", 6,
			"12:00 18:00 10-04! 06:00 12:00 18:00"},
		"midnight that is left out": {"America/Santiago", "2026-09-05T06:00", "2026-09-06T18:00", 7,
			"06:00 12:00 18:00 01:00 06:00 12:00 18:00"},
		"days over a month's end": {"Europe/Berlin", "2026-10-23T12:00", "2026-10-28T12:00", 6,
			"10-24 10-25 10-26 10-27 10-28"},
		"weeks": {"Asia/Taipei", "2026-10-20T00:00", "2026-11-26T00:00", 7,
			"10-26 11-02 11-09 11-16 11-23"},
		"months": {"Europe/Berlin", "2026-10-20T00:00", "2027-03-10T00:00", 7,
			"2026-11 2026-12 2027! 2027-02 2027-03"},
		"minutes": {"Asia/Kathmandu", "2026-10-20T23:41", "2026-10-21T00:19", 5,
			"23:50 10-21! 00:10"},
		"seconds": {"UTC", "2026-10-20T23:59:50", "2026-10-21T00:00:10", 5,
			"23:59:50 23:59:55 10-21! 00:00:05 00:00:10"},
		"years": {"UTC", "2024-06-01T00:00", "2027-06-01T00:00", 4,
			"2025! 2026! 2027!"},
		"two days over month's ends": {"UTC", "2026-01-30T00:00", "2026-02-08T00:00", 6,
			"01-31 02-02 02-04 02-06 02-08"},
	} {
		t.Run(name, func(t *testing.T) {
			var labels []string
			run(
				t,
				module,
				q.Zone,
				`return page.ticks(new Date(input.From).getTime(), new Date(input.Until).getTime(), input.Most)
				.map((t) => t.label + (t.strong ? "!" : ""));`,
				q,
				&labels,
			)
			if got := strings.Join(labels, " "); got != q.want {
				t.Errorf("\ngot  %s\nwant %s", got, q.want)
			}
		})
	}
}

// An observer sends what is open with each look, and what has ended twice.
func TestAnUpdateThatSaysNothingNewChangesNothing(t *testing.T) {
	v := history.Interval{ID: "h1", Kind: history.Hold, Name: "deploy",
		Who:  history.Who{Repository: "wooo/shop", Run: "1"},
		From: after(0), Until: after(10), Open: true}
	document := func(look int, full bool, change func(*history.Interval), stalls ...history.Stall) json.RawMessage {
		v := v
		v.Until = after(look)
		change(&v)
		d := Document{Full: full, Begin: begin, Now: after(look), Look: after(look),
			Intervals: []history.Interval{v}, Stalls: stalls}
		return d.AppendJSON(nil)
	}
	same := func(*history.Interval) {}
	gone := func(v *history.Interval) { v.Evidence = "its container is gone" }
	over := func(v *history.Interval) {
		gone(v)
		v.Open, v.End = false, history.EndTakenOver
	}
	stall := history.Stall{Time: after(11), IO: 3}
	documents := []json.RawMessage{
		document(10, true, same),
		document(11, false, same),
		document(12, false, same, stall),
		document(13, false, same, stall),
		document(14, false, gone),
		document(15, false, over),
		document(15, false, over),
	}
	var got []string
	run(t, bundle(t, "../testdata/explain.ts"), "UTC", `const store = new page.Store();
		const news = input.map((d) => store.merge(d)), hold = store.locks[0].holds.rows[0].list[0];
		return news.concat(String(store.end(hold) - store.begin));`,
		documents, &got)
	if s := strings.Join(got, " "); s != "intervals nothing details nothing details intervals nothing 15000" {
		t.Error(s)
	}
}

func TestARangeHasDatesWhereTheyAreNotTodays(t *testing.T) {
	for want, q := range map[string][2]string{
		"13:40 – 16:40":             {"2026-11-26T13:40", "2026-11-26T16:40"},
		"10-27 16:40 – 11-26 16:40": {"2026-10-27T16:40", "2026-11-26T16:40"},
		"11-25 03:00 – 08:00":       {"2026-11-25T03:00", "2026-11-25T08:00"},
	} {
		var got string
		run(t, bundle(t, "time.ts"), "UTC", `const [from, until] = input.map((d) => new Date(d).getTime());
			return page.range(from, until, new Date("2026-11-26T16:40").getTime());`, q, &got)
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

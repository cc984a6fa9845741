package steps

import (
	"bufio"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"

	"hostguard/history"
	"hostguard/internal/cli"
	"hostguard/internal/terminal"
	"hostguard/lock"
	"hostguard/pressure"
)

var update = flag.Bool("update", false, "write the golden files")

// shownAt is the time of the reports that are shown here.
var shownAt = time.Date(2026, 11, 27, 16, 40, 12, 0, time.UTC)

func before(d time.Duration) time.Time { return shownAt.Add(-d) }

// claimOf returns an entry of a job's lock or ticket.
func claimOf(nonce, repository, job, run, reason string, age time.Duration) lock.Entry {
	return lock.Entry{ID: strings.Repeat(nonce, 32)[:64], Created: before(age), Labels: map[string]string{
		"hostguard.version": "1", "hostguard.kind": "lock", "hostguard.nonce": nonce,
		"hostguard.repository": repository, "hostguard.job": job, "hostguard.run-number": run,
		"hostguard.reason":  reason,
		"hostguard.run-url": "https://git.example.com/" + repository + "/actions/runs/" + run,
	}}
}

func holderEntry(e lock.Entry, life lock.Life, evidence string) entryReport {
	e.Labels["hostguard.nonce"] = strings.Repeat(e.Labels["hostguard.nonce"], 16)
	return reportJudged(lock.Judged{Entry: e, Verdict: lock.Verdict{Life: life, Evidence: evidence}})
}

func waiters(entries ...lock.Entry) (all []entryReport) {
	for i, e := range entries {
		r := reportEntry(e)
		r.Position = i + 1
		all = append(all, r)
	}
	return all
}

// busyReport has a lock with a queue, a free one, and a build.
func busyReport(p past) statusReport {
	person := reportEntry(lock.Entry{ID: "p", Created: before(40 * time.Second)})
	person.Position, person.who = 3, history.Who{Person: "root@vm, pid 28719"}
	return statusReport{
		Time: shownAt, past: p,
		Locks: []lockReport{{
			Name: "host-docker-build", State: lock.StateHeld,
			Holders: []entryReport{holderEntry(
				claimOf("aa", "wooo/docs", "build", "63", "image build", 12*time.Minute+3*time.Second), lock.Alive,
				"its container runs")},
			Waiters: append(waiters(
				claimOf("bb", "wooo/shop", "build", "19", "image build", 6*time.Minute+12*time.Second),
				claimOf("cc", "wooo/blog", "build", "101", "image build", 2*time.Minute+3*time.Second)), person),
		}, {
			Name: "deploy", State: stateFree, Holders: []entryReport{}, Waiters: []entryReport{},
		}},
		verdict: pressure.Verdict{
			Blockers: []pressure.Blocker{{Tool: "next build", PID: 4711, Since: before(11 * time.Minute), Cores: 6.1,
				Memory: 4_400_000_000, Job: pressure.Job{Repository: "wooo/docs", Job: "build", RunNumber: "63"}}},
			Load: pressure.Load{MemoryStall: pressure.Percent{Known: true, Value: 11},
				IOStall: pressure.Percent{Known: true, Value: 21}, CPUStall: pressure.Percent{Known: true, Value: 56},
				Available: 9_900_000_000, Installed: 34_000_000_000, Load1: 11.4},
		},
	}
}

// placesReport has a lock with slots, one that is shared, and one that is reserved, in files.
func placesReport() statusReport {
	holder := func(nonce, repository string, age time.Duration, labels map[string]string) entryReport {
		e := claimOf(nonce, repository, "build", "7", "", age)
		if repository == "" { // outside any job
			maps.DeleteFunc(e.Labels, func(name, _ string) bool {
				return strings.Contains(name, "run") || strings.Contains(name, "job")
			})
		}
		maps.Copy(e.Labels, labels)
		return holderEntry(e, lock.Alive, "its process runs")
	}
	slots := holder("aa", "wooo/docs", 5*time.Minute, map[string]string{"hostguard.slots": "3"})
	slots.Slot = 2
	shared := holder("bb", "wooo/shop", 3*time.Minute, map[string]string{"hostguard.share": "true"})
	next := holder("cc", "wooo/blog", time.Minute, nil)
	next.Next = true
	reserved := holder("dd", "", 10*time.Minute, map[string]string{"hostguard.reserved": "1h0m0s",
		"hostguard.actor": "root", "hostguard.reason": "kernel update"})
	waits := waiters(claimOf("ee", "wooo/wiki", "test", "8", "", 30*time.Second))
	waits[0].Shared = true
	none := []entryReport{}
	const store = `lock files in "/run/lock/hostguard"; Docker's locks are not seen`
	return statusReport{Time: shownAt, Store: store, others: true, Locks: []lockReport{
		{Name: "image-build", State: lock.StateHeld, Holders: []entryReport{slots}, Waiters: none, Slots: 3},
		{Name: "data-set", State: lock.StateHeld, Holders: []entryReport{shared, next}, Waiters: waits, Slots: 1},
		{Name: "deploy", State: lock.StateHeld, Holders: []entryReport{reserved}, Waiters: none, Slots: 1},
	}}
}

// quietReport has nothing to show.
func quietReport() statusReport {
	return statusReport{Time: shownAt,
		Locks: []lockReport{{Name: "host-docker-build", State: stateFree}, {Name: "deploy", State: stateFree}}}
}

// orphanReport has a lock whose holder is gone.
func orphanReport() statusReport {
	r := quietReport()
	r.Locks[0].State = lock.StateOrphan
	r.Locks[0].Holders = []entryReport{holderEntry(
		claimOf("dd", "wooo/docs", "build", "57", "image build", 5*time.Hour+59*time.Minute), lock.Dead,
		"its container is gone since 10:41:08")}
	return r
}

// gateReport has jobs that wait for pressure to end.
func gateReport() statusReport {
	r := busyReport(past{})
	r.Locks = []lockReport{{Name: turnName,
		Holders: []entryReport{holderEntry(claimOf("ee", "wooo/shop", "build", "19", "", time.Minute), lock.Alive, "")},
		Waiters: waiters(claimOf("ff", "wooo/blog", "build", "101", "", 20*time.Second))}}
	return r
}

// knownPast is a history in which that build usually holds the lock for 8 minutes.
func knownPast(t *testing.T) past {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "history")
	w, err := history.Open(dir, history.Options{Host: "ci-host-1"})
	if err != nil {
		t.Fatal(err)
	}
	hold := func(id, name, repository, job, run string, from, to time.Duration) history.Interval {
		return history.Interval{ID: id, Kind: history.Hold, Name: name, From: before(from), Until: before(to),
			End: history.EndReleased, Who: history.Who{Repository: repository, Job: job, Run: run}}
	}
	ended := []history.Interval{
		hold("d1", "deploy", "wooo/shop", "deploy", "18", 20*time.Minute+2*time.Second, 17*time.Minute+2*time.Second)}
	for i := range 5 {
		begin := time.Duration(i+1) * time.Hour
		ended = append(ended, hold(fmt.Sprint("h", i), "host-docker-build", "wooo/docs", "build", fmt.Sprint(50+i),
			begin, begin-8*time.Minute))
	}
	taken := hold("t1", "host-docker-build", "wooo/docs", "build", "57", 40*time.Minute, 33*time.Minute)
	taken.End = history.EndTakenOver
	open := []history.Interval{
		{ID: "r1", Kind: history.Runner, Name: "a", From: before(8 * time.Hour), End: "up", Open: true},
		{ID: "r2", Kind: history.Runner, Name: "b", From: before(237 * time.Minute), End: "drained", Open: true},
		{ID: "h9", Kind: history.Hold, Name: "host-docker-build", From: before(12*time.Minute + 3*time.Second),
			Open: true, Who: history.Who{Repository: "wooo/docs", Job: "build", Run: "63"}},
		{ID: "w1", Kind: history.Wait, Name: "host-docker-build", From: before(6 * time.Minute), Open: true,
			Who: history.Who{Repository: "wooo/shop", Job: "build", Run: "19"}},
		{ID: "w2", Kind: history.Wait, Name: "host-docker-build", From: before(2 * time.Minute), Open: true},
	}
	if err := w.Look(before(6*time.Hour), nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.Look(shownAt, open, append(ended, taken), nil); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	record, err := history.Read(dir, before(30*24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	p := newPast(record)
	record.Begin, record.LastLook, record.Gaps = before(50*time.Minute), shownAt, nil
	p.hour = record
	return p
}

// capture returns what a terminal of a width gets that a console prints lines to.
func capture(t *testing.T, width int, environ map[string]string, lines func(terminal.Style) []string) string {
	t.Helper()
	screen, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer screen.Close()
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 24, Cols: uint16(width)}); err != nil {
		t.Fatal(err)
	}
	getenv := func(name string) string { return environ[name] }
	s := cli.NewSession(cli.World{Stdout: tty, Stderr: tty, Getenv: getenv}, nil)
	style, ok := s.Terminal()
	if !ok {
		t.Fatal("a terminal is none")
	}
	// The kernel may drop what is not read yet when the last writer closes (seen once in CI, 1,100
	// bytes of 1,169), so an own mark ends the text.
	const mark = "\x00"
	done := make(chan string)
	go func() {
		text, _ := bufio.NewReader(screen).ReadString(mark[0])
		done <- text
	}()
	defer tty.Close()
	if err := s.PrintStyled(lines(style)); err != nil {
		t.Fatal(err)
	}
	if _, err := tty.WriteString(mark); err != nil {
		t.Fatal(err)
	}
	text, whole := strings.CutSuffix(<-done, mark)
	if !whole {
		t.Fatalf("the terminal ends after %q", text)
	}
	return strings.ReplaceAll(text, "\r\n", "\n")
}

func TestStatusOnATerminalIsAsTheGoldenFiles(t *testing.T) {
	known := knownPast(t)
	utf8 := map[string]string{"LANG": "en_US.UTF-8", "NO_COLOR": "1"}
	ascii := map[string]string{"LANG": "C", "NO_COLOR": "1"}
	colour := map[string]string{"LANG": "en_US.UTF-8", "TERM": "xterm"}
	show := func(r statusReport) func(terminal.Style) []string {
		return func(s terminal.Style) []string { return r.view(s, time.UTC) }
	}
	watch := func(r statusReport) func(terminal.Style) []string {
		return func(s terminal.Style) []string {
			return (&watchPicture{host: "ci-host-1", report: r}).lines(s, time.UTC, 24)
		}
	}
	for name, lines := range map[string]func(terminal.Style) []string{
		"busy": show(busyReport(known)), "alone": show(busyReport(past{})), "quiet": show(quietReport()),
		"orphan": show(orphanReport()), "gate": show(gateReport()), "watch": watch(busyReport(known)),
		"places": show(placesReport()),
	} {
		for _, width := range []int{60, 80, 120} {
			for kind, environ := range map[string]map[string]string{"utf8": utf8, "ascii": ascii, "colour": colour} {
				file := fmt.Sprintf("testdata/status/%s-%d-%s.txt", name, width, kind)
				got := capture(t, width, environ, lines)
				if *update {
					if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
					continue
				}
				want, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), got); diff != "" {
					t.Errorf("%s; if it is wanted: go test ./steps -run Golden -update\n%s", file, diff)
				}
			}
		}
	}
}

// A hostile or unlucky text, or terminal, breaks no line.
func TestNoLineOfStatusIsWiderThanTheTerminal(t *testing.T) {
	texts := []string{"", strings.Repeat("x", 300), strings.Repeat("建置", 80), strings.Repeat("e\u0301", 90),
		"\x1b[2J\x1b]0;x\a\r\n::error::x", "\u202eevil\u2066", strings.Repeat("שלום ", 40), "\xff\xfe",
		strings.Repeat("🙂", 70)}
	known := knownPast(t)
	for _, text := range texts {
		for _, life := range []lock.Life{lock.Unknown, lock.Stale, lock.Dead} {
			r := busyReport(known)
			e := claimOf("aa", text, text, text, text, time.Hour)
			e.Labels["hostguard.run-url"] = "https://" + text
			r.Locks[0].Name = text
			r.Store, r.others = text, true
			r.Locks[0].Holders = []entryReport{holderEntry(e, life, text)}
			r.Locks[0].Waiters = waiters(e, e)
			r.verdict.Blockers[0].Tool, r.verdict.Blockers[0].Job.Repository = text, text
			for _, width := range []int{-1, 0, 20, 21, 60, 71, 72, 119, 120, 500} {
				for _, style := range []terminal.Style{{Width: width}, {Width: width, UTF8: true, Colour: true}} {
					lines := append(r.view(style, time.UTC),
						(&watchPicture{host: text, report: r, chosen: e.ID, why: true}).lines(style, time.UTC, 24)...)
					for _, line := range lines {
						if got := terminal.Width(line); got > max(width, leastWide) {
							t.Fatalf("%d columns of %d: %q", got, width, line)
						}
						if bare := painted.Replace(line); strings.ContainsAny(bare, "\x1b\r\n\a\u202e\u2066") ||
							!style.UTF8 && strings.ContainsFunc(bare, func(r rune) bool { return r > 126 }) {
							t.Fatalf("%q", line)
						}
					}
				}
			}
		}
	}
}

// painted removes what Paint adds.
var painted = strings.NewReplacer("\x1b[0m", "", "\x1b[1m", "", "\x1b[2m", "", "\x1b[31m", "", "\x1b[32m", "",
	"\x1b[33m", "", "\x1b[35m", "")

func TestKeysMoveTheCursorOfAWatch(t *testing.T) {
	p := &watchPicture{host: "h", report: busyReport(past{})}
	show := func() string { return strings.Join(p.lines(terminal.Style{Width: 80}, time.UTC, 24), "\n") }
	if strings.Contains(show(), "\n> ") {
		t.Error("a cursor before any key")
	}
	for _, step := range []struct{ key, want string }{
		{terminal.Down, "\n> # wooo/docs build #63 "}, {"x", "\n> # wooo/docs build #63 "},
		{"j", "\n> 1 . wooo/shop build #19 "},
		{"w", "\nwooo/shop build #19 has waited 6m 12s at position 1 for wooo/docs build #63; no\n"},
		{terminal.Up, "\nwooo/docs build #63 has held host-docker-build for 12m 03s; alive: its"},
		{"k", "\n> # wooo/docs build #63 "}, {"w", "\n> # wooo/docs build #63 "},
	} {
		p.press(step.key)
		if got := show(); !strings.Contains(got, step.want) || strings.Count(got, "\n> ") != 1 {
			t.Errorf("%q: no %q in\n%s", step.key, step.want, got)
		}
	}
	for range 10 {
		p.press(terminal.Down)
	}
	if got := show(); !strings.Contains(got, "\n> 3 . root@vm, pid 28719 ") {
		t.Errorf("below the last:\n%s", got)
	}
	p.report = quietReport() // what was chosen is gone
	for _, key := range []string{"w", terminal.Up, terminal.Down} {
		p.press(key)
		show()
	}
}

// However long a queue is, and however low the screen, the cursor is on it.
func TestTheCursorOfAWatchStaysOnTheScreen(t *testing.T) {
	r := busyReport(past{})
	var all []lock.Entry
	for i := range 60 {
		all = append(all, claimOf(fmt.Sprintf("%02x", i+16), "wooo/shop", "build", fmt.Sprint(i), "", 0))
	}
	r.Locks[0].Waiters = waiters(all...)
	for _, height := range []int{8, 12, 24, 60} {
		p := &watchPicture{host: "h", report: r}
		for range 62 {
			p.press(terminal.Down)
			lines := p.lines(terminal.Style{Width: 80}, time.UTC, height)
			if got := "\n" + strings.Join(lines, "\n"); len(lines) != height || strings.Count(got, "\n> ") != 1 {
				t.Fatalf("height %d, at %s: %d lines\n%s", height, p.chosen, len(lines), got)
			}
		}
	}
}

// A job that names its lock after its run leaves a free lock in each of them.
func TestFreeLocksThatNobodyHeldForLongAreCounted(t *testing.T) {
	r := statusReport{Time: shownAt, past: past{free: map[string]history.Interval{}}}
	for i := range 40 {
		name := fmt.Sprintf("build-%02d", i)
		r.Locks = append(r.Locks, free(name, 1))
		r.past.free[name] = history.Interval{Until: before(time.Duration(40-i) * time.Hour)}
	}
	r.Locks[3].Holders = []entryReport{holderEntry(claimOf("aa", "wooo/docs", "build", "63", "", 0), lock.Alive, "")}
	r.Locks[4].Waiters = waiters(claimOf("bb", "wooo/shop", "build", "19", "", 0))
	for _, width := range []int{80, 120} {
		style := terminal.Style{Width: width}
		for _, lines := range [][]string{r.view(style, time.UTC),
			(&watchPicture{host: "h", report: r}).lines(style, time.UTC, 100)} {
			got := "\n" + strings.Join(lines, "\n")
			if strings.Count(got, "\nbuild-") != 2+mostRows || !strings.Contains(got, "\nand 23 other free locks\n") &&
				!strings.HasSuffix(got, "\nand 23 other free locks") {
				t.Errorf("width %d:\n%s", width, got)
			}
			for _, name := range []string{"build-03", "build-04", "build-25", "build-39"} {
				if !strings.Contains(got, "\n"+name+" ") {
					t.Errorf("width %d: no %s in\n%s", width, name, got)
				}
			}
		}
	}
}

func TestEnterLeavesForNoOtherThanASafeLink(t *testing.T) {
	for _, tt := range []struct {
		link, want string
	}{
		{"https://git.example.com/wooo/docs/actions/runs/63", "https://git.example.com/wooo/docs/actions/runs/63"},
		{"", ""}, {"javascript:alert(1)", ""}, {"file:///etc/passwd", ""}, {"https://u:p@git.example.com/x", ""},
		{"https://git.example.com/\x1b]8;;x\a", ""}, {"https://git.example.com/" + strings.Repeat("x", 5000), ""},
	} {
		r := busyReport(past{})
		r.Locks[0].Holders[0].RunURL = tt.link
		p := &watchPicture{host: "h", report: r}
		show := func() string { return strings.Join(p.lines(terminal.Style{Width: 80}, time.UTC, 24), "\n") }
		if p.press(terminal.Enter); p.link != "" || !strings.Contains(show(), "\n> # wooo/docs") {
			t.Errorf("the first only chooses: %q\n%s", p.link, show())
		}
		p.press(terminal.Enter)
		if p.link != tt.want || tt.want == "" && !strings.Contains(show(), "\nthe address of its run is not known\n") {
			t.Errorf("%q: leaves for %q, want %q\n%s", tt.link, p.link, tt.want, show())
		}
		if p.press("j"); strings.Contains(show(), "is not known") {
			t.Error("the note stays")
		}
	}
	(&watchPicture{report: quietReport()}).press(terminal.Enter) // there is nothing to choose
}

func TestAWatchAnswersWhyFromTheHistory(t *testing.T) {
	r := busyReport(knownPast(t))
	p := &watchPicture{host: "h", report: r, chosen: r.Locks[0].Waiters[0].ID, why: true}
	got := strings.Join(p.lines(terminal.Style{Width: 120}, time.UTC, 24), "\n")
	if want := "\nwooo/shop build #19 has waited 6m for wooo/docs build #63"; !strings.Contains(got, want) {
		t.Errorf("no %q in\n%s", want, got)
	}
}

func TestThePictureOfAWatchFitsTheScreen(t *testing.T) {
	r := busyReport(knownPast(t))
	for range 40 {
		r.Locks = append(r.Locks, lockReport{Name: "deploy", State: stateFree})
	}
	for _, height := range []int{1, 2, 3, 4, 10, 24, 100} {
		lines := (&watchPicture{host: "h", report: r}).lines(terminal.Style{Width: 80}, time.UTC, height)
		if len(lines) != height || !strings.HasPrefix(lines[height-1], "q quit") {
			t.Errorf("height %d: %d lines, the last is %q", height, len(lines), lines[len(lines)-1])
		}
	}
}

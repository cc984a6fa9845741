package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

var noon = time.UnixMilli(1795694400000) // 2026-11-26 12:00 UTC

func at(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }

func hold(id string, from, until int) Interval {
	return Interval{ID: id, Kind: Hold, Name: "deploy", Who: Who{Repository: "wooo/shop", Job: "build", Run: "12"},
		From: at(from), Until: at(until), End: EndReleased}
}

func openWriter(t *testing.T, dir string, o Options) *Writer {
	t.Helper()
	w, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func look(t *testing.T, w *Writer, seconds int, open, ended []Interval) {
	t.Helper()
	if err := w.Look(at(seconds), open, ended, nil); err != nil {
		t.Fatal(err)
	}
}

func readAll(t *testing.T, dir string) *Record {
	t.Helper()
	r, err := Read(dir, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// summary lists intervals, each as ID, seconds and end.
func summary(r *Record) string {
	var list []string
	for _, i := range r.Intervals() {
		end := i.End
		if i.Open {
			end = "open"
		}
		list = append(list, fmt.Sprintf("%s %d-%d %s", i.ID, i.From.Sub(noon)/time.Second,
			i.Until.Sub(noon)/time.Second, end))
	}
	return strings.Join(list, ", ")
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "history")
	w := openWriter(t, dir, Options{Host: "ci-host-1"})
	long := Interval{ID: "h1", Kind: Hold, Name: `de"ploy`, What: "image\nbuild", From: at(0), Until: at(60),
		End: EndTakenOver, Evidence: "its container is gone", Plain: true, Who: Who{Repository: "wooo/商店",
			Workflow: "ci.yaml", Job: "build", Run: "12", RunURL: "https://git.example.com/wooo/shop/actions/runs/12",
			Actor: "mia", Person: "root, pid 1"}}
	stall := Stall{Time: at(1), Memory: -1, IO: 55, CPU: 3}
	if err := w.Look(at(1), []Interval{hold("h2", 1, 0)}, []Interval{long}, &stall); err != nil {
		t.Fatal(err)
	}
	r := readAll(t, dir)
	all := r.Intervals()
	if len(all) != 2 || all[0] != localTimes(long) {
		t.Errorf("%+v", all)
	}
	if got := summary(r); got != "h1 0-60 taken over, h2 1-1 open" {
		t.Error(got)
	}
	if !slices.Equal(r.Stalls, []Stall{{Time: time.UnixMilli(at(1).UnixMilli()), Memory: -1, IO: 55, CPU: 3}}) {
		t.Error(r.Stalls)
	}
	if r.Host != "ci-host-1" || !r.Begin.Equal(at(1)) || !r.LastLook.Equal(at(1)) || r.Bytes == 0 || r.Gaps != nil {
		t.Errorf("%q %v %v %d %v", r.Host, r.Begin, r.LastLook, r.Bytes, r.Gaps)
	}
	for name, mode := range map[string]os.FileMode{".": os.ModeDir | 0o755, "open.jsonl": 0o644, "lock": 0o600,
		segmentName(at(1).UnixMilli()): 0o644} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != mode {
			t.Error(name, info.Mode(), err)
		}
	}
}

func localTimes(i Interval) Interval {
	i.From, i.Until = time.UnixMilli(i.From.UnixMilli()), time.UnixMilli(i.Until.UnixMilli())
	return i
}

func TestOnlyOneWrites(t *testing.T) {
	dir := t.TempDir()
	w := openWriter(t, dir, Options{})
	_, err := Open(dir, Options{})
	if err == nil || !strings.Contains(err.Error(), strconv.Quote(dir)+" has a writer") {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	openWriter(t, dir, Options{})
}

func TestTheNextWriterEndsWhatItDoesNotSee(t *testing.T) {
	dir := t.TempDir()
	w := openWriter(t, dir, Options{})
	look(t, w, 10, []Interval{hold("gone", 0, 0), hold("stays", 1, 0), hold("ends", 2, 0)}, nil)
	w.Close()
	if got := summary(readAll(t, dir)); got != "gone 0-10 open, stays 1-10 open, ends 2-10 open" {
		t.Error(got)
	}

	w = openWriter(t, dir, Options{})
	if got := summary(readAll(t, dir)); got != "gone 0-10 open, stays 1-10 open, ends 2-10 open" {
		t.Error("before the first look:", got)
	}
	// The new observer has seen the two only from its own first look on.
	look(t, w, 20, []Interval{hold("stays", 20, 0)}, []Interval{hold("ends", 20, 20)})
	if got := summary(readAll(t, dir)); got != "ends 2-20 released, gone 0-10 unseen, stays 1-20 open" {
		t.Error(got)
	}
	look(t, w, 21, nil, []Interval{hold("stays", 20, 21)})
	r := readAll(t, dir)
	if got := summary(r); got != "ends 2-20 released, gone 0-10 unseen, stays 1-21 released" {
		t.Error(got)
	}
	if len(r.Gaps) != 1 || !r.Gaps[0].From.Equal(at(10)) || !r.Gaps[0].Until.Equal(at(20)) {
		t.Error(r.Gaps)
	}
}

// A lock was out of sight at the new observer's first look.
func TestAnOpenRunnerHasItsState(t *testing.T) {
	dir := t.TempDir()
	runner := Interval{ID: "r", Kind: Runner, Name: "a", From: at(0), End: "draining"}
	w := openWriter(t, dir, Options{})
	look(t, w, 10, []Interval{runner}, nil)
	if got := readAll(t, dir).Intervals(); len(got) != 1 || !got[0].Open || got[0].End != "draining" {
		t.Errorf("open: %+v", got)
	}
	w.Close()
	look(t, openWriter(t, dir, Options{}), 20, nil, nil)
	if got := readAll(t, dir).Intervals(); len(got) != 1 || got[0].Open || got[0].End != "draining" {
		t.Errorf("after its observer was killed: %+v", got)
	}
}

func TestWhatIsSeenAgainDidNotEnd(t *testing.T) {
	dir := t.TempDir()
	w := openWriter(t, dir, Options{})
	look(t, w, 10, []Interval{hold("a", 0, 0), hold("b", 0, 0), hold("c", 0, 0)}, nil)
	w.Close()
	w = openWriter(t, dir, Options{})
	look(t, w, 20, nil, nil)
	if got := len(readAll(t, dir).rows); got != 3 {
		t.Error(got)
	}
	look(t, w, 30, []Interval{hold("a", 0, 0)}, []Interval{hold("b", 0, 29)})
	if got := summary(readAll(t, dir)); got != "c 0-10 unseen, b 0-29 released, a 0-30 open" {
		t.Error(got)
	}
}

// The writer was killed after it had written that an interval ended, and before it
// replaced the file of the open ones.
func TestAnEndIsWrittenOnce(t *testing.T) {
	dir := t.TempDir()
	w := openWriter(t, dir, Options{})
	look(t, w, 1, []Interval{hold("a", 0, 0), hold("b", 0, 0)}, nil)
	before, err := os.ReadFile(filepath.Join(dir, openName))
	if err != nil {
		t.Fatal(err)
	}
	look(t, w, 2, []Interval{hold("b", 0, 0)}, []Interval{hold("a", 0, 2)})
	w.Close()
	if err := os.WriteFile(filepath.Join(dir, openName), before, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := summary(readAll(t, dir)); got != "a 0-2 released, b 0-1 open" {
		t.Error(got)
	}
	look(t, openWriter(t, dir, Options{}), 9, nil, nil)
	if got := summary(readAll(t, dir)); got != "a 0-2 released, b 0-1 unseen" {
		t.Error(got)
	}
}

func TestTheOpenOnesAreLostAlone(t *testing.T) {
	dir := t.TempDir()
	w := openWriter(t, dir, Options{})
	look(t, w, 5, nil, []Interval{hold("a", 0, 5)})
	w.Close()
	for _, text := range []string{"", "\x00\x00\x00\n", `{"v":1,"ki`} { // after a power cut
		if err := os.WriteFile(filepath.Join(dir, openName), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if r := readAll(t, dir); summary(r) != "a 0-5 released" || !r.LastLook.Equal(at(5)) {
			t.Error(summary(r), r.LastLook)
		}
	}
	look(t, openWriter(t, dir, Options{}), 50, nil, nil)
	if r := readAll(t, dir); len(r.Gaps) != 1 || !r.Gaps[0].From.Equal(at(5)) || !r.Gaps[0].Until.Equal(at(50)) {
		t.Error(r.Gaps)
	}
}

func TestALongPauseIsAGap(t *testing.T) {
	dir := t.TempDir()
	w := openWriter(t, dir, Options{})
	for _, s := range []int{0, 30, 61, 62} { // as MostPause is 30 s
		look(t, w, s, nil, nil)
	}
	if r := readAll(t, dir); len(r.Gaps) != 1 || !r.Gaps[0].From.Equal(at(30)) || !r.Gaps[0].Until.Equal(at(61)) {
		t.Error(r.Gaps)
	}
}

func TestASetBackClockMakesNoNegativeTimes(t *testing.T) {
	dir := t.TempDir()
	w := openWriter(t, dir, Options{Size: 8 * 600}) // a new segment for each few lines
	for s := range 9 {
		look(t, w, 100-10*s, []Interval{hold("open", 99, 0)}, []Interval{hold(fmt.Sprint(s), 100, 100-10*s),
			hold(fmt.Sprint(s, "b"), 0, 1)})
	}
	r := readAll(t, dir)
	if len(r.rows) < 10 || r.Gaps != nil {
		t.Error(summary(r), r.Gaps)
	}
	for _, i := range r.Intervals() {
		if i.Until.Before(i.From) {
			t.Error(i)
		}
	}
	var ids []string
	for _, i := range r.Intervals() {
		ids = append(ids, i.ID)
	}
	order := strings.Join(ids, " ")
	if len(segmentsOf(dir)) < 2 || order != "0 0b 1 1b 2 2b 3 3b 4 4b 5 5b 6 6b 7 7b 8 8b open" {
		t.Error(len(segmentsOf(dir)), order)
	}
	for _, name := range segmentsOf(dir) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for text := range bytes.Lines(data) {
			var l line
			if err := json.Unmarshal(text, &l); err != nil || l.Until < l.From {
				t.Errorf("%s, %v", text, err)
			}
		}
	}
}

// A writer that is killed, or whose machine is, may leave a part of a line.
func TestAnIncompleteLineIsRemoved(t *testing.T) {
	for _, torn := range []string{goodLine, `{"v":1,"ki`, strings.Repeat("x", 100)} {
		dir := t.TempDir()
		w := openWriter(t, dir, Options{})
		look(t, w, 1, nil, []Interval{hold("a", 0, 1)})
		w.Close()
		f, err := os.OpenFile(filepath.Join(dir, segmentsOf(dir)[0]), os.O_WRONLY|os.O_APPEND, 0)
		if err == nil {
			_, err = f.WriteString(torn)
			f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := summary(readAll(t, dir)); got != "a 0-1 released" {
			t.Error("before:", got)
		}
		look(t, openWriter(t, dir, Options{}), 2, nil, []Interval{hold("b", 1, 2)})
		if got := summary(readAll(t, dir)); got != "a 0-1 released, b 1-2 released" {
			t.Error(got)
		}
		checkWhole(t, dir)
	}
}

func segmentsOf(dir string) (names []string) {
	found, _ := filepath.Glob(filepath.Join(dir, "[0-9]*.jsonl"))
	for _, path := range found {
		names = append(names, filepath.Base(path))
	}
	return names
}

func TestTheOldestGoesFirst(t *testing.T) {
	dir := t.TempDir()
	const size = 20000
	w := openWriter(t, dir, Options{Size: size})
	for s := range 1000 {
		look(t, w, s, nil, []Interval{hold(fmt.Sprint("h", s), s, s)})
	}
	r := readAll(t, dir)
	all := r.Intervals()
	if r.Bytes > size || r.Bytes < size/2 || all[len(all)-1].ID != "h999" {
		t.Error(r.Bytes, all[len(all)-1].ID)
	}
	for i := range all[1:] {
		if all[i+1].From.Sub(all[i].From) != time.Second {
			t.Error("a hole before", all[i+1].ID)
		}
	}
	if !r.Begin.Equal(all[0].From) {
		t.Error(r.Begin, all[0].From)
	}

	dir = t.TempDir()
	w = openWriter(t, dir, Options{Age: 30 * 24 * time.Hour})
	for day := range 100 {
		look(t, w, day*24*3600, nil, []Interval{hold(fmt.Sprint("d", day), 0, day*24*3600)})
	}
	if r := readAll(t, dir); len(r.rows) < 30 || len(r.rows) > 37 {
		t.Error(len(r.rows), summary(r))
	}
}

func TestOnlyWhatIsNeededIsRead(t *testing.T) {
	dir := t.TempDir()
	w := openWriter(t, dir, Options{Size: 20000})
	for s := range 100 {
		look(t, w, s, []Interval{hold("open", 0, 0)}, []Interval{hold(fmt.Sprint("h", s), s, s)})
	}
	for s := range 100 {
		r, err := Read(dir, at(s))
		if err != nil || !strings.HasPrefix(summary(r), fmt.Sprintf("h%d %d-%d released, ", s, s, s)) ||
			len(r.rows) != 101-s || !r.Begin.Equal(at(0)) {
			t.Error(s, summary(r), r.Begin, err)
		}
	}
}

// A write that fails, as on a full disk, is warned of once, and made up for. The limit of
// the file's size lets only a part of a line be written, as a full disk can.
func TestAFullDiskLosesNothing(t *testing.T) {
	if dir := os.Getenv("HISTORY_FULL_DISK"); dir != "" {
		fullDisk(dir)
		return
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestAFullDiskLosesNothing$")
	cmd.Env = append(os.Environ(), "HISTORY_FULL_DISK="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "warned") != 2 {
		t.Errorf("%v: %s", err, out)
	}
	if got := summary(readAll(t, dir)); got != "a 0-1 released, b 0-2 released, c 0-3 released, d 0-5 released, "+
		"e 0-6 released, open 0-6 open" {
		t.Error(got)
	}
	checkWhole(t, dir)
}

func fullDisk(dir string) {
	limit := func(bytes uint64) {
		err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: 1 << 40})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	w, err := Open(dir, Options{Warn: func(error) { fmt.Println("warned") }})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for i, step := range []struct {
		limit uint64
		ended string
		fails bool
	}{{1 << 40, "a", false}, {250, "b", true}, {250, "c", true}, {1 << 40, "", false}, {250, "d", true},
		{1 << 40, "e", false}} {
		limit(step.limit)
		var ended []Interval
		if step.ended != "" {
			ended = []Interval{hold(step.ended, 0, i+1)}
		}
		if i == 4 {
			ended[0].Until = at(5)
		}
		if err := w.Look(at(i+1), []Interval{hold("open", 0, 0)}, ended, nil); (err != nil) != step.fails {
			fmt.Println("look", i, err)
			os.Exit(1)
		}
	}
}

// checkWhole fails unless each line of the segments is whole.
func checkWhole(t *testing.T, dir string) {
	t.Helper()
	for _, name := range segmentsOf(dir) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || len(data) > 0 && data[len(data)-1] != '\n' {
			t.Errorf("%s: %v, ends with %q", name, err, data[max(0, len(data)-20):])
		}
		for text := range bytes.Lines(data) {
			if !json.Valid(text) {
				t.Errorf("%s: %q", name, text)
			}
		}
	}
}

// A writer is killed at random moments. Whatever Look has returned for is there, once and
// in order; after the next Open no line is torn.
func TestAKilledWriterLosesOnlyItsLastLook(t *testing.T) {
	if dir := os.Getenv("HISTORY_KILLED"); dir != "" {
		writeUntilKilled(dir)
		return
	}
	kills := 50
	if os.Getenv("HOSTGUARD_SOAK") != "" {
		kills = 1000
	}
	dir := t.TempDir()
	next := 0
	for kill := range kills {
		acknowledged := killedWriter(t, dir, next)
		w := openWriter(t, dir, Options{Size: 4 << 20})
		checkWhole(t, dir)
		w.Close()
		var ids []int
		r := readAll(t, dir)
		for _, i := range r.Intervals() {
			n, err := strconv.Atoi(strings.TrimPrefix(i.ID, "h"))
			if i.ID == "open" {
				continue
			}
			if err != nil {
				t.Fatalf("kill %d: %+v", kill, i)
			}
			ids = append(ids, n)
		}
		for i := range ids {
			if i > 0 && ids[i] != ids[i-1]+1 {
				t.Fatalf("kill %d: %d after %d", kill, ids[i], ids[i-1])
			}
		}
		last := ids[len(ids)-1]
		if last < acknowledged || last > acknowledged+3 {
			t.Fatalf("kill %d: %d was written, the last is %d", kill, acknowledged, last)
		}
		if r.LastLook.Before(at(acknowledged)) {
			t.Fatalf("kill %d: last look %v", kill, r.LastLook)
		}
		next = last + 1
	}
}

// killedWriter starts a writer whose first interval has a number, kills it, and returns the
// number of the last interval that it said to have written.
func killedWriter(t *testing.T, dir string, first int) (acknowledged int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestAKilledWriterLosesOnlyItsLastLook$")
	cmd.Env = append(os.Environ(), "HISTORY_KILLED="+dir, fmt.Sprint("HISTORY_FIRST=", first))
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	acknowledged = -1
	for n := 1 + rand.IntN(30); n > 0 && lines.Scan(); n-- {
		acknowledged, err = strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatal(lines.Text())
		}
	}
	for range rand.IntN(20000) { // not always right after a look
		_ = acknowledged
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		if n, err := strconv.Atoi(lines.Text()); err == nil { // the last may be incomplete
			acknowledged = max(acknowledged, n)
		}
	}
	_ = cmd.Wait()
	return acknowledged
}

func writeUntilKilled(dir string) {
	n, err := strconv.Atoi(os.Getenv("HISTORY_FIRST"))
	w, openErr := Open(dir, Options{Size: 4 << 20})
	if err := errors.Join(err, openErr); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for ; ; n += 3 {
		var ended []Interval
		for i := range 3 {
			h := hold(fmt.Sprint("h", n+i), n+i, n+i)
			h.What = strings.Repeat("long ", 100)
			ended = append(ended, h)
		}
		if err := w.Look(at(n+2), []Interval{hold("open", 0, 0)}, ended, nil); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		if _, err := fmt.Println(n + 2); err != nil {
			return
		}
	}
}

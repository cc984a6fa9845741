package history

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const goodLine = `{"v":1,"kind":"hold","id":"h1","name":"deploy","from":1795694400000,"until":1795694460000,` +
	`"end":"released"}`

// FuzzALineIsReadAsByJSON compares the quick parser with encoding/json, and the file that a
// reader takes with whatever a fuzzer makes of it.
func FuzzALineIsReadAsByJSON(f *testing.F) {
	for _, text := range []string{goodLine, `{"v":1}`, `{}`, ``, `{"v":1,"kind":"stall","from":1,"memory":-1}`,
		`{"v":1,"KIND":"hold","from":1}`, `{"v":1,"kind":"hold","from":01}`,
		`{"v":1,"kind":"hold","from":1,"plain":true}`,
		`{"v":1,"kind":"hold","from":1,"until":1.5}`, `{"v":1,"kind":"a\u0062","from":1}`, `{"v":1, "kind":"hold"}`,
		`{"v":1,"kind":"hold","kind":"wait"}`, `{"v":1,"new":{"a":[1,2]},"kind":"gap","from":2,"until":3}`,
		"{\"v\":1,\"kind\":\"\xff\"}", "{\"v\":1,\"kind\":\"a\tb\"}",
		`{"v":1,"kind":"hold","from":99999999999999999999}`,
		`{"v":1,"open":true}}`,
		goodLine + "\n" + goodLine + "\n{\"v\":1,\"ki", `{"v":1,"kind":"hold","from":null}`, `{"v":2,"kind":"hold"}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p := parser{map[string]string{}}
		quick, ok := p.quick(data)
		if ok {
			slow, slowOK := p.slow(data)
			if !slowOK || quick != slow {
				t.Errorf("%q: %+v, by JSON %v %+v", data, quick, slowOK, slow)
			}
		}
		r := parseSegment(append(slices.Clone(data), '\n'), 0)
		still := parseOpen(data)
		b := newBuilder()
		b.addRecord(r)
		b.dropEnded(still)
		b.addRecord(still)
		b.LastLook = time.UnixMilli(b.lastTime().UnixMilli())
		for _, i := range b.Intervals() {
			if i.Until.Before(i.From) || i.From.UnixMilli() < 0 {
				t.Errorf("%q: %+v", data, i)
			}
		}
		for _, a := range b.Answers(func(Who) bool { return true }) {
			if strings.ContainsAny(a.Sentence(), "\n\x1b\u202e") || strings.Count(a.Markdown(Stall{}), "\n") > 12 {
				t.Errorf("%q: %q", data, a.Sentence())
			}
		}
		if b.LastLook.Sub(time.Time{}) > 0 && len(b.rows) < 100 {
			b.Report(b.LastLook.Add(-24 * time.Hour))
		}
	})
}

func TestWhatIsNotKnownIsSkipped(t *testing.T) {
	text := strings.Join([]string{
		`{"v":1,"kind":"weather","from":1}`,       // a kind of a later version
		`{"v":2,"kind":"hold","id":"x","from":1}`, // in which keys have another meaning
		`{"v":1,"kind":"hold","id":"a","from":1,"until":2,"colour":{"red":[1]},"mood":"good"}`,
		`{"v":1,"kind":"hold","id":"b","from":5,"until":2}`,
		`{"v":1,"kind":"hold","id":"c","from":"noon"}`,
		`{"v":1,"kind":"hold","id":"d","from":1,"name":"` + strings.Repeat("x", mostLine) + `"}`,
		`garbage`, "", "\x00\x00",
		`{"v":1,"kind":"hold","id":"e","from":1,"open":true}`, // only in the file of the open ones
		`{"v":1,"kind":"look","from":9}`,
		` { "v" : 1 , "kind" : "wait" , "id" : "f" , "from" : 3 , "until" : 4 , "name":"\u0064eploy" } `,
		goodLine, `{"v":1,"kind":"hold","id":"torn","fr`,
	}, "\n")
	var ids []string
	for _, i := range parseSegment([]byte(text), 0).Intervals() {
		ids = append(ids, fmt.Sprint(i.ID, " ", i.From.UnixMilli(), " ", i.Until.UnixMilli()))
	}
	if want := []string{"a 1 2", "b 5 5", "f 3 4", "h1 1795694400000 1795694460000"}; !slices.Equal(ids, want) {
		t.Error(ids)
	}
}

func TestALineIsWithinBoundsWhateverItsTexts(t *testing.T) {
	for _, text := range []string{"\x01", "\xff", "建"} {
		text = strings.Repeat(text, 1e5)
		i := Interval{ID: text, Kind: Hold, Name: text, What: text, End: text, Evidence: text, From: at(0),
			Until: at(1), Who: Who{text, text, text, text, text, text, text}}
		data := lineOf(i).appendTo(nil)
		p := parser{map[string]string{}}
		l, ok := p.parse(bytes.TrimSuffix(data, []byte{'\n'}))
		if !ok || bytes.Count(data, []byte{'\n'}) != 1 || !json.Valid(data) || l.RunURL != "" || len(l.Name) == 0 {
			t.Error(len(data), ok)
		}
	}
}

func TestAReaderIsNotHeldUpNorMisled(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"a pipe": func(dir string) error {
			return errors.Join(syscall.Mkfifo(filepath.Join(dir, segmentName(1)), 0o644),
				os.Remove(filepath.Join(dir, openName)), syscall.Mkfifo(filepath.Join(dir, openName), 0o644))
		},
		"a link": func(dir string) error {
			return errors.Join(os.Symlink("/etc/passwd", filepath.Join(dir, segmentName(1))),
				os.Remove(filepath.Join(dir, openName)), os.Symlink("/etc/passwd", filepath.Join(dir, openName)))
		},
		"a directory": func(dir string) error { return os.Mkdir(filepath.Join(dir, segmentName(1)), 0o755) },
		"other names": func(dir string) error {
			return errors.Join(os.WriteFile(filepath.Join(dir, "1.jsonl"), []byte(goodLine+"\n"), 0o644),
				os.WriteFile(filepath.Join(dir, "-000000000001.jsonl"), []byte(goodLine+"\n"), 0o644),
				os.WriteFile(filepath.Join(dir, "0000000000001.json"), []byte(goodLine+"\n"), 0o644))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			w := openWriter(t, dir, Options{})
			look(t, w, 1, nil, []Interval{hold("a", 0, 1)})
			if err := spoil(dir); err != nil {
				t.Fatal(err)
			}
			done := make(chan string)
			go func() {
				r, err := Read(dir, time.Time{})
				if err != nil { // of the file of the open ones
					done <- "a 0-1 released"
					return
				}
				done <- summary(r)
			}()
			select {
			case got := <-done:
				if got != "a 0-1 released" {
					t.Error(got)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("held up")
			}
		})
	}
}

func TestRootTrustsOnlyItsOwn(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root")
	}
	for name, spoil := range map[string]func(dir string) error{
		"another's":         func(dir string) error { return os.Chown(dir, 65534, 65534) },
		"writable by all":   func(dir string) error { return os.Chmod(dir, 0o777) },
		"writable by group": func(dir string) error { return os.Chmod(dir, 0o775) },
	} {
		dir := filepath.Join(t.TempDir(), "history")
		w := openWriter(t, dir, Options{})
		look(t, w, 1, nil, nil)
		w.Close()
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(dir, time.Time{}); err == nil || !strings.Contains(err.Error(), "can be written by others") {
			t.Errorf("%s: read: %v", name, err)
		}
		if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "can be written by others") {
			t.Errorf("%s: open: %v", name, err)
		}
	}
}

func TestADirectoryThatIsAPipeIsRefused(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(pipe, time.Time{}); !errors.Is(err, syscall.ENOTDIR) {
		t.Error(err)
	}
}

func TestNoHistoryIsSaidSo(t *testing.T) {
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "none")} {
		if _, err := Read(dir, time.Time{}); !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), dir) {
			t.Error(err)
		}
	}
}

// An interval that ends while a reader reads is in both files.
func TestWhatEndsMeanwhileIsThereOnce(t *testing.T) {
	b := newBuilder()
	l := lineOf(hold("a", 0, 5))
	b.add(&l)
	open := hold("a", 0, 4)
	open.Open = true
	other := hold("b", 0, 4)
	other.Open = true
	still := parseOpen(append(lineOf(open).appendTo(line{Kind: kindLook, From: at(4).UnixMilli()}.appendTo(nil)),
		lineOf(other).appendTo(nil)...))
	b.dropEnded(still)
	b.addRecord(still)
	if got := summary(b.Record); got != "a 0-5 released, b 0-4 unseen" && got != "a 0-5 released, b 0-4 open" {
		t.Error(got)
	}
}

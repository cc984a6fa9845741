package config

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

var serves = []string{
	"ubuntu-latest:docker://192.168.0.110:5000/awoooi/ci-runner:act-22.04",
	"ubuntu-22.04:docker://192.168.0.110:5000/awoooi/ci-runner:act-22.04", "awoooi-host:host", "new-host:host",
}

// moved is what a runner has for itself beside another of the same host.
var moved = Want{
	Registration: "/r/.runner", EnvFile: "/home/wooo/act runner/.env",
	CacheDir: "/r/.cache/actcache", WorkdirParent: "/r/.cache/act",
}

// Of the configurations of both generations, only these lines are others.
func TestOnlyTheWantedLinesOfAConfigChange(t *testing.T) {
	for name, c := range map[string]struct {
		file       string
		want       Want
		gone, come []string
		changes    []string
	}{
		"classic": {
			"classic.yaml", Want{Capacity: 1, ShutdownTimeout: time.Hour, Labels: serves},
			[]string{
				"  capacity: 2   # was 1 until the long queue of April", "  shutdown_timeout: 0s",
				"    - 'ewoooc-host:host' # moves to a runner of its own",
			},
			[]string{"  capacity: 1   # was 1 until the long queue of April", "  shutdown_timeout: 1h", `    - "new-host:host"`},
			[]string{
				"set runner.capacity to 1 (is 2)", "set runner.shutdown_timeout to 1h (is 0s)",
				`add "new-host:host" to runner.labels`, `remove "ewoooc-host:host" from runner.labels`,
			},
		},
		"new": {
			"new.yaml", Want{Capacity: 2, ShutdownTimeout: 90 * time.Minute, Labels: []string{"a:host"}}, nil,
			[]string{"  capacity: 2", "  shutdown_timeout: 1h30m", "  labels:", `    - "a:host"`},
			[]string{
				"set runner.capacity to 2 (not set, which means 1)",
				"set runner.shutdown_timeout to 1h30m (not set, which means 0s)",
				`add "a:host" to runner.labels`,
			},
		},
		"all commented out": {
			"commented.yaml", Want{Capacity: 2, ShutdownTimeout: time.Hour, Labels: []string{"a:host"}}, nil,
			[]string{"runner:", "  capacity: 2", "  shutdown_timeout: 1h", "  labels:", `    - "a:host"`},
			[]string{
				"set runner.capacity to 2 (not set, which means 1)",
				"set runner.shutdown_timeout to 1h (not set, which means 0s)",
				`add "a:host" to runner.labels`,
			},
		},
		"classic, moved": {
			"classic.yaml", moved, []string{"  file: .runner", "  env_file: .env", `  dir: ""`, "  workdir_parent:"},
			[]string{
				"  file: /r/.runner", `  env_file: "/home/wooo/act runner/.env"`,
				"  dir: /r/.cache/actcache", "  workdir_parent: /r/.cache/act",
			},
			[]string{
				"set runner.file to /r/.runner (is .runner)",
				`set runner.env_file to "/home/wooo/act runner/.env" (is .env)`,
				"set cache.dir to /r/.cache/actcache (is empty)", "set host.workdir_parent to /r/.cache/act (is empty)",
			},
		},
		"new, moved": {
			"new.yaml", moved, nil,
			[]string{
				`  env_file: "/home/wooo/act runner/.env"`, "  file: /r/.runner",
				"  workdir_parent: /r/.cache/act", "cache:", "  dir: /r/.cache/actcache",
			},
			[]string{
				"set runner.file to /r/.runner (not set, which means .runner)",
				`set runner.env_file to "/home/wooo/act runner/.env" (not set)`,
				"set cache.dir to /r/.cache/actcache (not set)", "set host.workdir_parent to /r/.cache/act (not set)",
			},
		},
		"all commented out, moved": {
			"commented.yaml", moved, nil,
			[]string{
				"runner:", "  file: /r/.runner", `  env_file: "/home/wooo/act runner/.env"`,
				"host:", "  workdir_parent: /r/.cache/act", "cache:", "  dir: /r/.cache/actcache",
			},
			[]string{
				"set runner.file to /r/.runner (not set, which means .runner)",
				`set runner.env_file to "/home/wooo/act runner/.env" (not set)`,
				"set cache.dir to /r/.cache/actcache (not set)", "set host.workdir_parent to /r/.cache/act (not set)",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			file, err := os.ReadFile(filepath.Join("testdata", c.file))
			if err != nil {
				t.Fatal(err)
			}
			dos := bytes.ReplaceAll(file, []byte("\n"), []byte("\r\n"))
			for form, data := range map[string][]byte{
				"": file, ", CRLF": dos, ", BOM": append([]byte("\ufeff"), file...),
				", last line open":       bytes.TrimSuffix(file, []byte("\n")),
				", CRLF, last line open": bytes.TrimSuffix(dos, []byte("\r\n")),
			} {
				got, changes, err := Edit(data, c.want)
				if err != nil {
					t.Fatalf("%s: %v", form, err)
				}
				if diff := cmp.Diff(c.changes, changes); diff != "" {
					t.Errorf("changes%s (-want +got):\n%s", form, diff)
				}
				gone, come := linesOf(data), linesOf(got)
				for _, line := range linesOf(got) {
					gone = cut(gone, line)
				}
				for _, line := range linesOf(data) {
					come = cut(come, line)
				}
				if diff := cmp.Diff(c.gone, gone) + cmp.Diff(c.come, come); diff != "" {
					t.Errorf("lines%s (-want +got):\n%s", form, diff)
				}
				if strings.Contains(form, "CRLF") && bytes.Count(got, []byte("\n")) != bytes.Count(got, []byte("\r\n")) {
					t.Errorf("line ends%s are mixed: %q", form, got)
				}
				if again, changes, err := Edit(got, c.want); err != nil || changes != nil || !bytes.Equal(again, got) {
					t.Errorf("a second time%s: %q, %v, %v", form, again, changes, err)
				}
			}
		})
	}
}

func linesOf(data []byte) []string {
	var all []string
	for line := range strings.SplitSeq(strings.TrimSuffix(string(data), "\n"), "\n") {
		all = append(all, strings.TrimSuffix(line, "\r"))
	}
	return all
}

// cut takes the first such line away.
func cut(lines []string, line string) []string {
	if i := slices.Index(lines, line); i >= 0 {
		lines = slices.Delete(lines, i, i+1)
	}
	if len(lines) == 0 {
		return nil
	}
	return lines
}

func TestAKeyStandsBesideItsExample(t *testing.T) {
	data, err := os.ReadFile("testdata/new.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := Edit(data, Want{ShutdownTimeout: time.Hour, Labels: []string{"a:host"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"  # How long a runner that is stopped waits for its jobs.\n  shutdown_timeout: 1h\n  # shutdown_timeout: 0s\n",
		"  # Without any, those of the registration count.\n  labels:\n    - \"a:host\"\n  # labels:\n",
	} {
		if !strings.Contains(string(got), want) {
			t.Errorf("want\n%sin\n%s", want, got)
		}
	}
}

func TestFormsOfValuesThatAreEdited(t *testing.T) {
	one, hour := Want{Capacity: 1}, Want{ShutdownTimeout: time.Hour}
	labels := Want{Labels: []string{"a:host", "b"}}
	for name, c := range map[string]struct {
		data string
		want Want
		got  string
	}{
		"as wanted":           {"runner: {capacity: 1}", one, "runner: {capacity: 1}"},
		"by default":          {"", one, ""},
		"default in the file": {"runner:\n  capacity: 0\n", one, "runner:\n  capacity: 0\n"},
		"the same length":     {"runner:\n  shutdown_timeout: 60m\n", hour, "runner:\n  shutdown_timeout: 60m\n"},
		"nothing wanted":      {"runner: [", Want{}, "runner: ["},
		"comment":             {"runner:\n  capacity: 2 # why\n", one, "runner:\n  capacity: 1 # why\n"},
		"tab":                 {"runner:\n  capacity:\t2\t# why\n", one, "runner:\n  capacity:\t1\t# why\n"},
		"quotes":              {"runner:\n  shutdown_timeout: \"0s\"\n", hour, "runner:\n  shutdown_timeout: 1h\n"},
		"single quotes":       {"runner:\n  'shutdown_timeout': '0s' # x\n", hour, "runner:\n  'shutdown_timeout': 1h # x\n"},
		"unreadable":          {"runner:\n  capacity: many\n", one, "runner:\n  capacity: 1\n"},
		"no value": {
			"runner:\n  shutdown_timeout: # why\n  file: x\n",
			hour, "runner:\n  shutdown_timeout: 1h # why\n  file: x\n",
		},
		"null": {"runner:\n  shutdown_timeout: ~\n", hour, "runner:\n  shutdown_timeout: 1h\n"},
		"flow": {
			"{log: {}, runner: {capacity: 2, file: x}}\n",
			one, "{log: {}, runner: {capacity: 1, file: x}}\n",
		},
		"other characters": {
			"log: \"größer\"\nrunner: {\"ü\": ö, capacity: 3}\n",
			one, "log: \"größer\"\nrunner: {\"ü\": ö, capacity: 1}\n",
		},
		"empty file":      {"", hour, "runner:\n  shutdown_timeout: 1h\n"},
		"comments only":   {"# nothing", hour, "# nothing\nrunner:\n  shutdown_timeout: 1h"},
		"marked document": {"---\nlog: {}\n", hour, "---\nlog: {}\nrunner:\n  shutdown_timeout: 1h\n"},
		"own before merged": {
			"b: &b {capacity: 3}\nrunner:\n  <<: *b\n  capacity: 2\n",
			one, "b: &b {capacity: 3}\nrunner:\n  <<: *b\n  capacity: 1\n",
		},
		"odd indentation": {
			"  runner:\n     file: x\n  host:\n",
			hour, "  runner:\n     shutdown_timeout: 1h\n     file: x\n  host:\n",
		},
		"runner is null": {"runner: # mine\nhost:\n", hour, "runner: # mine\n  shutdown_timeout: 1h\nhost:\n"},
		"example in a text": {
			"runner:\n  envs:\n    A: |\n      # shutdown_timeout: 0s\n",
			hour, "runner:\n  shutdown_timeout: 1h\n  envs:\n    A: |\n      # shutdown_timeout: 0s\n",
		},
		"example elsewhere": {
			"host:\n  # shutdown_timeout: 0s\nrunner:\n  file: x\n",
			hour, "host:\n  # shutdown_timeout: 0s\nrunner:\n  shutdown_timeout: 1h\n  file: x\n",
		},

		"labels in a flow list": {
			"runner:\n  labels: [ 'a:host', c ] # why\n",
			labels, "runner:\n  labels: ['a:host', \"b\"] # why\n",
		},
		"labels in an empty list": {"runner:\n  labels: []\n", labels, "runner:\n  labels: [\"a:host\", \"b\"]\n"},
		"labels in a trailing list": {
			"runner: {labels: [a:host,], file: x}\n",
			labels, "runner: {labels: [a:host, \"b\"], file: x}\n",
		},
		"labels without a value": {
			"runner:\n  labels: # why\n  file: x\n",
			labels, "runner:\n  labels: # why\n    - \"a:host\"\n    - \"b\"\n  file: x\n",
		},
		"labels at the key's depth": {
			"runner:\n  labels:\n  - c # goes\n  # stays\n  - a:host\n  file: x\n",
			labels, "runner:\n  labels:\n  # stays\n  - a:host\n  - \"b\"\n  file: x\n",
		},
		"all labels go": {
			"runner:\n  labels:\n    -  c\n    -  d\n",
			labels, "runner:\n  labels:\n    - \"a:host\"\n    - \"b\"\n",
		},
		"several labels in an item": {
			"runner:\n  labels:\n    - a:host,b\n    - c,b\n",
			labels, "runner:\n  labels:\n    - a:host,b\n",
		},
		"last label, line open": {
			"runner:\n  labels:\n    - a:host\n    - c",
			labels, "runner:\n  labels:\n    - a:host\n    - \"b\"",
		},
		"labels in another order": {"runner: {labels: [b, a:host]}", labels, "runner: {labels: [b, a:host]}"},
	} {
		t.Run(name, func(t *testing.T) {
			got, changes, err := Edit([]byte(c.data), c.want)
			if err != nil || string(got) != c.got || (changes == nil) != (c.got == c.data) {
				t.Errorf("%v, %q, %v\nwant %q", err, got, changes, c.got)
			}
		})
	}
}

// An unsafe edit is refused, with the line and what to write there.
func TestFormsOfValuesThatAreRefused(t *testing.T) {
	one, hour, labels := Want{Capacity: 1}, Want{ShutdownTimeout: time.Hour}, Want{Labels: []string{"a:host"}}
	for name, c := range map[string]struct {
		data string
		want Want
		text string
	}{
		"alias":               {"n: &n 2\nrunner:\n  capacity: *n\n", one, "in line 3, to capacity: 1"},
		"anchor":              {"runner:\n  capacity: &n 2\n", one, "in line 2, to capacity: 1"},
		"tag":                 {"runner:\n  capacity: !!int 2\n", one, "in line 2, to capacity: 1"},
		"block":               {"runner:\n  shutdown_timeout: |\n    0s\n", hour, "in line 2, to shutdown_timeout: 1h"},
		"several lines":       {"runner:\n  capacity: 2\n    3\n", one, "in line 2, to capacity: 1"},
		"escape":              {"runner:\n  capacity: \"\\x32\"\n", one, "in line 2, to capacity: 1"},
		"on the next line":    {"runner:\n  capacity:\n    &x\n    2\n", one, "in line 2, to capacity: 1"},
		"twice":               {"runner:\n  capacity: 2\n  capacity: 3\n", one, "lines 2 and 3 have the same key"},
		"runner twice":        {"runner:\n  capacity: 2\nrunner:\n  capacity: 3\n", one, "lines 1 and 3 have the same key"},
		"merged":              {"b: &b {capacity: 3}\nrunner:\n  <<: *b\n", one, "line 3 merges keys"},
		"runner merged":       {"b: &b {runner: {capacity: 3}}\n<<: *b\n", one, "line 2 merges keys"},
		"shared mapping":      {"runner: &r\n  capacity: 2\nother: *r\n", one, "something else as well"},
		"runner is an alias":  {"b: &b {capacity: 2}\nrunner: *b\n", one, "in line 2, to capacity: 1"},
		"runner is a list":    {"runner: [a]\n", hour, "in line 1, to shutdown_timeout: 1h"},
		"into a flow mapping": {"runner: {file: x}\n", hour, "in line 1, to shutdown_timeout: 1h below runner"},
		"into a flow root":    {"{log: {}}\n", hour, "to shutdown_timeout: 1h below a new key runner"},
		"several documents":   {"runner:\n  capacity: 2\n---\na: b\n", one, "it has several documents"},
		"behind the end":      {"log: {}\n...\n", hour, "below a new key runner"},
		"lone CR":             {"runner:\r  capacity: 2\r", one, "its lines do not all end in LF or CRLF"},
		"other line ends":     {"a: b\u2028runner:\n  capacity: 2\n", one, "its lines do not all end in LF or CRLF"},
		"no mapping":          {"- a\n", one, "not a YAML mapping"},
		"no YAML":             {"runner: [", one, "yaml"},

		"labels by alias": {"l: &l [b]\nrunner:\n  labels: *l\n", labels, `in line 3, to labels: ["a:host"]`},
		"labels shared":   {"runner:\n  labels: &l [b]\nother: *l\n", labels, "in line 2"},
		"label by alias": {
			"x: &x b\nrunner:\n  labels:\n    - *x\n",
			labels, "line 4 of the list is not a text of its own",
		},
		"label with anchor": {"runner:\n  labels:\n    - &x b\n", labels, "line 3 of the list is not a plain item"},
		"label over lines": {
			"runner:\n  labels:\n    - b\n      c\n",
			labels, "line 3 of the list is not a plain item",
		},
		"label without a dash":    {"runner:\n  labels:\n    -\n      b\n", labels, "line 4 of the list is not a plain item"},
		"labels over lines":       {"runner:\n  labels: [b,\n    c]\n", labels, "it is not a plain list on one line"},
		"labels with a line more": {"runner:\n  labels: [b\n    ]\n", labels, "it is not a plain list on one line"},
		"labels as a text":        {"runner:\n  labels: b\n", labels, "it is not a list of its own"},
		"a label with a comma":    {"", Want{Labels: []string{"a,b"}}, "is not a label"},
	} {
		t.Run(name, func(t *testing.T) {
			got, changes, err := Edit([]byte(c.data), c.want)
			wrong := err == nil || got != nil || changes != nil ||
				!strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "\n")
			if wrong {
				t.Errorf("%q, %v, %v\nwant an error with %q", got, changes, err, c.text)
			}
		})
	}
}

// FuzzEditConfig reads what was edited with the YAML library alone.
func FuzzEditConfig(f *testing.F) {
	for _, name := range []string{"classic.yaml", "new.yaml", "commented.yaml"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, 1, 60, "a:host b", "/x/y")
	}
	for _, data := range []string{"runner: {capacity: 2, labels: [a, 'b']}", "runner:\n  labels:\n  - a # x\n  - b",
		"a: &a {capacity: 3}\nrunner:\n  <<: *a\r\n", "runner: &r\n  capacity: 2\nx: *r\n---\n"} {
		f.Add([]byte(data), 1, 0, "c", "/x y")
	}
	f.Fuzz(func(t *testing.T, data []byte, capacity, minutes int, labels, dir string) {
		printable := !strings.ContainsFunc(dir, func(r rune) bool { return !unicode.IsPrint(r) })
		if !printable || capacity < 0 || minutes < 0 || minutes > 1e6 || !utf8.ValidString(labels) {
			return
		}
		want := Want{
			Capacity: capacity, ShutdownTimeout: time.Duration(minutes) * time.Minute, Labels: strings.Fields(labels),
			Registration: dir, EnvFile: dir, CacheDir: dir, WorkdirParent: dir,
		}
		got, changes, err := Edit(data, want)
		if err != nil {
			if got != nil || changes != nil {
				t.Fatalf("an error, and yet %q, %q", got, changes)
			}
			return
		}
		if changes == nil {
			if !bytes.Equal(got, data) {
				t.Fatalf("no change, and yet %q", got)
			}
			return
		}
		c, err := Parse(got)
		if err != nil || capacity > 0 && c.Capacity != capacity || minutes > 0 && c.ShutdownTimeout != want.ShutdownTimeout {
			t.Fatalf("%+v, %v of %q", c, err, got)
		}
		if dir != "" && (c.Registration != dir || c.EnvFile != dir || c.CacheDir != dir || c.WorkdirParent != dir) {
			t.Fatalf("%+v of %q", c, got)
		}
		if before, after := unlessEdited(t, data), unlessEdited(t, got); !cmp.Equal(before, after) {
			t.Fatalf("%q becomes %q, and that means\n%s", data, got, cmp.Diff(before, after))
		}
		if again, changes, err := Edit(got, want); err != nil || changes != nil || !bytes.Equal(again, got) {
			t.Fatalf("%q becomes %q, and then %q, %v, %v", data, got, again, changes, err)
		}
		// What is no value that was wanted is there, in this order.
		at := 0
		lines := linesOf(got)
		for _, line := range linesOf(data) {
			if strings.HasPrefix(strings.TrimSpace(strings.TrimPrefix(line, "\ufeff")), "#") {
				i := slices.Index(lines[at:], line)
				if i < 0 {
					t.Fatalf("%q becomes %q, without the line %q", data, got, line)
				}
				at += i + 1
			}
		}
	})
}

// unlessEdited returns what a configuration means without the keys that are edited;
// nil where the library refuses it, such as for a key twice that was left alone.
func unlessEdited(t *testing.T, data []byte) map[string]any {
	t.Helper()
	all := map[string]any{}
	if err := yaml.Unmarshal(data, &all); err != nil {
		return nil
	}
	for section, edited := range map[string][]any{
		"runner": {"capacity", "shutdown_timeout", "labels", "file", "env_file"},
		"cache":  {"dir"},
		"host":   {"workdir_parent"},
	} {
		if keys := reflect.ValueOf(all[section]); keys.Kind() == reflect.Map { // not all keys are texts
			rest := map[any]any{}
			for _, key := range keys.MapKeys() {
				if k := key.Interface(); !slices.Contains(edited, k) {
					rest[k] = keys.MapIndex(key).Interface()
				}
			}
			all[section] = rest
			if len(rest) == 0 {
				delete(all, section)
			}
		}
		if all[section] == nil {
			delete(all, section)
		}
	}
	return all
}

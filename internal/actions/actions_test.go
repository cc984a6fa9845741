package actions

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
)

func TestPlainNeverOpensACommandNorHoldsAControlCharacter(t *testing.T) {
	for in, want := range map[string]string{
		"held by x":                  "held by x",
		"::set-env name=BASH_ENV::x": "| ::set-env name=BASH_ENV::x",
		"  ##[add-path]x":            "|   ##[add-path]x",
		"a\n::set-env name=X::y":     `a\n::set-env name=X::y`,
		"a\r\x1b[31mred\u202e\u0085": `a\r\x1b[31mred\u202e\u0085`,
	} {
		if got := Plain(in); got != want {
			t.Errorf("Plain(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzPlain(f *testing.F) {
	f.Add("\n::add-path::x")
	f.Add("\u2028##[set-env name=x]y")
	f.Fuzz(func(t *testing.T, text string) {
		got := Plain(text)
		if strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("Plain(%q) = %q holds an unprintable character", text, got)
		}
		if opened := strings.TrimSpace(got); strings.HasPrefix(opened, "::") || strings.HasPrefix(opened, "##[") {
			t.Errorf("Plain(%q) = %q opens a command", text, got)
		}
	})
}

func workflow(t *testing.T) (*Workflow, string) {
	path := filepath.Join(t.TempDir(), "output")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	getenv := func(name string) string {
		if name == outputFile {
			return path
		}
		return ""
	}
	return New(&bytes.Buffer{}, getenv), path
}

func FuzzOutputIsOneValueOrRefused(f *testing.F) {
	f.Add("plain")
	f.Add("a\nb=c")
	f.Add(delimiter)
	f.Fuzz(func(t *testing.T, value string) {
		w, path := workflow(t)
		err := w.Output("name", value)
		written, _ := os.ReadFile(path)
		want := "name<<" + delimiter + "\n" + value + "\n" + delimiter + "\n"
		if err == nil && string(written) != want || err != nil && len(written) != 0 {
			t.Errorf("output %q: %v, wrote %q", value, err, written)
		}
		if err == nil && strings.ContainsAny(value, "\r\n") {
			t.Errorf("output %q was accepted", value)
		}
	})
}

func TestCheckNamesTheVariableThatCannotBeWritten(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	w := New(&bytes.Buffer{}, func(name string) string {
		if name == outputFile {
			return missing
		}
		return ""
	})
	err := w.Check()
	if err == nil || !strings.Contains(err.Error(), outputFile) || !strings.Contains(err.Error(), missing) {
		t.Errorf("Check() = %v", err)
	}
	if _, err := os.Stat(missing); !errors.Is(err, os.ErrNotExist) {
		t.Error("Check created the file")
	}
}

type closedLog struct{}

func (closedLog) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestAClosedLogDoesNotEndTheStep(t *testing.T) {
	w := New(closedLog{}, func(string) string { return "" })
	w.Warning("x")
	w.Group("y")()
}

func TestAValueIsNeverRefused(t *testing.T) {
	for _, text := range []string{delimiter, "a" + delimiter + "\n" + delimiter, "\x00\x1b", "::set-env::x"} {
		if err := checkValue(Value(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

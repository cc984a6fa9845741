package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What public configurations hold, with what the runner makes of each.
func TestConfigsInTheField(t *testing.T) {
	for file, c := range map[string]struct {
		refused  string
		capacity int
		shutdown time.Duration
		labels   string
	}{
		"labels-a-string.yaml":     {"line 4: cannot unmarshal !!str into []string", 2, 0, "ubuntu-latest native"},
		"labels-a-word.yaml":       {"line 5: cannot unmarshal !!str into []string", 1, 0, "native"},
		"key-twice.yaml":           {`line 5: mapping key "capacity" already defined at line 3`, 3, 0, ""},
		"numbers.yaml":             {"line 3: cannot unmarshal !!str into time.Duration", 2, 90 * time.Minute, ""},
		"forgejo-connections.yaml": {"", 2, 3 * time.Hour, "debian awoooi-host"},
	} {
		data, err := os.ReadFile(filepath.Join("testdata/field", file))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse(data)
		var labels []string
		for _, l := range got.Labels {
			labels = append(labels, l.Name)
		}
		if err != nil || got.Refused != c.refused || got.Capacity != c.capacity || got.ShutdownTimeout != c.shutdown ||
			strings.Join(labels, " ") != c.labels || got.Connected != (file == "forgejo-connections.yaml") {
			t.Errorf("%s: %+v, %v", file, got, err)
		}
	}
}

func TestWhatTheRunnerDoesNotStartWith(t *testing.T) {
	for text, refused := range map[string]bool{
		"runner: {labels: {a: b}}":             true,
		"runner: {envs: [A=b]}":                true,
		"runner: {envs: {A: 1}, envs: {}}":     true,
		"runner: {capacity: two}":              true,
		"runner: {insecure: maybe}":            true,
		"runner: [capacity]":                   true,
		"cache: {port: 99999}":                 true,
		"container: {valid_volumes: /x}":       true,
		"runner: {timeout: 0}":                 true, // a number is no duration, 0s is
		"runner: {capacity: 0x2, timeout: 0s}": false,
		"runner: {capacity: 1_0}":              false,
		"runner: {unknown: {a: b}}":            false,
		"runner:":                              false,
		"x: &x {a: 1}\ny: {<<: *x, a: 2}":      false,
	} {
		if c, err := Parse([]byte(text)); err != nil || (c.Refused != "") != refused {
			t.Errorf("%q: refused %q, %v", text, c.Refused, err)
		}
	}
	c, _ := Parse([]byte("runner: {envs: \"SECRET=hunter2\"}"))
	if c.Refused == "" || strings.Contains(c.Refused, "SECRET") {
		t.Errorf("%q", c.Refused)
	}
}

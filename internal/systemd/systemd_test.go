package systemd

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	"github.com/google/go-cmp/cmp"

	"hostguard/runner"
)

// manager is a systemd of values.
type manager struct {
	loaded   []string
	files    []string // paths, of what is installed
	units    map[string]map[string]any
	services map[string]map[string]any
}

func (m manager) ListUnitsByPatternsContext(context.Context, []string, []string) (list []dbus.UnitStatus, err error) {
	for _, name := range m.loaded {
		list = append(list, dbus.UnitStatus{Name: name})
	}
	return list, nil
}

func (m manager) ListUnitFilesByPatternsContext(context.Context, []string, []string) (list []dbus.UnitFile, err error) {
	for _, path := range m.files {
		list = append(list, dbus.UnitFile{Path: path})
	}
	return list, nil
}

func (m manager) GetUnitPropertiesContext(_ context.Context, unit string) (map[string]any, error) {
	if p, found := m.units[unit]; found {
		return p, nil
	}
	return nil, errors.New("no such unit")
}

func (m manager) GetUnitTypePropertiesContext(_ context.Context, unit, _ string) (map[string]any, error) {
	if p, found := m.services[unit]; found {
		return p, nil
	}
	return nil, errors.New("no such interface")
}

func state(load, active, sub string) map[string]any {
	return map[string]any{"LoadState": load, "ActiveState": active, "SubState": sub}
}

func TestUnitsAreReadAsValues(t *testing.T) {
	const service, other, timer = runner.PrimaryService, "act_runner.service", "clean.timer"
	m := manager{
		loaded: []string{service, other, timer, "gone.service"},
		units: map[string]map[string]any{
			service: state("loaded", "active", "running"), other: state("loaded", "inactive", "dead"),
			"split.service": state("not-found", "inactive", "dead"),
			timer: {
				"LoadState": "loaded", "ActiveState": "active", "SubState": "waiting",
				"UnitFileState": "enabled", "Triggers": []string{"clean.service"},
			},
		},
		services: map[string]map[string]any{
			service: {
				"MainPID": uint32(7), "NRestarts": uint32(3),
				"KillMode": "mixed", "TimeoutStopUSec": uint64(90_000_000),
				"WorkingDirectory": "/srv",
				"ExecStart":        [][]any{{"/bin/act_runner", []string{"/bin/act_runner", "daemon"}, false}},
				"Environment":      []string{"PATH=/opt/node/bin"},
				"EnvironmentFiles": [][]any{{"/etc/default/runner", true}, {"/etc/runner", false}, {"/x"}},
			},
			// Whatever a manager of another version sends must not end us.
			other: {
				"MainPID": "x", "KillMode": 3, "TimeoutStopUSec": uint64(math.MaxUint64),
				"ExecStart": [][]any{{}, {"a"}, {"a", 3}, {"a", []string{}}},
			},
		},
	}
	got, err := read(t.Context(), m, User, []string{service, "split.service"})
	want := []runner.Unit{
		{
			Name: service, Scope: User, Load: "loaded", Active: "active", Sub: "running",
			MainPID: 7, Restarts: 3, KillMode: "mixed",
			StopTimeout: 90 * time.Second, WorkDir: "/srv", Exec: [][]string{{"/bin/act_runner", "daemon"}},
			Environment: []string{"PATH=/opt/node/bin"}, EnvironmentFiles: []string{"-/etc/default/runner", "/etc/runner"},
		},
		{Name: "split.service", Scope: User, Load: "not-found", Active: "inactive", Sub: "dead"},
		{Name: other, Scope: User, Load: "loaded", Active: "inactive", Sub: "dead"},
		{
			Name: timer, Scope: User, Load: "loaded", Active: "active", Sub: "waiting", File: "enabled",
			Triggers: []string{"clean.service"},
		},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

// A service that was stopped for good is not loaded: it is found by its file.
func TestRunnersThatAreNotLoadedAreRead(t *testing.T) {
	dir := t.TempDir()
	m := manager{units: map[string]map[string]any{}, services: map[string]map[string]any{}}
	for name, text := range map[string]string{
		"runner-sysq.service": "[Service]\nExecStart=-/opt/gitea-runner-3.1.0-linux-amd64 daemon\n",
		"env.service":         "[Service]\nExecStart=/usr/bin/env A=b \\\n  act_runner daemon\n",
		"ci.service":          "[Unit]\nDescription=Gitea Actions Runner\n[Service]\nExecStart=/opt/ci/start.sh\n",
		"agent.service":       "[Service]\nExecStart=/opt/ci/agent --config=x daemon\n",
		"other.service":       "[Unit]\nDescription=a daemon\n[Service]\nExecStart=/usr/bin/git help daemon\n",
		"runner@.service":     "[Service]\nExecStart=/usr/bin/act_runner daemon\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		m.files, m.units[name] = append(m.files, path), state("loaded", "inactive", "dead")
	}
	slices.Sort(m.files)
	fifo := filepath.Join(dir, "fifo.service")
	if err := syscall.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	m.files = append(m.files, fifo, filepath.Join(dir, "gone.service"))
	got, err := read(t.Context(), m, System, nil)
	want := []runner.Unit{
		{Name: "agent.service", Scope: System, Load: "loaded", Active: "inactive", Sub: "dead"},
		{Name: "ci.service", Scope: System, Load: "loaded", Active: "inactive", Sub: "dead"},
		{Name: "env.service", Scope: System, Load: "loaded", Active: "inactive", Sub: "dead"},
		{Name: "runner-sysq.service", Scope: System, Load: "loaded", Active: "inactive", Sub: "dead"},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

func TestNoManagerIsReported(t *testing.T) {
	nowhere := func(string) string { return t.TempDir() }
	units, err := Units(t.Context(), User, nowhere, nil)
	if err == nil || !strings.Contains(err.Error(), "no systemd of the user to ask") {
		t.Error(units, err)
	}
}

// The stand-in for journalctl prints its arguments, then lines.
func TestTheLogOfAUnit(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	unit := runner.Unit{Name: "a.service", Scope: User}
	var lines []string
	visit := func(line string) { lines = append(lines, line) }
	if err := Log(t.Context(), unit, time.Hour, visit); err == nil ||
		!strings.Contains(err.Error(), "journalctl is not installed") {
		t.Error(err)
	}
	script := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "journalctl"), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script(`echo "$@"; echo two`)
	if err := Log(t.Context(), unit, time.Hour, visit); err != nil {
		t.Error(err)
	}
	args := "--quiet --no-pager --output=cat --since=-3600s --user-unit=a.service"
	if diff := cmp.Diff([]string{args, "two"}, lines); diff != "" {
		t.Error(diff)
	}
	script("exit 1")
	err := Log(t.Context(), unit, time.Hour, visit)
	if err == nil || !strings.Contains(err.Error(), `journal of "a.service"`) {
		t.Error(err)
	}
}

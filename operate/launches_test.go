package operate

import (
	"bytes"
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"hostguard/internal/cli"
	"hostguard/internal/systemd"
	"hostguard/runner"
	"hostguard/runner/shell"
)

// hostOfUnits puts the files of testdata/units below a directory, and returns that.
func hostOfUnits(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	files, err := txtar.ParseFile("testdata/units/files.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files.Files {
		path := filepath.Join(root, f.Name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err := errors.Join(err, os.WriteFile(path, []byte(below(root, string(f.Data))), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// below puts the paths of a text below a directory.
func below(root, text string) string {
	for _, top := range []string{"/opt/", "/var/lib/", "/etc/act", "/nix/"} {
		text = strings.ReplaceAll(text, top, root+top)
	}
	return text
}

// readUnit returns what systemd says of a unit's file.
func readUnit(t *testing.T, root, name string) runner.Unit {
	t.Helper()
	data, err := os.ReadFile("testdata/units/" + name)
	if err != nil {
		t.Fatal(err)
	}
	u := runner.Unit{Name: name, Scope: systemd.System, Load: "loaded", Active: "inactive", File: "enabled"}
	if name == "home.service" {
		u.Scope = systemd.User
	}
	for line := range strings.Lines(below(root, string(data))) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "WorkingDirectory":
			u.WorkDir = strings.TrimPrefix(value, "-")
		case "Environment":
			u.Environment = append(u.Environment, value)
		case "EnvironmentFile":
			u.EnvironmentFiles = append(u.EnvironmentFiles, value)
		case "ExecStart":
			if _, script, found := strings.Cut(value, " -c \""); found {
				u.Exec = [][]string{{"/bin/bash", "-c", strings.TrimSuffix(script, `"`)}}
				continue
			}
			u.Exec = [][]string{strings.Fields(value)}
		}
	}
	return u
}

// What public units look like. What runs a runner decides over its configuration, and the
// unit is found again by the directory that a fix names.
func TestUnitsInTheField(t *testing.T) {
	root := hostOfUnits(t)
	for name, want := range map[string]struct {
		dir, config, registration string
		capacity                  int
		refused                   string
	}{
		"versioned.service": {"opt/act_runner", "opt/act_runner/config.yaml", "opt/act_runner/.runner", 3, ""},
		"script.service":    {"opt/act_runner", "opt/act_runner/config.yaml", "opt/act_runner/.runner", 3, ""},
		"shell.service":     {"opt/act_runner", "opt/act_runner/config.yaml", "opt/act_runner/.runner", 3, ""},
		"niced.service":     {"opt/act_runner", "opt/act_runner/config.yaml", "opt/act_runner/.runner", 3, ""},
		"renamed.service":   {"opt/act_runner", "opt/act_runner/config.yaml", "opt/act_runner/.runner", 3, ""},
		"variables.service": {"opt/act_runner", "opt/act_runner/other.yaml", "opt/act_runner/.runner", 4, ""},
		"arch.service":      {"var/lib/act_runner", "etc/act_runner/config.yaml", "var/lib/act_runner/.runner", 5, ""},
		"nixos.service": {"var/lib/gitea-runner/default", "nix/store/abc-config/config.yaml",
			"var/lib/gitea-runner/default/.runner", 6, ""},
		"nowhere.service": {"opt/elsewhere", "opt/elsewhere/config.yaml", "opt/elsewhere/registration", 7, ""},
		"home.service":    {"home/act-runner", "home/act-runner/config.yaml", "home/act-runner/.runner", 8, ""},
		"bare.service": {"opt/act_runner", "", "opt/act_runner/.runner", 1,
			`add "--config ` + filepath.Join(root, "opt/act_runner/config.yaml")},
	} {
		t.Run(name, func(t *testing.T) {
			getenv := func(name string) string { return map[string]string{"HOME": filepath.Join(root, "home")}[name] }
			var out bytes.Buffer
			s := cli.NewSession(cli.World{Stdout: &out, Stderr: &out, Getenv: getenv}, nil)
			full := func(path string) string {
				if path == "" {
					return ""
				}
				return filepath.Join(root, path)
			}
			look := func(dir string) runner.Host {
				o := hostOptions{dir: dir}
				h := runner.Host{Units: []runner.Unit{
					{Name: "dbus.service", Scope: systemd.System, Load: "loaded"}, readUnit(t, root, name)}}
				o.readPrimary(t.Context(), s, &h, o.findRunners(t.Context(), o.readLaunches(t.Context(), s, h.Units)))
				return h
			}
			h := look("")
			u := h.Units[1]
			if u.Dir != full(want.dir) || u.Config != full(want.config) || u.Registration != full(want.registration) {
				t.Errorf("the unit has %q, %q, %q", u.Dir, u.Config, u.Registration)
			}
			// The fix that is printed leads to the same.
			var fixed bool
			for _, f := range runner.Audit(h) {
				_, command, _ := strings.Cut(f.Fix, "hostguard runner service")
				commands, _ := shell.Commands(command)
				for _, c := range commands {
					dir := c.Flag("runner-dir")
					fixed = true
					h := look(dir)
					if h.ConfigPath != full(want.config) || h.Config.Capacity != want.capacity || !h.Registered {
						t.Errorf("%s: %q, capacity %d", f.Fix, h.ConfigPath, h.Config.Capacity)
					}
					sv := h.PrimaryUnit()
					sv.Scope = u.Scope
					unit, found, err := h.Adopt(sv)
					if want.refused != "" {
						if err == nil || !strings.Contains(err.Error(), want.refused) ||
							!strings.Contains(f.Fix, want.refused) {
							t.Errorf("%s: %v", f.Fix, err)
						}
					} else if err != nil || !found || unit.Name != name {
						t.Errorf("%s: %q, %v", f.Fix, unit.Name, err)
					}
				}
			}
			if !fixed {
				t.Errorf("no fix for %+v", h.Config)
			}
		})
	}
}

// Root does not ask the manager of the runner's user, who may be logged out: a unit of his
// would start a second daemon at the next login.
func TestAUnitOfTheOwnersManagerIsFoundByItsFile(t *testing.T) {
	root := hostOfUnits(t)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	me.HomeDir = filepath.Join(root, "home")
	dir := systemd.Dir(systemd.User, me.HomeDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	s := cli.NewSession(cli.World{Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }}, nil)
	var o hostOptions
	sv := runner.Service{Name: runner.PrimaryService, Dir: filepath.Join(root, "opt/act_runner"),
		ConfigPath:       filepath.Join(root, "opt/act_runner/config.yaml"),
		RegistrationPath: filepath.Join(root, "opt/act_runner/.runner")}
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(below(root, text)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("other.service", "[Service]\nWorkingDirectory=/var/lib/act_runner\n"+
		"ExecStart=act_runner daemon -c /etc/act_runner/config.yaml\n")
	if path := o.userUnit(t.Context(), s, sv, me); path != "" {
		t.Errorf("%q runs another runner", path)
	}
	put("ci.service", "[Service]\nWorkingDirectory=%h\n"+
		"ExecStart=-/bin/bash -c \\\n  \"cd ../opt && cd act_runner && ./start.sh\"\n")
	if path := o.userUnit(t.Context(), s, sv, me); path != filepath.Join(dir, "ci.service") {
		t.Errorf("%q", path)
	}
}

package runner

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTheTextOfANewUnit(t *testing.T) {
	s := Service{
		Name: PrimaryService, Scope: "system", User: "ci", Dir: "/home/ci/my runner",
		ConfigPath: "/home/ci/my runner/config.yaml",
		Binary:     "/usr/local/bin/act_runner", ShutdownTimeout: time.Hour,
	}
	want := `# Written by hostguard runner service.
[Unit]
Description=Gitea Actions runner
Wants=network-online.target
After=network-online.target docker.service

[Service]
User=ci
WorkingDirectory=/home/ci/my runner
ExecStart="/usr/local/bin/act_runner" daemon --config "/home/ci/my runner/config.yaml"
Restart=on-failure
RestartSec=5
# systemd signals the runner alone, which then waits for its jobs
# (shutdown_timeout), runs its post-task script and reports.
KillMode=mixed
TimeoutStopSec=3960

[Install]
WantedBy=multi-user.target
`
	got, err := s.Unit()
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	s.Scope = "user"
	if got, err := s.Unit(); err != nil || strings.Contains(got, "User=") ||
		!strings.Contains(got, "WantedBy=default.target") {
		t.Error(got, err)
	}
	for _, hostile := range []string{
		"/a\nExecStartPre=/bin/evil", "/a%n", "/a$HOME", `/a"b`, `/a\x`, "/a/../b", "a",
		"", "/a ", "/a\x1b[2J",
	} {
		s.Dir = hostile
		if got, err := s.Unit(); err == nil {
			t.Errorf("%q is taken: %s", hostile, got)
		}
	}
}

func TestTheTextOfACleanup(t *testing.T) {
	c := Cleanup{Scope: "system", User: "ci", Program: "/usr/local/bin/hostguard", Roots: []string{"/srv/a", "/srv/b c"}}
	want := `# Written by hostguard runner cleanup-timer.
[Unit]
Description=Removal of left-over diagnostics of GitHub's runner

[Service]
Type=oneshot
User=ci
ExecStart="/usr/local/bin/hostguard" clean-diag -runner-root "/srv/a"
ExecStart="/usr/local/bin/hostguard" clean-diag -runner-root "/srv/b c"
` + confinement + noCapabilities + systemConfinement + `"-/srv/a/_diag" "-/srv/b c/_diag"
`
	got, err := c.Service()
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	c.User = "root"
	if got, err := c.Service(); err != nil || strings.Contains(got, noCapabilities) {
		t.Error(got, err)
	}
	c.Scope = "user"
	if got, err := c.Service(); err != nil || strings.Contains(got, "Protect") || strings.Contains(got, "User") {
		t.Error(got, err)
	}
	c.Roots[0] = "/srv/a\nUser=root"
	if got, err := c.Service(); err == nil {
		t.Errorf("a line of its own is taken: %s", got)
	}
}

// A unit of the host's runner is found by what it runs; where a second daemon
// could be, none is installed.
func TestAServiceThatRunsThisConfigIsAdopted(t *testing.T) {
	system := Unit{Name: "dbus.service", Scope: "system", Load: "loaded"}
	daemon := func(h Host) Unit {
		return Unit{
			Name: "act_runner.service", Scope: "system", Load: "loaded", Active: "active", MainPID: 7,
			KillMode: "control-group", Dir: h.Dir,
			Launch: Launch{Argv: []string{"/usr/bin/act_runner", "daemon", "--config", h.ConfigPath}, Dir: h.Dir},
			Config: h.ConfigPath, Registration: h.RegistrationPath,
		}
	}
	for name, c := range map[string]struct {
		change func(*Host)
		adopts string
		text   string // the refusal
	}{
		"nothing runs it":     {func(h *Host) { h.Units, h.Daemons = []Unit{system}, nil }, "", ""},
		"one of its name":     {func(*Host) {}, PrimaryService, ""},
		"one of another name": {func(h *Host) { h.Units = []Unit{system, daemon(*h)} }, "act_runner.service", ""},
		"by another configuration": {
			func(h *Host) { h.Units = []Unit{system, daemon(*h)}; h.Units[1].Config = "/etc/r.yaml" },
			"act_runner.service", "",
		},
		"by a script": {func(h *Host) {
			h.Units[0].Launch, h.Units[0].StartsOthers = Launch{}, true
			h.Units[0].Registration, h.Units[0].Config = "", ""
		}, PrimaryService, ""},
		"a former one beside it": {func(h *Host) {
			u := daemon(*h)
			u.Active, u.MainPID, u.File = "inactive", 0, "disabled"
			h.Units = append([]Unit{u}, h.Units...)
		}, PrimaryService, ""},
		"a script's child": {func(h *Host) {
			h.Units[0] = Unit{
				Name: "runner-sysq.service", Scope: "system", Load: "loaded", Active: "active", MainPID: 6,
				StartsOthers: true,
			}
			h.Daemons[0].Unit, h.Daemons[0].Scope = "runner-sysq.service", "system"
		}, "runner-sysq.service", ""},
		"two": {func(h *Host) { h.Units = append(h.Units, daemon(*h)) }, "", "2 units run this runner"},
		"without a configuration": {
			func(h *Host) {
				u := daemon(*h)
				u.Launch.Argv, u.Config = u.Launch.Argv[:2], ""
				h.Units = []Unit{u}
			},
			"", "without a configuration",
		},
		"no units were seen": {
			func(h *Host) { h.Units, h.UnitsUnseen = nil, []string{"no systemd"} },
			"", "is not known: no systemd",
		},
		"its name runs another": {
			func(h *Host) { h.Units[0].Registration, h.Units[0].Config, h.Daemons = "/x/.runner", "/x/c", nil },
			"", "does not run",
		},
		"its name is masked": {func(h *Host) {
			h.Units, h.Daemons = []Unit{{Name: PrimaryService, Scope: "system", Load: "masked"}}, nil
		}, "", `LoadState="masked"`},
		"started by another's unit": {func(h *Host) {
			h.Units = []Unit{{Name: "cron.service", Scope: "system", Load: "loaded", Active: "active", MainPID: 3}}
			h.Daemons[0].Unit, h.Daemons[0].Scope = "cron.service", "system"
		}, "", `what started it is the unit "cron.service", which is not the runner's own`},
		"in another user's unit": {func(h *Host) {
			h.Units, h.Daemons[0].Unit, h.Daemons[0].Scope = []Unit{system}, "r.service", "user 1001"
		}, "", `process 7 runs this runner, in the unit "r.service" of user 1001: run hostguard as that user`},
		"its configuration for another runner": {func(h *Host) {
			u := daemon(*h)
			u.Name, u.Registration, u.MainPID = "act_runner@b.service", "/srv/b/.runner", 8
			h.Units = append(h.Units, u)
		}, PrimaryService, ""},
		"a command with unknown parts": {func(h *Host) {
			u := daemon(*h)
			u.Launch.Argv, u.Config, u.Registration = []string{"act_runner", "daemon", "--config", "$C"}, "", ""
			h.Units, h.Daemons = []Unit{u}, nil
		}, "", `whether the unit "act_runner.service" runs this runner is not known`},
		"a process": {func(h *Host) { h.Units = []Unit{system} }, "", "process 7 runs this runner"},
		"a process beside a unit": {
			func(h *Host) { h.Daemons = append(h.Daemons, Daemon{PID: 8, Registration: h.RegistrationPath}) },
			"", "process 8 runs this runner",
		},
		"processes were not seen": {
			func(h *Host) { h.Units, h.Daemons, h.ProcessesUnseen = []Unit{system}, nil, "hidden" },
			"", "is not known: hidden",
		},
		"a container": {
			func(h *Host) { h.Units, h.Daemons, h.Containers[0].Running = []Unit{system}, nil, true },
			"", `the container "gitea-runner" runs this runner`,
		},
		"a container beside a unit": {func(h *Host) { h.Containers[0].Running = true }, "", `the container "gitea-runner"`},
		"containers were not seen": {
			func(h *Host) { h.Units, h.Daemons, h.DockerUnseen = []Unit{system}, nil, "no Docker" },
			"", "is not known: no Docker",
		},
		"not seen beside a unit": {func(h *Host) { h.DockerUnseen = "no Docker" }, PrimaryService, ""},
		"not seen, and it is stopped": {func(h *Host) {
			h.DockerUnseen, h.Units[0].Active, h.Units[0].MainPID, h.Daemons = "no Docker", "inactive", 0, nil
		}, "", "is not known: no Docker"},
	} {
		t.Run(name, func(t *testing.T) {
			h := good()
			h.Units[0].Scope, h.Units[0].Registration = "system", h.RegistrationPath
			h.Units[0].MainPID, h.Units[0].Config = 7, h.ConfigPath
			c.change(&h)
			s := h.PrimaryUnit()
			s.Scope = "system"
			u, found, err := h.Adopt(s)
			if c.text != "" {
				if err == nil || !strings.Contains(err.Error(), c.text) {
					t.Errorf("%v, %v; want %q", u.Name, err, c.text)
				}
				return
			}
			if err != nil || u.Name != c.adopts || found != (c.adopts != "") {
				t.Errorf("%q, %v, %v; want %q", u.Name, found, err, c.adopts)
			}
		})
	}
}

func TestAUnitThatLetsJobsEnd(t *testing.T) {
	for _, c := range []struct {
		mode string
		stop time.Duration
		want bool
	}{
		{"mixed", 66 * time.Minute, true}, {"mixed", 0, true},
		{"mixed", time.Hour, false},
		{"control-group", 0, false},
		{"", 0, false},
	} {
		if got := (Unit{KillMode: c.mode, StopTimeout: c.stop}).StopsGracefully(time.Hour); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

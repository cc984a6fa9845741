package runner

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"hostguard/runner/config"
	"hostguard/runner/finding"
	"hostguard/runner/shell"
)

// good returns a host as it should be: one user's service, the container retired.
func good() Host {
	return Host{
		Units: []Unit{{
			Name: PrimaryService, Scope: "user", Load: "loaded", Active: "active", Sub: "running", MainPID: 7, KillMode: "mixed",
			StopTimeout: 70 * time.Minute,
			Launch: Launch{Dir: "/srv/act-runner", Named: true,
				Argv: []string{"/usr/local/bin/act_runner", "daemon", "--config", "/srv/act-runner/config.yaml"}},
			Dir: "/srv/act-runner", Config: "/srv/act-runner/config.yaml", Registration: "/srv/act-runner/.runner",
		}},
		Lingers: true,
		Dir:     "/srv/act-runner", ConfigPath: "/srv/act-runner/config.yaml",
		RegistrationPath: "/srv/act-runner/.runner",
		Registered:       true,
		Config: config.Config{
			Capacity: 1, Timeout: 3 * time.Hour, ShutdownTimeout: time.Hour, Registration: ".runner",
			Labels: []config.Label{
				config.ParseLabel("ubuntu-latest:docker://ci-runner:act-22.04"), config.ParseLabel("awoooi-host:host"),
			},
		},
		Containers: []Container{
			{Name: WrappedContainer, Restart: "no", Status: "exited", Mounts: []string{"/srv/act-runner"}},
		},
		Daemons: []Daemon{{PID: 7, Registration: "/srv/act-runner/.runner"}},
	}
}

func TestAGoodHostHasNoFindings(t *testing.T) {
	if found := Audit(good()); len(found) != 0 {
		t.Errorf("%+v", found)
	}
}

func TestWhatIsWrongWithAHost(t *testing.T) {
	timer := func(command string, scripts ...Script) []Scheduled {
		return []Scheduled{{Where: `"/etc/cron.d/heal" line 2`, Command: command, Scripts: scripts}}
	}
	for name, c := range map[string]struct {
		change func(*Host)
		layer  int
		level  finding.Level
		text   string
		fix    string
	}{
		"two jobs at once": {
			func(h *Host) { h.Config.Capacity = 2 },
			4, finding.Bad, "capacity is 2", "runner service -runner-dir /srv/act-runner -apply",
		},
		"two jobs at once, by a configuration that is refused": {
			func(h *Host) { h.Config.Capacity, h.Config.Refused = 2, "line 3: x" },
			4, finding.Bad, "capacity is 2", `correct "/srv/act-runner/config.yaml", then hostguard runner service`,
		},
		"what the runner refuses": {
			func(h *Host) { h.Config.Refused = "line 3: x" },
			4, finding.Bad, `does not start with "/srv/act-runner/config.yaml": "line 3: x"`, "correct it",
		},
		"two jobs at once, and nobody can change that": {
			func(h *Host) { h.Config.Capacity, h.ConfigFixed = 2, "it is on a read-only file system" },
			4, finding.Bad, "capacity is 2", "services.gitea-actions-runner.instances",
		},
		"a unit that nobody can change": {
			func(h *Host) {
				h.Units[0].KillMode, h.Units[0].Scope, h.UnitsFixed = "control-group", "system", "it is read-only"
			},
			6, finding.Bad, `KillMode="control-group"`, "set KillMode=mixed and TimeoutStopSec=3960",
		},
		"a unit without a configuration": {
			func(h *Host) {
				h.Units[0].KillMode, h.Units[0].Config = "control-group", ""
				h.Units[0].Launch.Argv = h.Units[0].Launch.Argv[:2]
			},
			6, finding.Bad, `KillMode="control-group"`,
			`add "--config /srv/act-runner/config.yaml" to its ExecStart (systemctl --user edit --full ` +
				`gitea-act-runner-host.service), then hostguard runner service`,
		},
		"no service, but a process": {
			func(h *Host) { h.Units = nil },
			6, finding.Warn, "no service runs the runner", "process 7 runs it, outside of any unit that was seen; " +
				"end it while no job runs; then hostguard runner service",
		},
		"what cron started": {
			func(h *Host) { h.Units, h.Daemons[0].Unit, h.Daemons[0].Scope = nil, "cron.service", "system" },
			6, finding.Warn, "no service runs the runner", `what started it is the unit "cron.service"`,
		},
		"no service, and no registration": {
			func(h *Host) { h.Units, h.Daemons, h.Registered = nil, nil, false },
			6, finding.Warn, "no service runs the runner", `register it in "/srv/act-runner", then`,
		},
		"a bad value": {
			func(h *Host) { h.Config.Problems = []string{"runner.capacity is \"x\", not a number"} },
			4, finding.Bad, "not a number", "",
		},
		"a hook not in containers": {
			func(h *Host) { h.Config.JobHooks = []string{"/opt/done"} },
			4, finding.Warn, `the hook "/opt/done" runs in the containers of jobs`, "hostguard install",
		},
		"a mount that is dropped": {func(h *Host) {
			h.Config.JobHooks, h.Config.Options = []string{"/opt/done"}, "-v /opt/done:/opt/done"
		}, 4, finding.Warn, `the hook "/opt/done"`, ""},
		"a health check that is off": {
			func(h *Host) { h.Config.HealthScript = "/opt/health" },
			4, finding.Warn, "never runs", "health_check.enabled",
		},
		"no host label": {
			func(h *Host) { h.Config.Labels = h.Config.Labels[:1] },
			4, finding.Warn, "no label runs jobs on the host", "",
		},
		"no shutdown_timeout": {
			func(h *Host) { h.Config.ShutdownTimeout = 0 },
			6, finding.Bad, "shutdown_timeout is 0s", "runner service -runner-dir",
		},
		"another's label": {
			func(h *Host) { h.Config.Labels = append(h.Config.Labels, config.ParseLabel("ewoooc-host:host")) },
			9, finding.Warn, `"ewoooc-host"`, "runner split",
		},
		"no KillMode": {
			func(h *Host) { h.Units[0].KillMode = "control-group" },
			6, finding.Bad, `KillMode="control-group"`, "runner service -runner-dir /srv/act-runner -apply",
		},
		"too short a stop": {
			func(h *Host) { h.Units[0].StopTimeout = 90 * time.Second },
			6, finding.Bad, "TimeoutStopSec=1m30s", "runner service -runner-dir",
		},
		"no linger": {func(h *Host) { h.Lingers = false }, 6, finding.Warn, "Linger=no", "enable-linger"},
		"a dead service": {
			func(h *Host) { h.Units[0].Active, h.Units[0].Sub = "failed", "failed" },
			6, finding.Bad, `"failed"/"failed"`, "start",
		},
		"no service": {func(h *Host) { h.Units = nil }, 6, finding.Warn, "no service runs the runner", ""},
		"no systemd": {
			func(h *Host) { h.Units, h.UnitsUnseen = nil, []string{"no systemd"} },
			6, finding.Warn, "was not seen: no systemd", "",
		},
		"the container is back": {
			func(h *Host) { h.Containers[0].Running, h.Containers[0].Mounts = true, nil },
			7, finding.Bad, "takes jobs again", "hostguard runner drain -apply",
		},
		"it serves :host": {
			func(h *Host) { h.Containers[0].Running = true },
			7, finding.Bad, "serves a label with :host", "hostguard runner drain -apply",
		},
		"by its environment": {func(h *Host) {
			h.Containers[0] = Container{Name: "x", Running: true, Labels: []string{"awoooi-host:host"}}
		}, 7, finding.Bad, "serves a label with :host", ""},
		"it may come back": {
			func(h *Host) { h.Containers[0].Restart = "unless-stopped" },
			7, finding.Bad, `Restart="unless-stopped"`, "hostguard runner drain -apply",
		},
		"another container": {func(h *Host) {
			h.Containers[0] = Container{Name: "x; rm -rf /", Running: true, Labels: []string{"a:docker://b"}}
		}, 7, finding.Warn, `"x; rm -rf /" runs a runner`, "hostguard runner drain -container 'x; rm -rf /' -apply"},
		"no Docker": {
			func(h *Host) { h.Containers, h.DockerUnseen = nil, "no Docker" },
			7, finding.Warn, "were not seen", "",
		},
		"two daemons": {
			func(h *Host) { h.Daemons = append(h.Daemons, Daemon{PID: 8, Registration: "/srv/act-runner/.runner"}) },
			9, finding.Bad, "process 7 and process 8 take jobs with one registration", "",
		},
		"a daemon and a container": {
			func(h *Host) { h.Containers[0].Running = true },
			9, finding.Bad, `process 7 and container "gitea-runner"`, "",
		},
		"a unit and a container": {
			func(h *Host) { h.Daemons, h.Containers[0].Running = nil, true },
			9, finding.Bad, `unit "gitea-act-runner-host.service" and container`, "",
		},
		"two units": {func(h *Host) {
			h.Daemons[0].Registration = "" // another user's
			u := h.Units[0]
			u.Name, u.Scope = "act_runner.service", "system"
			h.Units = append(h.Units, u)
		}, 9, finding.Bad, `the user's unit "gitea-act-runner-host.service" and the ` +
			`system's unit "act_runner.service" take jobs`, ""},
		"two GitHub listeners": {
			func(h *Host) { h.GitHubRoots = []string{"/a", "/a", "/b"} },
			9, finding.Bad, `runs in "/a"`, "",
		},
		"left directories": {
			func(h *Host) { h.JobDirs = []JobDir{{"/c/0123456789abcdef", time.Unix(1e9, 0)}} },
			9, finding.Warn, "job directories that no process uses: 1", "rm -rf /c/[0-9a-f]",
		},
		"an auto-healer": {
			func(h *Host) { h.Schedule = timer("docker start gitea-runner") },
			7, finding.Bad, `"/etc/cron.d/heal" line 2 starts the retired runner`, "remove it from that command",
		},
		"an auto-healer's script": {func(h *Host) {
			h.Schedule = timer("/usr/bin/heal.sh",
				Script{"/usr/bin/heal.sh", "#!/bin/sh\n" +
					"for c in gitea gitea-runner; do\n  docker restart \"$c\"\ndone"})
		}, 7, finding.Bad, `runs "/usr/bin/heal.sh", whose line 3 starts the retired runner`, ""},
		"whatever is unhealthy": {
			func(h *Host) { h.Schedule = timer("docker ps -q --filter health=unhealthy | xargs -r docker restart") },
			7, finding.Warn, "starts containers that it does not name", "",
		},
		"a prune": {
			func(h *Host) { h.Schedule = timer("docker system prune -af --volumes") },
			3, finding.Warn, "deletes locks created by plain docker network create", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := good()
			c.change(&h)
			found := Audit(h)
			for _, f := range found {
				told := strings.Contains(f.Evidence, c.text) && strings.Contains(f.Fix, c.fix) && f.Fix != ""
				if f.Layer == c.layer && f.Level == c.level && told {
					return
				}
			}
			t.Errorf("no finding %q in %+v", c.text, found)
		})
	}
}

func TestWhatIsHarmlessIsNotFound(t *testing.T) {
	for _, command := range []string{
		"docker stop gitea-runner", "docker start postgres", "true # then; docker start gitea-runner",
		"echo docker start gitea-runner", "# docker start gitea-runner",
		"docker image prune -af",
		"docker update --restart=no gitea-runner", "docker inspect gitea-runner",
		"docker logs --since 10m gitea-runner",
		"systemctl start gitea-runner.service", // the runner's own unit
		"systemctl stop docker-compose@gitea-runner",
		"curl --unix-socket /run/docker.sock http://x/containers/gitea-runner/json",
		"cd /srv/gitea-runner && docker compose logs",
		"docker network ls",
	} {
		if found := checkSchedule([]Scheduled{{Command: command}}, Container{Name: WrappedContainer}); len(found) > 0 {
			t.Errorf("%q: %+v", command, found)
		}
	}
}

func TestHowTheContainerIsStarted(t *testing.T) {
	for _, command := range []string{
		"sudo docker start gitea-runner", "/usr/bin/docker restart 'gitea-runner'",
		"cd /srv/gitea && docker compose up -d gitea-runner",
		"docker-compose restart gitea_runner", "docker run -d --name gitea-runner gitea/act_runner",
		"docker update --restart=always gitea-runner",
		"docker -H unix:///x start gitea-runner", "if ! pgrep x; then docker \\\n start gitea-runner; fi",
		"docker container start gitea-runner",
		"R=gitea-runner; docker start $R",
		"chronic docker start gitea-runner", "setsid -f docker start gitea-runner",
		"systemd-run --unit=x docker start gitea-runner", "su - ci -c 'docker start gitea-runner'",
		"systemctl --no-block restart podman-gitea-runner.service", "systemctl enable --now container-gitea-runner",
		"curl -XPOST --unix-socket /run/docker.sock 'http://x/v1.41/containers/gitea-runner/restart?t=1'",
		"docker compose -f /srv/gitea-runner/compose.yaml up -d", "podman start gitea-runner",
		"docker compose run --rm gitea-runner", "service docker-gitea-runner start",
		"/etc/init.d/docker-gitea-runner restart", "watch -n 60 docker start gitea-runner",
	} {
		found := checkSchedule([]Scheduled{{Command: command}}, Container{Name: WrappedContainer})
		if len(found) != 1 || found[0].Level != finding.Bad {
			t.Errorf("%q: %+v", command, found)
		}
	}
}

// What is not known may run the command that it is given.
func TestWhatMayStartTheContainer(t *testing.T) {
	for command, want := range map[string]finding.Level{
		"cronitor exec x docker start gitea-runner":                      finding.Warn,
		"machinectl shell root@ /usr/bin/docker start gitea-runner":      finding.Warn,
		"trap 'docker start gitea-runner' EXIT":                          finding.Warn,
		"script -c 'docker start gitea-runner' /dev/null":                finding.Warn,
		`python3 -c "import os; os.system('docker start gitea-runner')"`: finding.Warn,
		"docker exec watchdog docker start gitea-runner":                 finding.Warn,
		"cronitor exec x docker start postgres":                          finding.OK,
		"cronitor exec x docker stop gitea-runner":                       finding.OK,
		"pgrep -f 'docker start gitea-runner'":                           finding.OK,
		"logger docker start gitea-runner":                               finding.OK,
		"mycheck --docker --start=gitea-runner":                          finding.OK,
	} {
		level := finding.OK
		for _, f := range checkSchedule([]Scheduled{{Command: command}}, Container{Name: WrappedContainer}) {
			level = f.Level
		}
		if level != want {
			t.Errorf("%q: %v, want %v", command, level, want)
		}
	}
}

// Lines of public cron tables, each of which starts the retired container again.
func TestRevivalsInTheField(t *testing.T) {
	table, err := os.ReadFile("testdata/starts-gitea-runner.cron")
	if err != nil {
		t.Fatal(err)
	}
	lines := ParseCrontab(string(table), true)
	if len(lines) != 5 {
		t.Errorf("%d lines", len(lines))
	}
	for _, line := range lines {
		where := fmt.Sprintf("/etc/cron.d/x:%d", line.Line)
		found := checkSchedule([]Scheduled{{Where: where, Command: line.Command}}, Container{Name: WrappedContainer})
		if len(found) != 1 || found[0].Level != finding.Bad || found[0].Layer != 7 ||
			!strings.HasPrefix(found[0].Evidence, where) {
			t.Errorf("%q: %+v", line.Command, found)
		}
	}
}

// A script that is none of the shell's may start the runner, if it names both.
func TestAScriptThatCannotBeReadMayStartTheContainer(t *testing.T) {
	for text, want := range map[string][]int{
		"import os\nif True:\n  os.system('docker start gitea-runner')": {7},
		"if os.system('docker system prune'):":                          {3},
		"if os.system('docker start postgres'):":                        nil,
		"if open('/var/log/gitea-runner.log'):":                         nil,
		// The first line runs before the shell meets the second.
		"docker start gitea-runner\nif os.system('docker network prune'):": {7, 3, 7},
		"docker start gitea-runner":                                        {7},
		"bash -c 'docker restart \"$(docker ps -aqf name=gitea-runner)\"'": {7},
	} {
		cron := []Scheduled{{Where: "cron", Scripts: []Script{{Path: "/x", Text: text}}}}
		found := checkSchedule(cron, Container{Name: WrappedContainer})
		var layers []int
		for _, f := range found {
			layers = append(layers, f.Layer)
		}
		slices.Sort(layers)
		slices.Sort(want)
		if !slices.Equal(layers, want) {
			t.Errorf("%q: %+v", text, found)
		}
	}
}

func TestParseCrontab(t *testing.T) {
	for _, c := range []struct {
		line     string
		withUser bool
		want     string
	}{
		{"*/5 * * * * root /usr/bin/heal.sh >/dev/null", true, "/usr/bin/heal.sh >/dev/null"},
		{"*/5\t*  * * *  /usr/bin/heal.sh", false, "/usr/bin/heal.sh"},
		{"@reboot root x", true, "x"},
		{"@hourly x y", false, "x y"},
		{"PATH=/bin", false, ""},
		{"# * * * * * x", false, ""},
		{"* * *", false, ""},
	} {
		got := ""
		for _, l := range ParseCrontab(c.line+"\n", c.withUser) {
			got = l.Command
		}
		if got != c.want {
			t.Errorf("%q: %q, want %q", c.line, got, c.want)
		}
	}
}

func TestWhichScriptsACommandNames(t *testing.T) {
	for command, want := range map[string]string{
		"/usr/bin/flock -n /run/x.lock bash ~/bin/heal.sh": "/usr/bin/flock /run/x.lock /home/ci/bin/heal.sh",
		"cd /srv/heal && ./run.sh >/dev/null 2>&1":         "/srv/heal /srv/heal/run.sh /dev/null",
		`"$HOME/heal.sh"`: "/home/ci/heal.sh",
		"heal.sh":         "",
	} {
		if got := strings.Join(ScriptsOf(command, "/home/ci"), " "); got != want {
			t.Errorf("%q: %q, want %q", command, got, want)
		}
	}
}

func TestParseTask(t *testing.T) {
	line := `time="2026-11-23T10:00:00Z" level=info msg="task 2 repo is wooo/env-new http://gitea.example.com"`
	if task, found := ParseTask(line); !found || task.Repository != "wooo/env-new" {
		t.Error(task, found)
	}
	for _, line := range []string{
		"", `level=info msg="fetching"`,
		`level=info msg="task x repo is a/b"`, `msg="echo task 2 repo is a/b"`,
	} {
		if task, found := ParseTask(line); found {
			t.Errorf("%q: %+v", line, task)
		}
	}
	got := CountTasks([]Task{{Repository: "a"}, {Repository: "b"}, {Repository: "b"}})
	if len(got) != 2 || got[0] != (RepositoryCount{"b", 2}) {
		t.Error(got)
	}
}

// The example is what this project recommends.
func TestTheExampleOfAConfigurationIsRight(t *testing.T) {
	data, err := os.ReadFile("../examples/runner-config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	h := good()
	if h.Config, err = config.Parse(data); err != nil {
		t.Fatal(err)
	}
	if found := Audit(h); len(found) > 0 {
		t.Errorf("%+v", found)
	}
}

func FuzzRevivedBy(f *testing.F) {
	f.Add("docker container update --restart always x; docker compose up -d | xargs -r docker start")
	f.Fuzz(func(t *testing.T, script string) {
		commands, _ := shell.Commands(script)
		for _, c := range commands {
			_ = Container{Name: WrappedContainer}.startedBy(c, script)
		}
	})
}

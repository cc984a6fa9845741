package systemd

import (
	"strings"
	"testing"
	"time"

	"hostguard/e2e/rig/contend"
	"hostguard/e2e/rig/engine"
)

const unit = "gitea-act-runner-host.service"

// shows is what systemd says of a service.
func (m *machine) shows(scope, properties, want string) {
	m.T.Helper()
	user := "root"
	if scope == "--user" {
		user, scope = "plain", "--user"
	}
	show := "systemctl " + scope + " show --value -p " + properties + " " + unit
	m.Is(user, "XDG_RUNTIME_DIR=/run/user/$(id -u) "+show+" | paste -sd' '", want)
}

func TestARunnerBecomesAServiceOfTheSystem(t *testing.T) {
	t.Parallel()
	m := boot(t)
	m.register("ci")
	const command = "hostguard runner service -runner-dir /home/ci/act-runner"
	m.Want(0, "root", command, `  1. in "/home/ci/act-runner/config.yaml": `,
		`  2. create "/etc/systemd/system/`+unit+`"; systemctl daemon-reload`,
		"  3. systemctl enable --now "+unit, "nothing is changed yet")
	m.config("ci", oldConfig)
	m.Want(1, "root", "test -e /etc/systemd/system/"+unit)

	said := m.Want(0, "root", command+" -apply", "  3. done", "done; undo with ")
	m.config("ci", newConfig)
	m.Is("root", "stat -c '%U %a' /home/ci/act-runner/config.yaml /home/ci/act-runner/config.yaml.*.previous",
		"ci 644\nci 644")
	m.shows("", "KillMode,TimeoutStopUSec,User,ActiveState,UnitFileState", "1h 6min ci mixed active enabled")
	m.Want(0, "root", "systemd-analyze verify "+unit)
	m.Want(0, "root", command+" -apply -restart-now", "nothing to change")
	m.Want(0, "root", "hostguard runner audit", "service="+unit+" active/running", "runner.shutdown_timeout=1h")

	// It is there after a reboot, and a job outlives a stop.
	if _, err := m.Engine.Docker("restart", "--time", "20", m.ID); err != nil {
		t.Fatal(err)
	}
	m.Until("systemctl is-active -q " + unit)
	m.stopWhileBusy("ci", "success")

	_, back, _ := strings.Cut(said, `undo with "`)
	m.Want(0, "root", strings.TrimSuffix(strings.TrimSpace(back), `"`))
	m.config("ci", oldConfig)
	m.Want(1, "root", "test -e /etc/systemd/system/"+unit)
}

// stopWhileBusy stops the service while a job runs, and wants to know how the job
// ended.
func (m *machine) stopWhileBusy(user, result string) {
	m.T.Helper()
	dir := "/home/" + user + "/act-runner"
	m.Want(0, user, "rm -f "+dir+"/result; touch "+dir+"/task")
	m.Until("ls -d /home/" + user + "/.cache/act/*")
	m.Want(0, "root", "systemctl stop --no-block "+unit)
	m.Until("journalctl -u " + unit + " | grep -q 'shutdown initiated'")
	m.Want(0, user, "sleep 0.2; touch "+dir+"/finish")
	m.Until("! systemctl is-active -q " + unit + " && [ -e " + dir + "/result ]")
	m.Is("root", "cat "+dir+"/result", result)
	m.Want(0, user, "rm "+dir+"/finish")
}

// oldUnit is what hosts had: systemd ends the steps of jobs with the runner.
const oldUnit = `[Unit]
Description=Gitea Actions Runner
[Service]
User=ci
WorkingDirectory=/home/ci/act-runner
ExecStart=/usr/local/bin/act_runner daemon --config /home/ci/act-runner/config.yaml
Restart=always
[Install]
WantedBy=multi-user.target
`

func TestTheUnitThatRunsTheRunnerIsAdopted(t *testing.T) {
	t.Parallel()
	m := boot(t)
	m.register("ci")
	m.Give("root", "/etc/systemd/system/"+unit, oldUnit)
	m.Want(0, "root", "systemctl enable --now "+unit)
	m.stopWhileBusy("ci", "signal: terminated")
	m.Want(0, "root", "systemctl start "+unit)

	// ci may use sudo.
	said := m.Want(0, "ci", "hostguard runner service -apply", "running as root through sudo:",
		`the system's unit "`+unit+`" runs this runner`,
		`create "/etc/systemd/system/`+unit+`.d/hostguard.conf"`, "the runner reads its configuration when it starts",
		"systemctl restart "+unit)
	m.Is("root", "cat /etc/systemd/system/"+unit, strings.TrimSpace(oldUnit))
	m.shows("", "KillMode,TimeoutStopUSec", "1h 6min mixed")
	m.Want(0, "ci", "RESTART_NOW=1 hostguard runner service -apply", "  1. done", "systemctl restart "+unit)
	m.Want(0, "ci", "RESTART_NOW=1 hostguard runner service -apply", "nothing to change")
	m.stopWhileBusy("ci", "success")

	_, back, _ := strings.Cut(said, `undo with "`)
	back, _, _ = strings.Cut(back, "\"\n")
	m.Want(0, "root", back)
	m.config("ci", oldConfig)
	m.shows("", "KillMode,TimeoutStopUSec", "1min 30s control-group")
}

func TestWithoutSudoTheServiceIsTheUsers(t *testing.T) {
	t.Parallel()
	m := boot(t)
	m.register("plain")
	const command = "hostguard runner service"
	// Nobody has logged in: there is no manager to ask.
	m.Want(1, "plain", command+" -apply", "whether a unit of the user runs this runner is not known",
		"loginctl enable-linger")
	m.Want(0, "root", "systemctl start user@1001")
	m.Want(0, "plain", command+" -apply",
		`create "/home/plain/.config/systemd/user/`+unit+`"; systemctl --user daemon-reload`,
		"systemctl --user enable --now "+unit, "Linger=no", "fix: sudo loginctl enable-linger plain")
	m.shows("--user", "KillMode,TimeoutStopUSec,ActiveState", "1h 6min mixed active")
	m.config("plain", newConfig)
	m.Want(0, "root", "loginctl enable-linger plain")
	if said := m.Want(0, "plain", command+" -apply", "nothing to change"); strings.Contains(said, "Linger") {
		t.Error(said)
	}
	m.Want(0, "plain", "hostguard runner audit", "scope=user")

	// Root does not see that unit, but what it runs.
	m.Want(1, "root", command+" -runner-dir /home/plain/act-runner -apply",
		`runs this runner, in the unit "`+unit+`" of user 1001: run hostguard as that user`)
	m.Want(0, "root", "systemctl stop user@1001")
	m.Want(1, "root", command+" -runner-dir /home/plain/act-runner -apply",
		`"/home/plain/.config/systemd/user/`+unit+`" may start a second daemon`)
	m.config("plain", newConfig)
}

func TestASecondDaemonIsRefused(t *testing.T) {
	t.Parallel()
	docker := engine.ForTest(t, engine.New)
	m := bootWith(t, docker)
	m.register("ci")
	const command = "hostguard runner service -runner-dir /home/ci/act-runner -apply"
	refused := func(why string) {
		t.Helper()
		m.Want(1, "root", command, why)
		m.config("ci", oldConfig)
	}

	daemon := m.Command("ci", "cd ~/act-runner && exec act_runner daemon --config config.yaml")
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	m.Until("ls -l /proc/*/exe 2>/dev/null | grep -q act_runner")
	refused("runs this runner, outside of any unit that was seen")
	m.Want(0, "root",
		`for p in /proc/[0-9]*; do [ "$(readlink $p/exe)" != /usr/local/bin/act_runner ] || kill ${p#/proc/}; done`)
	_ = daemon.Wait()

	m.Give("root", "/etc/systemd/system/one.service", oldUnit)
	m.Give("root", "/etc/systemd/system/two.service",
		strings.Replace(oldUnit, " --config /home/ci/act-runner/config.yaml", " --config config.yaml", 1))
	m.Want(0, "root", "systemctl daemon-reload; systemctl start one two")
	refused(`2 units run this runner: the system's "one.service" and the system's "two.service"`)
	// Known by a link's name it is the same runner.
	m.Want(0, "root",
		"systemctl stop two; rm /etc/systemd/system/two.service; systemctl daemon-reload; "+
			"ln -s /home/ci/act-runner /srv/link")
	m.Want(0, "root", "hostguard runner service -runner-dir /srv/link",
		`the system's unit "one.service" runs this runner`)
	m.Want(0, "root", "systemctl stop one; rm /etc/systemd/system/*.service; systemctl daemon-reload")

	m.Give("root", "/etc/systemd/system/"+unit, strings.ReplaceAll(oldUnit, "/home/ci/act-runner", "/srv/other"))
	m.Want(0, "root", "systemctl daemon-reload")
	refused(`the system's unit "` + unit + `" is there and does not run "/home/ci/act-runner/config.yaml"`)
	m.Want(0, "root", "rm /etc/systemd/system/"+unit+"; systemctl daemon-reload")

	m.wrapped(docker, "always", "/home/ci/act-runner:/data")
	refused(`the container "gitea-runner" runs this runner`)
	m.docker(docker, "kill", "gitea-runner")
	m.Want(1, "root", "DOCKER_HOST=unix:///nowhere "+command, "whether a container runs this runner is not known")
	m.Want(0, "root", command, "docker update --restart=no gitea-runner")
	m.docker(docker, "start", "gitea-runner")
	if got := m.docker(docker, "inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", "gitea-runner"); got != "no" {
		t.Errorf("the container's restart policy is %q", got)
	}
}

// wrapped runs the retired runner in a container of the machine's Docker.
func (m *machine) wrapped(docker *engine.Engine, restart string, mount string) {
	m.T.Helper()
	m.container(docker, "--name", "gitea-runner", "--restart", restart, "-v", mount)
}

// container runs one that sleeps.
func (m *machine) container(docker *engine.Engine, options ...string) {
	m.T.Helper()
	if err := docker.ImportEmpty("empty"); err != nil {
		m.T.Fatal(err)
	}
	run := append([]string{"run", "--detach", "--network", "none", "-v", "/usr:/usr:ro"}, options...)
	id := m.docker(docker, append(run, "empty", "sleep", "1000")...)
	m.T.Cleanup(func() { _, _ = docker.Docker("rm", "--force", id) }) // else the engine waits 10 s for its end
}

func (m *machine) docker(docker *engine.Engine, args ...string) string {
	m.T.Helper()
	out, err := docker.Docker(args...)
	if err != nil {
		m.T.Fatal(err)
	}
	return out
}

func TestARestartWaitsForJobs(t *testing.T) {
	t.Parallel()
	docker := engine.ForTest(t, engine.New)
	m := bootWith(t, docker)
	m.register("ci")
	m.Give("root", "/etc/systemd/system/"+unit, oldUnit)
	m.Want(0, "root", "systemctl enable --now "+unit)
	const task = "GITEA-ACTIONS-TASK-7_WORKFLOW-ci_JOB-build"
	m.container(docker, "--name", task)
	const command = "RESTART_NOW=1 hostguard runner service -apply"
	m.Want(1, "ci", command, "not restarted while jobs run", task)
	m.Want(1, "ci", command+" -wait 1s", "waiting ", task, "jobs still run after", "everything is as it was before")
	m.config("ci", oldConfig)
	m.Want(1, "root", "test -e /etc/systemd/system/"+unit+".d")

	started := m.Want(0, "root", "systemctl show -P MainPID "+unit)
	waiting := m.Command("ci", command+" -wait 1m")
	log := new(contend.Log)
	waiting.Stdout, waiting.Stderr = log, log
	if err := waiting.Start(); err != nil {
		t.Fatal(err)
	}
	m.Until("test -e /etc/systemd/system/" + unit + ".d/hostguard.conf")
	m.Want(0, "ci", "touch ~/act-runner/task") // a job on the host itself
	m.Until("ls -d /home/ci/.cache/act/*")
	m.docker(docker, "rm", "-f", task)
	said := func() bool { return strings.Contains(log.String(), "host job in") }
	for end := time.Now().Add(2 * time.Minute); !said(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(log.String())
		}
	}
	m.Is("root", "systemctl show -P MainPID "+unit, started)
	m.Want(0, "ci", "touch ~/act-runner/finish")
	if err := waiting.Wait(); err != nil {
		t.Fatal(err, log.String())
	}
	m.Is("root", "cat /home/ci/act-runner/result", "success")
	m.config("ci", newConfig)
	m.Want(0, "root", `test "$(systemctl show -P MainPID `+unit+`)" != `+started)
}

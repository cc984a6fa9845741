package systemd

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"hostguard/e2e/rig/contend"
)

// Whatever fails, everything is as it was: the configuration, the unit and what
// runs.
func TestWhatFailsIsTakenBack(t *testing.T) {
	t.Parallel()
	m := boot(t, "--tmpfs", "/small:size=16k,mode=777")
	m.register("ci")
	const command = "hostguard runner service -runner-dir /home/ci/act-runner -apply"
	const back = "everything is as it was before"

	// A new unit whose program ends at once.
	m.Give("ci", "/home/ci/crash/config.yaml", strings.Replace(oldConfig, "runner:\n", "runner:\n  crash: true\n", 1))
	m.Want(0, "ci", "cp ~/act-runner/.runner ~/crash")
	m.Want(3, "root", "hostguard runner service -runner-dir /home/ci/crash -apply", "does not keep running", back)
	m.Want(1, "root", "test -e /etc/systemd/system/"+unit)
	m.Is("root", "systemctl show -P LoadState "+unit, "not-found")
	m.Is("root", "ls /home/ci/crash; grep capacity: /home/ci/crash/config.yaml", "config.yaml\n  capacity: 2")

	// Another drop-in has the last word.
	m.Give("root", "/etc/systemd/system/"+unit, oldUnit)
	m.Give("root", "/etc/systemd/system/"+unit+".d/zz.conf", "[Service]\nKillMode=process\n")
	m.Want(0, "root", "systemctl enable --now "+unit)
	m.Want(3, "root", command, `has KillMode="process"`, "systemctl cat "+unit, back)
	m.config("ci", oldConfig)
	m.Is("root", "ls /etc/systemd/system/"+unit+".d", "zz.conf")
	m.Want(0, "root", "rm -r /etc/systemd/system/"+unit+".d; systemctl daemon-reload")

	// A new configuration with which the runner does not start: it runs with the
	// old one again. (What stands in for the runner is the unit's own check.)
	m.Give("root", "/etc/systemd/system/"+unit, strings.NewReplacer(
		"ExecStart=", "ExecStartPre=grep -q 'capacity: 2' config.yaml\nExecStart=",
		"Restart=always", "Restart=no",
	).Replace(oldUnit))
	m.Want(0, "root", "systemctl daemon-reload; systemctl restart "+unit)
	m.Want(3, "root", command+" -restart-now", "systemctl restart "+unit, back)
	m.config("ci", oldConfig)
	m.Until("systemctl is-active -q " + unit)
	m.shows("", "KillMode", "control-group")

	// Each call of systemctl in turn.
	m.Give("root", "/opt/systemctl", failingSystemctl)
	m.Want(0, "root", "chmod 755 /opt/systemctl; sed -i '/^ExecStartPre/d' /etc/systemd/system/"+unit+
		"; systemctl daemon-reload")
	for call := range 2 {
		script := fmt.Sprintf("echo %d >/run/calls; PATH=/opt:$PATH %s -restart-now", call+1, command)
		m.Want(3, "root", script, "exit status 7", back)
		m.config("ci", oldConfig)
		m.Want(0, "root", "systemctl is-active -q "+unit)
		m.shows("", "KillMode,NeedDaemonReload", "control-group no")
	}

	// A file system that is full: at each size of what is free.
	m.Want(0, "root", "systemctl stop "+unit+"; cp -a /home/ci/act-runner /small/; chown -R ci /small; "+
		"sed -i 's#/home/ci/act-runner#/small/act-runner#' /etc/systemd/system/"+unit+
		"; systemctl daemon-reload; systemctl start "+unit)
	was := m.Want(0, "root", "cat /small/act-runner/config.yaml; ls -A /small/act-runner")
	for _, free := range []int{0, 1} { // pages: none for the kept one, none for the new one
		leave := fmt.Sprintf("truncate -s -%d /small/fill; df /small | tail -1", free*4096)
		m.Want(0, "root", "dd if=/dev/zero of=/small/fill bs=4096 2>/dev/null; "+leave)
		m.Want(3, "root", "hostguard runner service -apply", "no space left on device", back)
		m.Is("root", "cat /small/act-runner/config.yaml; ls -A /small/act-runner", was)
		m.Want(0, "root", "rm /small/fill")
	}
	m.Want(0, "root", "hostguard runner service -apply", "done; undo with")
}

// A lost connection or Ctrl-C while it waits: nothing was changed. The log of the
// command is a pipe that nobody reads any more.
func TestAnInterruptedPlanIsTakenBack(t *testing.T) {
	t.Parallel()
	m := boot(t)
	m.register("ci")
	m.Give("root", "/etc/systemd/system/"+unit, oldUnit)
	m.Want(0, "root", "systemctl enable --now "+unit)
	m.Want(0, "ci", "touch ~/act-runner/task")
	m.Until("ls -d /home/ci/.cache/act/*")
	for signal, status := range map[string]int{"INT": 130, "HUP": 143, "TERM": 143} {
		run := m.Command("root", "hostguard runner service -apply -restart-now -wait 1m & echo $! >/run/hg; wait $!")
		log := new(contend.Log)
		run.Stdout, run.Stderr = log, log
		if err := run.Start(); err != nil {
			t.Fatal(err)
		}
		waits := func() bool { return strings.Contains(log.String(), "waiting ") }
		for end := time.Now().Add(2 * time.Minute); !waits(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(log.String())
			}
		}
		m.config("ci", newConfig)
		m.Want(0, "root", "kill -"+signal+" $(cat /run/hg)")
		_ = run.Wait()
		if run.ProcessState.ExitCode() != status || !strings.Contains(log.String(), "everything is as it was before") {
			t.Errorf("%s: status %d, it said\n%s", signal, run.ProcessState.ExitCode(), log.String())
		}
		m.config("ci", oldConfig)
		m.shows("", "KillMode", "control-group")
	}
	// Killed outright it can take nothing back: the next run goes on.
	m.Want(0, "root", "hostguard runner service -apply -restart-now -wait 1m >/run/hg.log & echo $! >/run/hg")
	m.Until("grep -q waiting /run/hg.log")
	m.Want(0, "root", "kill -9 $(cat /run/hg)")
	m.Want(0, "root", "hostguard runner service -apply | head -c 1", "t") // and whoever reads goes away
	m.config("ci", newConfig)
	m.shows("", "KillMode", "mixed")
	m.Want(0, "root", "hostguard runner service -apply", "nothing to change", "-restart-now")
	m.Want(0, "ci", "touch ~/act-runner/finish")
}

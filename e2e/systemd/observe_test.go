package systemd

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The observer runs confined, sees jobs of other users and writes what everybody may read.
func TestTheObserverIsAServiceOfTheSystem(t *testing.T) {
	t.Parallel()
	m := boot(t)
	m.register("ci")
	m.Want(0, "root", "hostguard runner service -runner-dir /home/ci/act-runner -apply", "  3. done")
	const observer = "hostguard-observe.service"
	const install = "hostguard install -prefix /opt/hg -observe"
	m.Want(0, "root", install, `1. create "/etc/systemd/system/`+observer+`"; systemctl daemon-reload`,
		"2. systemctl enable --now "+observer, "nothing is changed yet")
	m.Want(0, "root", "test ! -e /etc/systemd/system/"+observer)
	// Its Docker is elsewhere than others'.
	m.Give("root", "/etc/systemd/system/"+observer+".d/docker.conf",
		"[Service]\nEnvironment=DOCKER_HOST=unix:///docker.sock\n")
	m.Want(0, "root", install+" -apply", "  2. done", "undo with")
	m.Want(0, "root", "systemd-analyze verify "+observer)
	m.Want(0, "root", "systemctl show -p NoNewPrivileges "+observer, "NoNewPrivileges=yes")
	said := m.Want(0, "root", "systemd-analyze security --no-pager "+observer+" | tail -n 1")
	_, figure, _ := strings.Cut(said, ": ")
	var exposure float64
	if _, err := fmt.Sscan(figure, &exposure); err != nil || exposure > 3 {
		t.Errorf("%s, want at most 3", said)
	}
	m.Want(0, "root", install+" -apply", "nothing to change")

	lock := fmt.Sprintf("observed-%d", os.Getpid())
	m.Want(0, "ci", "sudo env DOCKER_HOST=unix:///docker.sock GITHUB_REPOSITORY=wooo/shop GITHUB_JOB=build "+
		"GITHUB_RUN_NUMBER=12 /opt/hg/bin/hostguard with-lock -lock-name "+lock+" -- sleep 2")
	m.Until("grep '\"name\":\"" + lock + "\"' /var/lib/hostguard/*.jsonl | grep -q '\"end\":\"released\"'")
	m.Want(0, "plain", "hostguard why -repository wooo/shop -job build",
		"wooo/shop build #12 did not wait: it held "+lock)

	m.Until("grep -q '\"kind\":\"runner\".*\"name\":\"" + unit + "\"' /var/lib/hostguard/open.jsonl")
	m.Want(0, "root", "systemctl stop "+unit)
	m.Until("grep '\"kind\":\"runner\"' /var/lib/hostguard/*.jsonl | grep -q '\"end\":\"up\"'")

	// It may write nowhere else, and its two capabilities only read.
	m.Give("root", "/etc/systemd/system/"+observer+".d/probe.conf",
		"[Service]\nExecStartPre=/bin/sh -c 'touch /home/ci/x /tmp/x /etc/x /root/x /var/lib/hostguard/x || true'\n")
	m.Want(0, "root", "systemctl daemon-reload; systemctl restart "+observer)
	m.Is("root", "ls /home/ci/x /tmp/x /etc/x /root/x /var/lib/hostguard/x 2>/dev/null || true", "/var/lib/hostguard/x")

	m.Want(0, "root", "systemctl stop "+observer+"; systemctl show -p Result "+observer, "Result=success")
	m.Want(0, "root", "hostguard install -prefix /opt/hg -uninstall -apply", "  1. done", "whose history stays")
	m.Want(0, "root", "test ! -e /etc/systemd/system/"+observer+" && ls /var/lib/hostguard/*.jsonl")
	m.Want(3, "root", "systemctl is-active "+observer)
}

func TestTheObserverIsAServiceOfAUser(t *testing.T) {
	t.Parallel()
	m := boot(t)
	m.Want(0, "root", "loginctl enable-linger plain")
	m.Until("test -S /run/user/1001/bus")
	m.Want(0, "plain", "mkdir -p ~/.config/systemd/user/hostguard-observe.service.d; "+
		"printf '[Service]\\nEnvironment=DOCKER_HOST=unix:///docker.sock\\n' "+
		">~/.config/systemd/user/hostguard-observe.service.d/docker.conf")
	m.Want(0, "plain", "hostguard install -observe -apply",
		"systemctl --user enable --now hostguard-observe.service", "  2. done")
	m.Want(0, "plain", "XDG_RUNTIME_DIR=/run/user/1001 systemctl --user is-active hostguard-observe.service")
	m.Until("ls /home/plain/.local/state/hostguard/open* /home/plain/.local/state/hostguard/*.jsonl")
	m.Want(0, "plain", "hostguard install -uninstall -apply", "  1. done")
	m.Want(3, "plain", "XDG_RUNTIME_DIR=/run/user/1001 systemctl --user is-active hostguard-observe.service")
}

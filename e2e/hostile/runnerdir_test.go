package hostile

import (
	"strings"
	"testing"
)

const unit = "gitea-act-runner-host.service"

// A user links his runner's directory to one of root's in which he may write: the unit
// ran his configuration as root.
func TestALinkedDirectoryMakesNoUnitOfRoot(t *testing.T) {
	t.Parallel()
	m := boot(t)
	register(m, "eve")
	const command = "hostguard runner service -runner-dir /home/eve/act-runner"
	m.Want(0, "eve", "cd; cp -r act-runner/. /var/tmp/; mv act-runner aside; ln -s /var/tmp act-runner")
	said, status := m.Run("root", command+" -apply")
	if status != 1 || !strings.Contains(said, "/home/eve") {
		runs, _ := m.Run("root", "systemctl show -p User,ActiveState,WorkingDirectory "+unit)
		t.Errorf("exit status %d\n%s%s", status, said, runs)
	}
	m.Want(1, "root", "test -e /etc/systemd/system/"+unit)
	m.Is("root", "grep -c 'capacity: 2' /var/tmp/config.yaml", "1")
	m.Want(0, "eve", "cd; rm act-runner; mv aside act-runner")
	m.Want(0, "root", command, "User=eve")
}

// secret is a file of root's alone with a label.
const secret = `umask 077; echo 'runner: {capacity: 2, labels: ["magpie:host"]}' >/root/secret.yaml`

// A user's process names files that are read for ever, or are nobody's business: reports of
// root's hung, and read what the user may not.
func TestFilesThatNeverEndDelayNoReport(t *testing.T) {
	t.Parallel()
	m := boot(t)
	register(m, "eve")
	m.Want(0, "root", secret)
	// A program of a runner's name that runs the script "daemon" and may have any arguments.
	m.Want(0, "eve", `cd; cp /bin/sh act_runner; echo 'sleep 1000' >daemon; mkfifo pipe
		for file in /proc/kmsg /sys/kernel/debug/tracing/trace_pipe pipe /root/secret.yaml /dev/zero; do
			setsid ./act_runner daemon --config $file </dev/null >/dev/null 2>&1 &
		done; sleep 0.2`)
	for _, command := range []string{"runner audit", "runner readiness", "doctor", "install"} {
		said, status := m.Run("root", "cd /; timeout -k 1 60 hostguard "+command+" 2>&1")
		if status > 1 || strings.Contains(said, "magpie") {
			t.Errorf("%s: exit status %d\n%s", command, status, said)
		}
	}
	m.Want(0, "eve", "sed -i 's#file: .runner#file: /proc/kmsg#' ~/act-runner/config.yaml")
	for _, command := range []string{"runner audit", "runner service"} {
		said, status := m.Run("root", "timeout -k 1 60 hostguard "+command+" -runner-dir /home/eve/act-runner")
		if status > 1 {
			t.Errorf("%s: exit status %d\n%s", command, status, said)
		}
	}
	m.Want(0, "eve", "cd ~/act-runner; rm config.yaml; mkfifo config.yaml")
	m.Want(0, "root", "timeout -k 1 60 hostguard runner audit -runner-dir /home/eve/act-runner", "not a regular file")
}

// A configuration that is a link to a file of root's shows and copies nothing of it.
func TestALinkedConfigurationIsReadAsItsUser(t *testing.T) {
	t.Parallel()
	m := boot(t)
	register(m, "eve")
	m.Want(0, "root", secret)
	m.Want(0, "eve", "cd ~/act-runner; ln -sf /root/secret.yaml config.yaml")
	for _, command := range []string{"audit", "service", "service -apply", "readiness"} {
		said, _ := m.Run("root", "hostguard runner "+command+" -runner-dir /home/eve/act-runner")
		denied := strings.Contains(said, "permission denied") || strings.Contains(said, "unreadable")
		if strings.Contains(said, "magpie") || !denied {
			t.Errorf("%s:\n%s", command, said)
		}
	}
	m.Is("root", "grep -rl magpie /home /tmp /var/tmp || true", "")
}

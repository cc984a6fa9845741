package systemd

import (
	"strings"
	"testing"
)

// oldTimer is what hosts had.
const oldTimer = `[Timer]
OnCalendar=*:0/5
[Install]
WantedBy=timers.target
`

// github gives a user a root of GitHub's runner in which a live worker has one
// file open, and which has one of a dead worker, too.
func (m *machine) github(user string) (root string) {
	m.T.Helper()
	root = "/home/" + user + "/actions-runner"
	m.Want(0, user, `mkdir -p `+root+`/bin `+root+`/_diag/pages && cd `+root+` && touch run.sh
		cp /bin/sleep bin/Runner.Worker && cp /bin/sleep bin/Runner.Listener
		cd _diag/pages && touch -d '2 hours ago' `+dead+` `+open+`
		setsid sh -c 'exec `+root+`/bin/Runner.Worker 1000 3<`+open+`' >/dev/null 2>&1 &
		setsid sh -c 'exec `+root+`/bin/Runner.Listener 1000' >/dev/null 2>&1 &
		sleep 0.1`)
	return root
}

const (
	dead = "11111111-1111-1111-1111-111111111111_11111111-1111-1111-1111-111111111111_1.log"
	open = "22222222-2222-2222-2222-222222222222_22222222-2222-2222-2222-222222222222_1.log"
)

// cleaned wants a run of the service to have removed what a dead worker left, and
// nothing else.
func (m *machine) cleaned(user, systemctl, root string) {
	m.T.Helper()
	m.Is("root", "ls "+root+"/_diag/pages", open)
	m.logged("live workers of this runner: 1;")
	m.logged("remove 1 (0 bytes); skip 0 newer, 1 open")
	m.Want(0, user, systemctl+" show -p NoNewPrivileges hostguard-clean-diag.service", "NoNewPrivileges=yes")
}

// logged waits until the journal has a line of hostguard's. Whose service it was
// the journal may not know.
func (m *machine) logged(text string) {
	m.T.Helper()
	m.Until("journalctl -t hostguard | grep -qF '" + text + "'")
}

func TestATimerOfTheSystemCleans(t *testing.T) {
	t.Parallel()
	m := boot(t)
	root := m.github("ci")
	m.Give("root", "/etc/systemd/system/runner-diag-cleanup.timer", oldTimer)
	m.Give("root", "/etc/systemd/system/runner-diag-cleanup.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n")
	m.Want(0, "root", "systemctl enable --now runner-diag-cleanup.timer")
	m.Want(1, "root", "hostguard doctor", "runner-diag-cleanup.timer is active",
		`files of dead jobs in "`+root+`" make the next`)
	m.Want(1, "ci", "hostguard runner cleanup-timer -run", "there is no hostguard-clean-diag.timer")
	const command = "hostguard runner cleanup-timer -runner-root /home/ci/actions-runner"
	m.Want(0, "ci", command,
		`create "/etc/systemd/system/hostguard-clean-diag.service", `+
			`create "/etc/systemd/system/hostguard-clean-diag.timer"; systemctl daemon-reload; systemctl start`,
		"systemctl enable --now hostguard-clean-diag.timer", "systemctl disable --now runner-diag-cleanup.timer",
		"-apply runs as root", "nothing is changed yet")
	said := m.Want(0, "ci", command+" -apply", "running as root through sudo", "  3. done")
	m.cleaned("root", "systemctl", root)
	m.Want(0, "root", "systemd-analyze verify hostguard-clean-diag.timer hostguard-clean-diag.service")
	m.Want(0, "root",
		"systemctl is-active hostguard-clean-diag.timer "+
			"&& ! systemctl is-active -q runner-diag-cleanup.timer "+
			"&& ! systemctl is-enabled -q runner-diag-cleanup.timer")
	m.Want(0, "ci", command+" -apply", "nothing to change")
	m.Want(0, "root", "hostguard doctor", "hostguard-clean-diag.timer is active")

	m.Want(0, "ci", "touch -d '2 hours ago' "+root+"/_diag/pages/"+dead)
	m.Want(0, "ci", "hostguard runner cleanup-timer -run", "remove 1 (0 bytes)", "ended with Result=success")
	m.cleaned("root", "systemctl", root)
	m.Want(0, "root", "hostguard runner cleanup-timer -status",
		"timer=hostguard-clean-diag.timer scope=system active/waiting, enabled",
		"next_run=20", "Result=success", "  log ")

	// It may write nowhere else.
	m.Give("root", "/etc/systemd/system/hostguard-clean-diag.service.d/probe.conf",
		"[Service]\nExecStart=\n"+
			"ExecStart=/bin/sh -c 'touch /home/ci/x /tmp/x "+root+"/x; touch "+root+"/_diag/probe'\n")
	m.Want(0, "root",
		"systemctl daemon-reload; systemctl start hostguard-clean-diag; "+
			"rm -r /etc/systemd/system/hostguard-clean-diag.service.d; systemctl daemon-reload")
	m.Is("root", "ls /home/ci/x /tmp/x "+root+"/x "+root+"/_diag/probe 2>/dev/null || true", root+"/_diag/probe")

	m.Want(0, "root", "hostguard runner cleanup-timer -remove", "nothing is changed yet")
	m.Want(0, "root", "systemctl is-active -q hostguard-clean-diag.timer")
	m.Want(0, "ci", "hostguard runner cleanup-timer -remove -apply", "done; undo with")
	m.Want(1, "root", "ls /etc/systemd/system | grep hostguard")
	m.Want(1, "root", "hostguard runner cleanup-timer -status", "runner-diag-cleanup.timer is not active")
	_, back, _ := strings.Cut(said, "-remove -apply; ")
	m.Want(0, "root", strings.TrimSuffix(back, `"`))
	m.Want(0, "root", "hostguard runner cleanup-timer -status",
		"timer=runner-diag-cleanup.timer scope=system active/waiting")
	m.Want(0, "root",
		"systemctl disable --now runner-diag-cleanup.timer; rm /etc/systemd/system/runner-diag-cleanup.*; "+
			"systemctl daemon-reload")
	m.Want(1, "root", "hostguard runner cleanup-timer -status",
		"there is no hostguard-clean-diag.timer; give -runner-root to make one")
}

func TestATimerOfAUserCleans(t *testing.T) {
	t.Parallel()
	m := boot(t)
	root := m.github("plain")
	m.Want(0, "root", "systemctl start user@1001")
	m.Want(0, "plain", "hostguard runner cleanup-timer -runner-root "+root+" -apply",
		"systemctl --user enable --now hostguard-clean-diag.timer", "Linger=no")
	m.cleaned("plain", "XDG_RUNTIME_DIR=/run/user/1001 systemctl --user", root)
	m.Want(0, "plain", "hostguard runner cleanup-timer -status", "scope=user active/waiting")

	// In a user namespace it would not see what a worker has open, and says so.
	m.Give("plain", "/home/plain/.config/systemd/user/hostguard-clean-diag.service.d/probe.conf",
		"[Service]\nPrivateUsers=yes\n")
	m.Want(0, "plain",
		"XDG_RUNTIME_DIR=/run/user/1001 systemctl --user daemon-reload; touch "+root+"/_diag/pages/"+open+
			"; hostguard runner cleanup-timer -run",
		"Result=success")
	m.logged("do not show their open files to this user namespace")
	m.Want(0, "plain", "rm -r ~/.config/systemd/user/hostguard-clean-diag.service.d")
	m.Want(0, "plain", "hostguard runner cleanup-timer -remove -apply", "done; undo with")
}

func TestATimerIsRefusedAProgramThatOthersCanChange(t *testing.T) {
	t.Parallel()
	m := boot(t)
	m.github("ci")
	m.Want(0, "root", "mkdir -p /opt/bin && cp /usr/local/bin/hostguard /opt/bin && chmod 777 /opt/bin")
	m.Want(1, "root", "/opt/bin/hostguard runner cleanup-timer -runner-root /home/ci/actions-runner -apply",
		`the timer would run "/opt/bin": others than root and user 1000 may change it`)
	m.Want(0, "root", "chmod 755 /opt/bin && chown plain /opt/bin/hostguard")
	m.Want(1, "root", "/opt/bin/hostguard runner cleanup-timer -runner-root /home/ci/actions-runner -apply",
		`the timer would run "/opt/bin/hostguard": others than root`)
	m.Want(1, "root", "ls /etc/systemd/system | grep hostguard")
	m.Want(2, "root", "hostguard runner cleanup-timer -runner-root /home/ci -apply", "holds neither .runner nor")
	m.Want(2, "root", "hostguard runner cleanup-timer", "give -runner-root")
}

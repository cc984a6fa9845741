package hostile

import (
	"strings"
	"testing"
)

// A process of the user waits for the helpers that hostguard starts as him, to look into them,
// trace them and take their pipes: each could while a helper started, and made root wait.
func TestNobodyLooksIntoAHelper(t *testing.T) {
	t.Parallel()
	m := boot(t)
	register(m, "eve")
	_, got := during(m, "eve", "trace", "hostguard runner audit -runner-dir /home/eve/act-runner", 3)
	if got["helpers"] < 3 {
		t.Errorf("%d helpers were seen", got["helpers"])
	}
	for what, n := range got {
		if what != "helpers" && what != "runs" {
			t.Errorf("%s: %d times", what, n)
		}
	}
}

// session runs a script on a terminal of root's, and then a shell that reads from there
// whatever has been typed.
func session(script string) string {
	return "rm -f /run/over; (until [ -e /run/over ]; do sleep 0.1; done) | script -qec '" + script +
		"; touch /run/over; exec sh -i' /dev/null"
}

// All that is the user's tries to type into the terminal from which root runs commands: the
// programs and scripts in his runner's directory, and his own processes.
func TestNobodyTypesIntoRootsTerminal(t *testing.T) {
	t.Parallel()
	m := boot(t)
	register(m, "eve")
	if allowed, _ := m.Run("root", "cat /proc/sys/dev/tty/legacy_tiocsti"); strings.TrimSpace(allowed) != "0" {
		// The attack is one: a process of the user's in root's session.
		m.Want(0, "eve", "mkdir -p /tmp/attack")
		m.Want(0, "root", session(`cd /tmp/attack
			setpriv --reuid eve --clear-groups attack type "touch /run/typed"`))
		m.Want(0, "root", "rm /run/typed")
	}
	m.Give("eve", "/home/eve/act-runner/act_runner", `#!/bin/sh
cd /tmp/attack && touch ran && exec attack type "touch /run/typed"
`)
	m.Want(0, "eve", "cd ~/act-runner; chmod +x act_runner; ln act_runner gitea-runner")
	said, got := during(m, "eve", `type "touch /run/typed"`, session(`
		cd /home/eve/act-runner
		for command in "service -apply" "split" audit readiness; do
			hostguard runner $command -runner-dir /home/eve/act-runner
		done
		hostguard doctor; hostguard install`), 1)
	m.Want(0, "root", "test -e /tmp/attack/ran") // by systemd
	m.Want(1, "root", "test -e /run/typed")
	if got["typed"] > 0 || !strings.Contains(said, "done; undo with") {
		t.Errorf("%v\n%s", got, said)
	}
}

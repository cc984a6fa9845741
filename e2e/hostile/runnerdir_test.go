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
	m.Want(0, "root", command, "User=eve")
	m.Want(0, "eve", "cd; cp -r act-runner/. /var/tmp/; mv act-runner aside; ln -s /var/tmp act-runner")
	said, status := m.Run("root", command+" -apply")
	if status != 1 || !strings.Contains(said, "/home/eve") {
		t.Errorf("exit status %d\n%s", status, said)
	}
	m.Want(1, "root", "test -e /etc/systemd/system/"+unit)
	m.Is("root", "grep -c 'capacity: 2' /var/tmp/config.yaml", "1")
}

package hostile

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"hostguard/e2e/rig/systemd"
)

// during has a user attack while root runs a script again and again: at least so many times,
// and until the attack has got far, and the script's variable seen, where it has one, is true. It
// returns what root's runs printed, and how far the attack got.
func during(m *systemd.Tested, user, attack, script string, times int) (said string, got map[string]int) {
	m.T.Helper()
	m.Want(0, user, "rm -rf /tmp/attack; mkdir /tmp/attack")
	cmd := m.Command(user, "cd /tmp/attack && exec attack "+attack)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		m.T.Fatal(err)
	}
	said = m.Want(0, "root", fmt.Sprintf(`n=0
		until [ $n -ge %d ] && [ -e /tmp/attack/enough ] && ${seen:-true} || [ $n -ge 200 ]; do
			n=$((n + 1))
			%s
		done
		touch /tmp/attack/stop; echo; echo runs=$n`, times, script))
	_ = cmd.Wait()
	got = map[string]int{}
	for line := range strings.Lines(out.String() + said[strings.LastIndex(said, "\n"):]) {
		name, number, _ := strings.Cut(strings.TrimSpace(line), "=")
		var n int
		if _, err := fmt.Sscan(number, &n); err == nil {
			got[name] = n
		}
	}
	m.T.Logf("attack %.20q: %v", attack, got)
	if got["runs"] < times || got["runs"] >= 200 {
		m.T.Errorf("the attack did not get far: %s", out.String())
	}
	return said, got
}

// What a user can exchange is exchanged all the time for links to what only root may read: its
// content is in no output, in no file, and nothing of it is removed.
func TestLinksThatComeAndGoLeadRootNowhere(t *testing.T) {
	t.Parallel()
	m := boot(t)
	const dead = "11111111-1111-1111-1111-111111111111_11111111-1111-1111-1111-111111111111_1.log"
	m.Want(0, "root", secret+`; cd /root; mkdir -p diag/pages; touch -d '3 hours ago' diag/pages/`+dead+`
		echo '{"id": 1, "name": "magpie", "address": "http://magpie", "labels": ["magpie"]}' >registration
		echo 'docker start gitea-runner # magpie' >script
		echo '* * * * * eve /home/eve/job.sh' >/etc/cron.d/job; chmod 644 /etc/cron.d/job
		printf 'runners:\n- {owner: a, labels: [a-host]}\n- {owner: b, labels: [b-host]}\n' >/root/plan.yaml`)
	register(m, "eve")
	m.Give("eve", "/home/eve/fresh.yaml",
		strings.ReplaceAll(config, `"awoooi-host:host"`, `"a-host:host", "b-host:host"`))
	m.Give("eve", "/home/eve/fresh.sh", `cd ~/act-runner; rm -f config.yaml .runner config registration
		cp ../fresh.yaml config.yaml; ln -s /root/secret.yaml config
		echo '{"id": 1, "name": "host110", "address": "http://127.0.0.1:1"}' >.runner
		ln -s /root/registration registration
		`)
	m.Want(0, "eve", `cd; echo true >job.sh; chmod +x job.sh; ln -s /root/script job
		mkdir -p actions/bin actions/_diag/pages; touch actions/run.sh actions/.runner; ln -s /root/diag actions/diag`)
	m.Want(0, "root", "hostguard runner cleanup-timer -runner-root /home/eve/actions -apply", "done")

	said, got := during(m, "eve", "exchange ~/act-runner/config.yaml ~/act-runner/config ~/act-runner/.runner "+
		"~/act-runner/registration ~/job.sh ~/job ~/actions/_diag ~/actions/diag", `
		: ${seen:=false}
		runuser -u eve -- sh /home/eve/fresh.sh
		for command in 'runner audit' 'runner split' 'runner service -apply' 'runner split -plan /root/plan.yaml'; do
			hostguard $command -runner-dir /home/eve/act-runner 2>&1
		done
		hostguard doctor 2>&1
		hostguard runner drain 2>&1
		hostguard runner cleanup-timer -run 2>&1
		if [ -e /etc/systemd/system/`+unit+` ]; then
			grep -h ^User= /etc/systemd/system/`+unit+` && seen=true
			systemctl disable --now -q `+unit+`; rm /etc/systemd/system/`+unit+`; systemctl daemon-reload
		fi`, 5)
	if got["exchanges"] < 40_000 {
		t.Errorf("%d exchanges", got["exchanges"])
	}
	for _, never := range []string{"magpie", "User=root", "docker start"} {
		if strings.Contains(said, never) {
			t.Errorf("root's commands say %q:\n%s", never, said)
		}
	}
	for _, sign := range []string{"a-host", "User=eve"} { // they did see his own
		if !strings.Contains(said, sign) {
			t.Errorf("nothing of the user's own was seen, such as %q:\n%s", sign, said)
		}
	}
	m.Is("root", "grep -rl magpie /home /tmp /var/tmp /etc /run || true", "")
	m.Is("root", "ls /root/diag/pages", dead)
}

// The parent of a runner's directory is exchanged for links to directories of root's: nothing
// is made there, changed or given away, and no unit runs what lies there.
func TestParentsThatComeAndGoLeadRootNowhere(t *testing.T) {
	t.Parallel()
	m := boot(t)
	m.Give("root", "/root/runners/act-runner/config.yaml", strings.ReplaceAll(config, "awoooi", "magpie"))
	m.Give("root", "/root/runners/act-runner/.runner", `{"id": 1, "name": "magpie", "uuid": "u", "labels": []}`)
	m.Want(0, "root", `mkdir /etc/act-runner /opt/runners; cp -r /root/runners/act-runner /opt/runners
		printf 'runners:\n- {owner: a, labels: [a-host], directory: /home/eve/in/b/new}\n' >/root/plan.yaml`)
	m.Give("eve", "/home/eve/fresh.yaml", config)
	m.Want(0, "eve", `cd; mkdir -p in/a in/b in/c
		ln -s /root/runners in/root; ln -s /etc in/etc; ln -s /opt/runners in/opt`)
	const state = `find /root /etc /opt -path /etc/systemd/system -prune -o -printf '%p %u:%g %m %s %T@\n' |
		sort | sha256sum`
	before := m.Want(0, "root", state)
	said, got := during(m, "eve", "exchange ~/in/a ~/in/root ~/in/b ~/in/etc ~/in/c ~/in/opt", `
		for in in a b c; do
			dir=/home/eve/in/$in/act-runner
			runuser -u eve -- sh -c "rm -rf $dir; mkdir -p $dir && cp ~/fresh.yaml $dir/config.yaml &&
				echo '{\"id\": 1, \"name\": \"host110\"}' >$dir/.runner" 2>/dev/null
			hostguard runner service -apply -runner-dir $dir 2>&1
			hostguard runner split -plan /root/plan.yaml -runner-dir $dir 2>&1
			if [ -e /etc/systemd/system/`+unit+` ]; then
				grep -h ^User= /etc/systemd/system/`+unit+`
				systemctl disable --now -q `+unit+`; rm /etc/systemd/system/`+unit+`; systemctl daemon-reload
			fi
		done`, 5)
	if got["exchanges"] < 30_000 {
		t.Errorf("%d exchanges", got["exchanges"])
	}
	if strings.Contains(said, "User=root") {
		t.Errorf("a unit runs as root what the user leads it to:\n%s", said)
	}
	if after := m.Want(0, "root", state); after != before {
		t.Errorf("something of root's has changed:\n%s", m.Want(0, "root", "find /root /etc /opt -mmin -3"))
	}
}

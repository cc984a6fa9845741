package systemd

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"hostguard/e2e/rig/contend"
	"hostguard/e2e/rig/engine"
	"hostguard/e2e/rig/gitea"
)

// mixedConfig is that of one runner for three owners.
const mixedConfig = `log:
  level: info

runner:
  file: .runner
  capacity: 1
  env_file: .env # of the host
  shutdown_timeout: 1h
  labels:
    - "ubuntu-latest:docker://ci-runner:act-22.04"
    - "ubuntu-22.04:docker://ci-runner:act-22.04"
    - "awoooi-host:host"
    - "ewoooc-host:host" # since May

host:
  workdir_parent:
`

// mixedUnit runs it as a unit that was made by hand.
const mixedUnit = `[Unit]
Description=Gitea Actions Runner
[Service]
User=ci
WorkingDirectory=/home/ci/act-runner
Environment="PATH=/opt/node/bin:/usr/bin:/bin"
ExecStart=/usr/local/bin/PROGRAM daemon --config /home/ci/act-runner/config.yaml
KillMode=mixed
TimeoutStopSec=3960
[Install]
WantedBy=multi-user.target
`

// workflow builds an image, with these steps before.
func workflow(label, steps string) string {
	return "on: workflow_dispatch\nconcurrency: cd\njobs:\n  build:\n    runs-on: " + label + "\n    steps:\n" + steps +
		"      - run: docker build -t app .\n"
}

const takesLock = "      - uses: https://gitea.example.com/wooo/hostguard/lock@v1.0.0\n"

var owners = []string{"awoooi", "shared", "ewoooc"}

// pool is a machine with a Gitea and one runner for three owners.
type pool struct {
	*machine
	gitea        *gitea.Server
	user         *gitea.User // who owns the repositories
	registration string      // the token of runners
}

// mixed boots one.
func mixed(t *testing.T, docker *engine.Engine, program string, options ...string) *pool {
	t.Helper()
	server, err := gitea.StartAt("http://127.0.0.1:3000")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	p := &pool{gitea: server}
	if p.user, err = server.User("wooo", false); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"awoooi", "ewoooc"} {
		p.repository(t, name, workflow(name+"-host", takesLock))
	}
	p.repository(t, "stockplatform-v2",
		"on: workflow_dispatch\njobs: {hygiene: {runs-on: ubuntu-latest, steps: [{run: make}]}}\n")
	if p.registration, err = server.RegistrationToken(); err != nil {
		t.Fatal(err)
	}
	socket, err := server.Socket()
	if err != nil {
		t.Fatal(err)
	}
	p.machine = bootPrograms(t, docker, runners, append(options, "-v", socket+":/gitea.sock")...)
	p.Give("root", "/srv/gitea/token", server.Admin.Token)
	p.Want(0, "root", "chmod 600 /srv/gitea/token; chmod 666 /gitea.sock")
	p.Want(0, "root", "systemd-run --quiet --unit gitea --working-directory /srv/gitea /usr/local/bin/gitea")
	p.Until("gitea GET /version")
	p.Want(0, "ci", "mkdir ~/awoooi")
	p.Give("ci", "/home/ci/act-runner/config.yaml", mixedConfig)
	p.Want(0, "ci",
		"cd ~/act-runner && "+program+" register --no-interactive --config config.yaml"+
			" --instance http://127.0.0.1:3000 --name host110 --token "+p.registration)
	p.Want(0, "root", "mkdir -m 777 /var/tmp/recorded")
	p.Give("root", "/etc/systemd/system/"+unit, strings.Replace(mixedUnit, "PROGRAM", program, 1))
	p.Want(0, "root", "systemctl enable --now "+unit)
	p.Until(primaryIsOnline)
	return p
}

// repository makes a repository with one workflow.
func (p *pool) repository(t *testing.T, name, workflow string) {
	t.Helper()
	if err := p.user.CreateRepository(name, false); err != nil {
		t.Fatal(err)
	}
	p.commit(t, name, workflow)
}

// commit changes the workflow of a repository.
func (p *pool) commit(t *testing.T, name, workflow string) {
	t.Helper()
	if err := p.user.Commit("wooo/"+name, map[string]string{".gitea/workflows/cd.yaml": workflow}); err != nil {
		t.Fatal(err)
	}
}

// job starts a job on a label, which runs until the file is there, and returns a
// function that wants it to have succeeded.
func (p *pool) job(label, file string) (succeeded func()) {
	p.T.Helper()
	repo := fmt.Sprintf("job%d", time.Now().UnixNano())
	p.repository(p.T, repo,
		"on: push\njobs: {wait: {runs-on: "+label+", steps: [{run: 'until [ -e "+file+" ]; do sleep 0.05; done'}]}}\n")
	run, err := p.user.Run("wooo/"+repo, 1)
	if err == nil {
		run, err = p.user.Started("wooo/"+repo, run.ID)
	}
	if err != nil {
		p.T.Fatal(err)
	}
	return func() {
		p.T.Helper()
		ended, err := p.user.Ended("wooo/"+repo, run.ID)
		if err != nil || ended.Conclusion != "success" {
			p.T.Fatalf("the job has ended with %q, %v", ended.Conclusion, err)
		}
	}
}

// split is the command, with a token that may do all.
func (p *pool) split() string {
	return "cd ~/awoooi && GITEA_TOKEN=" + p.gitea.Admin.Token + " hostguard runner split"
}

// forget removes all runners but the first from the server.
func (p *pool) forget() {
	p.T.Helper()
	all, err := p.gitea.Runners()
	if err != nil {
		p.T.Fatal(err)
	}
	for _, runner := range all {
		if runner.Name == "host110" {
			continue
		}
		path := fmt.Sprintf("/admin/actions/runners/%d", runner.ID)
		if err := p.gitea.Admin.Call("DELETE", path, nil, nil); err != nil {
			p.T.Fatal(err)
		}
	}
}

// state is all that a split changes: files, units, processes' services, the server's
// runners. Whether those are online changes by itself, a minute after their last word;
// so does whether systemd still lists a unit that is stopped.
func (p *pool) state() string {
	p.T.Helper()
	var state strings.Builder
	state.WriteString(p.Want(0, "root",
		`find /home/ci /etc/systemd/system -path '*/.cache' -prune -o \( -type f -o -type l \) -print0 `+
			`| sort -z | xargs -0 sha256sum
		ls -A /home/ci | grep -vx .cache
		systemctl list-units --plain --no-legend 'gitea-act-runner*' | tr -s ' '
		for u in /etc/systemd/system/gitea-act-runner*.service; do systemctl is-enabled ${u##*/}; done`))
	runners, err := p.gitea.Runners()
	if err != nil {
		p.T.Fatal(err)
	}
	// Gitea lists first the runner that it has heard of last.
	slices.SortFunc(runners, func(a, b gitea.RegisteredRunner) int { return cmp.Compare(a.ID, b.ID) })
	for _, r := range runners {
		fmt.Fprintln(&state, r.ID, r.Name, r.Disabled, r.Labels)
	}
	return state.String()
}

const (
	runnersOf       = "gitea GET /admin/actions/runners"
	primaryIsOnline = runnersOf + ` | grep -q 'host110","status":"online"'`
)

func TestARunnerOfThreeOwnersIsSplit(t *testing.T) {
	for _, program := range []string{"act_runner", "gitea-runner"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			m := mixed(t, quiet, program)
			m.Want(1, "ci", "hostguard runner readiness", "blocker=single_registered_runner_with_mixed_owner_labels",
				"installed_split_services=0/3")
			m.Want(0, "ci", "cd ~/awoooi && hostguard doctor", "L11  warn", "L12  warn", "fix: hostguard runner split")

			m.Want(0, "ci", m.split()+" >~/split.yaml")
			before := m.state()
			said := m.Want(0, "ci", m.split()+" -plan ~/split.yaml", "repositories whose builds take the lock: 3",
				`create "/home/ci/act-runner-shared", for "ci" alone`,
				`register "host110-ewoooc" at "http://127.0.0.1:3000"`, "nothing is changed yet")
			if after := m.state(); after != before {
				t.Fatalf("the plan has changed\n%s\ninto\n%s", before, after)
			}

			said += m.Want(0, "ci", m.split()+" -plan ~/split.yaml -apply",
				"running as root through sudo:", "done; undo with ")
			for _, owner := range owners {
				dir, service := "/home/ci/act-runner-"+owner, "gitea-act-runner-"+owner+".service"
				m.Is("root", "stat -c '%U %a' "+dir+" "+dir+"/config.yaml", "ci 700\nci 600")
				m.Is("root",
					"systemctl show --value -p User,KillMode,TimeoutStopUSec"+
						",ActiveState,UnitFileState,Environment "+service+" | sort | paste -sd' '",
					"1h 6min PATH=/opt/node/bin:/usr/bin:/bin active ci enabled mixed")
				m.Want(0, "root", "systemd-analyze verify "+service)
				m.Want(0, "root", "cat "+dir+"/config.yaml",
					"workdir_parent: "+dir+"/.cache/act", "dir: "+dir+"/.cache/actcache",
					"env_file: /home/ci/act-runner/.env # of the host", "file: .runner")
			}
			m.Is("root", "grep host: /home/ci/act-runner-ewoooc/config.yaml",
				`- "ewoooc-host:host" # since May`+"\nhost:")
			m.config("ci", mixedConfig)
			m.Is("root", "systemctl show --value -p ActiveState,UnitFileState "+unit+" | paste -sd' '",
				"inactive disabled")

			// Each label has one runner; the reports agree; nothing is left to do.
			labels := m.Want(0, "ci", "cd ~/awoooi && GITEA_TOKEN="+m.gitea.Admin.Token+" hostguard runner labels",
				"jobs: 3; ok 3,")
			// To the server the primary is there for a minute after its last word.
			for _, row := range []string{
				"awoooi-host    host110-awoooi idle, host110 (idle|offline)",
				"ewoooc-host    host110-ewoooc idle, host110 (idle|offline)",
				"ubuntu-latest  host110-shared idle, host110 (idle|offline)",
			} {
				if !regexp.MustCompile(row).MatchString(labels) {
					t.Errorf("no %q in\n%s", row, labels)
				}
			}
			m.Want(0, "ci", "hostguard runner readiness", "isolation_ready=true", "blocker=none",
				"safe_next_step=none", "installed_split_services=3/3")
			doctor, _ := m.Run("ci", "cd ~/awoooi && hostguard doctor")
			for _, line := range []string{
				"L4   ok", "L6   ok", "L11  ok",
				"L12  ok   split by owner: each owner has a runner of its own",
			} {
				if !strings.Contains(doctor, line) {
					t.Errorf("no %q in\n%s", line, doctor)
				}
			}
			split3 := m.state()
			m.Want(0, "ci", m.split()+" -plan ~/split.yaml -apply", "nothing to change")
			if after := m.state(); after != split3 {
				t.Fatalf("a second run has changed\n%s\ninto\n%s", split3, after)
			}

			m.noTokens(said)
			// Nor has any program of the runner's user had the registration token.
			m.Want(1, "root", "grep -rq "+m.registration+" /var/tmp/recorded")

			// The way back, as it was told.
			_, back, _ := strings.Cut(said, `undo with "`)
			back, _, _ = strings.Cut(back, "\"\n")
			for step := range strings.SplitSeq(back, "; ") {
				if !strings.HasPrefix(step, "remove its runner") {
					m.Want(0, "root", step)
				}
			}
			m.Is("root", "systemctl show --value -p ActiveState,UnitFileState "+unit+" | paste -sd' '",
				"active enabled")
			m.Is("root", "ls /home/ci", "act-runner\nawoooi\nsplit.yaml")
		})
	}
}

// The primary is found by what it runs, whatever its unit is called, when that is
// stopped and not loaded any more, and when it was removed. Nothing advises to start
// it again: it has the labels of all.
func TestAPrimaryOfAnotherNameIsSplitTwice(t *testing.T) {
	t.Parallel()
	const other = "runner-sysq.service"
	m := mixed(t, quiet, "act_runner")
	m.Want(0, "root",
		"cd /etc/systemd/system && systemctl disable --now "+unit+" && mv "+unit+" "+other+
			" && systemctl daemon-reload && systemctl enable --now "+other)
	m.Until(primaryIsOnline)
	m.Want(0, "ci", m.split()+" >~/split.yaml")
	m.Want(0, "ci", m.split()+" -plan ~/split.yaml -apply", "done; undo with ")
	m.Is("root", "systemctl show --value -p ActiveState,UnitFileState "+other+" | paste -sd' '", "inactive disabled")

	before := m.state()
	for _, removed := range []bool{false, true} {
		if removed {
			m.Want(0, "root", "rm /etc/systemd/system/"+other+" && systemctl daemon-reload")
			before = m.state()
		}
		m.Want(0, "ci", m.split()+" -plan ~/split.yaml -apply", "nothing to change")
		if after := m.state(); after != before {
			t.Fatalf("a second run has changed\n%s\ninto\n%s", before, after)
		}
		m.Want(0, "ci", "hostguard runner readiness", "isolation_ready=true", "safe_next_step=none",
			"primary_runner_dir=/home/ci/act-runner\n")
		m.Want(1, "ci", "hostguard runner service -apply", `the runner in "/home/ci/act-runner" is retired`)
		doctor, _ := m.Run("ci", "cd ~/awoooi && hostguard doctor")
		for _, line := range []string{"L6   ok", "L11  ok", "L12  ok"} {
			if !strings.Contains(doctor, line) {
				t.Errorf("no %q in\n%s", line, doctor)
			}
		}
		if after := m.state(); after != before {
			t.Fatalf("advice has changed\n%s\ninto\n%s", before, after)
		}
	}
}

// noTokens wants no token in what was said, nor in an argument, an environment,
// the journal or a file that is left.
func (p *pool) noTokens(said string) {
	p.T.Helper()
	if strings.Contains(said, p.registration) || strings.Contains(said, p.gitea.Admin.Token) {
		p.T.Errorf("a token is in what it says:\n%s", said)
	}
	tokens := " -e " + p.registration + " -e " + p.gitea.Admin.Token + " "
	found, _ := p.Run("root", "grep -slF"+tokens+`/var/tmp/recorded/argv /var/tmp/recorded/environ
		grep -rlF`+tokens+`/home /etc /tmp /root /var/tmp --exclude-dir recorded
		journalctl | grep -F`+tokens)
	if found != "" {
		p.T.Errorf("a token is in\n%s", found)
	}
}

// service is the path of the runners' protocol.
const service = "/api/actions/runner.v1.RunnerService/"

func TestASplitThatFailsIsTakenBack(t *testing.T) {
	for name, c := range map[string]struct {
		fails, says string
		left        string // what cannot be taken back
	}{
		"no registration token": {
			"POST /api/v1/admin/actions/runners/registration-token 403",
			"give a GITEA_TOKEN with write:admin", "",
		},
		"no registration": {"POST " + service + "Register 500", "change 2 of", ""},
		"never online": {
			"POST " + service + "Declare 500\nPOST " + service + "FetchTask 500",
			"offline or disabled", "",
		},
		"runners are told no more": {"GET /api/v1/admin/actions/runners 500", "answers 500", ""},
		"a lost reply":             {"REPLY " + service + "Register 1", "change 2 of", `runner "host110-awoooi" (id `},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := mixed(t, quiet, "gitea-runner")
			m.Want(0, "ci", m.split()+" >~/split.yaml")
			before := m.state()
			m.Give("root", "/srv/gitea/fails", c.fails)
			said, status := m.Run("ci", m.split()+" -plan ~/split.yaml -apply")
			if status != 1 && status != 3 || !strings.Contains(said, c.says) || !strings.Contains(said, c.left) {
				t.Errorf("exit status %d, want %q and %q in\n%s", status, c.says, c.left, said)
			}
			m.noTokens(said)
			m.Want(0, "root", "rm /srv/gitea/fails")
			if c.left != "" {
				m.forget()
			}
			m.Until(primaryIsOnline)
			if after := m.state(); after != before {
				t.Errorf("before\n%s\nafter\n%s", before, after)
			}
		})
	}
}

// oneForAll is a plan that moves all labels to one runner: the fewest changes.
const oneForAll = "runners: [{owner: shared, labels: [ubuntu-latest, ubuntu-22.04, awoooi-host, ewoooc-host]DIR}]"

// Whatever fails, the host and the server are as they were.
func TestEachStepOfASplitIsTakenBack(t *testing.T) {
	t.Parallel()
	m := mixed(t, quiet, "gitea-runner", "--tmpfs", "/small:size=24k,mode=755,uid=1000")
	m.Give("ci", "/home/ci/split.yaml", strings.Replace(oneForAll, "DIR", "", 1))
	m.Give("ci", "/home/ci/small.yaml", strings.Replace(oneForAll, "DIR", ", directory: /small/act-runner-shared", 1))
	m.Give("ci", "/home/ci/most.yaml", `runners:
  - {owner: awoooi, labels: [awoooi-host, ubuntu-latest, ubuntu-22.04], directory: /home/ci/act-runner}
  - {owner: ewoooc, labels: [ewoooc-host]}
`)
	before := m.state()
	command := m.split() + " -runner-dir /home/ci/act-runner -plan /home/ci/PLAN.yaml -apply"
	on := func(plan string) string {
		// The checkout is another user's: so is what it names as its server.
		return strings.NewReplacer("~", "/home/ci", "PLAN", plan, "cd ", "PATH=/opt:$PATH; cd ",
			"GITEA_TOKEN", "GITEA_SERVER_URL=http://127.0.0.1:3000 GITEA_TOKEN").Replace(command)
	}
	back := func(status int, what, script string, says ...string) {
		t.Helper()
		said := m.Want(status, "root", script, append(says, "everything is as it was before")...)
		m.Until(primaryIsOnline)
		if after := m.state(); after != before {
			t.Fatalf("%s: before\n%s\nafter\n%s\nit said\n%s", what, before, after, said)
		}
		m.Want(0, "root", "test -z \"$(ls /small)\"")
		m.noTokens(said)
	}

	// Each call of systemctl in turn: the unit is read, it is started, the primary
	// is stopped, or restarted with fewer labels.
	m.Give("root", "/opt/systemctl", failingSystemctl)
	m.Want(0, "root", "chmod 755 /opt/systemctl")
	for _, plan := range []string{"split", "most"} {
		for call := range 3 {
			back(3, fmt.Sprintf("%s, call %d", plan, call+1),
				fmt.Sprintf("echo %d >/run/calls; %s", call+1, on(plan)), "exit status 7")
		}
	}

	// What cannot be taken back is said by name.
	m.Give("root", "/srv/gitea/fails", "DELETE /api/v1/admin/actions/runners 403")
	m.Want(3, "root", "echo 2 >/run/calls; "+on("split"),
		"could not undo everything", `remove the runner "host110-shared", whose id is`,
		`remove it at "http://127.0.0.1:3000" by hand`,
		"the rest is as it was before")
	m.Want(0, "root", "rm /opt/systemctl /srv/gitea/fails")
	m.forget()
	if after := m.state(); after != before {
		t.Fatalf("before\n%s\nafter\n%s", before, after)
	}

	// A full disk: no page for the directory's files, and none for the registration.
	for _, free := range []int{0, 1} {
		m.Want(0, "root",
			fmt.Sprintf("dd if=/dev/zero of=/small/fill bs=4096 2>/dev/null; truncate -s -%d /small/fill", free*4096))
		said, status := m.Run("root", on("small"))
		m.Want(0, "root", "rm /small/fill")
		if status != 3 || !strings.Contains(said, "no space left on device") ||
			!strings.Contains(said, "everything is as it was before") {
			t.Errorf("%d pages: exit status %d\n%s", free, status, said)
		}
		m.Want(0, "root", `[ -z "$(ls /small)" ]`)
		if after := m.state(); after != before {
			t.Fatalf("%d pages: before\n%s\nafter\n%s\nit said\n%s", free, before, after, said)
		}
	}

	// Ctrl-C and a lost connection, while it waits for a job of the primary.
	m.job("awoooi-host", "/home/ci/finish")
	for signal, status := range map[string]int{"INT": 130, "HUP": 143} {
		run := m.Command("root", on("split")+" -wait 1m >/run/said 2>&1 & echo $! >/run/hg; wait $!")
		if err := run.Start(); err != nil {
			t.Fatal(err)
		}
		m.Until("grep -q waiting /run/said && systemctl is-active -q gitea-act-runner-shared.service")
		m.Want(0, "root", "kill -"+signal+" $(pidof hostguard)")
		_ = run.Wait()
		said := m.Want(0, "root", "cat /run/said", "everything is as it was before")
		if run.ProcessState.ExitCode() != status {
			t.Errorf("%s: status %d, it said\n%s", signal, run.ProcessState.ExitCode(), said)
		}
		if after := m.state(); after != before {
			t.Fatalf("%s: before\n%s\nafter\n%s\nit said\n%s", signal, before, after, said)
		}
	}
}

// A job that a new runner has begun is let end, and what it needs is left: what
// could not be taken back is said.
func TestAJobOfANewRunnerIsNotCutOff(t *testing.T) {
	t.Parallel()
	m := mixed(t, quiet, "gitea-runner")
	m.Give("ci", "/home/ci/split.yaml", strings.Replace(oneForAll, "DIR", "", 1))
	first := m.job("awoooi-host", "/home/ci/finish")
	run := m.Command("ci", m.split()+" -plan ~/split.yaml -apply -wait 1m >~/said 2>&1")
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	m.Until("grep -q waiting /home/ci/said")
	second := m.job("awoooi-host", "/home/ci/finish")
	m.Until("ls -d /home/ci/act-runner-shared/.cache/act/*")
	m.Want(0, "root", "kill -INT $(pidof hostguard)")
	m.Until("systemctl show -P ActiveState gitea-act-runner-shared.service | grep -q deactivating")
	_ = run.Wait() // a minute
	m.Want(0, "ci", "cat ~/said", "could not undo everything",
		`"gitea-act-runner-shared.service" is "deactivating": a job of it may run; `+
			`once it has stopped, remove "/home/ci/act-runner-shared" and its runner at the server`)
	m.Want(0, "root",
		"ls -d /home/ci/act-runner-shared/.cache/act/*; gitea GET /admin/actions/runners | grep host110-shared")
	m.Want(0, "ci", "touch ~/finish")
	m.Until("! systemctl is-active -q gitea-act-runner-shared.service")
	first()
	second()
	m.Want(0, "root", "systemctl is-active "+unit)
}

// planWith returns a plan of one runner that has these fields more.
func planWith(fields string) string {
	return "runners: [{owner: awoooi, labels: [awoooi-host]" + fields + "}]"
}

// wrongPlans are plans that are refused, with what is said of each.
var wrongPlans = map[string]string{
	planWith(""): "no runner of the plan has the primary's label",
	"runners: [{owner: awoooi, labels: [gpu]}]":       `line 1: the primary has no label "gpu"`,
	planWith(", directory: /etc/act-runner"):          `line 1: "/etc" is user 0's`,
	planWith(", directory: /home/ci/link/act-runner"): `line 1: "/home/ci/link" is a link`,
	planWith(", directory: /home/plain/act-runner"):   `line 1: "/home/plain" is user 1001's`,
	"runners:\n- {owner: awoooi, labels: [awoooi-host]}\n" +
		"- {owner: b, labels: [awoooi-host]}": `line 3: label "awoooi-host" is already that of line 2`,
	planWith(", directory: /home/ci/act-runner, service: b.service"): "is the service of the primary's directory",
}

func TestWhatASplitRefuses(t *testing.T) {
	t.Parallel()
	docker := engine.ForTest(t, engine.New)
	if err := os.Chmod(docker.Host()[len("unix://"):], 0o666); err != nil {
		t.Fatal(err)
	}
	m := mixed(t, docker, "act_runner")
	m.Want(0, "ci", m.split()+" >~/split.yaml")
	before := m.state()
	command := m.split() + " -plan ~/split.yaml -apply"
	refused := func(status int, script string, says ...string) {
		t.Helper()
		m.Want(status, "ci", script, says...)
		if after := m.state(); after != before {
			t.Fatalf("before\n%s\nafter\n%s", before, after)
		}
	}
	refused(1, strings.Replace(command, m.gitea.Admin.Token, "other", 1),
		"the runners' server cannot be queried", "rejects the token")
	refused(1, strings.Replace(command, "cd ~/awoooi", "cd /", 1),
		"the runners' server cannot be queried", "give -checkout")
	refused(1, "export DOCKER_HOST=unix:///nowhere; "+command,
		"whether a container runs the primary's registration is not known")

	m.Give("root", "/etc/systemd/system/"+unit+".d/x.conf", "[Service]\nKillMode=control-group\n")
	m.Want(0, "root", "systemctl daemon-reload")
	m.Want(1, "ci", command, "would cancel a job that begins while it is stopped")
	m.Want(0, "root", "rm -r /etc/systemd/system/"+unit+".d; systemctl daemon-reload")

	m.commit(t, "ewoooc", workflow("ewoooc-host", ""))
	refused(1, command,
		`"wooo/ewoooc": "cd.yaml" job "build" builds images (line 7) without the host's lock`,
		"fix: put uses: wooo/hostguard/lock")
	m.commit(t, "ewoooc", "jobs: [")
	refused(1, command, `"wooo/ewoooc": workflow "cd.yaml"`, "fix the file")
	m.Give("root", "/srv/gitea/fails", "GET /api/v1/repos/wooo/ewoooc/contents 403")
	refused(1, command, "give -local-repo wooo/ewoooc=PATH")
	m.Give("root", "/srv/gitea/fails", "")
	m.commit(t, "ewoooc", workflow("ewoooc-host", takesLock))

	const task = "GITEA-ACTIONS-TASK-7_WORKFLOW-ci_JOB-build"
	m.container(docker, "--name", task)
	refused(1, command, "the primary is not stopped while jobs run", task, "give -wait 1h")
	waits := m.Want(1, "ci", command+" -wait 1s", "jobs still run after", "everything is as it was before")
	if after := m.state(); after != before {
		t.Fatalf("before\n%s\nafter\n%s\nit said %s", before, after, waits)
	}
	m.docker(docker, "rm", "-f", task)

	for plan, says := range wrongPlans {
		m.Want(0, "ci", "ln -sfn / ~/link")
		m.Give("ci", "/tmp/plan.yaml", plan)
		m.Want(2, "ci", strings.Replace(command, "~/split.yaml", "/tmp/plan.yaml", 1), says)
		m.Want(0, "ci", "rm ~/link")
	}
	if after := m.state(); after != before {
		t.Fatalf("before\n%s\nafter\n%s", before, after)
	}
}

// Without root the units are the user's.
func TestAUsersRunnerIsSplit(t *testing.T) {
	t.Parallel()
	m := mixed(t, quiet, "act_runner")
	m.Want(0, "root",
		"systemctl disable --now "+unit+"; rm /etc/systemd/system/"+unit+"; systemctl daemon-reload; "+
			"mv /home/ci/act-runner /home/ci/awoooi /home/plain; "+
			"chown -R plain /home/plain; systemctl start user@1001")
	m.Want(0, "plain", "hostguard runner service -apply")
	m.Give("plain", "/home/plain/split.yaml", strings.Replace(oneForAll, "DIR", "", 1))
	command := m.split() + " -plan ~/split.yaml -apply"
	byRoot := strings.NewReplacer("~", "/home/plain", "split -plan", "split -runner-dir /home/plain/act-runner -plan")
	m.Want(1, "root", byRoot.Replace(command), `runs this runner, in the unit "`+unit+`" of user 1001`)
	said := m.Want(0, "plain", command, "systemctl --user enable --now gitea-act-runner-shared.service",
		"done; undo with", "Linger=no")
	m.noTokens(said)
	m.Is("root", "stat -c '%U %a' /home/plain/act-runner-shared", "plain 700")
	m.Is("plain",
		"XDG_RUNTIME_DIR=/run/user/1001 systemctl --user is-active "+unit+" gitea-act-runner-shared.service; :",
		"inactive\nactive")
	m.Want(0, "plain", command, "nothing to change")
}

// A plan may leave labels to the primary. Jobs of the new runners do not keep it
// from its restart, its own do.
func TestThePrimaryKeepsWhatThePlanLeavesToIt(t *testing.T) {
	t.Parallel()
	m := mixed(t, quiet, "gitea-runner")
	m.Give("ci", "/home/ci/split.yaml", `runners:
  - {owner: awoooi, labels: [awoooi-host, ubuntu-latest, ubuntu-22.04], directory: /home/ci/act-runner}
  - {owner: ewoooc, labels: [ewoooc-host]}
`)
	first := m.job("awoooi-host", "/home/ci/finish")
	m.Want(1, "ci", m.split()+" -plan ~/split.yaml -apply", "the primary is not stopped while jobs run: host job in")
	// The server gives no registration token: it comes by stdin, also through sudo.
	m.Give("root", "/srv/gitea/fails", "POST /api/v1/admin/actions/runners/registration-token 403")
	waiting := m.Command("ci",
		"echo "+m.registration+" | ( "+m.split()+" -plan ~/split.yaml -apply -wait 1m -token-stdin )")
	log := new(contend.Log)
	waiting.Stdout, waiting.Stderr = log, log
	if err := waiting.Start(); err != nil {
		t.Fatal(err)
	}
	m.Until("systemctl is-active -q gitea-act-runner-ewoooc.service")
	second := m.job("ewoooc-host", "/home/ci/finish-ewoooc") // a job of the new one
	m.Until("ls -d /home/ci/act-runner-ewoooc/.cache/act/*")
	m.Want(0, "ci", "touch ~/finish")
	if err := waiting.Wait(); err != nil {
		t.Fatal(err, log.String())
	}
	m.noTokens(log.String())
	first()
	m.config("ci", strings.Replace(mixedConfig, `    - "ewoooc-host:host" # since May`+"\n", "", 1))
	m.Is("root", "systemctl show --value -p ActiveState,UnitFileState "+unit+" | paste -sd' '", "active enabled")
	m.Want(0, "ci", m.split()+" -plan ~/split.yaml -apply", "nothing to change")
	m.Want(0, "ci",
		"cd ~/awoooi && GITEA_TOKEN="+m.gitea.Admin.Token+" hostguard runner labels",
		"awoooi-host    host110 ", "ewoooc-host    host110-ewoooc busy")
	m.Want(0, "ci", "touch ~/finish-ewoooc")
	second()

	// The way back, as it was told.
	_, back, _ := strings.Cut(log.String(), `undo with "`)
	back, _, _ = strings.Cut(back, "\"\n")
	for step := range strings.SplitSeq(back, "; ") {
		if !strings.HasPrefix(step, "remove its runner") {
			m.Want(0, "root", step)
		}
	}
	m.config("ci", mixedConfig)
	m.Is("root", "ls /home/ci", "act-runner\nawoooi\nfinish\nfinish-ewoooc\nsplit.yaml")
}

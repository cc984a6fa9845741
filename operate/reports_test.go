package operate

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostguard/internal/cli"
	"hostguard/runner"
	"hostguard/runner/config"
	"hostguard/runner/finding"
)

// host110 returns the host of the old reports.
func host110() runner.Host {
	h := runner.Host{
		Units: []runner.Unit{{
			Name: runner.PrimaryService, Scope: "user", Load: "loaded", Active: "active", Sub: "running", MainPID: 4711,
			KillMode: "mixed", StopTimeout: 2 * time.Hour,
		}},
		Lingers: true, Dir: "/home/wooo/act-runner", ConfigPath: "/home/wooo/act-runner/config.yaml", Registered: true,
		RegistrationPath: "/home/wooo/act-runner/.runner", Daemons: []runner.Daemon{{PID: 4711,
			Registration: "/home/wooo/act-runner/.runner"}},
		Config:     config.Config{Capacity: 1, Timeout: 3 * time.Hour, ShutdownTimeout: time.Hour},
		Containers: []runner.Container{{Name: "gitea-runner", Restart: "no", Status: "exited"}},
	}
	for _, l := range []string{
		"ubuntu-latest:docker://192.168.0.110:5000/awoooi/ci-runner:act-22.04",
		"ubuntu-22.04:docker://192.168.0.110:5000/awoooi/ci-runner:act-22.04",
		"ubuntu-24.04:docker://192.168.0.110:5000/awoooi/ci-runner:act-22.04", "awoooi-host:host",
		"ewoooc-host:docker://192.168.0.110:5000/awoooi/ci-runner:act-22.04",
	} {
		h.Config.Labels = append(h.Config.Labels, config.ParseLabel(l))
	}
	return h
}

// printed returns the output of print outside a workflow.
func printed(print func(s *cli.Session)) string {
	var out bytes.Buffer
	w := cli.World{Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }}
	print(cli.NewSession(w, nil))
	return out.String()
}

func TestTheAuditPrintsTheLinesOfTheOldReport(t *testing.T) {
	r := newAuditReport(host110(), 0)
	got := printed(r.print)
	want := `service=gitea-act-runner-host.service active/running, NRestarts=0, MainPID=4711, scope=user
runner.config=/home/wooo/act-runner/config.yaml
runner.capacity=1
runner.timeout=3h
runner.shutdown_timeout=1h
docker gitea-runner: Restart=no Status=exited Running=false
active_action_containers=none
active_host_jobs=none
owner=awoooi
label ubuntu-latest:docker://192.168.0.110:5000/awoooi/ci-runner:act-22.04 shared_queue
label ubuntu-22.04:docker://192.168.0.110:5000/awoooi/ci-runner:act-22.04 shared_queue
label ubuntu-24.04:docker://192.168.0.110:5000/awoooi/ci-runner:act-22.04 shared_queue
label awoooi-host:host awoooi_dedicated
label ewoooc-host:docker://192.168.0.110:5000/awoooi/ci-runner:act-22.04 foreign_or_cross_repo
foreign_labels=ewoooc-host:docker://192.168.0.110:5000/awoooi/ci-runner:act-22.04
recent 2h repo counts: none
warn: labels of other owners share this queue: "ewoooc-host"; fix: hostguard runner split; ` +
		`never remove one without a runner that replaces it
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheTasksOfTheLastHours(t *testing.T) {
	h := host110()
	for _, line := range []string{
		`level=info msg="task 1 repo is wooo/awoooi http://g"`,
		`level=info msg="task 2 repo is wooo/ewoooc http://g"`,
		`level=info msg="task 3 repo is wooo/ewoooc http://g"`,
	} {
		task, _ := runner.ParseTask(line)
		h.Tasks = append(h.Tasks, task)
	}
	got := printed(newAuditReport(h, 2).print)
	for _, line := range []string{"recent 2h repo counts: wooo/ewoooc=2 wooo/awoooi=1\n",
		`  log "level=info msg=\"task 3`} {
		if !strings.Contains(got, line) {
			t.Errorf("no %q in\n%s", line, got)
		}
	}
	if strings.Contains(got, `"task 1 `) {
		t.Errorf("more than the last two lines in\n%s", got)
	}
}

func TestReadinessPrintsTheLinesOfTheOldReport(t *testing.T) {
	h := host110()
	for _, owner := range h.LabelOwners() {
		h.SplitDirs = append(h.SplitDirs, runner.SplitDir{Path: runner.SplitDirOf(h.Dir, owner), Status: "missing",
			Service: runner.SplitServiceOf(owner)})
	}
	h.ActiveContainers = []string{"GITEA-ACTIONS-TASK-3435_WORKFLOW-ci_JOB-frontend"}
	got := printed(func(s *cli.Session) {
		for _, f := range readinessFields(h, runner.CheckReadiness(h)) {
			s.Print("%s%s%s", f.name, f.sign, f.value)
		}
	})
	want := `primary_service=gitea-act-runner-host.service scope=user LoadState=loaded ActiveState=active SubState=running
primary_runner_dir=/home/wooo/act-runner
primary_registration_file=present
primary labels:
  ubuntu-latest / ubuntu-22.04 / ubuntu-24.04 -> shared_queue
  awoooi-host -> awoooi_dedicated
  ewoooc-host -> foreign_dedicated
mixed_owner_classes=1
split_dir=/home/wooo/act-runner-awoooi status=missing
split_dir=/home/wooo/act-runner-shared status=missing
split_dir=/home/wooo/act-runner-ewoooc status=missing
installed_split_services=0/3
active_action_containers=GITEA-ACTIONS-TASK-3435_WORKFLOW-ci_JOB-frontend
active_host_jobs=none
isolation_ready=false
blocker=single_registered_runner_with_mixed_owner_labels
safe_next_step=register_additional_runner_dirs_before_removing_live_labels
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Labels, names and log lines of others open no line and hold no control
// character, whatever they are.
func TestHostileValuesStayInTheirPlace(t *testing.T) {
	const evil = "x\n::set-env name=BASH_ENV::y\x1b[2J"
	h := host110()
	h.Units[0].Sub, h.Units[0].KillMode = evil, evil
	h.Config.Labels = append(h.Config.Labels, config.ParseLabel(evil), config.ParseLabel("::add-path::/x"),
		config.ParseLabel(evil+"-host"))
	h.Config.Problems = []string{"a"}
	h.Containers = append(h.Containers, runner.Container{Name: evil, Restart: evil, Status: evil, Running: true})
	h.ActiveContainers, h.ActiveHostJobs = []string{evil}, []string{"/" + evil}
	h.Tasks = []runner.Task{{Repository: evil, Line: evil}}
	h.Schedule = []runner.Scheduled{{Where: "x", Command: "docker start gitea-runner " + evil}}
	h.Dir, h.ConfigPath = "/"+evil, "/"+evil
	for _, owner := range h.LabelOwners() {
		h.SplitDirs = append(h.SplitDirs, runner.SplitDir{Path: runner.SplitDirOf(h.Dir, owner), Status: "missing",
			Service: runner.SplitServiceOf(owner)})
	}
	got := printed(func(s *cli.Session) {
		newAuditReport(h, 9).print(s)
		for _, f := range readinessFields(h, runner.CheckReadiness(h)) {
			s.Print("%s%s%s", f.name, f.sign, f.value)
		}
		doctorReport{Layers: runner.Diagnose(h, nil, nil, nil), Unseen: unseenOf(h)}.print(s)
		if err := s.JSON(newAuditReport(h, 9)); err != nil {
			t.Error(err)
		}
	})
	for line := range strings.Lines(got) {
		if strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\n\r\x1b") ||
			strings.HasPrefix(strings.TrimSpace(line), "::") {
			t.Errorf("%q", line)
		}
	}
}

func TestDoctorHasOneLinePerLayer(t *testing.T) {
	report := doctorReport{Layers: runner.Diagnose(host110(), nil,
		[]finding.Finding{{Layer: 3, Level: finding.Bad, Evidence: "e", Fix: "f"},
			{Layer: 3, Level: finding.Warn, Evidence: "g", Fix: "h"}}, nil)}
	lines := strings.Split(printed(report.print), "\n")
	if len(lines) != 14 || lines[2] != "L3   bad  host-wide build lock: e; fix: f (1 more: -json)" ||
		!strings.HasPrefix(lines[11], "L12  warn split by owner: one runner serves 3 owners") {
		t.Errorf("%q", lines)
	}
	data, err := json.Marshal(report)
	if err != nil || !strings.Contains(string(data), `{"layer":3,"level":"warn","evidence":"g","fix":"h"}`) {
		t.Error(string(data), err)
	}
}

// The doctor prints a cause once, however many layers have it, and ends with how many
// are bad.
func TestTheDoctorSaysAThingOnce(t *testing.T) {
	none := finding.Finding{Level: finding.Warn, Evidence: "containers were not seen: no daemon", Fix: "start it"}
	layer := func(name string, f finding.Finding, more ...finding.Finding) runner.Layer {
		return runner.Layer{Layer: name, Title: "title", Level: f.Level, Evidence: f.Evidence, Fix: f.Fix,
			Findings: append([]finding.Finding{f}, more...)}
	}
	report := doctorReport{Layers: []runner.Layer{
		{Layer: "L1", Title: "title", Evidence: "nothing found"},
		layer("L3", finding.Finding{Level: finding.Bad, Evidence: "no lock", Fix: "start it"}),
		layer("L7", none), layer("L8", finding.Finding{Level: finding.Warn, Evidence: "no load", Fix: "look"}),
		layer("L9", none, none), {Layer: "L10", Title: "title", Evidence: "nothing found"},
	}, Unseen: []string{"no daemon; start it", "no journal"}}
	want := `L1   ok   title: nothing found
L3   bad  title: no lock; fix: start it
L7   warn title: containers were not seen: no daemon; fix: as L3
L8   warn title: no load; fix: look
L9   warn title: as L7 (1 more: -json)
L10  ok   title: nothing found
not seen: no journal
1 bad, 3 warn, 2 ok
`
	if diff := cmp.Diff(want, printed(report.print)); diff != "" {
		t.Error(diff)
	}
}

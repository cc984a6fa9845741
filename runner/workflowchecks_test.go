package runner

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// deploy is a workflow that does everything right, with one job's steps to come.
func deploy(steps string) string {
	return "on: push\nconcurrency: {group: cd}\njobs:\n  build:\n    runs-on: awoooi-host\n    steps:\n" + steps
}

const (
	gateStep    = "    - {uses: wooo/hostguard@v1.0.0, with: {step: wait-pressure}}\n"
	lockStep    = "    - uses: https://gitea.example.com/wooo/hostguard/lock@v1.0.0\n"
	acquireStep = "    - {uses: wooo/hostguard@v1.0.0, with: {step: acquire-lock}}\n"
	releaseStep = "    - {if: always(), uses: wooo/hostguard@v1.0.0, with: {step: release-lock}}\n"
	buildStep   = "    - run: docker build -t app .\n"
)

func TestWhatIsRightInAWorkflow(t *testing.T) {
	for name, yaml := range map[string]string{
		"a lock with a post step": deploy(gateStep + lockStep + buildStep),
		"a lock in two steps":     deploy(gateStep + acquireStep + buildStep + releaseStep),
		"by the command":          deploy(gateStep + "    - run: hostguard with-lock -timeout 30m -- docker build -t app .\n"),
		"in a shell":              deploy(gateStep + "    - run: |\n        hostguard acquire-lock\n        docker build .\n" + "    - {if: '${{ always() }}', run: hostguard release-lock}\n"),
		"no build":                deploy("    - run: echo docker build\n    - run: docker network create test-net\n    - run: docker network rm test-net\n"),
		"jobs one by one":         "on: push\nconcurrency: x\njobs: {a: {runs-on: awoooi-host}, b: {runs-on: awoooi-host, needs: a}, c: {runs-on: awoooi-host, needs: [b]}}",
		"jobs on two labels":      "on: push\nconcurrency: x\njobs: {a: {runs-on: awoooi-host}, b: {runs-on: ubuntu-latest}}",
		"called only":             "on: workflow_call\njobs: {a: {runs-on: awoooi-host}}",
	} {
		if found := CheckWorkflows([]Workflow{parse(t, yaml)}, nil); len(found) > 0 {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

func TestWhatIsWrongInAWorkflow(t *testing.T) {
	cancels := func(yaml string) string {
		return strings.Replace(yaml, "{group: cd}", "{group: cd, cancel-in-progress: true}", 1)
	}
	for name, c := range map[string]struct {
		yaml  string
		layer int
		level Level
		says  string
	}{
		"a build without a lock":      {deploy(gateStep + buildStep), 3, Bad, `job "build": builds images (line 8) without the host's lock`},
		"by an action":                {deploy(gateStep + "    - uses: docker/build-push-action@v6\n"), 3, Bad, "without the host's lock"},
		"by compose":                  {deploy(gateStep + "    - run: docker compose up -d --build\n"), 3, Bad, "without the host's lock"},
		"by buildx":                   {deploy(gateStep + "    - run: sudo docker --context x buildx build .\n"), 3, Bad, "without the host's lock"},
		"a build without the gate":    {deploy(lockStep + buildStep), 8, Warn, "without waiting for heavy builds"},
		"never given back":            {deploy(gateStep + acquireStep + buildStep), 3, Bad, "takes the lock and never gives it back"},
		"given back on success alone": {deploy(gateStep + acquireStep + buildStep + strings.Replace(releaseStep, "if: always(), ", "", 1)), 3, Bad, "release-lock (line 10) does not run after every end of the job"},
		"a plain lock":                {deploy(gateStep + "    - run: docker network create awoooi-cd-docker-build-lock\n" + buildStep), 3, Warn, `makes the lock "awoooi-cd-docker-build-lock" by docker network create`},
		"a plain unlock":              {deploy("    - run: docker network rm awoooi-cd-docker-build-lock || true\n"), 3, Bad, "may remove another job's lock"},
		"cancel without a lock":       {cancels(deploy(gateStep + buildStep)), 5, Bad, "without a lock that outlasts cancel-in-progress"},
		"cancel with two steps":       {cancels(deploy(gateStep + acquireStep + buildStep + releaseStep)), 5, Warn, "no release step runs"},
		"no concurrency":              {strings.Replace(deploy(""), "concurrency: {group: cd}\n", "", 1), 5, Warn, "without concurrency"},
		"two jobs at once":            {"on: push\nconcurrency: x\njobs: {a: {runs-on: awoooi-host}, b: {runs-on: [awoooi-host]}}", 5, Warn, `job "b": may run at the same time as job "a" on "awoooi-host"`},
	} {
		t.Run(name, func(t *testing.T) {
			found := CheckWorkflows([]Workflow{parse(t, c.yaml)}, nil)
			for _, f := range found {
				if f.Layer == c.layer && f.Level == c.level && strings.Contains(f.Evidence, c.says) && f.Fix != "" {
					return
				}
			}
			t.Errorf("no %q in %+v", c.says, found)
		})
	}
}

func TestACommandIsFoundBehindWhatStartsItAndBeforeItsRedirections(t *testing.T) {
	for script, want := range map[string]struct{ lock, unlock string }{
		"if ! docker network create awoooi-cd-lock >/dev/null 2>&1; then sleep 5; fi": {lock: "awoooi-cd-lock"},
		"docker network create awoooi-cd-lock > /dev/null":                            {lock: "awoooi-cd-lock"},
		"docker network create \"$LOCK\" --label by=ci &>/dev/null":                   {lock: "$LOCK"},
		"docker network create --label held=lock -d bridge app 2>>err":                {},
		"sudo -n docker network rm awoooi-cd-lock 2>&1 | tee log":                     {unlock: "awoooi-cd-lock"},
		"timeout -k 5 30 docker network rm -f awoooi-cd-lock":                         {unlock: "awoooi-cd-lock"},
		"echo >lock docker network rm awoooi-cd-lock":                                 {},
	} {
		var lock, unlock string
		for _, c := range shellCommands(script) {
			lock, unlock = lock+c.plainLock(), unlock+c.plainUnlock()
		}
		if lock != want.lock || unlock != want.unlock {
			t.Errorf("%q: %q, %q", script, lock, unlock)
		}
	}
	for script, want := range map[string]bool{
		"sudo -E docker build .": true, "sudo -u ci -- docker build .": true, "nice -n 10 docker build .": true, "timeout 30m docker build .": true,
		"time -p env -u X A=b docker build . >log 2>&1": true, "exec docker builder build .": true, "2>&1 docker build .": true,
		"sudo": false, "timeout 30m": false, "sudo -u": false, "echo docker build .": false, "timeout 30m echo docker build": false,
	} {
		if got := slices.ContainsFunc(shellCommands(script), shellCommand.builds); got != want {
			t.Errorf("%q: %t", script, got)
		}
	}
}

func TestAWorkflowsNamesAreQuoted(t *testing.T) {
	w := parse(t, "on: push\njobs: {\"a\\n::set-env name=x::y\": {runs-on: awoooi-host, steps: [{run: docker build .}]}}")
	for _, f := range CheckWorkflows([]Workflow{w}, []string{"awoooi-host"}) {
		if strings.Contains(f.Evidence+f.Fix, "\n") {
			t.Errorf("%+v", f)
		}
	}
}

func TestACircleOfNeedsEnds(t *testing.T) {
	w := parse(t, "jobs: {a: {runs-on: x-host, needs: b}, b: {runs-on: x-host, needs: a}, c: {runs-on: x-host, needs: c}}")
	if found := CheckWorkflows([]Workflow{w}, nil); len(found) == 0 {
		t.Error("nothing found")
	}
}

// A thousand jobs, each after the one before it, are looked at in no time.
func TestALongChainOfJobs(t *testing.T) {
	w := parse(t, "on: workflow_call\njobs: {"+strings.TrimSuffix(manyJobs(), ", ")+"}")
	if found := CheckWorkflows([]Workflow{w}, nil); len(w.Jobs) != maxLegs || len(found) > 0 {
		t.Errorf("%d jobs: %+v", len(w.Jobs), found)
	}
}

// The examples are what this project tells others to write.
func TestTheExamplesAreRight(t *testing.T) {
	var all []Workflow
	for _, name := range []string{"cd.yaml", "cd-host.yaml", "serial-builds.yaml"} {
		data, err := os.ReadFile(filepath.Join("../examples", name))
		if err != nil {
			t.Fatal(err)
		}
		w, err := ParseWorkflow(name, data)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, w)
	}
	for _, f := range CheckWorkflows(all, []string{"awoooi-host"}) {
		if f.Level == Bad || f.Layer != 5 || !strings.Contains(f.Evidence, "before v2.0") {
			t.Errorf("%+v", f)
		}
	}
	data, err := os.ReadFile("../examples/runner-config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	h := good()
	if h.Config, err = ParseConfig(data); err != nil {
		t.Fatal(err)
	}
	if found := Audit(h); len(found) > 0 {
		t.Errorf("%+v", found)
	}
}

func TestEachLayerHasOneLine(t *testing.T) {
	layers := Diagnose(good(), nil, []Finding{{3, Warn, "a", "b"}, {3, Bad, "c", "d"}}, map[int]string{1: "nothing left"})
	if len(layers) != 12 {
		t.Fatal(len(layers))
	}
	for i, l := range layers {
		want := OK
		switch i {
		case 2:
			want = Bad
		case 10, 11: // two owners' labels: shared and awoooi
			want = Warn
		}
		if l.Level != want || l.Evidence == "" || l.Title == "" {
			t.Errorf("%+v, want %s", l, want)
		}
	}
	if layers[2].Evidence != "c" || len(layers[2].Findings) != 2 || layers[0].Evidence != "nothing left" {
		t.Errorf("%+v", layers[:3])
	}
}

// What could not be seen is not good.
func TestAHostOutOfSightIsNotCalledGood(t *testing.T) {
	h := Host{UnitsUnseen: []string{"no systemd"}, ConfigUnseen: "no config", DockerUnseen: "no Docker", TasksUnseen: "no journal", ProcessesUnseen: "no /proc"}
	layers := Diagnose(h, nil, nil, nil)
	for _, n := range []int{4, 6, 7, 9, 10, 11, 12} {
		if layers[n-1].Level == OK {
			t.Errorf("%+v", layers[n-1])
		}
	}
}

func FuzzShellCommands(f *testing.F) {
	f.Add("docker build \\\n . # x\nif ! a; then sudo b=c 'd e' \"f $g\"; fi | xargs -r docker start")
	f.Fuzz(func(t *testing.T, script string) {
		for _, c := range shellCommands(script) {
			if len(c.words) == 0 {
				t.Error("no words")
			}
			_, _, _ = c.docker(), c.plainLock(), c.plainUnlock()
			_ = c.revives(Container{Name: WrappedContainer}, script)
		}
	})
}

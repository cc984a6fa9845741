package workflow

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hostguard/runner/finding"
)

// deploy returns a workflow that does everything right, with one job's steps to come.
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
		"by the command": deploy(gateStep +
			"    - run: hostguard with-lock -timeout 30m -- docker build -t app .\n"),
		"in a shell": deploy(
			gateStep + "    - run: |\n        hostguard acquire-lock\n" +
				"        docker build .\n" +
				"    - {if: '${{ always() }}', run: hostguard release-lock}\n",
		),
		"no build": deploy(
			"    - run: echo docker build\n" +
				"    - run: docker network create test-net\n" +
				"    - run: docker network rm test-net\n",
		),
		"jobs one by one": "on: push\nconcurrency: x\njobs: {a: {runs-on: awoooi-host}, " +
			"b: {runs-on: awoooi-host, needs: a}, " +
			"c: {runs-on: awoooi-host, needs: [b]}}",
		"jobs on two labels": "on: push\nconcurrency: x\n" +
			"jobs: {a: {runs-on: awoooi-host}, b: {runs-on: ubuntu-latest}}",
		"called only": "on: workflow_call\njobs: {a: {runs-on: awoooi-host}}",
	} {
		if found := Check([]Workflow{parse(t, yaml)}, nil); len(found) > 0 {
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
		level finding.Level
		text  string
	}{
		"a build without a lock": {
			deploy(gateStep + buildStep),
			3, finding.Bad, `job "build": builds images (line 8) without the host's lock`,
		},
		"by an action": {
			deploy(gateStep + "    - uses: docker/build-push-action@v6\n"),
			3, finding.Bad, "without the host's lock",
		},
		"by compose": {
			deploy(gateStep + "    - run: docker compose up -d --build\n"),
			3, finding.Bad, "without the host's lock",
		},
		"by buildx": {
			deploy(gateStep + "    - run: sudo docker --context x buildx build .\n"),
			3, finding.Bad, "without the host's lock",
		},
		"a build without the gate": {deploy(lockStep + buildStep), 8, finding.Warn, "without waiting for heavy builds"},
		"never given back": {
			deploy(gateStep + acquireStep + buildStep),
			3, finding.Bad, "takes the lock and never gives it back",
		},
		"given back on success alone": {
			deploy(gateStep + acquireStep + buildStep +
				strings.Replace(releaseStep, "if: always(), ", "", 1)),
			3, finding.Bad, "release-lock (line 10) does not run after every end of the job",
		},
		"a plain lock": {
			deploy(gateStep + "    - run: docker network create awoooi-cd-docker-build-lock\n" + buildStep),
			3, finding.Warn, `creates the lock "awoooi-cd-docker-build-lock" by docker network create`,
		},
		"a plain unlock": {
			deploy("    - run: docker network rm awoooi-cd-docker-build-lock || true\n"),
			3, finding.Bad, "may remove another job's lock",
		},
		"cancel without a lock": {
			cancels(deploy(gateStep + buildStep)),
			5, finding.Bad, "without a lock that outlasts cancel-in-progress",
		},
		"cancel with two steps": {
			cancels(deploy(gateStep + acquireStep + buildStep + releaseStep)),
			5, finding.Warn, "no release step runs",
		},
		"no concurrency": {
			strings.Replace(deploy(""), "concurrency: {group: cd}\n", "", 1),
			5, finding.Warn, "without concurrency",
		},
		"two jobs at once": {
			"on: push\nconcurrency: x\njobs: {a: {runs-on: awoooi-host}, b: {runs-on: [awoooi-host]}}",
			5, finding.Warn, `job "b": may run at the same time as job "a" on "awoooi-host"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			found := Check([]Workflow{parse(t, c.yaml)}, nil)
			for _, f := range found {
				if f.Layer == c.layer && f.Level == c.level && strings.Contains(f.Evidence, c.text) && f.Fix != "" {
					return
				}
			}
			t.Errorf("no %q in %+v", c.text, found)
		})
	}
}

// Shell text that does not parse is unknown, which is not "no build".
func TestAStepThatCannotBeReadMayBuild(t *testing.T) {
	const unreadable = "    - run: 'if true; then docker build .'\n"
	for name, c := range map[string]struct {
		steps string
		want  bool
	}{
		"without the lock":       {unreadable, true},
		"python that runs it":    {"    - {shell: python, run: 'if x: run([\"docker\", \"build\"])'}\n", true},
		"a name in two parts":    {"    - run: 'if true; then doc\"ker\" build .'\n", true},
		"behind the lock":        {acquireStep + unreadable + releaseStep, false},
		"with a lock of the job": {lockStep + unreadable, false},
		"without Docker":         {"    - run: 'if true; then make .'\n", false},
	} {
		found := Check([]Workflow{parse(t, deploy(gateStep+c.steps))}, nil)
		got := slices.ContainsFunc(found, func(f finding.Finding) bool {
			unread := "may build images without the host's lock: its shell text cannot be read (line 8: "
			return f.Layer == 3 && f.Level == finding.Warn && strings.Contains(f.Evidence, unread)
		})
		if got != c.want || !c.want && len(found) > 0 {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

func TestBuildsWithinWordsTakeTheLock(t *testing.T) {
	for run, bare := range map[string]bool{
		`id="$(docker build -q .)"`:                                              true,
		`bash -c "docker build ."`:                                               true,
		`hostguard with-lock -- bash -c "docker build ."`:                        false,
		`hostguard with-lock -- sudo -u x docker build .`:                        false,
		"cat > build.sh <<EOF\ndocker build .\nEOF":                              false,
		`flock /tmp/x sh -c "hostguard acquire-lock; docker build ."`:            false,
		`bash -c "docker build ${{ inputs.args }}"`:                              true,
		`id="$(hostguard acquire-lock)"; docker build .; hostguard release-lock`: false,
	} {
		j := Job{Steps: []Step{{Run: run, Line: 1}}}
		if u := usesOf(j); (u.bare != "") != bare || u.unread != "" {
			t.Errorf("%q: %+v", run, u)
		}
	}
	within := Step{Run: `hostguard with-lock -- bash -c "docker build ."`}
	if u := usesOf(Job{Steps: []Step{within}}); u.build == "" || !u.held {
		t.Errorf("%+v", u)
	}
}

func TestAWorkflowsNamesAreQuoted(t *testing.T) {
	w := parse(t, "on: push\njobs: {\"a\\n::set-env name=x::y\": {runs-on: awoooi-host, steps: [{run: docker build .}]}}")
	for _, f := range Check([]Workflow{w}, []string{"awoooi-host"}) {
		if strings.Contains(f.Evidence+f.Fix, "\n") {
			t.Errorf("%+v", f)
		}
	}
}

func TestACircleOfNeedsEnds(t *testing.T) {
	w := parse(t, "jobs: {a: {runs-on: x-host, needs: b}, b: {runs-on: x-host, needs: a}, c: {runs-on: x-host, needs: c}}")
	if found := Check([]Workflow{w}, nil); len(found) == 0 {
		t.Error("nothing found")
	}
}

// A thousand jobs, each after the one before it, are looked at in no time.
func TestALongChainOfJobs(t *testing.T) {
	w := parse(t, "on: workflow_call\njobs: {"+strings.TrimSuffix(manyJobs(), ", ")+"}")
	if found := Check([]Workflow{w}, nil); len(w.Jobs) != maxLegs || len(found) > 0 {
		t.Errorf("%d jobs: %+v", len(w.Jobs), found)
	}
}

// Builds in slots of one lock, and jobs that share one, are meant to run beside each other.
func TestWhatALockLetsRunTogetherIsNoFault(t *testing.T) {
	const job = "{runs-on: x-host, steps: [{uses: wooo/hostguard/lock@v1, with: {lock-name: %s}}, " +
		"{run: docker build .}]}"
	for jobs, want := range map[[2]string]int{
		{"a, slots: 2, share: true", "a, slots: 2"}:  0,
		{"a, slots: 1, share: true", "a, slots: 2"}:  1, // the first waits for no other build
		{"a, slots: 2", "a, slots: 2"}:               1, // at the same time
		{"a, slots: 2, share: true", "b, slots: 2"}:  1,
		{"a, slots: 2, share: false", "a, slots: 2"}: 1,
	} {
		w := parse(t, fmt.Sprintf("jobs: {x: "+job+", y: "+job+"}", jobs[0], jobs[1]))
		if found := Check([]Workflow{w}, []string{"x-host"}); len(found) != want {
			t.Errorf("%s beside %s: %+v", jobs[0], jobs[1], found)
		}
	}
}

// The examples are what this project recommends.
func TestTheExamplesAreRight(t *testing.T) {
	files, err := filepath.Glob("../../examples/workflows/*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	var all []Workflow
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		w, err := Parse(filepath.Base(file), data)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, w)
	}
	for _, f := range Check(all, []string{"awoooi-host", "ci-host"}) {
		if f.Level == finding.Bad || f.Layer != 5 || !strings.Contains(f.Evidence, "before v2.0") {
			t.Errorf("%+v", f)
		}
	}
}

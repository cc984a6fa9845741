package workflow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"hostguard/e2e/rig/act"
)

// action is an export of this checkout that all tests use as wooo/hostguard@v1.
var action struct {
	sync.Once
	dir string
	err error
}

func TestMain(m *testing.M) {
	serveHooks()
	if os.Getenv("HOSTGUARD_TEST_GITEA") != "" {
		serveGitea()
	}
	status := m.Run()
	os.RemoveAll(action.dir)
	os.RemoveAll(release.dir)
	os.Exit(status)
}

func exported(t *testing.T) string {
	t.Helper()
	action.Do(func() {
		if action.dir, action.err = os.MkdirTemp("", "hostguard"); action.err == nil {
			action.err = act.Export(action.dir)
		}
	})
	if action.err != nil {
		t.Fatal(action.err)
	}
	return action.dir
}

// run runs a workflow and returns its log and how it ended.
func run(t *testing.T, job act.Job) (string, error) {
	t.Helper()
	job.Action = exported(t)
	job.Env = append(job.Env, "ACTION="+job.Action)
	var log bytes.Buffer
	err := job.Run(t.Context(), t.TempDir(), &log)
	t.Logf("%s\n%v", log.String(), err)
	return log.String(), err
}

// underBothActs runs a test with each build of the engine.
func underBothActs(t *testing.T, test func(t *testing.T, build string)) {
	for _, build := range []string{act.Nektos, act.Gitea} {
		t.Run(build, func(t *testing.T) {
			t.Parallel()
			test(t, build)
		})
	}
}

// hostile is what an input may hold when it comes from a commit message or the
// name of a branch. Every input gets it.
const hostile = "$(touch x)`touch x`'\"; touch x; #\n-rf\n" +
	"::set-env name=BASH_ENV::x\r\n##[add-path]x\t${HOME} %0A \\n é\n"

func TestInputsArriveAsPlainData(t *testing.T) {
	for _, use := range []struct {
		file, uses, dump string
	}{
		{file: "../../action.yml", uses: "wooo/hostguard@v1", dump: "step"},
		{file: "../../lock/action.yml", uses: "wooo/hostguard/lock@v1", dump: "acquire-lock"},
	} {
		t.Run(use.uses, func(t *testing.T) {
			underBothActs(t, func(t *testing.T, build string) {
				inputs := slices.DeleteFunc(declaredInputs(t, use.file), func(name string) bool { return name == "job-status" })
				var with strings.Builder
				for _, name := range inputs {
					fmt.Fprintf(&with, "          %s: %s\n", name, quoted(t, "-"+name+hostile))
				}
				dir := t.TempDir()
				_, err := run(t, act.Job{Build: build, Repository: "wooo/site", Workflow: `
on: push
jobs:
  build:
    runs-on: awoooi-host
    steps:
      - uses: ` + use.uses + `
        with:
` + with.String() + `
      - run: env -0 >"$DUMPS/later"; test -z "$(ls -A)"
`, Env: []string{"DUMPS=" + dir, "HOSTGUARD_BIN=" + dumper(t)}})
				if err != nil {
					t.Error(err)
				}
				got := dumped(t, dir, use.dump)
				for _, name := range inputs {
					expect(t, got, name, "-"+name+hostile)
				}
				if use.dump == "acquire-lock" {
					got := dumped(t, dir, "release-lock")
					expect(t, got, "lock-name", "-lock-name"+hostile)
					expect(t, got, "lock-backend", "-lock-backend"+hostile)
					if got["STATE_record"] != "what the binary keeps" {
						t.Errorf("the post got the state %q", got["STATE_record"])
					}
				}
				for name := range dumped(t, dir, "later") {
					kept := name == "HOSTGUARD_BIN" || name == "HOSTGUARD_JOB_STATUS" // by the host, and for the post
					if name == "BASH_ENV" || strings.HasPrefix(name, "HOSTGUARD_") && !kept {
						t.Errorf("later steps see %s", name)
					}
				}
			})
		})
	}
}

// What a host sets for all of its jobs reaches the binary beside the inputs, of
// which those that are not given are empty: the defaults are the binary's.
func TestInputsNotGivenAreEmptyAndHideNothing(t *testing.T) {
	underBothActs(t, func(t *testing.T, build string) {
		dir := t.TempDir()
		_, err := run(t, act.Job{Build: build, Repository: "wooo/site", Workflow: `
on: push
jobs:
  build:
    runs-on: awoooi-host
    steps:
      - uses: wooo/hostguard@v1
        with:
          step: clean-diag
      - uses: wooo/hostguard/lock@v1
      - run: echo HOSTGUARD_LOCK_NAME=later >>"$GITHUB_ENV"
`, Env: []string{
			"DUMPS=" + dir, "HOSTGUARD_BIN=" + dumper(t), "HOSTGUARD_LOCK_NAME=of-host",
			"HOSTGUARD_INPUT_TIMEOUT=stale",
		}})
		if err != nil {
			t.Error(err)
		}
		for dump, file := range map[string]string{"step": "../../action.yml", "acquire-lock": "../../lock/action.yml"} {
			got := dumped(t, dir, dump)
			for _, name := range declaredInputs(t, file) {
				if name != "step" && name != "job-status" {
					expect(t, got, name, "")
				}
			}
			if got["HOSTGUARD_ACTION"] != "true" || got["HOSTGUARD_LOCK_NAME"] != "of-host" {
				t.Errorf("%s: HOSTGUARD_ACTION is %q, HOSTGUARD_LOCK_NAME %q", dump,
					got["HOSTGUARD_ACTION"], got["HOSTGUARD_LOCK_NAME"])
			}
		}
		// The post step gives back what was taken, whatever was set since.
		expect(t, dumped(t, dir, "release-lock"), "lock-name", "of-host")
		if stale, found := dumped(t, dir, "release-lock")["HOSTGUARD_INPUT_TIMEOUT"]; found {
			t.Errorf("the post step sees an input of something around it: %q", stale)
		}
	})
}

// An action that others wrap has the inputs that the wrapper gives it, and none
// of the wrapper's own of the same names. To a node action the engines hand those
// of the wrapper over as well, unless it gives them, if only empty ones.
func TestInputsOfAnActionAroundDoNotLeak(t *testing.T) {
	underBothActs(t, func(t *testing.T, build string) {
		dir := t.TempDir()
		_, err := run(t, act.Job{Build: build, Repository: "wooo/site", Workflow: `
on: push
jobs:
  build:
    runs-on: awoooi-host
    steps:
      - run: |
          mkdir wrapper
          cat >wrapper/action.yml <<'END'
          name: wrapper
          inputs: { lock-name: {}, timeout: {}, mode: {}, reason: {} }
          runs:
            using: composite
            steps:
              - uses: wooo/hostguard@v1
                with: { step: clean-diag, reason: inner }
              - uses: wooo/hostguard/lock@v1
                with: { reason: inner, lock-name: '', timeout: '', mode: '' }
          END
      - uses: ./wrapper
        with: { lock-name: outer, timeout: outer, mode: outer, reason: outer }
`, Env: []string{"DUMPS=" + dir, "HOSTGUARD_BIN=" + dumper(t)}})
		if err != nil {
			t.Error(err)
		}
		for _, dump := range []string{"step", "acquire-lock", "release-lock"} {
			for _, name := range []string{"lock-name", "timeout", "mode"} {
				if got := dumped(t, dir, dump)[variable(name)]; got != "" {
					t.Errorf("%s: %s is %q", dump, name, got)
				}
			}
			if dump != "release-lock" {
				expect(t, dumped(t, dir, dump), "reason", "inner")
			}
		}
	})
}

// The release at the end of a job knows how the job has gone, in both engines and
// by both actions, and that it does not know it within another action.
func TestAReleaseKnowsHowItsJobHasGone(t *testing.T) {
	for name, c := range map[string]struct{ run, want string }{
		"succeeds": {"true", "success"}, "fails": {"false", "failure"},
	} {
		t.Run(name, func(t *testing.T) {
			underBothActs(t, func(t *testing.T, build string) {
				dir := t.TempDir()
				for _, sub := range []string{"early", "post", "step", "nested"} {
					if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
						t.Fatal(err)
					}
				}
				nested := t.TempDir()
				writeFile(t, filepath.Join(nested, "action.yml"), `
name: nested
description: uses the lock within an action
runs:
  using: composite
  steps:
    - uses: wooo/hostguard/lock@v1
      env: { DUMPS: "`+dir+`/nested" }
`, 0o644)
				_, err := run(t, act.Job{Build: build, Repository: "wooo/site", Workflow: `
on: push
jobs:
  build:
    runs-on: awoooi-host
    steps:
      - uses: wooo/hostguard/lock@v1
        env: { DUMPS: "` + dir + `/post" }
      - uses: wooo/hostguard@v1
        with: { step: release-lock }
        env: { DUMPS: "` + dir + `/early" }
      - run: mkdir nested && cp "` + nested + `/action.yml" nested
      - uses: ./nested
      - run: ` + c.run + `
      - uses: wooo/hostguard@v1
        if: always()
        with: { step: release-lock }
        env: { DUMPS: "` + dir + `/step" }
`, Env: []string{"HOSTGUARD_BIN=" + dumper(t)}})
				if (err != nil) != (c.want == "failure") {
					t.Error(err)
				}
				for dump, want := range map[string]string{
					"early/step": "success", "step/step": c.want, "post/release-lock": c.want, "nested/release-lock": "unknown",
				} {
					if got := dumped(t, dir, dump)["HOSTGUARD_INPUT_JOB_STATUS"]; got != want {
						t.Errorf("%s: the status is %q, want %q", dump, got, want)
					}
				}
			})
		})
	}
}

// variable is the one by which an action hands an input over.
func variable(input string) string {
	if input == "step" {
		return "HOSTGUARD_STEP"
	}
	return "HOSTGUARD_INPUT_" + strings.ToUpper(strings.ReplaceAll(input, "-", "_"))
}

func expect(t *testing.T, env map[string]string, input, want string) {
	t.Helper()
	if got, ok := env[variable(input)]; !ok || got != want {
		t.Errorf("%s is %q (set: %v), want %q", variable(input), got, ok, want)
	}
}

// quoted writes a text as YAML does in double quotes.
func quoted(t *testing.T, text string) string {
	t.Helper()
	out, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

var inputName = regexp.MustCompile(`(?m)^  ([a-z-]+):$`)

// declaredInputs are the names of an action's inputs.
func declaredInputs(t *testing.T, file string) (names []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "\ninputs:\n")
	inputs, _, found := strings.Cut(after, "\noutputs:\n")
	if !found {
		t.Fatalf("%s has no inputs and outputs", file)
	}
	for _, match := range inputName.FindAllStringSubmatch(inputs, -1) {
		names = append(names, match[1])
	}
	return names
}

// dumper stands in for the binary: it writes its environment to a file named
// after its command, and keeps a state as acquire-lock does.
func dumper(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dumper")
	writeFile(t, path, `#!/bin/sh
[ "$*" != version ] || { echo "hostguard 1.0.0 linux/amd64 go1.26.8"; exit; }
env -0 >"$DUMPS/${1:-step}"
[ "$*" != acquire-lock ] || echo "record=what the binary keeps" >>"$GITHUB_STATE"
`, 0o755)
	return path
}

func dumped(t *testing.T, dir, name string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for entry := range strings.SplitSeq(strings.TrimSuffix(string(text), "\x00"), "\x00") {
		name, value, _ := strings.Cut(entry, "=")
		env[name] = value
	}
	return env
}

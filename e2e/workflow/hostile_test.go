package workflow

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hostguard/e2e/rig/act"
	"hostguard/e2e/rig/engine"
)

// planted is text that another repository's job leaves for ours to print. Where
// a line of output opens with one of its commands, Gitea's act fork obeys, and
// later steps of our job run with what it has set.
const planted = "::set-env name=BASH_ENV::/x\n" +
	"::set-env name=BASH_ENV::/x\r" +
	"::set-env name=BASH_ENV::/x\r\n" +
	"##[set-env name=BASH_ENV]/x\n" +
	"##[add-path]/x\n" +
	"::add-path::/x\n" +
	" ::set-env name=BASH_ENV::/x\x1b[2K\x1b[1G" +
	"::set-env name=BASH_ENV::/x\x1b]0;\x07\u0085\u2028" +
	"::set-env name=BASH_ENV::/x\n"

// TestGiteaObeysOutput shows that the plant does harm where it is printed: the
// tests below could not fail otherwise.
func TestGiteaObeysOutput(t *testing.T) {
	_, before, after := environment(t, act.Gitea, `
      - run: printf '%s' "$PLANTED"
`, "PLANTED="+planted)
	if after["BASH_ENV"] != "/x" || after["PATH"] == before["PATH"] {
		t.Errorf("BASH_ENV is %q, PATH is %q", after["BASH_ENV"], after["PATH"])
	}
}

func TestForeignTextStaysText(t *testing.T) {
	underBothActs(t, func(t *testing.T, build string) {
		e := engine.ForTest(t, map[string]string{act.Nektos: engine.Old, act.Gitea: engine.New}[build])
		// A lock that nobody can say anything of is waited for, one that is old
		// is taken over, and both have waiters: all that is told of them comes
		// from their labels.
		plantLock(t, e, "waited-for", "24h")
		plantLock(t, e, "taken-over", "1ms")
		plantBuild(t)
		root := plantRunner(t)
		log, before, after := environment(t, build, `
      - uses: wooo/hostguard@v1
        continue-on-error: true
        with: { step: acquire-lock, lock-name: waited-for, timeout: 2s }
      - uses: wooo/hostguard/lock@v1
        continue-on-error: true
        with: { lock-name: waited-for, timeout: 2s }
      - uses: wooo/hostguard@v1
        with: { step: acquire-lock, lock-name: waited-for, timeout: 1s, mode: warn-only }
      - run: sh "$ACTION/hostguard.sh" status -lock-name waited-for
      - run: sh "$ACTION/hostguard.sh" status -lock-name waited-for -json
      - uses: wooo/hostguard@v1
        with: { step: acquire-lock, lock-name: taken-over, timeout: 30s }
      - uses: wooo/hostguard@v1
        with: { step: release-lock, lock-name: taken-over }
      - uses: wooo/hostguard@v1
        with: { step: wait-pressure, max-attempts: 2, interval: 1s }
      - uses: wooo/hostguard@v1
        with: { step: clean-diag, runner-root: `+quoted(t, root)+` }
      - uses: wooo/hostguard@v1
        continue-on-error: true
        with: { step: clean-diag, runner-root: `+quoted(t, root+"/"+planted)+` }
`, "DOCKER_HOST="+e.Host())
		for line := range strings.Lines(log) {
			if _, said, ok := strings.Cut(line, "  | "); ok && strings.ContainsAny(said, "\x1b\x07\r") {
				t.Errorf("a step printed a control character: %q", said)
			}
		}
		same := func(env map[string]string) map[string]string {
			env = maps.Clone(env)
			maps.DeleteFunc(env, func(name, _ string) bool {
				// What the engine sets for each step, and what acquire-lock
				// leaves for release-lock.
				return name == "GITHUB_ACTION" || name == "_" || strings.HasPrefix(name, "HOSTGUARD_")
			})
			return env
		}
		if b, a := same(before), same(after); !maps.Equal(a, b) {
			t.Errorf("the environment was\n%q\nand is\n%q", b, a)
		}
	})
}

// A post step whose saved inputs were forged printed them as a command, or released
// nothing. Only the names and the values that main.js saves get through.
func TestForgedStateOfThePostStep(t *testing.T) {
	for name, state := range map[string]string{
		"none":      "",
		"a command": "::add-path::/x",
		"lines":     "\n::add-path::/x\n",
		"no object": `["lock-name"]`,
		"null":      "null",
		"other inputs": `{"bin": "/x", "timeout": "0s", "__proto__": {"lock-name": "x"}, ` +
			`"lock-name": "forged\n::add-path::/x"}`,
		"no text":           `{"lock-name": {"a": 1}, "lock-backend": 7}`,
		"a character of C":  `{"lock-name": "a\u0000b", "lock-backend": "\u0000"}`,
		"no name of a lock": `{"lock-name": "../../x", "lock-backend": "docker\n"}`,
		"deep":              strings.Repeat("[", 50000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			cmd := exec.Command("node", "../../lock/post.js")
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "DUMPS=" + dir, "HOSTGUARD_BIN=" + dumper(t),
				"STATE_inputs=" + state, "INPUT_LOCK-NAME=deploy", "HOSTGUARD_LOCK_BACKEND=file"}
			out, err := cmd.CombinedOutput()
			if err != nil || strings.Contains(string(out), "add-path") {
				t.Errorf("%v: %s", err, out)
			}
			got := dumped(t, dir, "release-lock")
			for name, want := range map[string]string{
				"LOCK_NAME": "deploy", "LOCK_BACKEND": "file", "JOB_STATUS": "unknown",
			} {
				if got["HOSTGUARD_INPUT_"+name] != want {
					t.Errorf("%s is %q, want %q", name, got["HOSTGUARD_INPUT_"+name], want)
				}
				delete(got, "HOSTGUARD_INPUT_"+name)
			}
			for name := range got {
				if strings.HasPrefix(name, "HOSTGUARD_INPUT_") {
					t.Errorf("it hands over %s", name)
				}
			}
		})
	}
}

func TestThePostStepNamesAllLocksOfTheMainStep(t *testing.T) {
	for _, names := range []string{"deploy", "deploy, build", "deploy\nbuild\n"} {
		dir := t.TempDir()
		state, err := json.Marshal(map[string]string{"lock-name": names, "lock-backend": "file"})
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("node", "../../lock/post.js")
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "DUMPS=" + dir, "HOSTGUARD_BIN=" + dumper(t),
			"STATE_inputs=" + string(state), "INPUT_LOCK-NAME=other"}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		if got := dumped(t, dir, "release-lock")["HOSTGUARD_INPUT_LOCK_NAME"]; got != names {
			t.Errorf("%q is %q in the post step", names, got)
		}
	}
}

// environment is what steps see before and after some others.
func environment(t *testing.T, build, steps string, env ...string) (log string, before, after map[string]string) {
	t.Helper()
	dir := t.TempDir()
	log, err := run(t, act.Job{Build: build, Repository: "wooo/site", Workflow: `
on: push
jobs:
  build:
    runs-on: awoooi-host
    steps:
      - run: env -0 >"$DUMPS/before"
` + steps + `
      - run: env -0 >"$DUMPS/after"
`, Env: append(env, "DUMPS="+dir)})
	if err != nil {
		t.Error(err)
	}
	return log, dumped(t, dir, "before"), dumped(t, dir, "after")
}

// labels are all those that hostguard writes.
var labels = []string{
	"nonce", "create", "server", "repository", "workflow", "job", "run-id", "run-number", "run-attempt", "run-url",
	"actor", "event", "runner-name", "machine", "boot", "pid-namespace", "mount-namespace", "container-id", "job-dir",
	"workspace", "reason", "priority", "process", "runner", "parent", "uptime", "command", "in-container", "number",
}

// plantLock forges a lock and a waiter of it.
func plantLock(t *testing.T, e *engine.Engine, name, staleAfter string) {
	t.Helper()
	sum := sha256.Sum256([]byte(name))
	for kind, network := range map[string]string{
		"lock":   name,
		"ticket": "hg-" + hex.EncodeToString(sum[:8]) + "-t-0123456789abcdef0123456789abcdef",
	} {
		args := []string{"network", "create", "--config-only", "--label", "hostguard.version=1",
			"--label", "hostguard.kind=" + kind, "--label", "hostguard.stale-after=" + staleAfter}
		for _, label := range labels {
			args = append(args, "--label", "hostguard."+label+"="+planted)
		}
		docker(t, e, append(args, network)...)
	}
}

// plantBuild runs something that looks like a heavy build, in a folder and with
// arguments of hostile names.
func plantBuild(t *testing.T) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), strings.ReplaceAll(planted, "/", "_"))
	if err := os.MkdirAll(filepath.Join(dir, "node_modules"), 0o755); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(dir, "node_modules/vite.js") // elsewhere it would be another's that is called so
	if err := os.WriteFile(script, []byte("console.log(); process.stdin.resume()"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", script, "build", planted)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GITHUB_REPOSITORY="+planted[:100], "GITHUB_RUN_ID="+planted[100:])
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close() // it ends by itself
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

// plantRunner makes a runner's folder with a file of a hostile name.
func plantRunner(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	pages := filepath.Join(root, "_diag/pages")
	if err := os.MkdirAll(pages, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		filepath.Join(root, ".runner"),
		filepath.Join(root, "run.sh"),
		filepath.Join(pages, strings.ReplaceAll(planted, "/", "_")),
	} {
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		yesterday := time.Now().Add(-24 * time.Hour)
		if err := os.Chtimes(path, yesterday, yesterday); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

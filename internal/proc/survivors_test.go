package proc

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"hostguard/lock"
)

// leftBehind starts a script in a session of its own, in the environment of a job
// and elsewhere, and returns when it has printed a line.
func leftBehind(t *testing.T, script string, environ ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir, cmd.Env = "/", append([]string{"PATH=" + os.Getenv("PATH")}, environ...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); cmd.Wait() })
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("%q printed nothing: %v", script, err)
	}
	return cmd
}

func names(found []lock.Survivor) (names []string) {
	for _, s := range found {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return names
}

func TestSurvivorsAreFoundWithAllThatTheyHaveStarted(t *testing.T) {
	job := filepath.Join(t.TempDir(), "0123456789abcdef")
	host := Host{Proc: "/proc"}
	leftBehind(t, "sleep 100 & echo; wait", "RUNNER_TEMP="+job+"x/tmp")
	if found, _ := host.Survivors(lock.Traces{Dir: job}); len(found) != 0 {
		t.Errorf("found %v of another job", found)
	}
	cmd := leftBehind(t, "env -i setsid sh -c 'sleep 100; :' & echo; wait",
		"RUNNER_TEMP="+job+"/tmp", "RUNNER_TRACKING_ID=github_1")
	for name, traces := range map[string]lock.Traces{
		"by its directory": {Dir: job}, "by the mark of GitHub's runner": {Variable: "RUNNER_TRACKING_ID=github_1"},
	} {
		var found []lock.Survivor
		for end := time.Now().Add(5 * time.Second); len(found) < 3 && time.Now().Before(end); time.Sleep(time.Millisecond) {
			found, _ = host.Survivors(traces)
		}
		if got := strings.Join(names(found), " "); got != "sh sh sleep" {
			t.Errorf("%s: found %q, want the shell and what it has started, whose environment is empty", name, got)
		}
		if !slices.ContainsFunc(found, func(s lock.Survivor) bool { return s.PID == cmd.Process.Pid && s.Start > 0 }) {
			t.Errorf("%s: process %d is not among %v", name, cmd.Process.Pid, found)
		}
	}
	if found, _ := host.Survivors(lock.Traces{Variable: "RUNNER_TRACKING_ID=github_"}); len(found) != 0 {
		t.Errorf("found %v by a part of the mark", found)
	}
}

// The process that looks, and those above it, are of the job as well.
func TestTheReleaseIsNoSurvivor(t *testing.T) {
	const name = "HOSTGUARD_TEST_RELEASE"
	if value := os.Getenv(name); value != "" {
		found, _ := (Host{Proc: "/proc"}).Survivors(lock.Traces{Variable: name + "=" + value})
		if got := strings.Join(names(found), " "); got != "sleep" {
			t.Errorf("found %q, want what was left beside the release alone", got)
		}
		return
	}
	cmd := exec.Command("sh", "-c", `sleep 100 & "$0" -test.run=TestTheReleaseIsNoSurvivor
		status=$?; kill $!; exit $status`, os.Args[0])
	cmd.Env = append(os.Environ(), name+"="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// In effort, a loop of short programs is far above a daemon that waits, whatever
// the machine's speed.
func TestALoopOfShortProgramsIsWork(t *testing.T) {
	host := Host{Proc: "/proc"}
	effort := func(variable string) (sum time.Duration) {
		found, _ := host.Survivors(lock.Traces{Variable: variable})
		for _, s := range found {
			sum += s.Effort
		}
		return sum
	}
	leftBehind(t, "echo; while :; do sleep 0.1; date >/dev/null; done", "KIND=loop")
	leftBehind(t, "echo; exec sleep 100", "KIND=daemon")
	const limit = 15 * time.Millisecond // a second, as lock.restEffort has it
	for _, variable := range []string{"KIND=loop", "KIND=daemon"} {
		working, used := variable == "KIND=loop", time.Duration(0)
		// Work is missed while a program of the loop has ended and its shell does not know
		// it yet, which takes long on a busy machine.
		for range 5 {
			before, start := effort(variable), time.Now()
			time.Sleep(time.Second)
			used = time.Duration(float64(effort(variable)-before) / time.Since(start).Seconds())
			if used > limit == working {
				break
			}
		}
		if used > limit != working {
			t.Errorf("%s does work of %s a second, the limit is %s", variable, used, limit)
		}
	}
}

func TestAClientOfTheEngineIsBusyHoweverItIsStarted(t *testing.T) {
	docker := filepath.Join(t.TempDir(), "docker")
	if err := os.WriteFile(docker, []byte("#!/bin/sh\necho; sleep 100; :\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	host := Host{Proc: "/proc"}
	for script, busy := range map[string]bool{
		"env nice -n 5 " + docker + " --host unix:///x build -t app . & wait":     true,
		"nohup setsid timeout 100 " + docker + " run --rm app sleep 100 & wait":   true,
		"echo docker build . >/dev/null; " + docker + " logs --follow app & wait": false,
		"echo; sleep 100 # docker build .":                                        false,
	} {
		variable := "CLIENT=" + script
		leftBehind(t, script, variable)
		var found []lock.Survivor
		got := !busy
		for end := time.Now().Add(5 * time.Second); got != busy && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			found, _ = host.Survivors(lock.Traces{Variable: variable})
			got = slices.ContainsFunc(found, func(s lock.Survivor) bool { return s.Busy })
		}
		if got != busy {
			t.Errorf("%q: busy %v, want %v: %v", script, got, busy, found)
		}
	}
}

func TestWhoIsStoppedIsNotAtRest(t *testing.T) {
	cmd := leftBehind(t, "echo; exec sleep 100", "KIND=stopped")
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	busy := false
	for end := time.Now().Add(5 * time.Second); !busy && time.Now().Before(end); time.Sleep(time.Millisecond) {
		found, _ := (Host{Proc: "/proc"}).Survivors(lock.Traces{Variable: "KIND=stopped"})
		busy = len(found) == 1 && found[0].Busy
	}
	if !busy {
		t.Error("a stopped process counts as idle")
	}
}

func TestEngineClients(t *testing.T) {
	for command, want := range map[string]bool{
		"docker build .": true,
		"/usr/bin/docker -H unix:///x -D run app":                   true,
		"docker --host=unix:///x push app":                          true,
		"docker compose -f a.yaml -p site up --build":               true,
		"docker-compose -f a.yaml up":                               true,
		"python3 /usr/bin/docker-compose build":                     true,
		"sh /usr/local/bin/docker pull app":                         true,
		"/usr/libexec/docker/cli-plugins/docker-buildx buildx bake": true,
		"docker buildx build .":                                     true,
		"docker container run logs":                                 true,
		"podman --root /x build .":                                  true,
		"buildah bud .":                                             true,
		"docker":                                                    false,
		"docker --version":                                          false,
		"docker logs -f build":                                      false,
		"docker container logs -f build":                            false,
		"docker compose -f a.yaml logs -f":                          false,
		"docker events":                                             false,
		"podman system service -t 0":                                false,
		"dockerd --host unix:///x":                                  false,
		"docker-proxy -proto tcp":                                   false,
		"grep docker build":                                         false,
		"sh -c docker build .":                                      false, // which starts one
		"":                                                          false,
	} {
		if got := engineClient(strings.Split(command, " ")); got != want {
			t.Errorf("%q: %v, want %v", command, got, want)
		}
	}
}

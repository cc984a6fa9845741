package workflow

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"hostguard/e2e/rig/contend"
	"hostguard/e2e/rig/engine"
)

// hookTask is a job that a runner gets: on the host, or in a container by its label
// or its own word.
type hookTask struct {
	Label, Container string
	ID               int
	Script           string
}

// runnerFile is what the runner of these tests reads of a config.yaml.
type runnerFile struct {
	Runner struct {
		Envs  map[string]string `yaml:"envs"`
		Hooks struct {
			JobStarted   string `yaml:"job_started"`
			JobCompleted string `yaml:"job_completed"`
		} `yaml:"hooks"`
		PostTaskScript string   `yaml:"post_task_script"`
		Labels         []string `yaml:"labels"`
	} `yaml:"runner"`
	Container struct {
		Options      string   `yaml:"options"`
		ValidVolumes []string `yaml:"valid_volumes"`
		DockerHost   string   `yaml:"docker_host"`
	} `yaml:"container"`
	HealthCheck struct {
		Enabled bool   `yaml:"enabled"`
		Script  string `yaml:"script"`
	} `yaml:"health_check"`
}

// beRunner is what this program does as gitea-runner: it runs one task from stdin in
// the manner of v3. Hooks of a job run where its steps do, and fail it; what
// container.options mounts has to be in valid_volumes; the post-task script gets
// GITEA_* and runner.envs alone; a health check runs where it is enabled.
func beRunner() error {
	var config runnerFile
	var task hookTask
	text, err := os.ReadFile(os.Args[slices.Index(os.Args, "--config")+1])
	if err == nil {
		err = yaml.Unmarshal(text, &config)
	}
	if err == nil {
		err = json.NewDecoder(os.Stdin).Decode(&task)
	}
	if err != nil {
		return err
	}
	var envs []string
	for name, value := range config.Runner.Envs {
		envs = append(envs, name+"="+value)
	}
	run := func(what string, env []string, argv ...string) bool {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Env, cmd.Stdout, cmd.Stderr = env, os.Stdout, os.Stdout
		if err := cmd.Run(); err != nil {
			fmt.Printf("%s: %v\n", what, err)
			return false
		}
		return true
	}
	h := config.HealthCheck
	if h.Enabled && h.Script != "" && !run("health check", append(os.Environ(), envs...), h.Script) {
		fmt.Println("no task is fetched")
		return nil
	}

	dir, err := os.MkdirTemp(os.Getenv("RUNNER_PARENT"), "")
	if err != nil {
		return err
	}
	jobDir := filepath.Join(filepath.Dir(dir), fmt.Sprintf("%016x", task.ID))
	for _, sub := range []string{"hostexecutor", "tmp", "act"} {
		if err := os.MkdirAll(filepath.Join(jobDir, sub), 0o755); err != nil {
			return err
		}
	}
	payload := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"TaskID":%d,"RunID":12,"exp":1}`, task.ID))
	env := append(envs,
		"GITHUB_ACTIONS=true", "GITEA_ACTIONS=true", "GITHUB_REPOSITORY=wooo/site",
		"GITHUB_RUN_ID=12", "GITHUB_JOB=build",
		"ACTIONS_RUNTIME_TOKEN=e30."+payload+".sig")

	image := task.Container
	for _, l := range config.Runner.Labels {
		if name, rest, _ := strings.Cut(l, ":docker://"); name == task.Label && image == "" {
			image = rest
		}
	}
	env = append(env, "RUNNER_TEMP="+filepath.Join(jobDir, "tmp"))
	inJob := func(argv ...string) (words, environ []string) { return argv, append(os.Environ(), env...) }
	docker := os.Getenv("DOCKER_CLI")
	container := fmt.Sprintf("GITEA-ACTIONS-TASK-%d-WORKFLOW-ct-JOB-build-%064x", task.ID, task.ID)
	if host := config.Container.DockerHost; host != "" { // as the runner does where a label needs a daemon
		if err := os.Setenv("DOCKER_HOST", host); err != nil {
			return err
		}
	}
	if image != "" {
		host := os.Getenv("DOCKER_HOST")
		create := []string{
			docker, "run", "--detach", "--name", container, "--network", "none",
			"--volume", strings.TrimPrefix(host, "unix://") + ":/var/run/docker.sock",
		}
		words := strings.Fields(config.Container.Options)
		for i := 0; i+1 < len(words); i += 2 {
			if source, _, _ := strings.Cut(words[i+1], ":"); slices.Contains(config.Container.ValidVolumes, source) {
				create = append(create, words[i], words[i+1])
			}
		}
		if !run("container", os.Environ(), append(create, image, "sleep", "600")...) {
			return fmt.Errorf("no container")
		}
		inJob = func(argv ...string) (words, environ []string) {
			words = []string{docker, "exec"}
			for _, variable := range append(env, "RUNNER_TEMP=/tmp") {
				words = append(words, "--env", variable)
			}
			return append(append(words, container), argv...), os.Environ()
		}
	}

	ok := true
	step := func(what string, argv ...string) {
		if argv[0] != "" {
			words, environ := inJob(argv...)
			ok = run(what, environ, words...) && ok
		}
	}
	step("the job started hook failed", config.Runner.Hooks.JobStarted)
	step("the step failed", "sh", "-ec", task.Script)
	step("the job completed hook failed", config.Runner.Hooks.JobCompleted)
	if image != "" && !run("remove", os.Environ(), docker, "rm", "--force", container) {
		return fmt.Errorf("the container stays")
	}
	fmt.Printf("result: %v\n", ok)
	if script := config.Runner.PostTaskScript; script != "" {
		run("post-task script", append(envs,
			fmt.Sprintf("GITEA_TASK_ID=%d", task.ID),
			"GITEA_RUN_ID=12", "GITEA_REPOSITORY=wooo/site",
			"GITEA_WORKSPACE=/workspace/wooo/site", "GITEA_JOB_RESULT=success"), script)
	}
	return nil
}

// hookedHost is a host on which hostguard is installed, and whose runner has the
// configuration that install prints.
type hookedHost struct {
	t      *testing.T
	engine *engine.Engine
	dir    string
	runner string
	config runnerFile
}

const hookLabels = "awoooi-host:host ubuntu-latest:docker://nearly-empty:1"

func newHookedHost(t *testing.T) *hookedHost {
	t.Helper()
	h := &hookedHost{t: t, engine: engine.ForTest(t, engine.New), dir: t.TempDir()}
	nearlyEmptyImage(t, h.engine)
	binary, err := contend.Hostguard()
	if err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(h.dir, "home/act-runner")
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(home, ".runner"), `{"id": 7, "name": "host110"}`, 0o600)
	writeFile(t, filepath.Join(home, "config.yaml"),
		"runner:\n  labels: ["+strings.ReplaceAll(hookLabels, " ", ", ")+"]\n", 0o600)
	install := exec.Command(binary, "install", "-prefix", filepath.Join(h.dir, "opt"), "-apply")
	install.Env = []string{"HOME=" + filepath.Dir(home)}
	said, err := install.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	_, block, _ := strings.Cut(string(said), fmt.Sprintf("%q", filepath.Join(home, "config.yaml")))
	_, block, _ = strings.Cut(block, ":\n\n")
	block, _, _ = strings.Cut(block, "\n\n")
	if err := yaml.Unmarshal([]byte(block), &h.config); err != nil || h.config.Runner.PostTaskScript == "" {
		t.Fatalf("%v in what install prints:\n%s", err, said)
	}
	h.config.Runner.Labels = strings.Fields(hookLabels)

	// A runner is known by its program: this one, under its name.
	h.runner = filepath.Join(h.dir, "gitea-runner")
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, h.runner, string(self), 0o755)
	return h
}

// run gives the runner a task and returns the log. The unit of the runner sets
// DOCKER_HOST, as long as the test does not say otherwise.
func (h *hookedHost) run(task hookTask, unit ...string) string {
	h.t.Helper()
	if unit == nil {
		unit = []string{"DOCKER_HOST=" + h.engine.Host()}
	}
	text, err := yaml.Marshal(h.config)
	if err != nil {
		h.t.Fatal(err)
	}
	config := filepath.Join(h.dir, "config.yaml")
	writeFile(h.t, config, string(text), 0o600)
	input, err := json.Marshal(task)
	if err != nil {
		h.t.Fatal(err)
	}
	parent := filepath.Join(h.dir, "jobs")
	if err := os.MkdirAll(parent, 0o755); err != nil {
		h.t.Fatal(err)
	}
	cmd := exec.Command(h.runner, "daemon", "--config", config)
	cmd.Env = append(unit, "PATH="+os.Getenv("PATH"), "HOME="+h.dir, "RUNNER_PARENT="+parent, "DOCKER_CLI="+h.engine.CLI())
	cmd.Stdin = strings.NewReader(string(input))
	out, err := cmd.CombinedOutput()
	h.t.Logf("task %d on %s: %v\n%s", task.ID, task.Label, err, out)
	if err != nil {
		h.t.Fatal(err)
	}
	return string(out)
}

// leave is a step that takes a lock, which nothing in the job gives back.
func leave(name string) string {
	return "$HOSTGUARD_BIN acquire-lock -timeout 1m -lock-name " + name
}

func (h *hookedHost) held(name string) bool {
	_, err := h.engine.Docker("network", "inspect", name)
	return err == nil
}

func (h *hookedHost) wants(log string, lines ...string) {
	h.t.Helper()
	for _, line := range lines {
		if !strings.Contains(log, line) {
			h.t.Errorf("no %q in the log", line)
		}
	}
}

// jobs are tasks whose hooks run in different places: on the host, in the container
// of a label, and in one that the workflow asks for on the host's label.
func jobs(script string) map[string]hookTask {
	return map[string]hookTask{
		"on the host":               {Label: "awoooi-host", ID: 4, Script: script},
		"in a container":            {Label: "ubuntu-latest", ID: 5, Script: script},
		"in its workflow's own one": {Label: "awoooi-host", Container: "nearly-empty:1", ID: 6, Script: script},
	}
}

// What install prints breaks no job, and gives back what each left, wherever it ran.
func TestPrintedHooksGiveBackAndBreakNoJob(t *testing.T) {
	h := newHookedHost(t)
	h.config.HealthCheck.Enabled = false // other tests build meanwhile
	// hostguard has no hook for the start of a job; one of its own there is harmless.
	h.config.Runner.Hooks.JobStarted = h.config.Runner.Hooks.JobCompleted
	for name, task := range jobs(leave("kept")) {
		t.Run(name, func(t *testing.T) {
			h := *h
			h.t = t
			log := h.run(task)
			h.wants(log, "acquired lock \"kept\"", "hostguard-job-completed: no lock of this job was found",
				"hostguard-job-completed: gave back lock \"kept\"",
				"result: true", fmt.Sprintf(
					"hostguard-post-task: no lock of task %d of \"wooo/site\" was found; "+
						"asked: the Docker daemon at %q, which has 0 locks",
					task.ID, h.engine.Host()))
			if h.held("kept") {
				t.Error("the lock is still held")
			}
		})
	}
	nothingLeft(t, h.engine)

	// Without the mounts that come with it, the hook fails the job: so does the real
	// runner.
	h.config.Container.ValidVolumes = nil
	log := h.run(hookTask{Label: "ubuntu-latest", ID: 7, Script: "true"})
	h.wants(log, "the job started hook failed", "the job completed hook failed", "result: false")
}

// The post-task script alone gives back what a job left, the container of which is
// gone, and nothing of a sibling whose number begins alike or whose run is the same.
func TestThePostTaskScriptKnowsItsTask(t *testing.T) {
	h := newHookedHost(t)
	h.config.HealthCheck.Enabled = false // other tests build meanwhile
	script := h.config.Runner.PostTaskScript
	h.config.Runner.Hooks.JobStarted, h.config.Runner.Hooks.JobCompleted = "", ""
	h.config.Runner.PostTaskScript = ""
	h.run(hookTask{Label: "awoooi-host", ID: 49, Script: leave("of-49")})
	h.run(hookTask{Label: "ubuntu-latest", ID: 50, Script: leave("of-50")})
	h.config.Runner.PostTaskScript = script

	unit, nowhere := "DOCKER_HOST="+h.engine.Host(), "DOCKER_HOST=unix:///nowhere"
	tasks := jobs(leave("kept"))
	for name, c := range map[string]struct {
		task                 hookTask
		unit, envs, settings string // what says where the daemon is
	}{
		"on the host":                                      {tasks["on the host"], unit, "", ""},
		"in a container":                                   {tasks["in a container"], unit, "", ""},
		"in its workflow's own one":                        {tasks["in its workflow's own one"], unit, "", ""},
		"on the host, the daemon by runner.envs":           {tasks["on the host"], nowhere, h.engine.Host(), ""},
		"on the host, the daemon by container.docker_host": {tasks["on the host"], nowhere, "", h.engine.Host()},
		"in a container, the daemon by its configuration":  {tasks["in a container"], nowhere, "", h.engine.Host()},
	} {
		t.Run(name, func(t *testing.T) {
			h := *h
			h.t = t
			h.config.Runner.Envs = maps.Clone(h.config.Runner.Envs)
			if c.envs != "" {
				h.config.Runner.Envs["DOCKER_HOST"] = c.envs
			}
			h.config.Container.DockerHost = c.settings
			log := h.run(c.task, c.unit)
			h.wants(log, "acquired lock \"kept\"", "result: true", `hostguard-post-task: gave back lock "kept"`)
			if h.held("kept") {
				t.Error("the lock is still held")
			}
		})
	}
	for _, lock := range []string{"of-49", "of-50"} {
		if !h.held(lock) {
			t.Errorf("%s is not held any more", lock)
		}
	}
}

// The health check that install prints runs, and keeps jobs away from a busy host.
func TestThePrintedHealthCheckIsEnabled(t *testing.T) {
	h := newHookedHost(t)
	h.wants(h.run(hookTask{Label: "awoooi-host", ID: 8, Script: "true"}), "looked at")
	build := exec.Command("sleep", "600")
	build.Args[0] = "planted-build"
	if err := build.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = build.Process.Kill(); _ = build.Wait() }()
	h.config.Runner.Envs["HOSTGUARD_PATTERNS"] = "planted-build 600"
	h.wants(h.run(hookTask{Label: "awoooi-host", ID: 9, Script: "true"}), "planted-build", "no task is fetched")
}

// serveHooks ends this program if it was started as the runner.
func serveHooks() {
	if filepath.Base(os.Args[0]) != "gitea-runner" {
		return
	}
	if err := beRunner(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

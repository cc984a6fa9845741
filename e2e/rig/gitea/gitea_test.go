package gitea

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What the tests share: a server, and a user of it.
var (
	server *Server
	wooo   *User
)

func TestMain(m *testing.M) {
	status, err := setUp(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

func setUp(m *testing.M) (status int, err error) {
	if server, err = Start(); err != nil {
		return 1, err
	}
	defer server.Stop()
	if wooo, err = server.User("wooo", false); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// start starts a runner whose one label is its name, and makes a repository of the
// same name.
func start(t *testing.T, program, name, config string) (*Runner, string) {
	t.Helper()
	r, err := Register(server, program, name, []string{name + ":host"}, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Stop() })
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	if err := wooo.CreateRepository(name, false); err != nil {
		t.Fatal(err)
	}
	return r, "wooo/" + name
}

// job is a workflow of one job on a label, of these steps.
func job(label string, steps ...string) map[string]string {
	var text strings.Builder
	text.WriteString("on: push\njobs:\n  build:\n    runs-on: " + label + "\n    steps:\n")
	for _, step := range steps {
		text.WriteString("      - " + strings.ReplaceAll(strings.TrimSpace(step), "\n", "\n        ") + "\n")
	}
	return map[string]string{".gitea/workflows/ci.yaml": text.String()}
}

// run commits files and waits for the first run's start.
func run(t *testing.T, repo string, files map[string]string) Run {
	t.Helper()
	if err := wooo.Commit(repo, files); err != nil {
		t.Fatal(err)
	}
	run, err := wooo.Run(repo, 1)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// ended wants a run to end so, and returns its log.
func ended(t *testing.T, repo string, id int64, conclusion string) string {
	t.Helper()
	run, err := wooo.Ended(repo, id)
	if err != nil {
		t.Fatal(err)
	}
	log, err := wooo.Log(repo, id)
	if err != nil {
		t.Fatal(err)
	}
	if run.Conclusion != conclusion {
		t.Fatalf("the run has ended with %q, want %q; its log is\n%s", run.Conclusion, conclusion, log)
	}
	return log
}

// has wants texts in another.
func has(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, look func() bool) {
	t.Helper()
	if err := wait(what, func() (bool, error) { return look(), nil }); err != nil {
		t.Fatal(err)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

const asks = `run: |
  echo "name=[$RUNNER_NAME] id=[$GITEA_RUN_ID] attempt=[$GITHUB_RUN_ATTEMPT] of=[$GITHUB_RUN_ID] unit=[$OF_THE_UNIT]"
  if [ -t 1 ]; then terminal=yes; else terminal=no; fi
  echo "terminal=[$terminal] session=[$(( $(ps -o sid= -p $$) == $$ ))] group=[$(( $(ps -o pgid= -p $$) == $$ ))]"
  echo "temp=$RUNNER_TEMP here=$PWD token=[$GITEA_TOKEN]"
  echo 'github=${{ github.token != '' }}'`

func TestWhatAStepSees(t *testing.T) {
	t.Parallel()
	for program, want := range map[string][]string{
		ActRunner: {"name=[] id=[] attempt=[] ", "unit=[yes]", "terminal=[yes] session=[1]", "token=[]"},
		GiteaRunner: {
			"name=[sees-gitea-runner] id=[ID] attempt=[1] of=[ID]", "unit=[yes]",
			"terminal=[no] session=[0] group=[1]", "token=[]",
		},
	} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			name := "sees-" + program
			r, err := Register(server, program, name, []string{name + ":host"}, "")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = r.Stop() })
			r.Env = []string{"OF_THE_UNIT=yes"}
			if err := r.Start(); err != nil {
				t.Fatal(err)
			}
			if err := wooo.CreateRepository(name, false); err != nil {
				t.Fatal(err)
			}
			run := run(t, "wooo/"+name, job(name, asks))
			log := ended(t, "wooo/"+name, run.ID, "success")
			for _, w := range append(want, "temp="+r.Parent+"/", "/tmp here="+r.Parent+"/", "/hostexecutor") {
				has(t, log, strings.ReplaceAll(w, "ID", fmt.Sprint(run.ID)))
			}
			eventually(t, "job's directory removed", func() bool { jobs, _ := r.Jobs(); return len(jobs) == 0 })

			// A rerun keeps the run's ID and number.
			if err := wooo.Rerun("wooo/"+name, run.ID); err != nil {
				t.Fatal(err)
			}
			eventually(t, "second attempt", func() bool {
				jobs, err := wooo.Jobs("wooo/"+name, run.ID)
				return err == nil && len(jobs) == 1 && jobs[0].Status != "completed"
			})
			log = ended(t, "wooo/"+name, run.ID, "success")
			attempt := map[string]string{ActRunner: "attempt=[]", GiteaRunner: "attempt=[2]"}[program]
			has(t, log, attempt, fmt.Sprintf("of=[%d]", run.ID))
		})
	}
}

// cancelled is a job that is cancelled while it works; a child has left its session.
func cancelled(dir string) []string {
	return []string{
		"run: |\n  trap 'echo trapped >" + dir + "/trapped' TERM HUP INT\n" +
			"  setsid sleep 300 </dev/null >/dev/null 2>&1 &\n  echo $! >" + dir + "/survivor\n" +
			"  sleep 300 &\n  echo $! >" + dir + "/child\n  echo $$ >" + dir + "/shell\n  wait",
		"run: touch " + dir + "/success",
		"if: always()\nrun: echo '${{ job.status }}' >" + dir + "/always",
	}
}

// dead reports whether the process whose ID is in a file has ended.
func dead(file string) bool {
	text, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	state, err := os.ReadFile("/proc/" + strings.TrimSpace(string(text)) + "/stat")
	return err != nil || strings.Contains(string(state), ") Z ")
}

func kill(file string) {
	var pid int
	text, _ := os.ReadFile(file)
	if _, err := fmt.Sscan(string(text), &pid); err == nil {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

func TestACancelByTheWebPage(t *testing.T) {
	t.Parallel()
	for program, always := range map[string]string{ActRunner: "", GiteaRunner: "cancelled\n"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			t.Cleanup(func() { kill(dir + "/survivor") })
			r, repo := start(t, program, "cancel-"+program, "")
			run := run(t, repo, job("cancel-"+program, cancelled(dir)...))
			eventually(t, "step at work", func() bool { return exists(dir + "/shell") })
			// The API's word comes while the processes are there.
			_ = r.Signal(syscall.SIGSTOP)
			if err := wooo.Cancel(repo, run.ID); err != nil {
				t.Fatal(err)
			}
			if got, err := wooo.Ended(repo, run.ID); err != nil || got.Conclusion != "cancelled" || dead(dir+"/shell") {
				t.Fatalf("%v %v, the shell has ended: %v", got, err, dead(dir+"/shell"))
			}
			_ = r.Signal(syscall.SIGCONT)
			eventually(t, "end of the shell", func() bool { return dead(dir + "/shell") })
			eventually(t, "end of its child", func() bool { return dead(dir + "/child") })
			if program == GiteaRunner {
				eventually(t, "step that always runs", func() bool { return exists(dir + "/always") })
			}
			eventually(t, "end of the job", func() bool { jobs, err := r.Jobs(); return err == nil && len(jobs) == 0 })
			got, _ := os.ReadFile(dir + "/always")
			if string(got) != always || exists(dir+"/trapped") || exists(dir+"/success") || dead(dir+"/survivor") {
				t.Errorf("always %q, want %q; trapped %v, next step %v, survivor has ended: %v",
					got, always, exists(dir+"/trapped"), exists(dir+"/success"), dead(dir+"/survivor"))
			}
		})
	}
}

func TestAKilledRunnerLeavesTheDirectoryOfItsJob(t *testing.T) {
	t.Parallel()
	for _, program := range []string{ActRunner, GiteaRunner} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			r, repo := start(t, program, "killed-"+program, "")
			run(t, repo, job("killed-"+program, "run: echo $$ >"+dir+"/shell; exec sleep 300"))
			eventually(t, "step at work", func() bool { return exists(dir + "/shell") })
			t.Cleanup(func() { kill(dir + "/shell") })
			if err := r.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			_ = r.Wait()
			left, err := r.Jobs()
			if err != nil || len(left) != 1 {
				t.Fatalf("%q, %v", left, err)
			}
			if program == ActRunner {
				eventually(t, "end of the step, which has lost its terminal", func() bool { return dead(dir + "/shell") })
			}
			// The new runner removes it once it is a day old.
			for _, age := range []time.Duration{0, 25 * time.Hour} {
				old := time.Now().Add(-age)
				if err := os.Chtimes(left[0], old, old); err != nil {
					t.Fatal(err)
				}
				if err := r.Start(); err != nil {
					t.Fatal(err)
				}
				eventually(t, "start", func() bool { return strings.Contains(r.Log(), "declare successfully") })
				gone := program == GiteaRunner && age > 0
				if gone {
					eventually(t, "removal", func() bool { return !exists(left[0]) })
				}
				_ = r.Signal(syscall.SIGTERM)
				_ = r.Wait()
				if exists(left[0]) == gone {
					t.Errorf("%s old: it is there: %v", age, !gone)
				}
			}
		})
	}
}

// post is a node action whose post step leaves a file.
func post(dir string) map[string]string {
	return map[string]string{
		"post/action.yml": "runs:\n  using: node20\n  main: main.js\n  post: post.js\n",
		"post/main.js":    "console.log('main')\n",
		"post/post.js":    "require('fs').writeFileSync('" + dir + "/post', 'post'); console.log('this is the post')\n",
	}
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	for program, posts := range map[string]bool{ActRunner: false, GiteaRunner: true} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			_, repo := start(t, program, "timeout-"+program, "  timeout: 3s\n")
			files := post(dir)
			maps.Copy(files, job("timeout-"+program, "uses: "+server.URL+"/"+repo+"/post@main", "run: sleep 300"))
			run := run(t, repo, files)
			log := ended(t, repo, run.ID, "failure")
			if got := exists(filepath.Join(dir, "post")); got != posts {
				t.Errorf("post has run: %v; the log is\n%s", got, log)
			}
		})
	}
}

func TestHooks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write("started", "echo \"started in $PWD with $#\"")
	write("completed", "echo \"completed $RUNNER_TEMP\"; test ! -e "+dir+"/fails")
	write("post-task", "/usr/bin/env >"+dir+"/env.new; /bin/mv "+dir+"/env.new "+dir+"/env")
	write("health", "touch "+dir+"/asked; test -e "+dir+"/well")
	config := "  hooks: {job_started: " + dir + "/started, job_completed: " + dir + "/completed}\n" +
		"  post_task_script: " + dir + "/post-task\n  envs: {PATH: /usr/bin:/bin, OF_CONFIG: yes}\n" +
		"health_check: {script: " + dir + "/health}\n"
	r, err := Register(server, GiteaRunner, "hooks", []string{"hooks:host"}, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Stop() })
	r.Env = []string{"OF_UNIT=yes"}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	if err := wooo.CreateRepository("hooks", false); err != nil {
		t.Fatal(err)
	}
	first := run(t, "wooo/hooks", job("hooks", "run: echo the step"))
	log := ended(t, "wooo/hooks", first.ID, "success")
	has(t, log, "started in "+r.Parent, " with 0", "completed "+r.Parent)
	started, step := strings.Index(log, "started in"), strings.Index(log, "the step")
	if started > step || strings.Index(log, "completed ") < strings.LastIndex(log, "the step") {
		t.Errorf("not in this order: started, step, completed:\n%s", log)
	}
	eventually(t, "post-task script", func() bool { return exists(dir + "/env") })
	env, _ := os.ReadFile(dir + "/env")
	has(t, string(env), "GITEA_WORKSPACE=/workspace/wooo/hooks\n", "GITEA_REPOSITORY=wooo/hooks\n",
		fmt.Sprintf("GITEA_RUN_ID=%d\n", first.ID), "GITEA_TASK_ID=", "GITEA_JOB_RESULT=success\n", "OF_CONFIG=yes\n")
	if strings.Contains(string(env), "OF_UNIT") {
		t.Errorf("the unit's environment is in\n%s", env)
	}
	if exists(dir + "/asked") {
		t.Error("a health check that is not enabled was run")
	}

	// A hook that fails, fails the job.
	write("fails", "")
	if err := wooo.Rerun("wooo/hooks", first.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "second attempt", func() bool {
		log, err := wooo.Log("wooo/hooks", first.ID)
		return err == nil && strings.Contains(log, "job_completed hook")
	})
	ended(t, "wooo/hooks", first.ID, "failure")

	// An unhealthy runner takes no task.
	_ = r.Signal(syscall.SIGTERM)
	_ = r.Wait()
	text, _ := os.ReadFile(r.Dir + "/config.yaml")
	enabled := strings.Replace(string(text), "{script:", "{enabled: true, script:", 1)
	if err := os.WriteFile(r.Dir+"/config.yaml", []byte(enabled), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "health check", func() bool { return exists(dir + "/asked") })
	if err := wooo.Commit("wooo/hooks", map[string]string{"README": "again"}); err != nil {
		t.Fatal(err)
	}
	second, err := wooo.Run("wooo/hooks", 2)
	if err != nil || second.Status != "queued" {
		t.Errorf("%v, %v", second, err)
	}
}

func TestLabelsOfTheConfigurationOverwriteTheRegistration(t *testing.T) {
	t.Parallel()
	r, err := Register(server, ActRunner, "labels", []string{"awoooi-host:host"}, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Stop() })
	// As "act_runner generate-config >config.yaml" does to a runner without one.
	if err := r.GenerateConfig(); err != nil {
		t.Fatal(err)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "declaration", func() bool { return strings.Contains(r.Log(), "declare successfully") })
	registration, _ := os.ReadFile(r.Dir + "/.runner")
	if strings.Contains(string(registration), "awoooi-host") {
		t.Errorf("the registration still has the label:\n%s", registration)
	}
	runners, err := server.Runners()
	if err != nil {
		t.Fatal(err)
	}
	for _, runner := range runners {
		if runner.Name == "labels" && (len(runner.Labels) != 2 || runner.Labels[0].Name != "ubuntu-latest") {
			t.Errorf("the server has the labels %v", runner.Labels)
		}
	}
}

func TestAMatrixIsJobsOfOneRun(t *testing.T) {
	t.Parallel()
	_, repo := start(t, ActRunner, "matrix", "  capacity: 2\n")
	run := run(t, repo, map[string]string{".gitea/workflows/ci.yaml": `on: push
jobs:
  build:
    runs-on: matrix
    strategy: {matrix: {leg: [one, two]}}
    steps: [{run: "echo leg ${{ matrix.leg }} of $GITHUB_JOB $GITHUB_RUN_ID"}]
  after:
    needs: build
    runs-on: matrix
    steps: [{run: "echo after ${{ needs.build.result }}"}]
`})
	log := ended(t, repo, run.ID, "success")
	has(t, log, fmt.Sprintf("leg one of build %d", run.ID), fmt.Sprintf("leg two of build %d", run.ID), "after success")
	jobs, err := wooo.Jobs(repo, run.ID)
	if err != nil || len(jobs) != 3 {
		t.Errorf("%v, %v", jobs, err)
	}
}

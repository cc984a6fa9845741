// Package runs shows what hostguard does in runs of a real Gitea, and what it says of
// that server.
package runs

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"hostguard/e2e/rig/act"
	"hostguard/e2e/rig/contend"
	"hostguard/e2e/rig/engine"
	"hostguard/e2e/rig/gitea"
)

// What the tests share: a site, the program, and the action as a release has it.
var (
	shared    *site
	hostguard string
	export    string
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
	if hostguard, err = contend.Hostguard(); err != nil {
		return 1, err
	}
	if export, err = os.MkdirTemp("/tmp", "hgaction"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(export)
	if err := act.Export(export); err != nil {
		return 1, err
	}
	// The workflows of the checkout are its own, and none of a release's.
	if err := os.RemoveAll(filepath.Join(export, ".gitea")); err != nil {
		return 1, err
	}
	if shared, err = newSite(); err != nil {
		return 1, err
	}
	defer shared.Stop()
	return m.Run(), nil
}

// site is a server with the action as wooo/hostguard@v1.
type site struct {
	*gitea.Server
	wooo *gitea.User // the owner of all repositories
}

func newSite() (*site, error) {
	server, err := gitea.Start()
	if err != nil {
		return nil, err
	}
	s := &site{Server: server}
	s.wooo, err = server.User("wooo", false)
	if err == nil {
		err = s.wooo.CreateRepository("hostguard", false)
	}
	if err == nil {
		_, err = s.wooo.Publish("wooo/hostguard", export, "v1")
	}
	if err != nil {
		return nil, errors.Join(err, server.Stop())
	}
	return s, nil
}

// host is a runner on this host with its own Docker daemon, and a repository whose
// jobs run there.
type host struct {
	*testing.T
	*site
	runner *gitea.Runner
	docker *engine.Engine
	repo   string
	dir    string // for what steps leave
}

// newHost starts the runner of a program; its label and the repository have its name.
func newHost(t *testing.T, s *site, program, name, config string) *host {
	t.Helper()
	name += "-" + program
	h := &host{T: t, site: s, repo: "wooo/" + name, dir: t.TempDir()}
	var err error
	if h.docker, err = engine.Start(engine.New); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.docker.Stop() })
	if h.runner, err = gitea.Register(s.Server, program, name, []string{name + ":host"}, config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.runner.Stop() })
	h.runner.Env = []string{"DOCKER_HOST=" + h.docker.Host()}
	if err := h.runner.Start(); err != nil {
		t.Fatal(err)
	}
	if err := s.wooo.CreateRepository(name, false); err != nil {
		t.Fatal(err)
	}
	return h
}

// push commits a workflow and waits for the run of a number. LABEL, DIR and
// hostguard/ mean the runner's label, the directory and the action.
func (h *host) push(number int64, workflow string) gitea.Run {
	h.Helper()
	_, label, _ := strings.Cut(h.repo, "/")
	action := h.URL + "/wooo/hostguard"
	names := strings.NewReplacer("LABEL", label, "DIR", h.dir, "hostguard/", action+"/", "hostguard@", action+"@")
	text := names.Replace(workflow)
	if err := h.wooo.Commit(h.repo, map[string]string{".gitea/workflows/ci.yaml": text}); err != nil {
		h.Fatal(err)
	}
	run, err := h.wooo.Run(h.repo, number)
	if err != nil {
		h.Fatal(err)
	}
	return run
}

// ended wants a run to end so, and returns its log.
func (h *host) ended(run gitea.Run, conclusion string) string {
	h.Helper()
	got, err := h.wooo.Ended(h.repo, run.ID)
	if err != nil {
		h.Fatal(err)
	}
	log, err := h.wooo.Log(h.repo, run.ID)
	if err != nil {
		h.Fatal(err)
	}
	if got.Conclusion != conclusion {
		h.Fatalf("the run has ended with %q, want %q; its log is\n%s\nthe runner's is\n%s",
			got.Conclusion, conclusion, log, h.runner.Log())
	}
	return log
}

// until waits until something is so.
func (h *host) until(what string, is func() bool) {
	h.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			h.Fatalf("not within a minute: %s; the runner's log is\n%s", what, h.runner.Log())
		}
	}
}

func (h *host) exists(name string) bool {
	_, err := os.Stat(filepath.Join(h.dir, name))
	return err == nil
}

// status is what hostguard says of the host's locks.
func (h *host) status(args ...string) string {
	h.Helper()
	cmd := exec.Command(hostguard, append([]string{"status"}, args...)...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+h.docker.Host())
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.Fatalf("status: %v: %s", err, out)
	}
	return string(out)
}

// eachRunner runs a test with a runner of each generation, and with others.
func eachRunner(t *testing.T, test func(t *testing.T, program string), others ...string) {
	t.Parallel()
	for _, program := range append([]string{gitea.ActRunner, gitea.GiteaRunner}, others...) {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			test(t, program)
		})
	}
}

const held = `on: push
jobs:
  build:
    runs-on: LABEL
    steps:
      - uses: hostguard/lock@v1
        with: { reason: build }
      - run: |
          touch DIR/holds
          until [ -e DIR/go ]; do sleep 0.05; done
`

// The server looks a run up by its ID first, which counts through all repositories:
// the second run of this one has the number 2, and the first one the ID 2.
func TestTheLinkOfAHolderLeadsToItsRun(t *testing.T) {
	eachRunner(t, func(t *testing.T, program string) {
		s, err := newSite()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Stop() })
		const nothing = "on: push\njobs: {build: {runs-on: nowhere, steps: [{run: make}]}}\n"
		if err := s.wooo.Commit("wooo/hostguard", map[string]string{".gitea/workflows/ci.yaml": nothing}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.wooo.Run("wooo/hostguard", 1); err != nil {
			t.Fatal(err)
		}
		h := newHost(t, s, program, "link", "")
		h.push(1, nothing)
		run := h.push(2, held)
		if run.ID != 3 {
			t.Fatalf("the second run has the ID %d", run.ID)
		}
		h.until("the lock is held", func() bool { return h.exists("holds") })
		said := h.status("-json") + h.status()
		link := regexp.MustCompile(regexp.QuoteMeta(s.URL) + `(/wooo/link-[^/]*/actions/runs/[^\s"\\]*)`)
		links := link.FindAllStringSubmatch(said, -1)
		if len(links) == 0 {
			t.Errorf("no link in\n%s", said)
		}
		for _, link := range links {
			_, at, err := s.wooo.Web(http.MethodGet, link[1])
			at, _, _ = strings.Cut(at, "?")
			if want := fmt.Sprintf("/%s/actions/runs/%d", h.repo, run.ID); err != nil || at != want {
				t.Errorf("%s leads to %q, want %s, %v", link[1], at, want, err)
			}
		}
		if err := os.WriteFile(filepath.Join(h.dir, "go"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		h.ended(run, "success")
	})
}

// A run that is cancelled by the form of its page gives the lock back, and so does
// its second attempt.
func TestACancelledRunGivesTheLockBackAndRunsAgain(t *testing.T) {
	eachRunner(t, func(t *testing.T, program string) {
		h := newHost(t, shared, program, "cancel", "")
		run := h.push(1, held)
		h.until("the lock is held", func() bool { return h.exists("holds") })
		if !strings.Contains(h.status(), h.repo) {
			t.Fatalf("the holder is not in\n%s", h.status())
		}
		if err := h.wooo.Cancel(h.repo, run.ID); err != nil {
			t.Fatal(err)
		}
		h.until("the lock is free", func() bool { return !strings.Contains(h.status(), h.repo) })
		h.ended(run, "cancelled")
		h.until("the job's directory is gone", func() bool { jobs, _ := h.runner.Jobs(); return len(jobs) == 0 })

		if err := os.Remove(filepath.Join(h.dir, "holds")); err != nil {
			t.Fatal(err)
		}
		if err := h.wooo.Rerun(h.repo, run.ID); err != nil {
			t.Fatal(err)
		}
		h.until("the second attempt has the lock", func() bool { return h.exists("holds") })
		if err := os.WriteFile(filepath.Join(h.dir, "go"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		log := h.ended(run, "success")
		if strings.Contains(log, "::warning::") {
			t.Errorf("the second attempt warns:\n%s", log)
		}
		h.until("the lock is free", func() bool { return !strings.Contains(h.status(), h.repo) })
	}, gitea.ForgejoRunner)
}

// The legs of a matrix share run, job and attempt, and are two holders.
func TestLegsOfAMatrixExcludeEachOther(t *testing.T) {
	eachRunner(t, func(t *testing.T, program string) {
		h := newHost(t, shared, program, "matrix", "  capacity: 2\n")
		run := h.push(1, `on: push
jobs:
  build:
    runs-on: LABEL
    strategy: { matrix: { leg: [one, two] } }
    steps:
      - uses: hostguard/lock@v1
      - run: |
          mkdir DIR/inside
          touch DIR/holds-${{ matrix.leg }}
          sleep 0.5
          rmdir DIR/inside
`)
		h.ended(run, "success")
		if !h.exists("holds-one") || !h.exists("holds-two") {
			t.Error("a leg has not held the lock")
		}
	}, gitea.ForgejoRunner)
}

// checkout is a git checkout of a repository.
func checkout(t *testing.T, repo string) string {
	t.Helper()
	dir := t.TempDir()
	for _, args := range [][]string{{"init", "--quiet"}, {"remote", "add", "gitea", shared.URL + "/" + repo + ".git"}} {
		if out, err := exec.Command("git", append([]string{"-C", dir}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("git %q: %s", args, out)
		}
	}
	return dir
}

// labels runs "runner labels" of a user's repositories with a token.
func labels(t *testing.T, dir, token string, args ...string) (out string, status int) {
	t.Helper()
	cmd := exec.Command(hostguard, append([]string{"runner", "labels", "-checkout", dir}, args...)...)
	cmd.Env = append(os.Environ(), "GITEA_TOKEN="+token)
	said, _ := cmd.CombinedOutput()
	if strings.Contains(string(said), token) {
		t.Errorf("the token is in\n%s", said)
	}
	return string(said), cmd.ProcessState.ExitCode()
}

// labelled is one job of a repository: what it wants, and whether Gitea lets the
// runner with the labels "lab-host" and "lab-gpu" run it.
var labelled = []struct {
	path, workflow, verdict string
}{
	{"one.yaml", "on: push\njobs: {one: {runs-on: lab-host, steps: [{run: echo ok}]}}\n", "ok"},
	{"both.yml", "on: push\njobs: {both: {runs-on: [lab-host, lab-gpu], steps: [{run: echo ok}]}}\n", "ok"},
	{"deep/er/deep.yaml", "on: push\njobs: {deep: {runs-on: lab-gpu, steps: [{run: echo ok}]}}\n", "ok"},
	{"none.yaml", "on: push\njobs: {none: {runs-on: lab-none, steps: [{run: echo ok}]}}\n", "unsatisfiable"},
	{"more.yaml", "on: push\njobs: {more: {runs-on: [lab-host, lab-none], steps: [{run: echo ok}]}}\n", "unsatisfiable"},
	{
		"group.yaml", "on: push\njobs: {group: {runs-on: {group: lab-group, labels: [lab-host]}, steps: [{run: echo ok}]}}\n",
		"unsatisfiable",
	},
	{
		"matrix.yaml", "on: push\njobs: {matrix: {strategy: {matrix: {on: [lab-host, lab-none]}}, " +
			"runs-on: '${{ matrix.on }}', steps: [{run: echo ok}]}}\n", "",
	},
}

// What "runner labels" says of a job is what the server then does with it.
func TestTheVerdictOnALabelIsWhatTheServerDoes(t *testing.T) {
	t.Parallel()
	lab, err := shared.User("lab", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.CreateRepository("site", false); err != nil {
		t.Fatal(err)
	}
	can := []string{"lab-host:host", "lab-gpu:host"}
	runner, err := gitea.Register(shared.Server, gitea.ActRunner, "lab", can, "  capacity: 4\n")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = runner.Stop() })
	if err := runner.Start(); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, l := range labelled {
		files[".gitea/workflows/"+l.path] = l.workflow
	}
	if err := lab.Commit("lab/site", files); err != nil {
		t.Fatal(err)
	}
	if _, err := lab.Run("lab/site", int64(len(labelled))); err != nil { // one of each workflow
		t.Fatal(err)
	}
	runs, err := lab.Runs("lab/site")
	if err != nil {
		t.Fatal(err)
	}
	out, status := labels(t, checkout(t, "lab/site"), shared.Admin.Token, "-json")
	if status != 0 {
		t.Fatalf("exit status %d: %s", status, out)
	}
	var said struct {
		Wants []struct{ Job, Verdict string }
	}
	if err := json.Unmarshal([]byte(out), &said); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// All jobs that some runner may take have run once the last of them has.
	done := map[string]string{}
	ran := func(job string) bool { return done[job] == "completed" }
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		for _, run := range runs {
			jobs, err := lab.Jobs("lab/site", run.ID)
			if err != nil {
				t.Fatal(err)
			}
			for _, job := range jobs {
				done[job.Name] = job.Status
			}
		}
		if ran("one") && ran("both") && ran("deep") && ran("matrix (lab-host)") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("not all have run: %v; the runner's log is\n%s", done, runner.Log())
		}
	}
	for _, l := range labelled {
		name := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(l.path), ".yaml"), ".yml")
		if l.verdict == "" {
			continue
		}
		i := slices.IndexFunc(said.Wants, func(w struct{ Job, Verdict string }) bool { return w.Job == name })
		switch {
		case i < 0:
			t.Errorf("%s is not in\n%s", name, out)
		case said.Wants[i].Verdict != l.verdict:
			t.Errorf("%s is %q, want %q", name, said.Wants[i].Verdict, l.verdict)
		case ran(name) != (l.verdict == "ok"):
			t.Errorf("%s is %q, and the server says %q", name, l.verdict, done[name])
		}
	}
}

// What a token may read is what is reported, and what it lacks is named.
func TestTheScopesOfATokenAreNamed(t *testing.T) {
	t.Parallel()
	owner, err := shared.User("scopes", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.CreateRepository("hidden", true); err != nil {
		t.Fatal(err)
	}
	workflow := "on: workflow_dispatch\njobs: {build: {runs-on: nowhere, steps: [{run: make}]}}\n"
	if err := owner.Commit("scopes/hidden", map[string]string{".gitea/workflows/ci.yaml": workflow}); err != nil {
		t.Fatal(err)
	}
	dir := checkout(t, "scopes/hidden")
	for name, c := range map[string]struct {
		user   *gitea.User
		scopes []string
		status int
		says   []string
	}{
		"an administrator's who may read all": {
			shared.Admin, []string{"read:repository", "read:admin"}, 0, []string{"unsatisfiable", "scopes/hidden"},
		},
		"the owner's for repositories": {
			owner, []string{"read:repository"}, 0, []string{"unknown", "scopes/hidden", "read:admin"},
		},
		"the owner's for something else": {owner, []string{"read:issue"}, 3, []string{"read:repository"}},
		"a stranger's":                   {shared.wooo, []string{"read:repository"}, 3, []string{"scopes/hidden"}},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := c.user.NewToken(c.scopes...)
			if err != nil {
				t.Fatal(err)
			}
			out, status := labels(t, dir, token, "-repos", "scopes/hidden")
			if status != c.status {
				t.Errorf("exit status %d, want %d: %s", status, c.status, out)
			}
			for _, want := range c.says {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
		})
	}
}

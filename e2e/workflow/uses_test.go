package workflow

import (
	"archive/tar"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"hostguard/e2e/rig/act"
	"hostguard/e2e/rig/engine"
	"hostguard/e2e/rig/gitserver"
)

// The tests of this file clone the action, as a runner does, from a server that
// answers as a Gitea: `uses: http://127.0.0.1:PORT/wooo/hostguard@v1.0.0`.

// job is a workflow of one job.
func job(label string, steps ...string) string {
	return `
on: push
jobs:
  build:
    runs-on: ` + label + `
    steps:
` + strings.Join(steps, "")
}

// step is one that uses an action, with inputs such as "step: clean-diag".
func step(uses string, inputs ...string) string {
	return fmt.Sprintf("      - uses: %s\n        with: { %s }\n", uses, strings.Join(inputs, ", "))
}

// needed are the programs that the action's launcher runs.
var needed = []string{
	"sh", "cat", "chmod", "cmp", "cp", "dirname", "mktemp", "mv",
	"readlink", "rm", "sed", "sha256sum", "tr", "uname",
}

// TestReleaseTagNeedsNothingPreinstalled runs the action from the tag of a
// release, on a host and in a container that have a shell and its tools only.
func TestReleaseTagNeedsNothingPreinstalled(t *testing.T) {
	_, root := released(t)
	server := httptest.NewServer(&gitserver.Gitea{Root: root})
	t.Cleanup(server.Close)
	const acquired = `acquired lock "awoooi-cd-docker-build-lock"`
	const gaveBack = `gave back lock "awoooi-cd-docker-build-lock"`
	all := func(uses string) []string {
		return append([]string{
			step(uses, "step: clean-diag"),
			step(uses, "step: wait-pressure", "max-attempts: 1"),
			step(uses, "step: acquire-lock", "timeout: 1m"),
			step(uses, "step: release-lock"),
		}, keep(uses)...)
	}

	t.Run(act.Nektos, func(t *testing.T) {
		t.Parallel()
		r := newRunner(t, act.Nektos, engine.Old, server.URL)
		// It knows only names without a server.
		everything := job("awoooi-host", all("wooo/hostguard@v1.0.0")...)
		log := r.run(tools(t, needed...), everything, "clean-diag: ", acquired, gaveBack)
		r.keeps(log)
	})
	t.Run(act.Gitea, func(t *testing.T) {
		t.Parallel()
		r := newRunner(t, act.Gitea, engine.New, server.URL)
		uses := server.URL + "/wooo/hostguard@v1.0.0"
		log := r.run(tools(t, needed...), job("awoooi-host", all(uses)...), "clean-diag: ", acquired, gaveBack)
		r.keeps(log)
		// The runner copies all of the action into the container for each step.
		log = r.run(tools(t), job("ubuntu-latest", keep(uses)...))
		r.keeps(log)
		byAddress := job("awoooi-host", step(server.URL+"/wooo/hostguard/lock@v1.0.0", "timeout: 1m"))
		r.run(tools(t, append(needed, "node")...), byAddress, acquired, gaveBack)
		nothingLeft(t, r.engine)
	})
}

// runner runs jobs with a Docker Engine and a cache of their own.
type runner struct {
	t      *testing.T
	engine *engine.Engine
	job    act.Job
}

func newRunner(t *testing.T, build, version, server string) runner {
	t.Helper()
	e := engine.ForTest(t, version)
	return runner{t, e, act.Job{
		Build: build, Repository: "wooo/site", Image: nearlyEmptyImage(t, e), Server: &act.Server{URL: server},
		Runner: []string{"DOCKER_HOST=" + e.Host(), "XDG_CACHE_HOME=" + t.TempDir()},
	}}
}

// run runs a workflow with a PATH and expects lines that begin so in its log.
func (r runner) run(path, workflow string, says ...string) (log string) {
	r.t.Helper()
	r.job.Workflow, r.job.Runner = workflow, append(r.job.Runner, "PATH="+path)
	log, err := run(r.t, r.job)
	if err != nil {
		r.t.Error(err)
	}
	for _, line := range says {
		if !strings.Contains(log, "| "+line) {
			r.t.Errorf("no line begins with %q", line)
		}
	}
	return log
}

// keep are steps that take a lock, say so, and do not give it back.
func keep(uses string) []string {
	return []string{
		step(uses, "step: acquire-lock", "timeout: 1m", "lock-name: kept") + "        id: kept\n",
		"      - run: echo 'kept ${{ steps.kept.outputs.lock-id }}'\n        shell: sh\n",
	}
}

// keeps expects that the engine, seen from outside, has the lock that a job says
// it keeps, and no other, and takes it away.
func (r runner) keeps(log string) {
	r.t.Helper()
	id := docker(r.t, r.engine, "network", "inspect", "--format", "{{.Id}}", "kept")
	if !strings.Contains(log, "| kept "+id+"\n") {
		r.t.Errorf("the engine has the lock %s, which is not what the job says", id)
	}
	docker(r.t, r.engine, "network", "rm", "kept")
	nothingLeft(r.t, r.engine)
}

// TestUnusableAction shows what act_runner's engine says where `uses:` does not
// work, as docs/uses.md quotes it, and that the remedies there are some.
func TestUnusableAction(t *testing.T) {
	root, tagOnly := t.TempDir(), t.TempDir()
	for _, root := range []string{root, tagOnly} {
		remote := newBare(t, filepath.Join(root, "wooo/hostguard"))
		remote.commit(minimal(t, "new"))
		remote.git("tag", "v1.0.0")
	}
	bare{t, filepath.Join(tagOnly, "wooo/hostguard")}.git("update-ref", "-d", "refs/heads/main")

	serve := func(handler http.Handler) string {
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		return server.URL
	}
	public := serve(&gitserver.Gitea{Root: root})
	private := serve(&gitserver.Gitea{Root: root, Private: true, Token: "collaborator's"})
	old := serve(&gitserver.Gitea{Root: root, Private: true, Old: true})
	withoutBranch := serve(&gitserver.Gitea{Root: tagOnly})
	github := serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
		http.Error(w, "Repository not found.", http.StatusUnauthorized) // also where it is private
	}))
	otherAddress := strings.Replace(private, "127.0.0.1", "localhost", 1)
	// The log, with the addresses that the documentation has.
	documented := strings.NewReplacer(
		public, "https://gitea.example.com", private, "https://gitea.example.com", otherAddress, "https://gitea.example.com",
		old, "https://gitea.example.com", withoutBranch, "https://gitea.example.com", github, "https://github.com")

	withNode, withoutNode := tools(t, "sh", "node"), tools(t, "sh")
	for name, test := range map[string]struct {
		uses   string
		server act.Server
		token  string
		path   string
		says   string // "" where it works
	}{
		"node is missing": {
			"wooo/hostguard/lock@v1.0.0", act.Server{URL: public}, "", withoutNode,
			"Cannot find: node in PATH",
		},
		"node is there": {"wooo/hostguard/lock@v1.0.0", act.Server{URL: public}, "", withNode, ""},

		"private, by another address than the runner's": {
			otherAddress + "/wooo/hostguard@v1.0.0", act.Server{URL: private}, "collaborator's", withNode,
			"Unable to clone https://gitea.example.com/wooo/hostguard refs/heads/v1.0.0: authentication required: Unauthorized",
		},
		"private, a stranger's job": {
			private + "/wooo/hostguard@v1.0.0", act.Server{URL: private}, "stranger's", withNode,
			"Unable to clone https://gitea.example.com/wooo/hostguard refs/heads/v1.0.0: " +
				"repository not found: Repository not found",
		},
		"private, a stranger's job, old Gitea": {
			old + "/wooo/hostguard@v1.0.0", act.Server{URL: old}, "stranger's", withNode,
			"Unable to clone https://gitea.example.com/wooo/hostguard refs/heads/v1.0.0: " +
				"authorization failed: User permission denied",
		},
		"private, a collaborator's job": {
			private + "/wooo/hostguard@v1.0.0", act.Server{URL: private},
			"collaborator's", withNode, "",
		},

		"default server is another": {
			"wooo/hostguard@v1.0.0", act.Server{URL: public, Actions: github}, "", withNode,
			"Unable to clone https://github.com/wooo/hostguard refs/heads/v1.0.0: " +
				"authentication required: Repository not found.",
		},
		"full address": {
			public + "/wooo/hostguard@v1.0.0", act.Server{URL: public, Actions: github},
			"", withNode, "",
		},
		"default server is self": {"wooo/hostguard@v1.0.0", act.Server{URL: public}, "", withNode, ""},

		"no such tag": {
			"wooo/hostguard@v1", act.Server{URL: public}, "", withNode,
			"Unable to resolve v1: reference not found",
		},
		"no branch": {
			"wooo/hostguard@v1.0.0", act.Server{URL: withoutBranch}, "", withNode,
			"Unable to clone https://gitea.example.com/wooo/hostguard refs/heads/v1.0.0: reference not found",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log, err := run(t, act.Job{
				Build: act.Gitea, Repository: "wooo/site", Workflow: job("awoooi-host", step(test.uses)),
				Secrets: []string{"GITEA_TOKEN=" + test.token}, Runner: []string{"PATH=" + test.path}, Server: &test.server,
			})
			if test.says == "" {
				if err != nil || !strings.Contains(log, "| new code\n") {
					t.Errorf("it did not run: %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(documented.Replace(log), "] "+test.says+"\n") {
				t.Errorf("it ended with %v, want a failure and %q", err, test.says)
			}
			quotes(t, "../../docs/uses.md", test.says)
		})
	}
}

// TestMovedReferences shows whose code runs after what a workflow names has been
// moved on the server, on a runner that has it cloned already.
func TestMovedReferences(t *testing.T) {
	const warning = "Non-terminating error while running 'git clone': some refs were not updated"
	const remedy = "find ~/.cache/act -maxdepth 1 -regextype egrep -regex '.*/[0-9a-f]{64}' -exec rm -rf {} +"
	quotes(t, "../../docs/uses.md", warning)
	quotes(t, "../../docs/uses.md", remedy)
	for name, test := range map[string]struct {
		reference string
		rewrite   bool // the branch, rather than to add to it
		runs      string
	}{
		"tag":                            {"v1.0.0", false, "new"},
		"branch":                         {"main", false, "new"},
		"commit":                         {"", false, "old"},
		"tag, and a branch rewritten":    {"v1.0.0", true, "old"},
		"branch rewritten":               {"main", true, "old"},
		"commit, and a branch rewritten": {"", true, "old"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root, home := t.TempDir(), t.TempDir()
			remote := newBare(t, filepath.Join(root, "wooo/hostguard"))
			remote.commit(minimal(t, "first"))
			reference := cmp.Or(test.reference, remote.commit(minimal(t, "old")))
			remote.git("tag", "v1.0.0")
			server := httptest.NewServer(&gitserver.Gitea{Root: root})
			t.Cleanup(server.Close)
			runs := func(code string) (log string) {
				t.Helper()
				log, err := run(t, act.Job{
					Build: act.Gitea, Repository: "wooo/site", Workflow: job("awoooi-host", step("wooo/hostguard@"+reference)),
					Runner: []string{"XDG_CACHE_HOME=" + filepath.Join(home, ".cache")}, Server: &act.Server{URL: server.URL},
				})
				if err != nil || !strings.Contains(log, "| "+code+" code\n") {
					t.Errorf("the %s code did not run: %v", code, err)
				}
				return log
			}
			runs("old")
			if test.rewrite {
				remote.git("update-ref", "refs/heads/main", "main^")
			}
			remote.commit(minimal(t, "new"))
			remote.git("tag", "--force", "v1.0.0")
			if log := runs(test.runs); strings.Contains(log, "] "+warning+"\n") != test.rewrite {
				t.Errorf("it says %q, or not, unlike docs/uses.md", warning)
			}
			if test.rewrite && test.reference != "" {
				command(t, home, []string{"HOME=" + home}, "sh", "-c", remedy)
				runs("new")
			}
		})
	}
}

// minimal is the tree of an action that says which code it is.
func minimal(t *testing.T, code string) string {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "action.yml"), `
name: action
runs:
  using: composite
  steps:
    - run: echo "`+code+` code"
      shell: sh
`, 0o644)
	if err := os.Mkdir(filepath.Join(dir, "lock"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "lock/action.yml"),
		"name: lock\nruns: { using: node20, main: main.js, post: main.js }\n", 0o644)
	writeFile(t, filepath.Join(dir, "lock/main.js"), "console.log('"+code+" code')\n", 0o644)
	return dir
}

// release is made once; the folder is removed by TestMain.
var release struct {
	sync.Once
	dir  string
	said string
	err  error
}

// released returns a repository in which a release was made, as README's first
// step says, and a folder with wooo/hostguard as its owner pushes it there.
func released(t *testing.T) (source, root string) {
	t.Helper()
	release.Do(func() {
		if release.dir, release.err = os.MkdirTemp("", "hostguard"); release.err != nil {
			return
		}
		release.err = errors.New("it could not be made, as the first test says that needs it")
		source := filepath.Join(release.dir, "source")
		repository(t, source)
		release.said = command(t, source, nil, "sh", "-ec", adoption(t)[0].commands)
		remote := newBare(t, filepath.Join(release.dir, "wooo/hostguard"))
		command(t, source, nil, "git", "push", "--quiet", remote.dir, "v1.0.0:refs/heads/main", "v1.0.0")
		release.err = nil
	})
	if release.err != nil {
		t.Fatal("no release: ", release.err)
	}
	return filepath.Join(release.dir, "source"), release.dir
}

// bare is a repository as a server has it, with a branch main.
type bare struct {
	t   *testing.T
	dir string
}

func newBare(t *testing.T, dir string) bare {
	t.Helper()
	r := bare{t, dir}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r.git("init", "--quiet", "--bare", "--initial-branch", "main")
	return r
}

func (r bare) git(args ...string) string {
	r.t.Helper()
	own := []string{"--git-dir", r.dir, "-c", "user.name=wooo", "-c", "user.email=wooo@localhost"}
	cmd := exec.Command("git", append(own, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit adds a commit of all files of a folder to main and returns its name.
func (r bare) commit(tree string) string {
	r.t.Helper()
	r.git("--work-tree", tree, "add", "--all", "--force", tree)
	r.git("--work-tree", tree, "commit", "--quiet", "--message", "Change the action")
	return r.git("rev-parse", "main")
}

// tools is a PATH of these programs and no others.
func tools(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err == nil {
			err = os.Symlink(path, filepath.Join(dir, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// nearlyEmptyImage makes an image with the tools of busybox and nothing else.
func nearlyEmptyImage(t *testing.T, e *engine.Engine) string {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	applets, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	importImage(t, e, "nearly-empty:1", func(add func(tar.Header, string)) {
		for _, file := range append(libraries(busybox), busybox) {
			add(tar.Header{Name: file, Mode: 0o755}, string(readFile(t, file)))
		}
		for applet := range strings.FieldsSeq(string(applets)) {
			add(tar.Header{Name: "/bin/" + applet, Linkname: busybox, Typeflag: tar.TypeSymlink}, "")
		}
		add(tar.Header{Name: "/tmp", Mode: 0o1777, Typeflag: tar.TypeDir}, "")
	})
	return "nearly-empty:1"
}

// importImage makes an image of the files that fill adds.
func importImage(t *testing.T, e *engine.Engine, name string, fill func(add func(tar.Header, string))) {
	t.Helper()
	var image bytes.Buffer
	w := tar.NewWriter(&image)
	fill(func(header tar.Header, content string) {
		header.Size = int64(len(content))
		err := w.WriteHeader(&header)
		if err == nil {
			_, err = io.WriteString(w, content)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	writeFile(t, file, image.String(), 0o644)
	docker(t, e, "import", file, name)
}

// libraries are those that a program needs; a static one needs none.
func libraries(program string) (files []string) {
	out, _ := exec.Command("ldd", program).Output()
	for field := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(field, "/") {
			files = append(files, field)
		}
	}
	return files
}

// quotes expects that a page has a line as a block of its own.
func quotes(t *testing.T, page, line string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "\n"+line+"\n```\n") {
		t.Errorf("%s does not quote %q", page, line)
	}
}

// The errors that README names are those of the page, which are tested above.
func TestREADMEQuotesWhatTheEngineSays(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n### When `uses:` does not work\n")
	section, _, _ = strings.Cut(section, "\n### ")
	blocks := strings.Split(section, "\n```\n")
	if len(blocks) != 9 {
		t.Fatalf("README has %d errors, want 4", len(blocks)/2)
	}
	for i := 1; i < len(blocks); i += 2 {
		quotes(t, "../../docs/uses.md", blocks[i])
	}
}

package workflow

import (
	"archive/tar"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"hostguard/e2e/rig/act"
	"hostguard/e2e/rig/engine"
	"hostguard/e2e/rig/gitserver"
)

// TestAdoptOffline walks README's "Adopt it in ten minutes, offline" with the
// commands that stand there, and expects what they say "You see". The host is a
// container with nothing but its loopback, where a Gitea answers; the user has no
// sudo, and the runner's engine has the environment of a systemd user unit.
func TestAdoptOffline(t *testing.T) {
	t.Parallel()
	const gitea = "http://127.0.0.1:3000"
	steps := adoption(t)
	source, _ := released(t) // by the commands of step 1
	steps[0].sees(t, release.said)
	h := newHost(t, filepath.Join(source, "hostguard.bundle"))
	begin := time.Now()
	// README's address is that of the Gitea here; who pushes has its password.
	h.sh("gitea", fmt.Sprintf(`
		git config --global url.%s/.insteadOf https://gitea.example.com/
		git config --global url.%s/.pushInsteadOf https://gitea.example.com/
		git config --global advice.detachedHead false
		mkdir laptop; ln -s /bundle laptop/hostguard.bundle
		git init --quiet --bare --initial-branch main /srv/wooo/hostguard
		until curl --silent %[1]s; do sleep 0.02; done`, gitea, strings.Replace(gitea, "//", "//wooo:"+ownerPassword+"@", 1)))

	steps[1].sees(t, h.sh("step 2", "cd laptop\n"+steps[1].commands))
	for _, ref := range []string{"main", "v1.0.0"} {
		files := h.sh("what would run", "git -C /srv/wooo/hostguard ls-tree -r --name-only "+ref)
		if strings.Contains(files, "/workflows/ci.yaml") {
			t.Errorf("%s, as it was pushed, has workflows of its own", ref)
		}
	}
	said := h.sh("step 3", steps[2].commands)
	steps[2].sees(t, said)
	commit := command(t, source, nil, "git", "rev-parse", "v1.0.0")
	if !strings.Contains(said, "\n"+commit+"\n") || !strings.Contains(release.said, "v1.0.0 is "+commit) {
		t.Errorf("the commit is not that of the release, %s", commit)
	}
	config := runnerConfig(t, said)
	steps[3].sees(t, h.sh("step 4", "systemctl() { :; }\n"+steps[3].commands))

	_, section, _ := strings.Cut(readme(t), "\n## In a workflow\n")
	_, section, _ = strings.Cut(section, "\n```yaml\n")
	workflow, _, _ := strings.Cut(section, "\n```\n")
	workflow = strings.ReplaceAll(workflow, "uses: wooo/", "uses: "+gitea+"/wooo/")
	workflow = strings.Replace(workflow, "docker build -t app .",
		"~/.local/bin/hostguard status && echo temp $RUNNER_TEMP", 1)
	workflow += "\n" + step(gitea+"/wooo/hostguard@v1.0.0", "step: acquire-lock", "lock-name: kept")
	said = h.sh("step 5", fmt.Sprintf(`
		mkdir site && cd site && git init --quiet && git remote add origin https://github.com/wooo/site
		cat >ci.yaml <<\END
on: push
%s
END
		git add . && git -c user.name=ci -c user.email=ci@localhost commit --quiet --message ci
		exec env -i HOME=$HOME PATH=/opt/node/bin:`+
		`/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOSTGUARD_BIN=%q \
			/act -server %s -actions https://github.com -W ci.yaml -P ci-host=-self-hosted`,
		workflow, config.Runner.Envs["HOSTGUARD_BIN"], gitea))
	steps[4].sees(t, said)
	if !strings.Contains(said, "| gave back lock \"awoooi-cd-docker-build-lock\"") {
		t.Error("the post step does not give back the lock")
	}

	// The hooks that step 4 has named, the first in the job's environment.
	_, temp, _ := strings.Cut(said, "| temp ")
	temp, _, _ = strings.Cut(temp, "\n")
	const ofTask = "GITEA_TASK_ID=17 GITEA_REPOSITORY=wooo/site "
	for script, want := range map[string]string{
		"RUNNER_TEMP=" + temp + " " + config.Runner.Hooks.JobCompleted: `gave back lock "kept"`,
		ofTask + config.Runner.PostTaskScript:                          `no lock of task 17 of "wooo/site" was found`,
		config.HealthCheck.Script:                                      "no other heavy build runs here",
	} {
		if said := h.sh("hook", script); !strings.Contains(said, want) {
			t.Errorf("%s does not say %q", script, want)
		}
	}

	_, undo, _ := strings.Cut(readme(t), "\nTo undo: ")
	undo = strings.Split(undo, "`")[3]
	left := h.sh("the way back", undo+"\nfind ~/.local ! -type d")
	if !strings.HasSuffix(left, "or a path that begins with it: a missing hook fails jobs") {
		t.Errorf("%s leaves something behind", undo)
	}
	t.Logf("adopted in %v", time.Since(begin))
}

// readmeStep is a step of the README or of another page.
type readmeStep struct {
	commands string
	quotes   []string // what "You see" says
}

func readme(t *testing.T) string { return string(readFile(t, "../../README.md")) }

// adoption are the steps to adopt hostguard.
func adoption(t *testing.T) []readmeStep {
	t.Helper()
	_, section, _ := strings.Cut(readme(t), "\n## Adopt it in ten minutes, offline\n")
	section, _, _ = strings.Cut(section, "\nTo undo: ")
	return stepsOf(t, section, 5)
}

// stepsOf reads the numbered steps of a page, which has so many.
func stepsOf(t *testing.T, page string, want int) (steps []readmeStep) {
	t.Helper()
	for i, text := range regexp.MustCompile(`(?m)^\d\. \*\*`).Split(page, -1)[1:] {
		var s readmeStep
		if _, block, found := strings.Cut(text, "\n   ```sh\n"); found {
			block, _, _ = strings.Cut(block, "\n   ```\n")
			s.commands = strings.ReplaceAll("\n"+block, "\n   ", "\n")
		}
		_, see, _ := strings.Cut(text, "You see ")
		see, _, _ = strings.Cut(see, "\n\n")
		for i, quote := range strings.Split(strings.Join(strings.Fields(see), " "), "`") {
			if i%2 == 1 {
				s.quotes = append(s.quotes, quote)
			}
		}
		if len(s.quotes) == 0 {
			t.Fatalf("step %d does not tell what is to be seen", i+1)
		}
		steps = append(steps, s)
	}
	if len(steps) != want {
		t.Fatalf("there are %d steps, want %d", len(steps), want)
	}
	return steps
}

// sees expects what the step quotes.
func (s readmeStep) sees(t *testing.T, said string) {
	t.Helper()
	for _, quote := range s.unseen(said) {
		t.Errorf("the page says that one sees %q", quote)
	}
}

// unseen returns the quotes that are not in a text; "…" stands for anything.
func (s readmeStep) unseen(said string) (quotes []string) {
	said = strings.Join(strings.Fields(said), " ")
	for _, quote := range s.quotes {
		pattern := regexp.QuoteMeta(quote)
		pattern = strings.ReplaceAll(pattern, "…", ".*")
		pattern = strings.ReplaceAll(pattern, "21ms", `[0-9.]+m?s`)
		if !regexp.MustCompile(pattern).MatchString(said) {
			quotes = append(quotes, quote)
		}
	}
	return quotes
}

// config is what a runner reads of the lines that install prints.
type config struct {
	Runner struct {
		Envs  map[string]string
		Hooks struct {
			JobCompleted string `yaml:"job_completed"`
		}
		PostTaskScript string `yaml:"post_task_script"`
	}
	HealthCheck struct{ Script string } `yaml:"health_check"`
}

func runnerConfig(t *testing.T, said string) (c config) {
	t.Helper()
	said = said[strings.LastIndex(said, "\n  runner:\n"):]
	text, _, _ := strings.Cut(said, "\n\n")
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		t.Fatalf("%v in what install says:\n%s", err, text)
	}
	return c
}

// host is a machine without internet: a container that has the programs of this
// one, and a user whom the Docker socket's group lets in.
type host struct {
	t      *testing.T
	engine *engine.Engine
}

// ownerPassword is that of who may push to the Gitea of a host.
const ownerPassword = "hunter2"

// serveGitea is what this program does in a host's container.
func serveGitea() {
	log.Fatal(http.ListenAndServe("127.0.0.1:3000", &gitserver.Gitea{Root: "/srv", Owner: ownerPassword}))
}

// newHost starts a host with a bundle, or a repository, as /bundle; options are more of docker run.
func newHost(t *testing.T, bundle string, options ...string) host {
	t.Helper()
	e := engine.ForTest(t, engine.New)
	socket := strings.TrimPrefix(e.Host(), "unix://")
	const user, group = 1000, 998
	if err := os.Chown(socket, 0, group); err != nil {
		t.Fatal(err)
	}
	importImage(t, e, "host", func(add func(tar.Header, string)) {
		for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
			add(tar.Header{Name: dir, Linkname: "usr/" + dir, Typeflag: tar.TypeSymlink}, "")
		}
		for _, dir := range []string{"home/ci", "srv"} {
			add(tar.Header{Name: dir, Mode: 0o755, Uid: user, Gid: user, Typeflag: tar.TypeDir}, "")
		}
		add(tar.Header{Name: "tmp", Mode: 0o1777, Typeflag: tar.TypeDir}, "")
		add(tar.Header{Name: "etc/passwd", Mode: 0o644},
			fmt.Sprintf("root:x:0:0::/root:/bin/sh\nci:x:%d:%[1]d::/home/ci:/bin/sh\n", user))
	})
	runner, err := act.Job{Build: act.Gitea, Server: &act.Server{}}.Tool(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	node, err := exec.LookPath("node")
	if err == nil {
		node, err = filepath.EvalSymlinks(node)
	}
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"run", "--detach", "--name", "host", "--network", "none",
		"--user", fmt.Sprintf("%d:%[1]d", user), "--group-add", fmt.Sprint(group),
		"--env", "HOME=/home/ci", "--env", "HOSTGUARD_TEST_GITEA=1", "--workdir", "/home/ci",
		"--volume", "/usr:/usr:ro", "--volume", socket + ":/var/run/docker.sock",
		"--volume", self + ":/gitea:ro", "--volume", runner + ":/act:ro",
		"--volume", node + ":/opt/node/bin/node:ro", "--volume", bundle + ":/bundle:ro"}
	docker(t, e, append(append(args, options...), "host", "/gitea")...)
	t.Cleanup(func() { docker(t, e, "rm", "--force", "host") })
	return host{t, e}
}

// sh runs a script as the user, in a shell of its own. Of two streams, Docker
// would not keep the order.
func (h host) sh(what, script string) string {
	h.t.Helper()
	begin := time.Now()
	said, err := h.engine.Docker("exec", "host", "sh", "-ec", "exec 2>&1\n"+script)
	if err != nil {
		h.t.Fatalf("%s: %v", what, err)
	}
	h.t.Logf("%s, %v: %s\n%s", what, time.Since(begin), script, said)
	return said
}

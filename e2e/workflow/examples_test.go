package workflow

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hostguard/e2e/rig/act"
	"hostguard/e2e/rig/engine"
)

// example is a workflow of examples/workflows/ as that of a repository, and what it
// does, call by call; "" for the calls of a matrix, whose legs mix them.
type example struct{ file, repository, calls string }

var examples = []example{
	{"cd.yaml", "wooo/shop", `
npm ci
npm run test:unit
npm run test:integration
hostguard clean-diag
docker login --username robot --password-stdin registry.example.com <hunter2
hostguard wait-pressure
hostguard acquire-lock
docker build --file apps/api/Dockerfile --tag registry.example.com/shop/api:SHA .
docker push registry.example.com/shop/api:SHA
docker build --file apps/web/Dockerfile --tag registry.example.com/shop/web:SHA .
docker push registry.example.com/shop/web:SHA
deployed registry.example.com/shop/api:SHA
deployed registry.example.com/shop/web:SHA
hostguard release-lock
npm ci
curl --fail --silent --show-error --retry 60 --retry-delay 5 --retry-all-errors https://shop.example.com/version/SHA
npm run check:alerts
npm run check:monitoring
npx playwright test --grep @smoke
`},
	{"cd-host.yaml", "wooo/blog", `
hostguard clean-diag
npm ci
npm run test:unit
npm run test:integration
hostguard clean-diag
docker login --username robot --password-stdin registry.example.com <hunter2
hostguard wait-pressure
hostguard acquire-lock
docker build --file apps/api/Dockerfile --tag registry.example.com/blog/api:SHA .
docker push registry.example.com/blog/api:SHA
docker build --file apps/web/Dockerfile --tag registry.example.com/blog/web:SHA .
docker push registry.example.com/blog/web:SHA
hostguard release-lock
deployed registry.example.com/blog/api:SHA
deployed registry.example.com/blog/web:SHA
hostguard clean-diag
npm ci
curl --fail --silent --show-error --retry 60 --retry-delay 5 --retry-all-errors https://blog.example.com/version/SHA
npm run check:alerts
npm run check:monitoring
npx playwright test --grep @smoke
`},
	{"serial-builds.yaml", "wooo/docs", `
hostguard clean-diag
docker login --username robot --password-stdin registry.example.com <hunter2
hostguard wait-pressure
hostguard acquire-lock
docker build --file apps/web/Dockerfile --tag registry.example.com/docs/web:SHA .
docker push registry.example.com/docs/web:SHA
hostguard release-lock
hostguard clean-diag
docker login --username robot --password-stdin registry.example.com <hunter2
hostguard wait-pressure
hostguard acquire-lock
docker build --file apps/api/Dockerfile --tag registry.example.com/docs/api:SHA .
docker push registry.example.com/docs/api:SHA
hostguard release-lock
`},
}

// shortExamples are those of ten lines.
var shortExamples = []example{
	{"image.yaml", "wooo/image", `
hostguard wait-pressure
hostguard acquire-lock
docker build --tag registry.example.com/shop:SHA .
hostguard release-lock
`},
	{"compose.yaml", "wooo/compose", `
hostguard wait-pressure
hostguard acquire-lock
docker compose build
hostguard release-lock
docker compose up --detach --wait
`},
	{"nextjs.yaml", "wooo/nextjs", `
npm ci
hostguard wait-pressure
npx next build
`},
	{"go.yaml", "wooo/go", `
hostguard wait-pressure
hostguard acquire-lock
go test ./...
hostguard release-lock
`},
	{"rust.yaml", "wooo/rust", `
hostguard wait-pressure
hostguard acquire-lock
cargo build --release
hostguard release-lock
`},
	{"matrix.yaml", "wooo/matrix", ""},
	{"two-locks.yaml", "wooo/two-locks", `
hostguard wait-pressure
hostguard acquire-lock
docker build --tag registry.example.com/shop:SHA .
hostguard release-lock
hostguard acquire-lock
docker service update --image registry.example.com/shop:SHA shop
hostguard release-lock
`},
}

// No example is left out of the tests below.
func TestEachExampleIsRun(t *testing.T) {
	files, err := filepath.Glob("../../examples/workflows/*")
	if err != nil {
		t.Fatal(err)
	}
	run := []string{"../../examples/workflows/gitops.yaml"} // by TestAJobThatLostItsLockPushesNothing of conformance
	for _, e := range slices.Concat(examples, shortExamples, sharing[2:]) {
		run = append(run, "../../examples/workflows/"+e.file)
	}
	slices.Sort(run)
	if !slices.Equal(files, run) {
		t.Errorf("the examples are %q, those that are run %q", files, run)
	}
}

func TestExamplesTakeTurns(t *testing.T) {
	underBothActs(t, func(t *testing.T, build string) {
		e := engine.ForTest(t, map[string]string{act.Nektos: engine.Old, act.Gitea: engine.New}[build])
		hostguard := filepath.Join(exported(t), "dist/hostguard-linux-"+runtime.GOARCH)
		for _, some := range [][]example{examples, shortExamples} {
			overlaps := runExamples(t, some, build, "HOSTGUARD="+hostguard, "DOCKER_HOST="+e.Host())
			if overlaps != "" {
				t.Errorf("builds at the same time:\n%s", overlaps)
			}
		}
		nothingLeft(t, e)
	})
}

// TestExamplesOverlapWithoutHostguard shows that the test above can fail.
func TestExamplesOverlapWithoutHostguard(t *testing.T) {
	if overlaps := runExamples(t, examples[:2], act.Gitea, "HOSTGUARD=true"); overlaps == "" {
		t.Error("no builds at the same time where nothing keeps them apart")
	}
}

// standIn is docker, npm, npx, curl, go and cargo of the examples' jobs.
//
// A build says by flock(1) whether another one runs, whatever hostguard says of
// that. It goes on until the other repositories wait for it, or have met it, or
// have ended; and then for a moment, in which a lock that is given back too early
// lets them in.
const standIn = `#!/bin/sh
set -eu
call="${0##*/} $*"
case $call in
"docker login "*) call="$call <$(cat)" ;;
"docker build "* | "docker compose build"*)
	exec 9>"$HOST/building"
	flock --nonblock 9 || { echo "$GITHUB_REPOSITORY: $call" >>"$HOST/overlaps"; : >"$HOST/met"; }
	for _ in $(seq 4800); do # for four minutes, should the test be gone
		[ ! -e "$HOST/met" ] || break
		sleep 0.05
	done
	sleep 0.2
	;;
esac
echo "$call" >>"$CALLS"
`

// hostguardStandIn leaves a note and becomes hostguard. It looks for heavy
// builds of others more often: other tests, too, run some on this machine.
const hostguardStandIn = `#!/bin/sh
[ "$*" != version ] || { echo "hostguard 1.0.0"; exit; }
echo "hostguard ${1:-$HOSTGUARD_STEP}" >>"$CALLS"
HOSTGUARD_INTERVAL=100ms exec "$HOSTGUARD" "$@"
`

// runExamples runs examples at once, as they are, on one host with stand-ins for
// what is heavy. It returns which builds found another one at work.
func runExamples(t *testing.T, examples []example, build string, env ...string) (overlaps string) {
	t.Helper()
	host, env := exampleHost(t, standIn, env)
	for _, e := range examples {
		deployRepository(t, filepath.Join(host, e.repository+"-deploy.git"), filepath.Base(e.repository))
	}
	runs := runAtOnce(t, examples, build, host, env, len(examples)-1)
	for i, example := range examples {
		calls, err := os.ReadFile(runs[i].calls)
		sha := git(t, filepath.Join(runs[i].dir, "repo"), "rev-parse", "HEAD")
		got := "\n" + strings.ReplaceAll(string(calls), sha, "SHA")
		if err != nil || example.calls != "" && got != example.calls {
			t.Errorf("%s called:%s\nwant:%s\n%v", example.file, got, example.calls, err)
		}
	}
	found, err := os.ReadFile(filepath.Join(host, "overlaps"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(found)
}

// exampleHost returns a host of the examples with a stand-in for what is heavy, and its
// environment.
func exampleHost(t *testing.T, standIn string, environ []string) (host string, env []string) {
	t.Helper()
	host = t.TempDir()
	for _, name := range []string{"docker", "npm", "npx", "curl", "go", "cargo"} {
		writeFile(t, filepath.Join(host, name), standIn, 0o755)
	}
	writeFile(t, filepath.Join(host, "hostguard"), hostguardStandIn, 0o755)
	writeFile(t, filepath.Join(host, "gitconfig"), `
[url "file://`+host+`/"]
	insteadOf = https://github.com/
[receive]
	denyCurrentBranch = ignore
`, 0o644)
	return host, append(environ, "HOST="+host, "HOSTGUARD_BIN="+filepath.Join(host, "hostguard"),
		"GIT_CONFIG_GLOBAL="+filepath.Join(host, "gitconfig"), "PATH="+host+":"+os.Getenv("PATH"))
}

// runAtOnce runs examples at once on a host. Once so many of them wait, or have ended, it
// makes the file met there.
func runAtOnce(t *testing.T, examples []example, build, host string, env []string, waiting int) []exampleRun {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute) // on a busy machine it took 85 s
	defer cancel()
	var jobs sync.WaitGroup
	var met atomic.Int32
	runs := make([]exampleRun, len(examples))
	for i, example := range examples {
		workflow, err := os.ReadFile("../../examples/workflows/" + example.file)
		if err != nil {
			t.Fatal(err)
		}
		run := &runs[i]
		run.dir, run.calls = t.TempDir(), filepath.Join(host, filepath.Base(example.repository)+".calls")
		run.waits = sync.OnceFunc(func() {
			if int(met.Add(1)) == waiting {
				writeFile(t, filepath.Join(host, "met"), "", 0o644)
			}
		})
		job := act.Job{
			Build: build, Repository: example.repository, Workflow: string(workflow), Action: exported(t),
			Env:     append(slices.Clone(env), "CALLS="+run.calls),
			Secrets: []string{"REGISTRY_USER=robot", "REGISTRY_PASSWORD=hunter2"},
		}
		jobs.Go(func() {
			run.err = job.Run(ctx, run.dir, run)
			run.waits() // who has ended meets nobody any more
		})
	}
	jobs.Wait()
	for i, example := range examples {
		t.Logf("%s\n%s\n%v", example.file, runs[i].log.String(), runs[i].err)
		if runs[i].err != nil {
			t.Error(runs[i].err)
		}
	}
	return runs
}

// exampleRun is one run of an example.
type exampleRun struct {
	dir, calls string
	waits      func() // called when it waits for the lock of others
	log        bytes.Buffer
	err        error
}

// Write gets one line of the log.
func (r *exampleRun) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("; position ")) {
		r.waits()
	}
	return r.log.Write(line)
}

// deployRepository makes what the cluster of a project follows. It leaves a note
// of what it is told to run.
func deployRepository(t *testing.T, dir, project string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, ".git/hooks"), 0o755); err != nil {
		t.Fatal(err)
	}
	images := "registry.example.com/" + project + "/api:old\nregistry.example.com/" + project + "/web:old\n"
	writeFile(t, filepath.Join(dir, "images.yaml"), images, 0o644)
	writeFile(t, filepath.Join(dir, ".git/hooks/post-receive"), `#!/bin/sh
git show main:images.yaml | sed 's/^/deployed /' >>"$CALLS"
`, 0o755)
	git(t, dir, "init", "--quiet", "--initial-branch", "main")
	git(t, dir, "add", "images.yaml")
	git(t, dir, "-c", "user.name=ci", "-c", "user.email=ci@localhost", "commit", "--quiet", "-m", "old")
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %s: %v", args[0], err)
	}
	return strings.TrimSpace(string(out))
}

// Package builds runs real Next.js, Vite and other builds in every usual way
// and compares what they say of themselves with what the gate sees.
package builds

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hostguard/e2e/rig/contend"
	"hostguard/e2e/rig/engine"
	"hostguard/e2e/rig/npm"
	"hostguard/internal/proc"
	"hostguard/pressure"
)

//go:embed package.json package-lock.json testdata
var files embed.FS

// The builds: the command that is run directly, and what the gate calls it.
var builds = []struct {
	project string
	command []string
	tool    string
}{
	{"vite", []string{"vite", "build"}, "vite build"},
	{"next", []string{"next", "build"}, "next build"},
	{"turbo", []string{"turbo", "run", "build"}, "turbo build"},
	{"webpack", []string{"webpack"}, "webpack"},
	{"rollup", []string{"rollup", "-c"}, "rollup"},
}

// The ways to start one. Turborepo wants to know the package manager.
var ways = []struct {
	name    string
	manager string
	start   func(build []string) []string
}{
	{"directly", "npm@10.0.0", func(build []string) []string { return build }},
	{"in sh -c", "npm@10.0.0", func(build []string) []string {
		return []string{"sh", "-c", strings.Join(build, " ") + "; exit $?"}
	}},
	{"by npx", "npm@10.0.0", func(build []string) []string { return append([]string{"npx", "--no-install"}, build...) }},
	{"by npm run", "npm@10.0.0", func([]string) []string { return []string{"npm", "run", "build"} }},
	{"by pnpm", "pnpm@10.34.8", func(build []string) []string { return append([]string{"pnpm", "exec"}, build...) }},
	{"by yarn", "yarn@1.22.22", func([]string) []string { return []string{"yarn", "run", "build"} }},
}

// What stays for as long as somebody works with it, or only says the words.
// Each says when it is there.
var noBuilds = []struct {
	project string
	command []string
	ready   string
}{
	{"vite", []string{"npx", "--no-install", "vite", "--port", "0"}, "ready in"},
	{"vite", []string{"vite", "preview", "--port", "0"}, "localhost"},
	{"vite", []string{"vite", "build", "--watch"}, "built in"},
	{"webpack", []string{"npx", "--no-install", "webpack", "--watch"}, "compiled"},
	{"webpack", []string{"pnpm", "exec", "webpack", "--watch"}, "compiled"},
	{"rollup", []string{"rollup", "-cw"}, "waiting for changes"},
	{"next", []string{"npm", "run", "dev", "--", "--port", "0"}, "Ready in"},
	{"next", []string{"next", "start", "--port", "0"}, "Ready in"},
	{"next", []string{"sh", "-c", "echo next build; exec cat - next build"}, "next build"},
	{"next", []string{"node", "-e", "console.log('ready'); process.stdin.resume()", "next", "build"}, "ready"},
	{"next", []string{"grep", "--line-buffered", "-e", "next build", "-e", "vite build", "/dev/stdin"}, ""},
}

func TestTheGateSeesARealBuildOnceAndOnlyWhileItRuns(t *testing.T) {
	site := newSite(t)
	inContainer := site.container(t)
	for _, build := range builds {
		for _, way := range ways {
			t.Run(build.project+" "+way.name, func(t *testing.T) {
				site.use(t, way.manager)
				cmd := exec.Command("env", way.start(build.command)...)
				site.watch(t, cmd, build.project, build.tool)
			})
		}
		t.Run(build.project+" in a container", func(t *testing.T) {
			site.use(t, "npm@10.0.0")
			site.watch(t, inContainer(build.project, "npm", "run", "build"), build.project, build.tool)
		})
	}
	for _, other := range noBuilds {
		t.Run("not "+strings.Join(other.command, " "), func(t *testing.T) {
			site.watchNone(t, exec.Command("env", other.command...), other.project, other.ready)
		})
	}
}

// Compilers run with a folder of their own as their home, and so with no cache.
func TestTheGateSeesRealCompilers(t *testing.T) {
	site := newCompilers(t)
	for _, build := range []struct {
		project string
		command []string
		tool    string
	}{
		{"go", []string{"go", "build", "-toolexec", "sh " + site.dir + "/mark.sh", "-o", "built", "main.go"},
			"go build"},
		{"make", []string{"sh", "-c", "make -j2; exit $?"}, "make -j"},
	} {
		t.Run(build.project, func(t *testing.T) {
			site.watch(t, exec.Command("env", build.command...), build.project, build.tool)
		})
	}
	t.Run("not one at a time", func(t *testing.T) {
		site.watchNone(t, exec.Command("sh", "-c", "make -B a.o && echo made && exec cat"), "make", "made")
	})
}

// newCompilers returns a site without Node, for the compilers of this machine.
func newCompilers(t *testing.T) site {
	t.Helper()
	program, err := exec.LookPath("go")
	if err == nil {
		program, err = filepath.EvalSymlinks(program)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	projects, err := fs.Sub(files, "testdata")
	if err == nil {
		err = os.CopyFS(dir, projects)
	}
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, "marks"), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return site{dir: dir, node: filepath.Dir(program)}
}

// site is a folder with the projects, which find the installed tools above. node
// is the folder of Node's programs, or of Go's.
type site struct{ dir, modules, node string }

func newSite(t *testing.T) site {
	t.Helper()
	installed, err := npm.Install(t.Context(), "builds", files)
	if err != nil {
		t.Fatal(err)
	}
	if installed, err = filepath.EvalSymlinks(installed); err != nil { // as the kernel names directories
		t.Fatal(err)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(installed, "site-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	projects, err := fs.Sub(files, "testdata")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, projects); err != nil {
		t.Fatal(err)
	}
	return site{dir, filepath.Join(installed, "node_modules"), filepath.Dir(node)}
}

func (s site) environ() []string {
	return []string{
		"PATH=" + filepath.Join(s.modules, ".bin") + ":" + s.node + ":/usr/local/bin:/usr/bin:/bin",
		"HOME=" + s.dir, "CI=true",
		"BUILD_ROOT=" + filepath.Dir(s.modules), "BUILD_MARKS=" + filepath.Join(s.dir, "marks"),
		"NEXT_TELEMETRY_DISABLED=1", "TURBO_TELEMETRY_DISABLED=1", "npm_config_update_notifier=false",
		"NODE_DISABLE_COMPILE_CACHE=1", "GOTOOLCHAIN=local", "GOPROXY=off",
	}
}

// use tells Turborepo the package manager.
func (s site) use(t *testing.T, manager string) {
	t.Helper()
	text, err := fs.ReadFile(files, "testdata/turbo/package.json")
	if err == nil {
		text = bytes.Replace(text, []byte("npm@10.0.0"), []byte(manager), 1)
		err = os.WriteFile(filepath.Join(s.dir, "turbo/package.json"), text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// start starts a command in a project; it and all that it starts end with the
// test.
func (s site) start(t *testing.T, cmd *exec.Cmd, project string) (said *contend.Log, ended <-chan error) {
	t.Helper()
	said = new(contend.Log)
	cmd.Env = append(s.environ(), cmd.Env...)
	cmd.Dir = filepath.Join(s.dir, project)
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end, waited := make(chan error, 1), make(chan struct{})
	go func() {
		end <- cmd.Wait()
		close(waited)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-waited
	})
	return said, end
}

// watch runs a build to its end and looks all the time.
func (s site) watch(t *testing.T, cmd *exec.Cmd, project, tool string) {
	t.Helper()
	marks := filepath.Join(s.dir, "marks")
	if err := errors.Join(os.RemoveAll(marks), os.Mkdir(marks, 0o755)); err != nil {
		t.Fatal(err)
	}
	marked := func(name string) bool {
		_, err := os.Stat(filepath.Join(marks, name))
		return err == nil
	}
	said, ended := s.start(t, cmd, project)
	var looks, during int
	var seen, over bool
	for {
		begun := marked("begun")
		blockers := s.blockers(t)
		running := begun && !marked("ended")
		looks++
		switch {
		case len(blockers) > 1 || len(blockers) == 1 && blockers[0].Tool != tool:
			t.Fatalf("look %d sees %+v, want one %s", looks, blockers, tool)
		case len(blockers) == 1 && over:
			t.Fatalf("look %d sees the build again: %+v", looks, blockers)
		case len(blockers) == 0 && running:
			t.Fatalf("look %d does not see the build\n%s", looks, said)
		case len(blockers) == 1:
			seen = true
		case seen && begun: // before that, a program has no arguments while another executes it
			over = true
		}
		if running {
			during++
			if err := os.WriteFile(filepath.Join(marks, "looked"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("%q: %v\n%s", cmd.Args, err, said)
			}
			if left := s.blockers(t); len(left) > 0 {
				t.Errorf("seen after its end: %+v", left)
			}
			if during == 0 {
				t.Errorf("none of %d looks fell into the build\n%s", looks, said)
			}
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// watchNone looks at a command until it is ready, and a few times after.
func (s site) watchNone(t *testing.T, cmd *exec.Cmd, project, ready string) {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	said, ended := s.start(t, cmd, project)
	for left, deadline := 10, time.Now().Add(time.Minute); left > 0; {
		if blockers := s.blockers(t); len(blockers) > 0 {
			t.Fatalf("it counts as %+v", blockers)
		}
		if strings.Contains(said.String(), ready) {
			left--
		} else if time.Now().After(deadline) {
			t.Fatalf("never said %q:\n%s", ready, said)
		}
		select {
		case err := <-ended:
			t.Fatalf("%q ended: %v\n%s", cmd.Args, err, said)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// blockers are the builds that the gate sees below this site; others may build
// on this machine.
func (s site) blockers(t *testing.T) (blockers []pressure.Blocker) {
	t.Helper()
	gate := &pressure.Gate{Table: proc.Table{}, Rules: pressure.Known(), Own: pressure.Owner{PID: os.Getpid()}}
	verdict, err := gate.Look(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range verdict.Blockers {
		if strings.HasPrefix(b.Dir, s.dir) {
			blockers = append(blockers, b)
		}
	}
	return blockers
}

// container makes commands that run in a container of a private engine: an
// image of nothing, with the machine's programs and Node bound into it.
func (s site) container(t *testing.T) func(project string, args ...string) *exec.Cmd {
	t.Helper()
	e := engine.ForTest(t, engine.New)
	if err := e.ImportEmpty("nothing"); err != nil {
		t.Fatal(err)
	}
	binds := []string{"/usr:/usr:ro", filepath.Dir(s.modules) + ":" + filepath.Dir(s.modules)}
	if !strings.HasPrefix(s.node, "/usr/") {
		node := filepath.Dir(s.node) // with what its programs are links to
		binds = append(binds, node+":"+node+":ro")
	}
	return func(project string, args ...string) *exec.Cmd {
		run := []string{"run", "--rm", "--network", "none", "--name", "GITEA-ACTIONS-TASK-7_WORKFLOW-ci_JOB-web",
			"-w", filepath.Join(s.dir, project)}
		for _, bind := range binds {
			run = append(run, "-v", bind)
		}
		for _, variable := range s.environ() {
			run = append(run, "-e", variable)
		}
		cmd := exec.Command(e.CLI(), append(append(run, "nothing"), args...)...)
		cmd.Env = []string{"DOCKER_HOST=" + e.Host()}
		return cmd
	}
}

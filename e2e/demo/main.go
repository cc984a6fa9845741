// Command demo shows what hostguard is for: two repositories' jobs, run by a real
// runner engine, first build at the same time. Then, with hostguard, they remove
// what a dead runner left, wait for a heavy build of a third repository, and
// build one after the other.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"hostguard/e2e/rig/act"
	"hostguard/e2e/rig/engine"
)

//go:embed workflows build.sh vite
var files embed.FS

func main() {
	build := flag.String("act", act.Nektos, "the build of the runner engine: nektos or gitea")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, *build, os.Getenv("DOCKER_HOST"), os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// limit is for the jobs of both halves: they take longer only if something hangs.
const limit = 10 * time.Minute

var sites = []string{"site-a", "site-b"}

// demo is one run.
type demo struct {
	dir     string   // where it writes everything
	golang  []string // environment of the jobs' go build: the caches and the source
	act     string   // the build of the runner engine
	vite    string   // the program of the competing build
	docker  string   // the address of the Docker daemon
	backend string
	lock    string
	log     *log
}

// run runs the demo with a build of the runner engine and the Docker daemon at
// an address, or the machine's own.
func run(ctx context.Context, build, docker string, out io.Writer) error {
	dir, err := os.MkdirTemp("", "hostguard-demo-")
	if err != nil {
		return err
	}
	d := &demo{
		dir: dir, act: build, docker: docker, backend: "docker",
		lock: "hostguard-demo-" + strings.ToLower(rand.Text()[:8]), // not the one that this host's jobs wait for
		log:  &log{to: out},
	}
	if d.docker == "" {
		d.docker = "unix:///var/run/docker.sock"
	}
	if _, err := engine.APIVersion(ctx, d.docker); err != nil {
		d.backend = "file"
	}
	err = d.prepare(ctx)
	if err == nil {
		err = d.play(ctx)
	} else if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return errors.Join(os.RemoveAll(dir), err)
}

func (d *demo) path(name string) string { return filepath.Join(d.dir, name) }

// prepare builds and installs what the jobs need. Only the first time it takes
// long, and then it prints that.
func (d *demo) prepare(ctx context.Context) error {
	for _, part := range []struct {
		name, cost string
		make       func(context.Context) error
	}{
		{"the runner engine act", "compiled once, some minutes and 0.8 GB in Go's caches", act.Job{Build: d.act}.Compile},
		{"Vite for the heavy build", "installed once, 20 MB in .cache/vite", d.installVite},
		{"hostguard", "compiled, a minute the first time", d.compile},
	} {
		begin := time.Now()
		slow := time.AfterFunc(2*time.Second, func() { d.log.say("preparing %s: %s", part.name, part.cost) })
		err := part.make(ctx)
		if !slow.Stop() {
			d.log.say("          took %v", time.Since(begin).Round(time.Second))
		}
		if err != nil {
			return fmt.Errorf("prepare %s: %w", part.name, err)
		}
	}
	return d.plant()
}

// compile makes the action, and the binary that the jobs run. They build images of
// the same source, with what Go then has in its caches.
func (d *demo) compile(ctx context.Context) error {
	checkout, err := engine.Checkout()
	if err != nil {
		return err
	}
	caches, err := exec.CommandContext(ctx, "go", "env", "GOCACHE", "GOMODCACHE").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	build, modules, _ := strings.Cut(strings.TrimSpace(string(caches)), "\n")
	d.golang = []string{"DEMO_SOURCE=" + checkout, "GOCACHE=" + build, "GOMODCACHE=" + modules}
	if err := act.Copy(d.path("action")); err != nil {
		return err
	}
	args := []string{"build", "-trimpath", "-buildvcs=false", "-o", d.path("hostguard"), "."} // as build.sh
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = checkout, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, out)
	}
	return nil
}

// play runs the jobs without and with hostguard. Nothing of them outlives it.
func (d *demo) play(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the jobs did not end within their limit of %v", limit))
	defer cancel()
	err := d.without(ctx)
	if err == nil {
		err = d.with(ctx)
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	} else {
		d.log.say("\nAll that the jobs printed:\n%s", d.log.all.String())
	}
	return errors.Join(d.giveBack(), err)
}

// without shows the jobs on a host that has no hostguard: they come at the same
// moment.
func (d *demo) without(ctx context.Context) error {
	d.log.say("\nWithout hostguard, two jobs that come at the same moment:")
	if err := d.jobs(ctx, "without"); err != nil {
		return err
	}
	return d.summaryWithout()
}

// with shows the same with hostguard, beside a heavy build.
func (d *demo) with(ctx context.Context) error {
	d.log.say("\nWith hostguard, the same two, beside a Vite build of a third repository:")
	observer, err := d.observe(ctx)
	if err != nil {
		return err
	}
	vite, err := d.startVite(ctx)
	if err != nil {
		return errors.Join(err, observer.stop())
	}
	defer vite.kill()
	var waiting []<-chan struct{}
	for _, site := range sites {
		waiting = append(waiting, d.log.expect("["+site+"/", "vite build"))
	}
	var jobsErr error
	ended := make(chan struct{})
	go func() {
		jobsErr = d.jobs(ctx, "with")
		close(ended)
	}()
	// The Vite build goes on until both jobs have been seen waiting for it.
	for _, seen := range waiting {
		select {
		case <-seen:
		case <-ended:
		}
	}
	viteErr := vite.finish()
	<-ended
	if err := errors.Join(viteErr, jobsErr, observer.stop()); err != nil {
		return err
	}
	return errors.Join(d.summaryWith(), d.picture())
}

// jobs runs the workflows of both sites, and returns when they have ended, with
// the first error.
func (d *demo) jobs(ctx context.Context, half string) error {
	if err := os.Mkdir(d.path(half), 0o755); err != nil {
		return err
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var jobs sync.WaitGroup
	for _, site := range sites {
		jobs.Go(func() {
			if err := d.job(ctx, half, site); err != nil {
				fail(err) // and ends the other, which waits for it
			}
		})
	}
	jobs.Wait()
	return context.Cause(ctx)
}

// leftOvers are what a runner that was killed leaves, and what makes "Set up
// job" of the next job fail.
var leftOvers = []string{
	"_diag/pages/0b0f0c5e-7a55-4b8e-9c5d-0d9a4f0a1c01_6f1c2b3a-1111-4222-8333-444455556601_1.log",
	"_diag/pages/0b0f0c5e-7a55-4b8e-9c5d-0d9a4f0a1c01_6f1c2b3a-1111-4222-8333-444455556602_1.log",
	"_diag/pages/0b0f0c5e-7a55-4b8e-9c5d-0d9a4f0a1c01_6f1c2b3a-1111-4222-8333-444455556603_2.log",
}

// others are what has to stay in a runner's folder.
var others = []string{".runner", "run.sh", "_diag/Runner_20260501-080000-utc.log", "_diag/pages/notes.txt"}

// plant makes a runner's folder.
func (d *demo) plant() error {
	yesterday := time.Now().Add(-24 * time.Hour)
	for _, name := range append(others, leftOvers...) {
		path := filepath.Join(d.path("runner"), name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte("left over\n"), 0o644); err != nil {
			return err
		}
		if err := os.Chtimes(path, yesterday, yesterday); err != nil {
			return err
		}
	}
	return nil
}

// job runs the workflow of a site in one half of the demo, whose folder gets its
// results.
func (d *demo) job(ctx context.Context, half, site string) error {
	workflow, err := files.ReadFile("workflows/" + half + "/" + site + ".yaml")
	if err != nil {
		return err
	}
	script, err := files.ReadFile("build.sh")
	if err != nil {
		return err
	}
	results := d.path(half)
	build := filepath.Join(results, site+".sh")
	if err := os.WriteFile(build, script, 0o644); err != nil {
		return err
	}
	err = act.Job{
		Build: d.act, Repository: "wooo/" + site, Workflow: string(workflow), Action: d.path("action"),
		Env: append([]string{
			"DEMO_RUNNER=" + d.path("runner"), "DEMO_RESULTS=" + results, "DEMO_BUILD=" + build,
			"DEMO_LOCK=" + d.lock, "DEMO_BACKEND=" + d.backend, "DOCKER_HOST=" + d.docker,
			"HOSTGUARD_BIN=" + d.path("hostguard"),
		}, d.golang...),
	}.Run(ctx, filepath.Join(results, site), d.log)
	if err != nil {
		return fmt.Errorf("%w: %s", err, d.log.failure("["+site+"/"))
	}
	return nil
}

var record = regexp.MustCompile(`HOSTGUARD_HELD_\w+=([0-9a-f]{64}:[0-9a-f]+)`)

// giveBack releases what the jobs still hold when the demo is interrupted: the
// engine then kills their steps and runs no others.
func (d *demo) giveBack() error {
	var errs []error
	for _, match := range record.FindAllSubmatch(d.log.all.Bytes(), -1) {
		_, err := d.hostguard([]string{"release-lock", "-mode", "hard-fail"}, "STATE_record="+string(match[1]))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// hostguard runs the binary on the demo's lock.
func (d *demo) hostguard(args []string, env ...string) ([]byte, error) {
	cmd := exec.Command(d.path("hostguard"), append(args, "-lock-backend", d.backend, "-lock-name", d.lock)...)
	cmd.Env = append(append(os.Environ(), "DOCKER_HOST="+d.docker), env...)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("hostguard %s: %w", args[0], err)
	}
	return out, nil
}

// log keeps what the jobs print for the case that something goes wrong, and
// watches for lines to come.
type log struct {
	mu       sync.Mutex
	to       io.Writer
	all      bytes.Buffer
	expected []*expected
}

type expected struct {
	prefix, part string
	seen         chan struct{}
}

func (l *log) say(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.to, format+"\n", args...)
}

// Write gets one line of a job's log, which begins with [workflow/job].
func (l *log) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.expected {
		if e.seen != nil && bytes.HasPrefix(line, []byte(e.prefix)) && bytes.Contains(line, []byte(e.part)) {
			close(e.seen)
			e.seen = nil
		}
	}
	return l.all.Write(line)
}

// failure returns the first error that the job with that prefix has printed, or the
// step that failed.
func (l *log) failure(prefix string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, mark := range []string{"::error::", "❌"} {
		for line := range strings.Lines(l.all.String()) {
			if _, text, found := strings.Cut(line, mark); found && strings.HasPrefix(line, prefix) {
				return strings.TrimSpace(text)
			}
		}
	}
	return "it printed no error"
}

// expect returns a channel that is closed when a line begins and goes on so.
func (l *log) expect(prefix, part string) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := make(chan struct{})
	l.expected = append(l.expected, &expected{prefix, part, seen})
	return seen
}

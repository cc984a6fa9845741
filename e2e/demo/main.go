// Command demo shows hostguard at work: two repositories' jobs, run by a real
// runner engine, meet what a dead runner left, a heavy build of a third
// repository, and each other.
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
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"hostguard/e2e/act"
	"hostguard/e2e/engine"
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

// limit is for all of it: nothing here takes longer unless it hangs.
const limit = 5 * time.Minute

var sites = []string{"site-a", "site-b"}

// demo is one run.
type demo struct {
	dir     string // where it writes everything
	act     string // the build of the runner engine
	docker  string // the address of the Docker daemon
	backend string
	lock    string
	log     *log
}

// run runs the demo with a build of the runner engine and the Docker daemon at
// an address, or the machine's own.
func run(ctx context.Context, build, docker string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, limit) // nothing that it starts outlives ctx
	defer cancel()
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
		d.log.say("no Docker daemon answers at %s: the lock is kept in files (lock-backend: file)", d.docker)
	}
	if err = d.play(ctx); err != nil {
		d.log.say("\nAll that was said:\n%s", d.log.all.String())
		err = errors.Join(err, d.giveBack())
	}
	return errors.Join(err, os.RemoveAll(dir))
}

func (d *demo) path(name string) string { return filepath.Join(d.dir, name) }

func (d *demo) play(ctx context.Context) error {
	d.log.say("building hostguard")
	if err := act.Export(d.path("action")); err != nil {
		return err
	}
	if err := d.plant(); err != nil {
		return err
	}
	d.log.say("starting a vite build of a third repository")
	vite, err := startVite(ctx, d.path("site-c"))
	if err != nil {
		return err
	}
	defer vite.kill()

	d.log.say("starting the jobs of %s", strings.Join(sites, " and "))
	waiting := map[string]<-chan struct{}{}
	for _, site := range sites {
		waiting[site] = d.log.expect("["+site+"/", "vite build")
	}
	var jobs sync.WaitGroup
	errs := make([]error, len(sites))
	for i, site := range sites {
		jobs.Go(func() { errs[i] = d.job(ctx, site) })
	}
	ended := make(chan struct{})
	go func() { jobs.Wait(); close(ended) }()

	// The vite build goes on until both jobs have been seen waiting for it.
	for _, site := range sites {
		select {
		case <-waiting[site]:
		case <-ended:
		}
	}
	viteErr := vite.finish()
	<-ended
	if err := errors.Join(append(errs, viteErr)...); err != nil {
		return err
	}
	return d.summary()
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
	return os.Mkdir(d.path("results"), 0o755)
}

// job runs the workflow of a site.
func (d *demo) job(ctx context.Context, site string) error {
	workflow, err := files.ReadFile("workflows/" + site + ".yaml")
	if err != nil {
		return err
	}
	script, err := files.ReadFile("build.sh")
	if err != nil {
		return err
	}
	build := d.path(site + ".sh")
	if err := os.WriteFile(build, script, 0o644); err != nil {
		return err
	}
	return act.Job{
		Build: d.act, Repository: "wooo/" + site, Workflow: string(workflow), Action: d.path("action"),
		Env: []string{
			"DEMO_RUNNER=" + d.path("runner"), "DEMO_RESULTS=" + d.path("results"), "DEMO_BUILD=" + build,
			"DEMO_LOCK=" + d.lock, "DEMO_BACKEND=" + d.backend, "DOCKER_HOST=" + d.docker,
		},
	}.Run(ctx, d.path(site), d.log)
}

var record = regexp.MustCompile(`HOSTGUARD_HELD_\w+=([0-9a-f]{64}:[0-9a-f]+)`)

// giveBack gives back what the jobs still hold when the demo is interrupted: the
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
	cmd := exec.Command(d.path("action/dist/hostguard-linux-"+runtime.GOARCH), append(args, "-lock-backend", d.backend, "-lock-name", d.lock)...)
	cmd.Env = append(append(os.Environ(), "DOCKER_HOST="+d.docker), env...)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("hostguard %s: %w", args[0], err)
	}
	return out, nil
}

// log passes on what the jobs and hostguard say, and watches for lines to come.
// What the runner engine says is kept for the case that something goes wrong.
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
	l.all.Write(line)
	site, _, _ := bytes.Cut(bytes.TrimPrefix(line, []byte("[")), []byte("/"))
	if _, text, ok := bytes.Cut(line, []byte("  | ")); ok {
		fmt.Fprintf(l.to, "%s | %s", site, text)
	}
	return len(line), nil
}

// expect returns a channel that is closed when a line begins and goes on so.
func (l *log) expect(prefix, part string) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := make(chan struct{})
	l.expected = append(l.expected, &expected{prefix, part, seen})
	return seen
}

// Command picture takes the README's pictures of the page, in a headless Chromium: of four
// minutes in which three repositories' jobs share a private Docker Engine. The jobs are
// processes that hold hostguard's locks and sleep; one of them is killed.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"hostguard/e2e/rig/engine"
)

// job is one that comes after some seconds, and holds a lock for some.
type job struct {
	at                          int
	lock, repository, name, run string
	hold                        int
	killed                      bool // instead of giving the lock back
}

const build, deploy = "host-docker-build", "deploy"

var jobs = []job{
	{at: 0, lock: build, repository: "wooo/shop", name: "build", run: "11", hold: 12},
	{at: 2, lock: deploy, repository: "wooo/docs", name: "deploy", run: "60", hold: 9},
	{at: 20, lock: build, repository: "wooo/docs", name: "build", run: "61", hold: 40},
	{at: 25, lock: build, repository: "wooo/blog", name: "deploy", run: "97", hold: 55},
	{at: 32, lock: build, repository: "wooo/shop", name: "build", run: "12", hold: 24},
	{at: 40, lock: deploy, repository: "wooo/shop", name: "deploy", run: "11", hold: 20},
	{at: 66, lock: build, repository: "wooo/docs", name: "build", run: "62", hold: 18, killed: true},
	{at: 75, lock: build, repository: "wooo/blog", name: "build", run: "98", hold: 20},
	{at: 100, lock: deploy, repository: "wooo/blog", name: "deploy", run: "98", hold: 15},
	{at: 150, lock: build, repository: "wooo/shop", name: "build", run: "13", hold: 22},
	{at: 156, lock: build, repository: "wooo/blog", name: "build", run: "99", hold: 14},
	{at: 200, lock: deploy, repository: "wooo/shop", name: "deploy", run: "13", hold: 12},
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

func run() error {
	checkout, err := engine.Checkout()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "hostguard-picture-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	e, err := engine.Start(engine.New)
	if err != nil {
		return err
	}
	defer e.Stop()
	h := host{
		binary: filepath.Join(checkout, "bin/hostguard"), docker: e.Host(), history: filepath.Join(dir, "history"),
	}
	begin := time.Now()
	if err := h.play(); err != nil {
		return err
	}
	page, err := exec.Command(h.binary, "report", "-html", "-history", h.history).Output()
	if err != nil {
		return fmt.Errorf("hostguard report: %w", err)
	}
	file := filepath.Join(dir, "page.html")
	if err := os.WriteFile(file, page, 0o644); err != nil {
		return err
	}
	address := fmt.Sprintf("file://%s#timeline/%d-%d", file, begin.Unix(), time.Now().Unix())
	return take(address, filepath.Join(checkout, "docs"))
}

// host is where the jobs run.
type host struct{ binary, docker, history string }

func (h host) command(env []string, args ...string) *exec.Cmd {
	cmd := exec.Command(h.binary, args...)
	cmd.Env = append(append(os.Environ(), "DOCKER_HOST="+h.docker), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// play runs the jobs beside an observer.
func (h host) play() error {
	observer := h.command(nil, "observe", "-history", h.history, "-listen", "none")
	if err := observer.Start(); err != nil {
		return err
	}
	var all sync.WaitGroup
	errs := make(chan error, len(jobs))
	for _, j := range jobs {
		all.Go(func() {
			time.Sleep(time.Duration(j.at) * time.Second)
			errs <- h.run(j)
		})
	}
	all.Wait()
	time.Sleep(2 * time.Second) // the observer looks each second
	_ = observer.Process.Signal(syscall.SIGTERM)
	_ = observer.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (h host) run(j job) error {
	server := "https://git.example.com"
	cmd := h.command([]string{"GITHUB_REPOSITORY=" + j.repository, "GITHUB_JOB=" + j.name, "GITHUB_RUN_NUMBER=" + j.run,
		"GITHUB_RUN_ID=" + j.run, "GITHUB_SERVER_URL=" + server, "GITHUB_ACTOR=mia"},
		"with-lock", "-lock-name", j.lock, "-reason", "image build", "--", "sh", "-c",
		`echo holds; exec sleep "$1"`, "sh", fmt.Sprint(j.hold))
	var errors bytes.Buffer
	cmd.Stderr = &errors
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var line [6]byte
	if _, err := out.Read(line[:]); err == nil && j.killed {
		time.Sleep(time.Duration(j.hold) * time.Second / 2)
		_ = cmd.Process.Kill() // and its sleep ends when it is over
		_ = cmd.Wait()
		return nil
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s #%s: %w: %s", j.repository, j.run, err, errors.Bytes())
	}
	return nil
}

// take takes a picture of the page in each of the themes.
func take(address, dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.WindowSize(1280, 800))
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	for _, theme := range []string{"light", "dark"} {
		media := emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: theme},
		})
		var png []byte
		if err := chromedp.Run(ctx, media, chromedp.Navigate(address), chromedp.WaitVisible("#timeline .answer"),
			chromedp.FullScreenshot(&png, 100)); err != nil {
			return fmt.Errorf("open the page: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, "timeline-"+theme+".png"), png, 0o644); err != nil {
			return err
		}
	}
	return nil
}

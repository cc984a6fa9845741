package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"hostguard/e2e/rig/engine"
)

// observer is "hostguard observe", which watches the jobs.
type observer struct {
	cmd    *exec.Cmd
	output bytes.Buffer
	ended  chan struct{}
}

// observe starts an observer, and returns when its history has begun.
func (d *demo) observe(ctx context.Context) (*observer, error) {
	o := &observer{ended: make(chan struct{})}
	o.cmd = exec.CommandContext(ctx, d.path("hostguard"), "observe", "-history", d.path("history"),
		"-listen", "none", "-lock-backend", d.backend)
	o.cmd.Env = append(os.Environ(), "DOCKER_HOST="+d.docker)
	o.cmd.Stdout, o.cmd.Stderr = &o.output, &o.output
	o.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := o.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(o.ended)
		_ = o.cmd.Wait()
	}()
	for {
		if _, err := os.Stat(d.path("history/open.jsonl")); err == nil {
			return o, nil
		}
		select {
		case <-o.ended:
			return nil, fmt.Errorf("hostguard observe: %s", bytes.TrimSpace(o.output.Bytes()))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// stop ends the observer, which must not have ended by itself.
func (o *observer) stop() error {
	_ = o.cmd.Process.Signal(syscall.SIGTERM)
	<-o.ended
	if o.cmd.ProcessState.ExitCode() != 128+int(syscall.SIGTERM) {
		return fmt.Errorf("hostguard observe: %s: %s", o.cmd.ProcessState, bytes.TrimSpace(o.output.Bytes()))
	}
	return nil
}

// picture explains the longest wait that the observer has seen, and shows it on a page.
func (d *demo) picture() error {
	checkout, err := engine.Checkout()
	if err != nil {
		return err
	}
	why, err := d.fromHistory("why", "-last")
	if err != nil {
		return err
	}
	page, err := d.fromHistory("report", "-html")
	if err != nil {
		return err
	}
	const name = ".cache/demo.html"
	if err := os.WriteFile(filepath.Join(checkout, name), page, 0o644); err != nil {
		return err
	}
	d.log.say("  why       %s", bytes.TrimSpace(why))
	d.log.say("  picture   %s, for any browser", name)
	return nil
}

func (d *demo) fromHistory(args ...string) ([]byte, error) {
	out, err := exec.Command(d.path("hostguard"), append(args, "-history", d.path("history"))...).Output()
	if err != nil {
		return nil, fmt.Errorf("hostguard %s: %w", args[0], err)
	}
	return out, nil
}

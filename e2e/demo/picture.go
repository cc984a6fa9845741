package main

import (
	"bytes"
	"context"
	"errors"
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
}

// observe starts an observer, and returns when its history has begun.
func (d *demo) observe(ctx context.Context) (*observer, error) {
	o := &observer{cmd: exec.CommandContext(ctx, d.path("hostguard"), "observe", "-history", d.path("history"),
		"-listen", "", "-lock-backend", d.backend)}
	o.cmd.Env = append(os.Environ(), "DOCKER_HOST="+d.docker)
	o.cmd.Stdout, o.cmd.Stderr = &o.output, &o.output
	o.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := o.cmd.Start(); err != nil {
		return nil, err
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat(d.path("history/open.jsonl")); err == nil {
			return o, nil
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return nil, errors.Join(errors.New("the observer does not begin"), o.stop())
		}
	}
}

func (o *observer) stop() error {
	_ = o.cmd.Process.Signal(syscall.SIGTERM)
	if err := o.cmd.Wait(); err != nil && o.cmd.ProcessState.ExitCode() != 128+int(syscall.SIGTERM) {
		return fmt.Errorf("hostguard observe: %w: %s", err, o.output.Bytes())
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

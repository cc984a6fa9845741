package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"hostguard/e2e/rig/npm"
)

// vite is a "vite build" that runs until finish is called.
type vite struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	output bytes.Buffer
}

// installVite installs the heavy build's program.
func (d *demo) installVite(ctx context.Context) error {
	manifest, err := fs.Sub(files, "vite")
	if err != nil {
		return err
	}
	dir, err := npm.Install(ctx, "vite", manifest)
	d.vite = filepath.Join(dir, "node_modules/vite/bin/vite.js")
	return err
}

// startVite starts a build, and returns when it has begun.
func (d *demo) startVite(ctx context.Context) (*vite, error) {
	dir := d.path("site-c")
	project, err := fs.Sub(files, "vite")
	if err != nil {
		return nil, err
	}
	if err := os.CopyFS(dir, project); err != nil {
		return nil, err
	}
	v := &vite{cmd: exec.CommandContext(ctx, "node", d.vite, "build")}
	v.cmd.Dir = dir
	// Vite 8 has Node 22 and newer keep what it compiles in TMPDIR.
	v.cmd.Env = append(os.Environ(), "NODE_DISABLE_COMPILE_CACHE=1")
	v.cmd.Stderr = &v.output
	v.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if v.stdin, err = v.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := v.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := v.cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(stdout, make([]byte, len("building"))); err != nil {
		v.kill()
		return nil, fmt.Errorf("vite build does not begin: %w: %s", err, v.output.String())
	}
	return v, nil
}

// finish lets the build go to its end.
func (v *vite) finish() error {
	v.stdin.Close()
	if err := v.cmd.Wait(); err != nil {
		return fmt.Errorf("vite build: %w: %s", err, v.output.String())
	}
	return nil
}

// kill ends the build; after finish it does nothing.
func (v *vite) kill() {
	_ = v.cmd.Process.Kill()
	_ = v.cmd.Wait()
}

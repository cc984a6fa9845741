// Package schedule reads what a host runs at set times: its cron tables, and the
// scripts that a command names. It runs none of it, follows names one level, and
// reads no more of a file than a script has.
package schedule

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"hostguard/internal/safefile"
	"hostguard/runner"
)

const (
	maxScript = 256 << 10
	maxFiles  = 200 // of one directory
)

// Tables are the cron tables below root, which is "/" but in tests.
type Tables struct {
	Root, Home string
	// Script reads at most that much of a file that a command names. user is who runs the
	// command by a table of his own, else "".
	Script func(user, path string, most int64) ([]byte, error)
}

// Cron reads the system's tables and those of all users, as far as it may, else
// that of this user. unseen is what it could not read.
func (t Tables) Cron(ctx context.Context) (all []runner.Scheduled, unseen []string) {
	system := []string{"etc/crontab"}
	names, err := t.names("etc/cron.d")
	unseen = add(unseen, err)
	for _, name := range names {
		system = append(system, "etc/cron.d/"+name)
	}
	for _, path := range system {
		data, err := safefile.Read(filepath.Join(t.Root, path), maxScript)
		unseen = add(unseen, err)
		all = append(all, t.lines("", fmt.Sprintf("%q", "/"+path), string(data), true)...)
	}
	for _, period := range []string{"hourly", "daily", "weekly", "monthly"} {
		names, err := t.names("etc/cron." + period)
		unseen = add(unseen, err)
		for _, name := range names {
			path := filepath.Join(t.Root, "etc/cron."+period, name)
			all = append(all, t.Scheduled("", "cron."+period, path))
		}
	}
	const spool = "var/spool/cron/crontabs"
	names, err = t.names(spool)
	if errors.Is(err, fs.ErrPermission) {
		unseen = append(unseen, "cron tables of other users: that needs root")
		if data, err := own(ctx); err == nil {
			all = append(all, t.lines("", "the own crontab", data, false)...)
		}
		return all, unseen
	}
	unseen = add(unseen, err)
	for _, name := range names {
		data, err := safefile.Read(filepath.Join(t.Root, spool, name), maxScript)
		unseen = add(unseen, err)
		all = append(all, t.lines(name, fmt.Sprintf("the crontab of %q", name), string(data), false)...)
	}
	return all, unseen
}

// own returns this user's table, as the crontab command prints it.
func own(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "crontab", "-l").Output()
	return string(out), err
}

func add(unseen []string, err error) []string {
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return unseen
	}
	return append(unseen, fmt.Sprintf("%.200q", err))
}

func (t Tables) names(dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(t.Root, dir))
	var names []string
	for _, e := range entries[:min(len(entries), maxFiles)] {
		if !strings.HasPrefix(e.Name(), ".") && !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

func (t Tables) lines(user, table, data string, withUser bool) []runner.Scheduled {
	var all []runner.Scheduled
	for _, l := range runner.ParseCrontab(data, withUser) {
		all = append(all, t.Scheduled(user, fmt.Sprintf("%s line %d", table, l.Line), l.Command))
	}
	return all
}

// Scheduled returns a command with the scripts that it names; user is as for Script.
func (t Tables) Scheduled(user, where, command string) runner.Scheduled {
	s := runner.Scheduled{Where: where, Command: command}
	for _, path := range runner.ScriptsOf(command, t.Home) {
		if text, err := t.Script(user, path, maxScript); err == nil && len(text) > 0 &&
			!bytes.HasPrefix(text, []byte("\x7fELF")) {
			s.Scripts = append(s.Scripts, runner.Script{Path: path, Text: string(text)})
		}
	}
	return s
}

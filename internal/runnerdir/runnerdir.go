// Package runnerdir reads the directory of an act_runner: its configuration, its
// registration, the directories of its jobs. The token of a registration is
// neither kept nor printed. Only Replace, Restore, Make and Remove change something.
package runnerdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"hostguard/internal/actrunner"
	"hostguard/internal/safefile"
	"hostguard/runner"
	"hostguard/runner/config"
	"hostguard/runner/yamltree"
)

// Read reads the configuration and the registration that it names, relative to
// the directory that the runner works in.
func Read(dir, file string) (c config.Config, registration string, registered bool, err error) {
	data, err := ReadFile(file)
	if err != nil {
		return c, "", false, err
	}
	if c, err = config.Parse(data); err != nil {
		return c, "", false, fmt.Errorf("read %q: %.200q", file, err)
	}
	registration = c.Registration
	if !filepath.IsAbs(registration) {
		registration = filepath.Join(dir, registration)
	}
	data, err = ReadFile(registration)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, registration, false, nil
	case err != nil: // it is there; its labels are for runners without any in config.yaml
		return c, registration, true, nil
	}
	if err := c.ReadRegistration(data); err != nil {
		return c, registration, false, nil
	}
	return c, registration, true, nil
}

// Registration reads the registration of a runner from the first of paths, files or
// directories that may have it, such as the mounts of a container; false if none can
// be read.
func Registration(paths []string) (config.Registration, bool) {
	for _, p := range paths {
		if !filepath.IsAbs(p) {
			continue
		}
		for _, file := range []string{p, filepath.Join(p, ".runner")} {
			if data, err := ReadFile(file); err == nil {
				if r, err := config.ParseRegistration(data); err == nil {
					return r, true
				}
			}
		}
	}
	return config.Registration{}, false
}

// ReadFile reads a file up to the size that a configuration may have, and one byte
// more, which shows that it is larger.
func ReadFile(path string) ([]byte, error) { return safefile.Read(path, yamltree.MaxFile+1) }

// Status returns the state of a runner's directory: missing, unregistered or
// registered.
func Status(dir string) string {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "missing"
	}
	if _, registration, registered, err := Read(dir, filepath.Join(dir, "config.yaml")); err == nil && registration != "" {
		if registered {
			return "registered"
		}
		return "unregistered"
	}
	if info, err := os.Stat(filepath.Join(dir, ".runner")); err == nil && info.Mode().IsRegular() {
		return "registered" // the runner needs no config.yaml
	}
	return "unregistered"
}

const (
	settled = time.Hour // a job's directory that nothing changed for so long
	most    = 500       // directories that are looked at, for each of which users reads the process table
)

// Jobs returns the jobs' directories below parent: those in which, by users, a
// process works, and those in which none does and nothing has changed lately. An
// error means that there may be more of either; users is called with paths without
// links.
func Jobs(parent string, now time.Time, users func(dir string) ([]int, error),
) (active []string, left []runner.JobDir, err error) {
	parent, err = filepath.EvalSymlinks(parent)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	entries, err := os.ReadDir(parent)
	if err != nil {
		return nil, nil, err
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		return !e.IsDir() || !actrunner.IsJobName(e.Name())
	})
	if len(entries) > most {
		err = fmt.Errorf("%q has %d directories of jobs, of which %d are looked at; remove those that are left over",
			parent, len(entries), most)
		entries = entries[:most]
	}
	for _, e := range entries {
		path := filepath.Join(parent, e.Name())
		info, statErr := e.Info()
		if statErr == nil && os.Geteuid() != 0 && owner(info) != os.Geteuid() {
			statErr = fmt.Errorf("%q belongs to user %d: where its processes work, root sees and that user", path, owner(info))
		}
		var pids []int
		if statErr == nil {
			pids, statErr = users(path)
		}
		switch {
		case errors.Is(statErr, fs.ErrNotExist): // its job has ended since the list
		case statErr != nil:
			err = statErr
		case len(pids) > 0:
			active = append(active, path)
		case now.Sub(info.ModTime()) >= settled:
			left = append(left, runner.JobDir{Path: path, Changed: info.ModTime()})
		}
	}
	return active, left, err
}

func owner(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

// Package runnerdir reads the directory of an act_runner: its configuration, its
// registration, the directories of its jobs. The token of a registration is neither kept
// nor printed. Only Replace, Restore, Make and Remove change something. All of it is done
// through Files by a process that may do no more than the runner's user.
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
	"hostguard/runner/yamltree"
)

// readFile reads a file up to the size that a configuration may have, and one byte more,
// which shows that it is larger; and when it was changed.
func readFile(path string) (data []byte, changed time.Time, err error) {
	info, err := os.Stat(path)
	if err == nil {
		data, err = safefile.Read(path, yamltree.MaxFile+1)
	}
	if err != nil {
		return nil, changed, err
	}
	return data, info.ModTime(), nil
}

const (
	settled = time.Hour // a job's directory that nothing changed for so long
	most    = 500       // directories that are looked at, for each of which users reads the process table
)

// jobList is what the parent of the jobs' directories has; Dir is "" if there is none.
type jobList struct {
	Dir    string // without links
	Jobs   []job
	Unseen string // why there may be more
}

type job struct {
	Name    string
	Changed time.Time
}

func list(parent string) (l jobList, err error) {
	dir, err := filepath.EvalSymlinks(parent)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return l, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return l, err
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		return !e.IsDir() || !actrunner.IsJobName(e.Name())
	})
	l.Dir = dir
	if len(entries) > most {
		l.Unseen = fmt.Sprintf("%q has %d directories of jobs, of which %d are looked at; "+
			"remove those that are left over", parent, len(entries), most)
		entries = entries[:most]
	}
	for _, e := range entries {
		info, err := e.Info()
		switch {
		case errors.Is(err, fs.ErrNotExist): // its job has ended since the list
		case err != nil:
			l.Unseen = err.Error()
		case os.Geteuid() != 0 && owner(info) != os.Geteuid():
			l.Unseen = fmt.Sprintf("%q belongs to user %d: where its processes work, root sees and that user",
				filepath.Join(dir, e.Name()), owner(info))
		default:
			l.Jobs = append(l.Jobs, job{e.Name(), info.ModTime()})
		}
	}
	return l, nil
}

func owner(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

package clean

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"hostguard/internal/actrunner"
)

// Jobs is the open directory in which Gitea's runner makes a private one for each
// job on the host. It also holds what all jobs share, which stays: clones of actions
// and the tool cache.
type Jobs struct {
	root *os.Root
	info fs.FileInfo
}

// OpenJobs opens a directory that holds at least one of the form of a job's. It
// returns *NotRunner for any other, as OpenRunner does.
func OpenJobs(path, home string) (*Jobs, error) {
	root, err := openProper(path, home)
	if err != nil {
		return nil, err
	}
	j := &Jobs{root: root}
	names, err := j.names()
	if err == nil {
		j.info, err = root.Stat(".")
	}
	if err == nil && len(names) == 0 {
		err = &NotRunner{root.Name(), "holds no job directories"}
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	return j, nil
}

func (j *Jobs) Path() string { return j.root.Name() }
func (j *Jobs) Close() error { return j.root.Close() }

// Owner returns the user who owns the runner.
func (j *Jobs) Owner() uint32 { return stat(j.info).Uid }

func (j *Jobs) names() ([]string, error) {
	dir, err := j.root.Open(".")
	if err != nil {
		return nil, quoted(located(j.root, err))
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, quoted(err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !actrunner.IsJobName(name) })
	slices.Sort(names)
	return names, nil
}

// JobDir is the private directory of one job, which is removed whole or not at all.
type JobDir struct {
	Name  string
	Made  time.Time
	Files int // in it, by Measure; directories do not count
	Bytes int64

	jobs *Jobs
	seen identity
	used func() (string, error)
}

// List returns all directories that are named as a job's: those that are one, and
// those that only look like it.
func (j *Jobs) List() (dirs []*JobDir, odd []Odd, err error) {
	names, err := j.names()
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		dir, why, err := j.look(name)
		switch {
		case errors.Is(err, fs.ErrNotExist): // its runner has just removed it
		case err != nil:
			return nil, nil, quoted(err)
		case why != "":
			odd = append(odd, Odd{name, why})
		default:
			dirs = append(dirs, dir)
		}
	}
	return dirs, odd, nil
}

func (j *Jobs) look(name string) (dir *JobDir, why string, err error) {
	if err := checkServed(j.root, name); err != nil {
		if refused, ok := errors.AsType[*Refused](err); ok {
			return nil, refused.Why, nil
		}
		return nil, "", err
	}
	info, err := j.root.Lstat(name)
	switch {
	case err != nil:
		return nil, "", located(j.root, err)
	case !info.IsDir():
		return nil, "it is " + kind(info.Mode()), nil
	case device(info) != device(j.info):
		return nil, mounted, nil
	case stat(info).Uid != j.Owner():
		return nil, "it belongs to another user than the directory around it", nil
	}
	opened, err := openDir(j.root, name)
	if err != nil {
		return nil, "", err
	}
	defer opened.Close()
	if why, err = oddShape(opened); err != nil || why != "" {
		return nil, why, err
	}
	return &JobDir{Name: name, Made: info.ModTime(), jobs: j, seen: identityOf(info)}, "", nil
}

// oddShape returns why a directory is not a job's, or "" for one that has all of
// the runner's folders, beside what the job may have put there, or, where a removal
// was interrupted, some of them and nothing else.
func oddShape(dir *os.Root) (string, error) {
	list, err := dir.Open(".")
	if err != nil {
		return "", located(dir, err)
	}
	defer list.Close()
	entries, err := list.ReadDir(-1)
	if err != nil {
		return "", err
	}
	own := 0
	for _, entry := range entries {
		if slices.Contains(actrunner.JobFolders, entry.Name()) && entry.IsDir() {
			own++
		}
	}
	if own == len(actrunner.JobFolders) || own > 0 && own == len(entries) {
		return "", nil
	}
	return "it does not hold " + strings.Join(actrunner.JobFolders, ", ") + " as a job's does", nil
}

// Measure counts what is in the directory. It refuses a directory in which another
// file system is mounted.
func (d *JobDir) Measure(ctx context.Context) error {
	dir, err := d.open()
	if err != nil {
		return quoted(err)
	}
	defer dir.Close()
	found := measurement{dev: device(d.jobs.info)}
	if found.mount, err = mountOfRoot(d.jobs.root); err != nil {
		return err
	}
	if err := found.of(ctx, dir, 0); err != nil {
		return quoted(err)
	}
	d.Files, d.Bytes = int(found.files.Load()), found.bytes.Load()
	return nil
}

// open opens the directory if it is still the one that List has seen.
func (d *JobDir) open() (*os.Root, error) {
	if err := checkServed(d.jobs.root, d.Name); err != nil {
		return nil, err
	}
	dir, err := openDir(d.jobs.root, d.Name)
	if err != nil {
		return nil, err
	}
	info, err := dir.Stat(".")
	if err == nil && identityOf(info) != d.seen {
		err = errChanged
	}
	if err != nil {
		dir.Close()
		return nil, err
	}
	return dir, nil
}

// Guard sets the last check before a removal: used names who uses the directory, if
// anybody does, and fails if that cannot be seen.
func (d *JobDir) Guard(used func() (string, error)) { d.used = used }

// Remove removes the directory if it is still the one that List has seen and unused.
// Its content is removed through the open directory: what somebody renames to its
// name during that is safe.
func (d *JobDir) Remove(ctx context.Context) (Done, error) {
	if ctx.Err() != nil {
		return Done{}, context.Cause(ctx)
	}
	if why, err := d.used(); err != nil {
		return Done{}, fmt.Errorf("keep job directory %q: %w", d.Name, err)
	} else if why != "" {
		return Done{Changed: 1}, nil
	}
	dir, err := d.open()
	if errors.Is(err, errChanged) || errors.Is(err, fs.ErrNotExist) {
		return Done{Changed: 1}, nil
	} else if err != nil {
		return Done{}, quoted(err)
	}
	defer dir.Close()
	err = empty(dir)
	if err == nil {
		err = d.drop()
	}
	if err != nil {
		return Done{}, fmt.Errorf("remove job directory %q (a part of it may be gone): %w", d.Name, quoted(err))
	}
	return Done{Files: d.Files, Bytes: d.Bytes}, nil
}

// drop removes the directory itself, which is empty, unless another one has its name.
func (d *JobDir) drop() error {
	now, err := d.jobs.root.Lstat(d.Name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && stat(now).Ino != d.seen.ino {
		return nil
	} else if err != nil {
		return located(d.jobs.root, err)
	}
	return d.jobs.root.Remove(d.Name)
}

// empty removes the content of an open directory, the runner's folders last: what an
// interrupted removal leaves still has the form of a job's.
func empty(dir *os.Root) error {
	list, err := dir.Open(".")
	if err != nil {
		return located(dir, err)
	}
	names, err := list.Readdirnames(-1)
	list.Close()
	if err != nil {
		return err
	}
	last := func(name string) int {
		if slices.Contains(actrunner.JobFolders, name) {
			return 1
		}
		return 0
	}
	slices.SortFunc(names, func(a, b string) int { return last(a) - last(b) })
	for _, name := range names {
		if err := removeAll(dir, name); err != nil {
			return err
		}
	}
	return nil
}

// Close does nothing: a JobDir keeps nothing open. It is there for the interface that
// removals share.
func (d *JobDir) Close() error { return nil }

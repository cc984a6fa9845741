package clean

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// diagFolder is a folder of _diag in which the runner creates files that must not exist
// before, named <guid>_<guid> and a number, which counts from 1.
type diagFolder struct{ name, before, after string }

// diagFolders: blocks came with runner 2.303, of February 2023 (actions/runner#2439).
var diagFolders = []diagFolder{{"pages", "_", ".log"}, {"blocks", ".", ""}}

// IsDiagName reports whether a name has the shape that the runner gives to a page,
// <guid>_<guid>_<n>.log, or a block, <guid>_<guid>.<n>.
func IsDiagName(name string) bool {
	return slices.ContainsFunc(diagFolders, func(f diagFolder) bool { return f.makes(name) })
}

// makes reports whether the runner gives such names in this folder.
func (f diagFolder) makes(name string) bool {
	const guid = len("01234567-89ab-cdef-0123-456789abcdef")
	if len(name) < 2*guid+1 || !isGUID(name[:guid]) || name[guid] != '_' || !isGUID(name[guid+1:2*guid+1]) {
		return false
	}
	n, counts := strings.CutPrefix(name[2*guid+1:], f.before)
	n, ends := strings.CutSuffix(n, f.after)
	return counts && ends && n != "" && len(n) <= len("2147483647") && n[0] != '0' &&
		strings.Trim(n, "0123456789") == ""
}

func isGUID(s string) bool {
	for i := range len(s) {
		switch c := s[i]; i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return true
}

// Diag is the plan for one folder of _diag.
type Diag struct {
	Path  string // below the runner's root
	Files []DiagFile
	Bytes int64
	Newer int // skipped: a live worker may have written them
	Open  int // skipped: a process has them open
	Odd   []Odd

	dir *os.Root
}

// DiagFile is a left-over that may be removed.
type DiagFile struct {
	Name string
	size int64
	seen identity
}

// Odd is an entry that the runner does not make, and why.
type Odd struct{ Name, Why string }

func (d *Diag) Skipped() int { return d.Newer + d.Open + len(d.Odd) }

func (d *Diag) Close() error { return d.dir.Close() }

// PlanDiag plans the cleanup of _diag/pages and _diag/blocks. A folder that does not
// exist has no plan. Each problem concerns one folder, or _diag, and leaves the
// plans of the others valid.
func (r *Runner) PlanDiag(ctx context.Context, evidence Evidence) (plans []*Diag, problems []error) {
	if err := checkServed(r.root, "_diag"); err != nil {
		return nil, []error{quoted(err)}
	}
	diag, err := openDir(r.root, "_diag")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, []error{quoted(err)}
	}
	defer diag.Close()
	for _, folder := range diagFolders {
		dir, err := openDir(diag, folder.name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			problems = append(problems, quoted(err))
			continue
		}
		plan := &Diag{Path: "_diag/" + folder.name, dir: dir}
		if err := plan.look(ctx, folder, evidence); err != nil {
			dir.Close()
			problems = append(problems, quoted(err))
			continue
		}
		plans = append(plans, plan)
	}
	return plans, problems
}

func (d *Diag) look(ctx context.Context, folder diagFolder, evidence Evidence) error {
	entries, err := d.dir.Open(".")
	if err != nil {
		return located(d.dir, err)
	}
	defer entries.Close()
	// Names alone: each one of interest is read anyway.
	names, err := entries.Readdirnames(-1)
	if err != nil {
		return err
	}
	verdicts := make([]verdict, len(names))
	err = inParallel(ctx, len(names), 256, func(i int) { verdicts[i] = d.judge(names[i], folder, evidence) })
	if err != nil {
		return err
	}
	for i, v := range verdicts {
		switch {
		case errors.Is(v.err, fs.ErrNotExist): // its worker has just removed it
		case v.err != nil:
			return v.err
		case v.odd != "":
			d.Odd = append(d.Odd, Odd{names[i], v.odd})
		case v.open:
			d.Open++
		case v.newer:
			d.Newer++
		default:
			d.Files = append(d.Files, v.file)
			d.Bytes += v.file.size
		}
	}
	// Files that are neighbours on disk are removed together, as rm does it: a
	// large directory lists its files in the order of a hash.
	slices.SortFunc(d.Files, func(a, b DiagFile) int { return cmp.Compare(a.seen.ino, b.seen.ino) })
	return nil
}

// verdict is the result of one look at an entry; without a reason to skip it the
// file may be removed.
type verdict struct {
	file        DiagFile
	odd         string
	open, newer bool
	err         error
}

func (d *Diag) judge(name string, folder diagFolder, evidence Evidence) verdict {
	if !folder.makes(name) {
		return verdict{odd: "the runner gives no such names here"}
	}
	info, err := d.dir.Lstat(name)
	if err != nil {
		return verdict{err: located(d.dir, err)}
	}
	before := evidence.Before
	if int(stat(info).Uid) != os.Geteuid() {
		before = evidence.OthersBefore
	}
	switch {
	case !info.Mode().IsRegular():
		return verdict{odd: "it is " + kind(info.Mode())}
	case links(info) != 1:
		return verdict{odd: fmt.Sprintf("the file has %d names", links(info))}
	case evidence.Open(device(info), stat(info).Ino):
		return verdict{open: true}
	case !info.ModTime().Before(before):
		return verdict{newer: true}
	}
	return verdict{file: DiagFile{name, info.Size(), identityOf(info)}}
}

// Remove removes the files of the plan that are unchanged since the plan. It
// continues after a file that cannot be removed and returns the first such error.
func (d *Diag) Remove(ctx context.Context) (Done, error) {
	var done Done
	if err := checkServed(d.dir, "."); err != nil {
		return done, quoted(err)
	}
	var failed int
	var first error
	for block := range d.checked(ctx) {
		for i, err := range block.errs {
			file := block.files[i]
			if err == nil {
				err = d.dir.Remove(file.Name)
			}
			switch {
			case err == nil:
				done.Files++
				done.Bytes += file.size
			case errors.Is(err, errChanged), errors.Is(err, fs.ErrNotExist):
				done.Changed++
			default:
				failed++
				first = cmp.Or(first, err)
			}
		}
	}
	switch {
	case ctx.Err() != nil:
		return done, context.Cause(ctx)
	case first != nil:
		return done, fmt.Errorf("%d of %d files in %q could not be removed: %w", failed, len(d.Files), d.dir.Name(),
			quoted(first))
	}
	return done, nil
}

type checkedFiles struct {
	files []DiagFile
	errs  []error
}

var errChanged = errors.New("changed since the plan")

// checked checks the files of the plan again, a few hundred (some milliseconds)
// ahead of their removal: removals from one directory exclude each other, and a
// check beside them costs no time.
func (d *Diag) checked(ctx context.Context) <-chan checkedFiles {
	blocks := make(chan checkedFiles, 1)
	go func() {
		defer close(blocks)
		for files := range slices.Chunk(d.Files, 128) {
			if ctx.Err() != nil {
				return
			}
			errs := make([]error, len(files))
			for i, file := range files {
				now, err := d.dir.Lstat(file.Name)
				if err == nil && (identityOf(now) != file.seen || links(now) != 1) {
					err = errChanged
				}
				errs[i] = err
			}
			blocks <- checkedFiles{files, errs}
		}
	}()
	return blocks
}

// inParallel calls f with 0 to n-1, in blocks: reading the state of files scales with
// the cores.
func inParallel(ctx context.Context, n, block int, f func(i int)) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), 4) {
		wg.Go(func() {
			for ctx.Err() == nil {
				end := int(next.Add(int64(block)))
				if end-block >= n {
					return
				}
				for i := end - block; i < min(end, n); i++ {
					f(i)
				}
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

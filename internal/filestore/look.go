package filestore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"hostguard/internal/hexid"
	"hostguard/internal/safefile"
	"hostguard/lock"
)

// What one look reads at most. An entry has one to two kilobytes and some forty
// labels; a host with more than 256 waiters has not been seen.
const (
	maxSize   = 64 << 10 // of an entry's file
	maxLabels = 200
	maxFiles  = 1000    // of one user
	maxBytes  = 2 << 20 // of one user
	maxUsers  = 4       // whole shares of maxFiles and maxBytes; a user may have many uids
	maxNames  = 20_000  // in the directory
)

// record is the content of an entry's file.
type record struct {
	ID      string            `json:"id"`
	Name    string            `json:"name"`
	Created time.Time         `json:"created"`
	Labels  map[string]string `json:"labels"`
}

// look is what one look at the directory found.
type look struct {
	root    *os.Root
	entries []lock.Entry
	seen    map[string]entry // by name
	users   map[uint32]*share
	total   share
	cut     bool // there are more names than maxNames
}

// share is what a look has taken of one user's files.
type share struct{ files, taken, bytes, left int }

// take reads an entry, unless its owner's share is used up; always, whatever the share.
func (l *look) take(name string, always bool) error {
	info, err := l.root.Lstat(name + suffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed since the list
	}
	if err != nil {
		return err
	}
	if st := info.Sys().(*syscall.Stat_t); st.Nlink > 2 && !always {
		return nil // an entry has two names for a moment; who gave it more need not be its owner
	}
	uid := ownerOf(info)
	user := l.users[uid]
	if user == nil {
		user = &share{}
		l.users[uid] = user
	}
	user.files++
	size := int(min(info.Size(), maxSize))
	if !always && (user.full(1, size) || l.total.full(maxUsers, size)) {
		user.left++
		return nil
	}
	file, err := read(l.root, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, s := range []*share{user, &l.total} {
		s.taken++
		s.bytes += len(file.data)
	}
	l.entries = append(l.entries, file.entry)
	l.seen[name] = entry{file.entry.ID, file.data, time.Now(), false}
	return nil
}

// takePlaces reads what was left out in the places of locks.
func (l *look) takePlaces(prefixes []string) error {
	for _, prefix := range prefixes {
		for _, name := range lock.PlaceNames(prefix) {
			if _, taken := l.seen[name]; taken {
				continue
			}
			if err := l.take(name, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// full reports whether a file of that size does not fit into so many shares.
func (s *share) full(shares, size int) bool {
	return s.taken >= shares*maxFiles || s.bytes+size > shares*maxBytes
}

func (l *look) leftOut() bool {
	return l.cut || slices.ContainsFunc(slices.Collect(maps.Values(l.users)), func(s *share) bool { return s.left > 0 })
}

// floods returns the users of whom files were left out, and how many files they have.
func (l *look) floods(ctx context.Context) map[uint32]int {
	users := map[uint32]int{}
	for uid, user := range l.users {
		if user.left > 0 {
			users[uid] = user.files
		}
	}
	if l.cut && len(users) == 0 {
		uid, files := mostFiles(ctx, l.root)
		users[uid] = files
	}
	return users
}

// file is an entry and its content, which is nil if it cannot be read.
type file struct {
	entry lock.Entry
	data  []byte
}

// read returns an entry. What is no regular file, too long, or not an entry of that
// name is unreadable, and has an ID all the same, to be removed by.
func read(root *os.Root, name string) (file, error) {
	info, err := root.Lstat(name + suffix)
	if err != nil {
		return file{}, err
	}
	var data []byte
	if info.Size() <= maxSize { // what is longer costs nothing
		data, err = safefile.ReadEntry(root, name+suffix, maxSize+1)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return file{}, err
	}
	if r, ok := decode(data); err == nil && ok && r.Name == name {
		return file{lock.Entry{ID: r.ID, Name: r.Name, Created: r.Created, Labels: r.Labels}, data}, nil
	}
	st := info.Sys().(*syscall.Stat_t)
	return file{entry: lock.Entry{ID: fmt.Sprintf("unreadable-%d-%d", st.Ino, info.ModTime().UnixNano()), Name: name,
		Created: info.ModTime()}}, nil
}

// decode returns false for what is not a record as Create writes it. An ID goes into
// outputs and commands, and into the record of the job.
func decode(data []byte) (r record, ok bool) {
	if len(data) > maxSize || json.Unmarshal(data, &r) != nil {
		return record{}, false
	}
	return r, hexid.Is(r.ID, 64) && len(r.Labels) <= maxLabels
}

var errTooMany = errors.New("the directory has more files than are read")

// eachName calls visit with the names in the directory, in no order, until it fails.
func eachName(ctx context.Context, root *os.Root, visit func(file string) error) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	for count := 0; ; {
		names, err := dir.Readdirnames(256)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := visit(name); err != nil {
				return err
			}
		}
		if count += len(names); count >= maxNames {
			return errTooMany
		}
	}
}

// sweep removes the files of creators that were killed before the link, some at a time.
func sweep(ctx context.Context, root *os.Root) {
	left := 100
	_ = eachName(ctx, root, func(name string) error {
		if left == 0 {
			return errTooMany
		}
		if strings.HasSuffix(name, asideSuffix) {
			left--
			if info, err := root.Lstat(name); err == nil && time.Since(info.ModTime()) > asideLife {
				_ = root.Remove(name)
			}
		}
		return nil
	})
}

// mostFiles returns the user who has the most files in the directory.
func mostFiles(ctx context.Context, root *os.Root) (uid uint32, files int) {
	users := map[uint32]int{}
	_ = eachName(ctx, root, func(name string) error {
		if info, err := root.Lstat(name); err == nil && info.Sys().(*syscall.Stat_t).Nlink <= 2 {
			users[ownerOf(info)]++
		}
		return nil
	})
	for user, n := range users {
		if n > files {
			uid, files = user, n
		}
	}
	return uid, files
}

// Package privsep lets root work on files that another user can change by a process that
// is that user (privilege separation).
//
// Such a helper is this program, executed anew. It has the user's identity and groups, no
// capability and no way to gain one, a session without a terminal, an empty environment,
// and of this process only three pipes. It answers one request after the other; a request
// has a deadline, after which its helper is killed, and the answers have a maximum size.
// Helpers end with this process.
//
// Not guaranteed: that an answer is true. The user can take the helper over, with a
// debugger for example, and gains nothing that he did not have; whoever asks checks
// the answer as he would check a file of that user's.
package privsep

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
)

// Command is the argument with which a program becomes a helper. A program whose files
// have been replaced in the meantime is still the same one: it executes itself by
// descriptor.
const Command = "answer-as-user"

const (
	patience  = 15 * time.Second // for one answer, on a busy host too
	pause     = time.Minute      // without questions about a user, after none
	maxAnswer = 16 << 20         // bytes
	maxError  = 500
)

// Handler answers one kind of request.
type Handler func(request json.RawMessage) (answer any, err error)

// Handle returns a handler for requests and answers of two types.
func Handle[Q, A any](answer func(Q) (A, error)) Handler {
	return func(data json.RawMessage) (any, error) {
		var q Q
		if err := json.Unmarshal(data, &q); err != nil {
			return nil, err
		}
		return answer(q)
	}
}

type request struct {
	Kind    string          `json:"kind"`
	Request json.RawMessage `json:"request"`
}

type reply struct {
	Answer  json.RawMessage `json:"answer,omitempty"`
	Error   string          `json:"error,omitempty"`
	Missing bool            `json:"missing,omitempty"` // the error is fs.ErrNotExist
	Denied  bool            `json:"denied,omitempty"`  // the error is fs.ErrPermission
}

// Helpers are the helpers of one command, at most one for each user. The zero value has
// none yet.
type Helpers struct {
	mu   sync.Mutex
	of   map[int]*helper
	late map[int]time.Time // when a user's helper last gave no answer in time
}

// Close ends the helpers.
func (h *Helpers) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.of {
		p.kill()
	}
	h.of = nil
}

// Ask has a helper of the user answer a request. The answer is of the wanted type, and
// otherwise unchecked. Errors of the handler keep their text, without control characters,
// and whether they are fs.ErrNotExist or fs.ErrPermission.
func Ask[A any](ctx context.Context, h *Helpers, uid int, kind string, q any) (answer A, err error) {
	data, err := json.Marshal(q)
	if err == nil {
		data, err = json.Marshal(request{kind, data})
	}
	if err != nil {
		return answer, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if last, late := h.late[uid]; late && time.Since(last) < pause {
		return answer, fmt.Errorf("what user %d can change: %w", uid, errLate)
	}
	p := h.of[uid]
	if p == nil {
		if p, err = start(uid); err != nil {
			return answer, fmt.Errorf("run a process of user %d: %w", uid, err)
		}
		if h.of == nil {
			h.of = map[int]*helper{}
		}
		h.of[uid] = p
	}
	r, err := p.ask(ctx, data)
	if err != nil { // the next request gets a new one
		p.kill()
		delete(h.of, uid)
		if errors.Is(err, errLate) {
			if h.late == nil {
				h.late = map[int]time.Time{}
			}
			h.late[uid] = time.Now()
		}
		return answer, fmt.Errorf("what user %d can change: %w", uid, err)
	}
	if r.Error != "" || r.Missing || r.Denied {
		return answer, r.err()
	}
	if err := json.Unmarshal(r.Answer, &answer); err != nil {
		return answer, fmt.Errorf("a process of user %d gives an invalid answer", uid)
	}
	return answer, nil
}

var errLate = fmt.Errorf("no answer within %s: a file system that hangs?", patience)

// handlerError is the error of a handler, as it crossed the pipe.
type handlerError struct {
	text string
	is   error
}

func (e handlerError) Error() string { return e.text }
func (e handlerError) Unwrap() error { return e.is }

func (r reply) err() error {
	e := handlerError{text: printable(r.Error)}
	switch {
	case r.Missing:
		e.is = fs.ErrNotExist
	case r.Denied:
		e.is = fs.ErrPermission
	}
	if e.text == "" {
		e.text = "failed without a reason"
	}
	return e
}

// printable returns a text of one line.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text[:min(len(text), maxError)])
}

// helper is a running one.
type helper struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan []byte // its answers; closed at its end
}

// start starts a helper, which becomes the user by itself: before that it is root's, and then
// not dumpable, so that no process of the user can stop or trace it half-way. A child that
// becomes the user before it executes a program shares this process's memory, and this waits
// for it.
func start(uid int) (*helper, error) {
	is, err := identityOf(uid)
	if err != nil {
		return nil, err
	}
	first, err := json.Marshal(is)
	if err != nil {
		return nil, err
	}
	if err := closeOnExec(); err != nil {
		return nil, err
	}
	cmd := exec.Command("/proc/self/exe", Command)
	cmd.Args[0] = "hostguard"
	cmd.Dir, cmd.Env = "/", []string{"GOMEMLIMIT=64MiB", "GOMAXPROCS=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	h := &helper{cmd, in, make(chan []byte)}
	go h.read(out)
	if _, err := in.Write(append(first, '\n')); err != nil { // a pipe takes more than that
		h.kill()
		return nil, err
	}
	return h, nil
}

// identity is what a helper becomes: the first line that it reads. The one of a process that
// is not root stays what it is.
type identity struct {
	Become      bool
	UID, GID    int
	OtherGroups []int
}

// identityOf returns the identity of a user. A user without a name has no other groups than
// that of his number.
func identityOf(uid int) (is identity, err error) {
	if os.Geteuid() != 0 {
		if uid != os.Geteuid() {
			return is, fmt.Errorf("needs root or user %d", uid)
		}
		return is, nil
	}
	is = identity{Become: true, UID: uid, GID: uid}
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return is, nil
	}
	if is.GID, err = strconv.Atoi(u.Gid); err != nil {
		return is, err
	}
	groups, _ := u.GroupIds()
	for _, group := range groups {
		if gid, err := strconv.Atoi(group); err == nil {
			is.OtherGroups = append(is.OtherGroups, gid)
		}
	}
	return is, nil
}

// become gives up root's identity for good. Then this process must not be dumpable: another
// process of the user's cannot trace it. A change of identity sets that anew.
func (is identity) become() error {
	if is.Become {
		err := cmp.Or(syscall.Setgroups(is.OtherGroups), syscall.Setgid(is.GID), syscall.Setuid(is.UID))
		if err == nil && is.UID != 0 && syscall.Setuid(0) == nil {
			err = errors.New("it could become root again")
		}
		if err != nil {
			return err
		}
	}
	return prctl(prSetDumpable, 0)
}

// closeOnExec keeps descriptors that this process was started with, such as an open log of
// root's, from the helper.
func closeOnExec() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
	return nil
}

// read hands answers over until the helper ends.
func (h *helper) read(out io.Reader) {
	defer close(h.lines)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxAnswer)
	for lines.Scan() {
		h.lines <- append([]byte(nil), lines.Bytes()...)
	}
}

func (h *helper) ask(ctx context.Context, data []byte) (r reply, err error) {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	written := make(chan error, 1)
	go func() {
		_, err := h.in.Write(append(data, '\n'))
		written <- err
	}()
	for {
		select {
		case err := <-written:
			if err != nil {
				return r, errors.New("its process has ended")
			}
			written = nil
		case line, running := <-h.lines:
			if !running {
				return r, errors.New("its process has ended, or has answered too much")
			}
			if json.Unmarshal(line, &r) != nil {
				return r, errors.New("its process gives an invalid answer")
			}
			return r, nil
		case <-limit.C:
			return r, errLate
		case <-ctx.Done():
			return r, context.Cause(ctx)
		}
	}
}

// kill ends a helper, and does not wait for that: a file system of the user's can delay it.
func (h *helper) kill() {
	_ = syscall.Kill(-h.cmd.Process.Pid, syscall.SIGKILL)
	_ = h.in.Close()
	go func() {
		for range h.lines { // read may be waiting with one
		}
		_ = h.cmd.Wait()
	}()
}

// Bounds of a helper, whatever a file makes it do.
const (
	maxMemory = 512 << 20
	maxTime   = 120 // seconds of a processor
	maxFile   = 4 << 20
	maxOpen   = 256
)

// Serve answers requests by handlers until there are no more. It returns the exit status
// of the helper.
func Serve(in io.Reader, out io.Writer, handlers map[string]Handler) int {
	if err := confine(); err != nil {
		return 1
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxAnswer)
	var is identity
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &is) != nil {
		return 1
	}
	answers := json.NewEncoder(out)
	if err := is.become(); err != nil {
		_ = answers.Encode(reply{Error: "become the user: " + err.Error()})
		return 1
	}
	requests := make(chan []byte)
	go func() {
		for lines.Scan() {
			requests <- append([]byte(nil), lines.Bytes()...)
		}
		os.Exit(0) // whoever asks has ended, whatever this waits for
	}()
	for line := range requests {
		var q request
		r := reply{Error: "unknown request"}
		if err := json.Unmarshal(line, &q); err == nil && handlers[q.Kind] != nil {
			answer, err := handlers[q.Kind](q.Request)
			if r = (reply{}); err == nil {
				r.Answer, err = json.Marshal(answer)
			}
			if err != nil {
				r = reply{Error: err.Error(), Missing: errors.Is(err, fs.ErrNotExist),
					Denied: errors.Is(err, fs.ErrPermission)}
			}
		}
		if err := answers.Encode(r); err != nil {
			return 1
		}
	}
	return 0
}

// Of Linux; syscall does not name them.
const (
	prSetDumpable   = 4
	prSetNoNewPrivs = 38
	rlimitMemlock   = 8
)

// confine gives up what a helper does not need.
func confine() error {
	for resource, most := range map[int]uint64{
		syscall.RLIMIT_CORE: 0, syscall.RLIMIT_DATA: maxMemory, syscall.RLIMIT_CPU: maxTime,
		syscall.RLIMIT_FSIZE: maxFile, syscall.RLIMIT_NOFILE: maxOpen, rlimitMemlock: 0,
	} {
		if err := lower(resource, most); err != nil {
			return err
		}
	}
	syscall.Umask(0o077)
	return prctl(prSetNoNewPrivs, 1)
}

func lower(resource int, most uint64) error {
	var is syscall.Rlimit
	if err := syscall.Getrlimit(resource, &is); err != nil {
		return err
	}
	is.Max = min(is.Max, most)
	is.Cur = is.Max
	return syscall.Setrlimit(resource, &is)
}

// prctl sets an attribute of all threads: a thread's own no_new_privs would not do.
func prctl(option, value uintptr) error {
	_, _, errno := syscall.AllThreadsSyscall6(syscall.SYS_PRCTL, option, value, 0, 0, 0, 0)
	if errno == syscall.ENOTSUP { // a program with cgo, as tests of the race detector are
		_, _, errno = syscall.Syscall6(syscall.SYS_PRCTL, option, value, 0, 0, 0, 0)
	}
	if errno != 0 {
		return errno
	}
	return nil
}

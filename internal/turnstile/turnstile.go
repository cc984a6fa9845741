// Package turnstile lets a few processes of a host pass at once.
//
// A Docker daemon that is asked for its networks by hundreds at once serves nobody: each
// list locks each network several times, and they hold each other up (measured on 26.1:
// 1,000 waiters kept it busy for minutes, although their lists take 10 s one by one).
//
// Whoever passes has one of a few sockets in the kernel's abstract namespace, which are
// free again when it is done, or dead. Not guaranteed: any order; that no more pass, for
// nobody waits longer than a minute, for those of another user, in another network
// namespace, or where another user has taken the names.
package turnstile

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	passing  = 4           // at once, of one user
	alone    = passing     // the socket of the one that passes alone
	patience = time.Minute // of who wants to pass

	// Between two tries: 1,000 who tried 30 times a second left no processor time to pass.
	shortest = 10 * time.Millisecond
	longest  = 640 * time.Millisecond
	check    = time.Second // between two looks at whose the sockets are
)

// Turnstile is that of this user and network namespace.
type Turnstile struct{}

// Enter returns when this process may pass, or ctx ends; leave lets the next one pass.
func (Turnstile) Enter(ctx context.Context) (leave func()) { return enter(ctx, os.Geteuid()) }

// enter passes the turnstile of a user.
func enter(ctx context.Context, user int) (leave func()) {
	fd, err := socket()
	if err != nil {
		return func() {}
	}
	leave = func() { unix.Close(fd) }
	begin := time.Now()
	next := begin.Add(check)
	for pause := shortest; time.Since(begin) < patience; pause = min(2*pause, longest) {
		first := rand.N(passing)
		for i := range passing {
			if take(fd, user, (first+i)%passing) {
				return leave
			}
		}
		if time.Now().After(next) {
			if taken(user, first) {
				return leave
			}
			next = time.Now().Add(check)
		}
		select {
		case <-ctx.Done():
			return leave
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
	return leave
}

// TryAlone passes beside those that Enter lets pass, unless another one passes in this way, or has
// done so just now: the next one passes after as long again.
func (Turnstile) TryAlone() (leave func(), passed bool) { return tryAlone(os.Geteuid()) }

func tryAlone(user int) (leave func(), passed bool) {
	fd, err := socket()
	if err != nil {
		return func() {}, true
	}
	if !take(fd, user, alone) && !taken(user, alone) {
		unix.Close(fd)
		return nil, false
	}
	begin := time.Now()
	return func() { time.AfterFunc(time.Since(begin), func() { unix.Close(fd) }) }, true
}

// Shut keeps others from passing alone until open is called. It waits for nobody: one that is passing
// goes on.
func (Turnstile) Shut() (open func()) {
	fd, err := socket()
	if err != nil {
		return func() {}
	}
	take(fd, os.Geteuid(), alone)
	return func() { unix.Close(fd) }
}

// take takes one of the sockets, unless somebody has it.
func take(fd, user, i int) bool {
	if err := unix.Bind(fd, address(user, i)); err != nil {
		return false
	}
	_ = unix.Listen(fd, unix.SOMAXCONN) // so that others can see whose it is
	return true
}

func address(user, i int) *unix.SockaddrUnix {
	return &unix.SockaddrUnix{Name: fmt.Sprintf("@hostguard-turnstile-%d-%d", user, i)}
}

func socket() (fd int, err error) {
	return unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
}

// taken reports whether another user has a socket, or keeps from seeing whose it is.
func taken(user, i int) bool {
	fd, err := socket()
	if err != nil {
		return true
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, address(user, i)); err != nil {
		return !errors.Is(err, unix.ECONNREFUSED) // else it is about to listen, or has just left
	}
	peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	return err != nil || int(peer.Uid) != user
}

// Package bell wakes waiting processes of the same host directly, where a change
// in the Docker daemon would take a millisecond and more.
//
// Each waiter has a datagram socket whose name in the kernel's abstract namespace
// is made of its nonce. Every process of the same network namespace can ring it,
// of any user: a ring only makes a waiter try, and what it carries is no more than
// a hint, believed of the same user and of root. Not guaranteed: that a ring is
// heard. Containers have network namespaces of their own, and are woken through
// the store.
package bell

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hostguard/lock"
)

var _ lock.Bell = Bell{}

// Bell is the bell of this network namespace.
type Bell struct{}

// quiet is how long a waiter ignores rings after one: endless rings are heard ten times
// a second, not more. How many of them a waiter heeds is up to it.
const quiet = 100 * time.Millisecond

func address(name string) *net.UnixAddr {
	return &net.UnixAddr{Name: "@hostguard-" + name, Net: "unixgram"}
}

// A waiter also takes one of its queue's seats and one of the host's, sockets to which
// nothing is sent. How many wait is estimated by looking at some: to read the kernel's
// whole table of sockets took each of 1,000 waiters 14 ms.
const (
	queueSeats = 256
	hostSeats  = 1024
	looks      = 256
	fewLooks   = 32 // are enough where nobody waits, and twice as many where hardly anybody does
	tries      = 16 // for a free seat
)

func seat(of string, i int) *net.UnixAddr { return address(fmt.Sprintf("seat-%s%d", of, i)) }

// sit takes a free seat, or none where nearly all are taken.
func sit(of string, seats int) (leave func()) {
	for range tries {
		if conn, err := net.ListenUnixgram("unixgram", seat(of, rand.N(seats))); err == nil {
			return func() { conn.Close() }
		}
	}
	return func() {}
}

// seated estimates how many sit.
func seated(of string, seats int) int {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	taken := 0
	for i := range looks {
		if i == fewLooks && taken == 0 || i == 2*fewLooks && taken <= 1 {
			return taken * seats / i
		}
		if unix.Connect(fd, &unix.SockaddrUnix{Name: seat(of, rand.N(seats)).Name}) == nil {
			taken++
		}
	}
	return taken * seats / looks
}

// followers is how many may await one waiter. They are few: who is next in the queue, or in a part
// of it, and who was before it died.
const followers = 128

// present has a socket for as long as this process waits. The kernel ends what is connected to it
// when it is closed, and nobody accepts anything before.
func present(nonce string) (leave func()) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return func() {}
	}
	if unix.Bind(fd, &unix.SockaddrUnix{Name: presence(nonce).Name}) == nil {
		_ = unix.Listen(fd, followers) // else nobody can await this process
	}
	return func() { unix.Close(fd) }
}

func presence(nonce string) *net.UnixAddr {
	return &net.UnixAddr{Name: address("present-" + nonce).Name, Net: "unix"}
}

// Await implements lock.Bell.
func (Bell) Await(ctx context.Context, nonce string) (over <-chan struct{}, err error) {
	conn, err := net.DialUnix("unix", nil, presence(nonce))
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Now()) })
	ended := make(chan struct{}, 1)
	go func() {
		defer conn.Close()
		defer stop()
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			ended <- struct{}{}
		}
	}()
	return ended, nil
}

// Hear implements lock.Bell.
func (Bell) Hear(ctx context.Context, queue, nonce string) (<-chan lock.Successors, error) {
	conn, err := net.ListenUnixgram("unixgram", address(nonce))
	if err != nil {
		return nil, fmt.Errorf("listen for a wake-up: %w", err)
	}
	if err := demandSenders(conn); err != nil {
		conn.Close()
		return nil, fmt.Errorf("listen for a wake-up: %w", err)
	}
	// The reader alone closes the socket, and waits for that: a Close beside its read
	// can still be under way when rings is closed.
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Now()) })
	rings := make(chan lock.Successors, 1)
	leave, leaveHost, leaveFollowers := sit(queue, queueSeats), sit("", hostSeats), present(nonce)
	go func() {
		defer close(rings)
		defer leaveFollowers() // who then look whether it hears still
		defer conn.Close()
		defer leave()
		defer leaveHost()
		defer stop()
		var passed lock.Successors
		var last time.Time
		for ; ; last = time.Now() {
			next, rung, err := receive(conn)
			if err != nil {
				return
			}
			if next.Read < passed.Read {
				next = passed
			}
			passed = next
			if rung {
				select {
				case rings <- next:
				default: // one is enough
				}
			} else if time.Since(last) > quiet { // it keeps no ring waiting
				continue
			}
			select {
			case <-ctx.Done():
			case <-time.After(quiet):
			}
		}
	}()
	return rings, nil
}

// Ring implements lock.Bell. A full socket has rings enough to be heard. It is one request of the
// kernel, without a deadline: one of a millisecond was often over before anything was sent, where
// a thousand wait, and the next one missed its turn by seconds.
func (Bell) Ring(nonce string, next lock.Successors) bool { return send(nonce, ring, next) }

// Pass implements lock.Bell.
func (Bell) Pass(nonce string, next lock.Successors) { send(nonce, noRing, next) }

func send(nonce string, kind byte, next lock.Successors) (heard bool) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	for {
		err := unix.Sendto(fd, encode(kind, next), 0, &unix.SockaddrUnix{Name: address(nonce).Name})
		if err != unix.EINTR {
			return err == nil || err == unix.EAGAIN
		}
	}
}

// Hearing implements lock.Bell. It is right within a factor of two where 64 wait, and within
// 10 % where 1,000 do; more than that look like 1,024, of which 256 in one queue.
func (Bell) Hearing(queue string) (here, all int) {
	if all = seated("", hostSeats); all > 0 {
		here = seated(queue, queueSeats)
	}
	return here, all
}

// Hears implements lock.Bell.
func (Bell) Hears(nonce string) bool {
	conn, err := net.DialUnix("unixgram", nil, address(nonce))
	if err == nil {
		conn.Close()
	}
	return !errors.Is(err, syscall.ECONNREFUSED) // any other error shows nothing
}

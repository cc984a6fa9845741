// Package bell wakes waiting processes of the same host directly, where a change
// in the Docker daemon would take a millisecond and more.
//
// Each waiter has a datagram socket whose name in the kernel's abstract namespace
// is made of its nonce. Every process of the same network namespace can ring it,
// of any user: a ring only makes a waiter try. Not guaranteed: that a ring is
// heard. Containers have network namespaces of their own, and are woken through
// the store.
package bell

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"hostguard/lock"
)

var _ lock.Bell = Bell{}

// Bell is the bell of this network namespace.
type Bell struct{}

// quiet is how long a waiter ignores rings after one: endless rings are heard ten times
// a second, not more. How many of them a waiter heeds is up to it.
const quiet = 100 * time.Millisecond

func address(nonce string) *net.UnixAddr {
	return &net.UnixAddr{Name: "@hostguard-" + nonce, Net: "unixgram"}
}

// Hear implements lock.Bell.
func (Bell) Hear(ctx context.Context, nonce string) (<-chan struct{}, error) {
	conn, err := net.ListenUnixgram("unixgram", address(nonce))
	if err != nil {
		return nil, fmt.Errorf("listen for a wake-up: %w", err)
	}
	// The reader alone closes the socket, and waits for that: a Close beside its read
	// can still be under way when rings is closed.
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Now()) })
	rings := make(chan struct{}, 1)
	go func() {
		defer close(rings)
		defer conn.Close()
		defer stop()
		var buffer [1]byte
		for {
			if _, _, err := conn.ReadFromUnix(buffer[:]); err != nil {
				return
			}
			select {
			case rings <- struct{}{}:
			default: // one is enough
			}
			select {
			case <-ctx.Done():
			case <-time.After(quiet):
			}
		}
	}()
	return rings, nil
}

// Ring implements lock.Bell. A full socket has rings enough to be heard.
func (Bell) Ring(nonce string) bool {
	conn, err := net.DialUnix("unixgram", nil, address(nonce))
	if err != nil {
		return false
	}
	defer conn.Close()
	if err := conn.SetWriteDeadline(time.Now().Add(time.Millisecond)); err != nil {
		return false
	}
	_, err = conn.Write([]byte{1})
	return err == nil || errors.Is(err, os.ErrDeadlineExceeded)
}

// Hears implements lock.Bell.
func (Bell) Hears(nonce string) bool {
	conn, err := net.DialUnix("unixgram", nil, address(nonce))
	if err == nil {
		conn.Close()
	}
	return !errors.Is(err, syscall.ECONNREFUSED) // any other error shows nothing
}

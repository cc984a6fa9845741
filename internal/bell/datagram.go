package bell

import (
	"encoding/binary"
	"encoding/hex"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"hostguard/lock"
)

// A ring is a datagram of one byte, to which those are added who come next, if the ringer knows
// them: when they were read, as nanoseconds since the boot of the host, and 16 bytes for each
// nonce. Older versions read the first byte only.
const (
	ringSize    = 1
	timeSize    = 8
	nonceSize   = 16
	longestRing = ringSize + timeSize + lock.MaxSuccessors*nonceSize
)

// encode returns a plain ring where there is nothing to add.
func encode(next lock.Successors) []byte {
	ring := []byte{1}
	if len(next.Nonces) == 0 {
		return ring
	}
	ring = binary.BigEndian.AppendUint64(ring, uint64(next.Read))
	for _, nonce := range next.Nonces[:min(len(next.Nonces), lock.MaxSuccessors)] {
		b, err := hex.DecodeString(nonce)
		if err != nil || len(b) != nonceSize {
			break
		}
		ring = append(ring, b...)
	}
	return ring
}

// decode ignores what is not whole.
func decode(ring []byte) (next lock.Successors) {
	if len(ring) < ringSize+timeSize {
		return next
	}
	next.Read = time.Duration(binary.BigEndian.Uint64(ring[ringSize:]))
	for rest := ring[ringSize+timeSize:]; len(rest) >= nonceSize; rest = rest[nonceSize:] {
		next.Nonces = append(next.Nonces, hex.EncodeToString(rest[:nonceSize]))
	}
	return next
}

// demandSenders makes the kernel add to each datagram whose it is.
func demandSenders(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	}); err != nil {
		return err
	}
	return failed
}

// receive waits for a ring. Who comes next is believed of this process's own user and of root:
// others could pass over whom they like.
func receive(conn *net.UnixConn) (next lock.Successors, err error) {
	var ring [longestRing]byte
	// There is room for the credentials, which are the first, and not for descriptors that a
	// ringer sends.
	sender := make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	n, control, _, _, err := conn.ReadMsgUnix(ring[:], sender)
	if err != nil || !trusted(sender[:control]) {
		return next, err
	}
	return decode(ring[:n]), nil
}

func trusted(control []byte) bool {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil || len(messages) != 1 {
		return false
	}
	sender, err := unix.ParseUnixCredentials(&messages[0])
	return err == nil && (sender.Uid == 0 || int(sender.Uid) == os.Geteuid())
}

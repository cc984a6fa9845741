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

// A datagram begins with a byte that says whether it is a ring. To it those are added who come next,
// if the sender knows them: when they were read, as nanoseconds since the boot of the host, and 16
// bytes for each nonce. To older versions all are rings, and carry nothing.
const (
	ring      = 1
	noRing    = 2
	kindSize  = 1
	timeSize  = 8
	nonceSize = 16
	longest   = kindSize + timeSize + lock.MaxSuccessors*nonceSize
)

// encode returns no more than the kind where there is nothing to add.
func encode(kind byte, next lock.Successors) []byte {
	datagram := []byte{kind}
	if len(next.Nonces) == 0 {
		return datagram
	}
	datagram = binary.BigEndian.AppendUint64(datagram, uint64(next.Read))
	for _, nonce := range next.Nonces[:min(len(next.Nonces), lock.MaxSuccessors)] {
		b, err := hex.DecodeString(nonce)
		if err != nil || len(b) != nonceSize {
			break
		}
		datagram = append(datagram, b...)
	}
	return datagram
}

// decode ignores what is not whole.
func decode(datagram []byte) (next lock.Successors) {
	if len(datagram) < kindSize+timeSize {
		return next
	}
	next.Read = time.Duration(binary.BigEndian.Uint64(datagram[kindSize:]))
	for rest := datagram[kindSize+timeSize:]; len(rest) >= nonceSize; rest = rest[nonceSize:] {
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

// receive waits for a datagram. Who comes next is believed of this process's own user and of root:
// others could pass over whom they like. Whatever others send rings, for they may fill the socket so
// that no ring comes through.
func receive(conn *net.UnixConn) (next lock.Successors, rings bool, err error) {
	var datagram [longest]byte
	// There is room for the credentials, which are the first, and not for descriptors that a
	// sender adds.
	sender := make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	n, control, _, _, err := conn.ReadMsgUnix(datagram[:], sender)
	if err != nil || !trusted(sender[:control]) {
		return next, true, err
	}
	return decode(datagram[:n]), n == 0 || datagram[0] != noRing, nil
}

func trusted(control []byte) bool {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil || len(messages) != 1 {
		return false
	}
	sender, err := unix.ParseUnixCredentials(&messages[0])
	return err == nil && (sender.Uid == 0 || int(sender.Uid) == os.Geteuid())
}

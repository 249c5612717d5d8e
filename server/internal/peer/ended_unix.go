//go:build unix

package peer

import (
	"crypto/tls"
	"errors"
	"syscall"
)

// seesEnd says that hasEnded does.
const seesEnd = true

// hasEnded reports whether the other side has closed a connection on which nothing is under way.
// Then nothing is there to be read; if it has closed, the end is, or the last words of TLS.
func hasEnded(c *tls.Conn) bool {
	s, ok := c.NetConn().(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return true
	}
	silent := false
	err = raw.Control(func(fd uintptr) { // not Read, which waits
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
		silent = errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR)
	})
	return err != nil || !silent
}

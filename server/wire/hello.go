package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"unicode/utf8"

	"connectrpc.com/connect/v2"
)

// ALPN is the name of the protocol in TLS.
const ALPN = "kanta/1"

// Magic are the first bytes of a connection in either direction. The first of them begins
// no request of HTTP, nor its preface, nor a record of TLS.
const Magic = "\xcbKNT"

// Versions of the protocol that this end speaks.
const (
	oldestVersion = 1
	newestVersion = 1
)

const preambleBytes = len(Magic) + 2

// ErrVersion is matched by the error of a handshake in which the ends have no version of
// the protocol in common.
var ErrVersion = errors.New("wire: no version of the protocol in common")

// Numbers of the fields of a hello. Append only; a reader skips those it does not know.
const (
	helloFrame       = 1
	helloMessage     = 2
	helloStreams     = 3
	helloWindow      = 4
	helloConnection  = 5
	helloMetadata    = 6
	helloWishes      = 7
	helloCredentials = 8
	helloAgent       = 9
)

// Wishes in a hello.
const (
	wishSums = 1 // every frame after the hellos carries a checksum
	wishPack = 2 // messages may be packed
)

// hello is what an end says of itself.
type hello struct {
	frame, message, streams, window, connection, metadata int

	wishes      uint64
	credentials []byte
	agent       string
}

func (l Limits) hello() hello {
	return hello{frame: l.FrameBytes, message: l.MessageBytes, streams: l.Streams,
		window: l.StreamWindow, connection: l.ConnectionWindow, metadata: l.MetadataBytes}
}

func (h *hello) append(dst []byte) []byte {
	number := func(tag, v uint64) {
		var b [binary.MaxVarintLen64]byte
		dst = binary.AppendUvarint(dst, tag)
		dst = appendBytes(dst, b[:binary.PutUvarint(b[:], v)])
	}
	number(helloFrame, uint64(h.frame))
	number(helloMessage, uint64(h.message))
	number(helloStreams, uint64(h.streams))
	number(helloWindow, uint64(h.window))
	number(helloConnection, uint64(h.connection))
	number(helloMetadata, uint64(h.metadata))
	number(helloWishes, h.wishes)
	if len(h.credentials) > 0 {
		dst = appendBytes(binary.AppendUvarint(dst, helloCredentials), h.credentials)
	}
	if h.agent != "" {
		dst = appendBytes(binary.AppendUvarint(dst, helloAgent), h.agent)
	}
	return dst
}

func parseHello(payload []byte) (h hello, err error) {
	f := fields{b: payload}
	for len(f.b) > 0 && f.err == nil {
		tag := f.number("a field of the hello", 1<<32)
		v := fields{b: f.bytes("a field of the hello", helloBytes)}
		number := func(what string, low, high int) int {
			n := int(v.number(what, uint64(high)))
			if n < low {
				v.fail(what)
			}
			return n
		}
		switch tag {
		case helloFrame:
			h.frame = number("the hello's frame size", minFrameBytes, maxFrameBytes)
		case helloMessage:
			h.message = number("the hello's message size", 1, maxMessageBytes)
		case helloStreams:
			h.streams = number("the hello's number of streams", 1, maxStreams)
		case helloWindow:
			h.window = number("the hello's stream window", minWindow, maxWindow)
		case helloConnection:
			h.connection = number("the hello's connection window", minWindow, maxWindow)
		case helloMetadata:
			h.metadata = number("the hello's metadata size", 1, maxMetadataBytes)
		case helloWishes:
			h.wishes = v.number("the hello's wishes", 1<<32)
		case helloCredentials:
			h.credentials = append([]byte(nil), v.b...)
			if len(v.b) > credentialsBytes {
				v.fail("the hello's credentials")
			}
			v.b = nil
		case helloAgent:
			h.agent = string(v.b)
			if len(v.b) > agentBytes || !utf8.Valid(v.b) {
				v.fail("the hello's agent")
			}
			v.b = nil
		default:
			v.b = nil
		}
		if err := v.close("a field of the hello"); err != nil {
			return h, err
		}
	}
	if f.err == nil && (h.frame == 0 || h.message == 0 || h.streams == 0 || h.window == 0 || h.connection == 0 || h.metadata == 0) {
		f.fail("a limit of the hello")
	}
	return h, f.err
}

func appendPreamble(dst []byte, oldest, newest byte) []byte {
	return append(append(dst, Magic...), oldest, newest)
}

// readPreamble reads the peer's preamble and returns the newest version that both speak.
func readPreamble(r io.Reader) (version byte, err error) {
	var b [preambleBytes]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, fmt.Errorf("wire: reading the peer's first bytes: %w", err)
	}
	if string(b[:len(Magic)]) != Magic {
		return 0, broken("%q first: it speaks another protocol", b[:len(Magic)])
	}
	oldest, newest := b[len(Magic)], b[len(Magic)+1]
	version = min(newest, newestVersion)
	if oldest > newest || version < max(oldest, oldestVersion) {
		return 0, fmt.Errorf("%w: the peer speaks %d to %d, this end %d to %d; bring the older of the two up to date",
			ErrVersion, oldest, newest, oldestVersion, newestVersion)
	}
	return version, nil
}

// readHello reads the one frame that follows the preamble, byte by byte in its header so
// that nothing behind it is read. A goaway instead is the peer's refusal.
func readHello(r io.Reader) (h hello, err error) {
	b := make([]byte, 0, 1<<10)
	for {
		f, n, err := parseFrame(b, false, helloBytes)
		if err != nil {
			return h, err
		}
		if n <= len(b) {
			switch {
			case f.kind == kindHello && f.stream == 0:
				return parseHello(f.payload)
			case f.kind == kindGoAway:
				code, reason, err := parseGoAway(f.payload)
				if err != nil {
					return h, err
				}
				return h, connect.NewError(code, reason).WithRemote()
			}
			return h, broken("a frame of kind %d instead of its hello", f.kind)
		}
		have := len(b)
		b = append(b, make([]byte, n-have)...)
		if _, err := io.ReadFull(r, b[have:]); err != nil {
			return h, fmt.Errorf("wire: reading the peer's hello: %w", err)
		}
	}
}

func appendGoAway(dst []byte, code connect.Code, reason string) []byte {
	return appendBytes(binary.AppendUvarint(dst, uint64(code)), cut(reason, 1<<10))
}

func parseGoAway(payload []byte) (code connect.Code, reason string, err error) {
	f := fields{b: payload}
	code = connect.Code(f.number("a goaway's code", 1<<16))
	reason = string(f.bytes("a goaway's reason", len(payload)))
	return code, reason, f.close("a goaway")
}

// nearby reports whether a connection does not leave the machine: then bytes cost nothing
// and packing them does.
func nearby(nc net.Conn) bool {
	switch a := nc.RemoteAddr().(type) {
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	}
	return nc.RemoteAddr() != nil && nc.RemoteAddr().Network() == "pipe"
}

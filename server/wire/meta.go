package wire

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect/v2"
)

// appendMetadata appends headers or trailers, sorted by key, or reports what they would
// count if that is more than limit.
func appendMetadata(dst []byte, h *connect.Header, limit int) (out []byte, size int) {
	n := 0
	keys := make([]string, 0, h.Len())
	for k, vs := range h.All() {
		keys = append(keys, k)
		n += len(vs)
		for _, v := range vs {
			size += len(k) + len(v) + entryBytes
		}
	}
	if size > limit {
		return dst, size
	}
	slices.Sort(keys)
	dst = binary.AppendUvarint(dst, uint64(n))
	for _, k := range keys {
		for _, v := range h.Values(k) {
			dst = appendBytes(appendBytes(dst, k), v)
		}
	}
	return dst, 0
}

// metadata reads headers or trailers of at most limit, into h if that is not nil.
func (f *fields) metadata(h *connect.Header, limit int) {
	for n := f.number("the number of metadata", uint64(limit)/entryBytes); n > 0 && f.err == nil; n-- {
		k, v := f.bytes("a key of metadata", limit), f.bytes("a value of metadata", limit)
		if limit -= len(k) + len(v) + entryBytes; limit < 0 {
			f.fail("the size of metadata")
		}
		if h != nil && f.err == nil {
			h.Add(string(k), string(v))
		}
	}
}

// opening is what the frame that begins a call says beside its first message.
type opening struct {
	number   uint64        // of the procedure on this connection, 0 if it is not remembered
	name     []byte        // of the procedure, if it is told
	left     time.Duration // until the caller's deadline, 0 without one
	metadata []byte
}

func appendOpening(dst []byte, number uint64, name string, meta bool, left time.Duration, metadata []byte) []byte {
	head := number << 1
	if name != "" {
		head |= 1
	}
	dst = binary.AppendUvarint(dst, head)
	if name != "" {
		dst = appendBytes(dst, name)
	}
	if !meta {
		return dst
	}
	// Rounded up: the caller's own clock ends the call on time.
	dst = binary.AppendUvarint(dst, uint64((left+time.Millisecond-1)/time.Millisecond))
	return append(dst, metadata...)
}

// opening reads the beginning of a call; what is left is its first message.
func (f *fields) opening(meta bool, limit int) (o opening) {
	head := f.number("a call's procedure", 2*procedures+1)
	o.number = head >> 1
	if head&1 != 0 {
		o.name = f.bytes("a procedure's name", procedureBytes)
	}
	if !meta {
		return o
	}
	o.left = time.Duration(f.number("a call's deadline", uint64(maxDeadline/time.Millisecond))) * time.Millisecond
	all := f.b
	f.metadata(nil, limit)
	o.metadata = all[:len(all)-len(f.b)]
	return o
}

// appendStatus appends the status of a call and its trailers. A message is cut, and
// details are left out, where they are too long for a frame.
func appendStatus(dst []byte, err *connect.Error, trailers *connect.Header, limit int) []byte {
	if trailers.Len() > 0 {
		if _, size := appendMetadata(nil, trailers, limit); size > 0 {
			err = connect.Errorf(connect.CodeResourceExhausted, "the call's trailers are %d bytes, the client takes %d", size, limit)
			trailers = nil
		}
	}
	if err == nil {
		dst = binary.AppendUvarint(dst, 0)
	} else {
		dst = binary.AppendUvarint(dst, uint64(err.Code()))
		text := cut(err.Message(), statusBytes/2)
		dst = appendBytes(dst, text)
		room := statusBytes - len(text)
		details := err.Details()
		n := 0
		for ; n < min(len(details), statusDetails); n++ {
			if room -= len(details[n].Type) + len(details[n].Value) + 8; room < 0 {
				break
			}
		}
		dst = binary.AppendUvarint(dst, uint64(n))
		for _, d := range details[:n] {
			dst = appendBytes(appendBytes(dst, d.Type), d.Value)
		}
	}
	if trailers.Len() > 0 {
		dst, _ = appendMetadata(dst, trailers, limit)
	}
	return dst
}

// status reads the status of a call and its trailers: nil means ok.
func (f *fields) status(trailers *connect.Header, limit int) (status *connect.Error) {
	if code := connect.Code(f.number("a status", 1<<32-1)); code != 0 {
		status = connect.NewError(code, string(f.bytes("a status' message", statusBytes)))
		for n := f.number("the number of details", statusDetails); n > 0 && f.err == nil; n-- {
			kind := string(f.bytes("a detail's type", statusBytes))
			value := slices.Clone(f.bytes("a detail", statusBytes))
			status = status.WithDetail(&connect.ErrorDetail{Type: kind, Value: value})
		}
	}
	if len(f.b) > 0 {
		f.metadata(trailers, limit)
	}
	return status
}

// cut shortens a text to at most n bytes, between two characters.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n-3], "") + "..."
}

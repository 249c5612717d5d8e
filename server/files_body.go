package server

import (
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/kantadb/kanta/engine/quality"
	"github.com/kantadb/kanta/query"
)

// rowsType returns the format of a body's rows, and the encoding of its text if that is said. A
// type must be given: one that a page in a browser may send elsewhere unasked is not taken.
func rowsType(r *http.Request) (quality.Format, quality.Encoding, error) {
	kind, o, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		kind = ""
	}
	encoding := quality.Encoding(strings.ToLower(o["charset"]))
	switch kind {
	case "text/csv":
		return quality.CSV, encoding, nil
	case "application/x-ndjson", "application/ndjson":
		return quality.NDJSON, encoding, nil
	}
	return "", "", refuse(http.StatusUnsupportedMediaType, query.CodeInvalid, "the Content-Type %q is not taken: it is text/csv or application/x-ndjson", r.Header.Get("Content-Type"))
}

// unpack returns a request's body as it was before it was compressed. It is measured: a body
// that is too long, or becomes too much of too little, ends in an error.
func unpack(r *http.Request, l *fileLimits) (body io.Reader, release func(), err error) {
	m := &measured{limits: l}
	packed := &counted{r: r.Body, n: &m.packed}
	release = func() {}
	switch encoding := strings.ToLower(r.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
		m.from = packed
		m.plain = true
	case "gzip":
		z, err := gzip.NewReader(packed)
		if err != nil {
			return nil, nil, query.Errorf(query.CodeInvalid, "the body is not gzip, as its Content-Encoding says: %w", err)
		}
		m.from = z
	case "zstd":
		z, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(l.window), zstd.WithDecoderMaxMemory(l.window))
		if err != nil {
			return nil, nil, query.Errorf(query.CodeInvalid, "the body is not zstd, as its Content-Encoding says: %w", err)
		}
		m.from, release = z, z.Close
	default:
		return nil, nil, refuse(http.StatusUnsupportedMediaType, query.CodeInvalid, "the Content-Encoding %q is not taken: it is gzip or zstd", encoding)
	}
	return m, release, nil
}

// counted counts what is read.
type counted struct {
	r io.Reader
	n *int64
}

// Read implements [io.Reader].
func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	*c.n += int64(n)
	return n, err
}

// measured is a body as it was before it was compressed.
type measured struct {
	from   io.Reader
	limits *fileLimits
	plain  bool
	packed int64 // bytes read of the body
	n      int64 // bytes read of what was in it
}

// Read implements [io.Reader].
func (m *measured) Read(b []byte) (int, error) {
	n, err := m.from.Read(b)
	m.n += int64(n)
	switch {
	case m.n > m.limits.body:
		return 0, refuse(http.StatusRequestEntityTooLarge, query.CodeLimit, "the body has more than %d MiB: send it in parts, with sequences that go on", m.limits.body>>20)
	case !m.plain && m.n > m.limits.inflated+m.limits.inflation*m.packed:
		return 0, refuse(http.StatusRequestEntityTooLarge, query.CodeLimit, "%d bytes became more than %d: rows are not packed so tightly; send the body as it is", m.packed, m.n)
	case err != nil && err != io.EOF && !m.plain:
		err = query.Errorf(query.CodeInvalid, "the body cannot be unpacked: %w", err)
	}
	return n, err
}

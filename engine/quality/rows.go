package quality

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
)

// Limits of row sources.
const (
	MaxRowBytes = 1 << 20 // a longer row is an unclosed quote or no row at all
	maxRaw      = 4 << 10 // what a RowError keeps of a row: enough to find and repair it
	sampleBytes = 64 << 10
)

// Rows is a source of rows of text cells. It belongs to one goroutine.
type Rows interface {
	// Columns returns the names of the cells, NFC and distinct. Those of NDJSON grow when a row
	// brings a new one; a column keeps its place. The caller must not change it.
	Columns() []string

	// Next returns the next row: one cell for each of Columns, and the line its text
	// starts at, from 1. An absent JSON member is a nil cell, null and "" are empty
	// ones. Cells are UTF-8 of at most schema.MaxStringBytes and live until the
	// next call.
	//
	// Three things may happen besides: a *[RowError] for a row that cannot be read, after
	// which reading goes on; io.EOF at the end; any other error, which stays.
	Next() (cells [][]byte, line int, err error)

	// Raw returns the text of the row that Next returned, without its line end; it lives until the next call.
	Raw() []byte

	// Offset returns how many bytes of decoded text have been read as rows.
	Offset() int64

	// Close releases what the decompressor holds. It does not close the reader beneath.
	Close() error
}

// knownRows are rows of which more is known than their texts say.
type knownRows interface {
	// declared returns the kind of all of a column's values, Absent if it is to be found out.
	declared(column int) (schema.Kind, uint8)
	// place returns which element of an array the row is, from 1; 0 if it is a row of its own.
	place() int
}

// RowsOptions says how to read rows. The zero value, and nil, mean: find out.
type RowsOptions struct {
	// Dialect is what is known of the input. Nil: see Sniff. An Encoding or
	// Delimiter left empty in it is found out, Compression always; Format (default CSV),
	// Header and Trim hold as they are.
	Dialect *Dialect
	// Encoding is like that of a dialect, for when nothing else is known.
	Encoding Encoding
	// SetSeparator joins the elements of a JSON array into a cell. Default schema.SetSeparator.
	SetSeparator string
	// Unnest makes rows of a JSON array of objects, such as the lines of an order: each has
	// the members of one of them, under the array's name and a dot, and all members around
	// the array. A line has at most one such array, or its row cannot be read: unless Lines
	// says which.
	Unnest bool
	// Lines is the name of the array that Unnest makes rows of. Other arrays of objects are
	// then columns without a value, so that they are told as left out.
	Lines string
}

// RowError says why a row cannot be read. Reading goes on after it.
type RowError struct {
	Line   int          // where the row's text starts, from 1
	Reason batch.Reason // ReasonRagged, ReasonEncoding, ReasonTooLong or ReasonSyntax
	Detail string       // what is wrong, for people
	Raw    []byte       // the start of the row's text, a copy
}

// Error returns one line with the place.
func (e *RowError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Detail) }

// OpenRows starts reading CSV or NDJSON, plain or compressed with gzip or zstd, and
// returns the dialect that it reads. It fails when the input is no such text, when the
// header has a name twice or one that no attribute can have, and when reading fails.
func OpenRows(r io.Reader, opt *RowsOptions) (Rows, Dialect, error) {
	if opt == nil {
		opt = &RowsOptions{}
	}
	d := Dialect{Encoding: opt.Encoding}
	if opt.Dialect != nil {
		d = *opt.Dialect
		if d.Encoding == "" {
			d.Encoding = opt.Encoding
		}
	}
	text, release, err := decode(r, &d)
	if err != nil {
		return nil, d, err
	}
	rows, err := openText(bufio.NewReaderSize(text, sampleBytes), &d, opt)
	if err != nil {
		release()
		return nil, d, err
	}
	switch rows := rows.(type) {
	case *csvRows:
		rows.release = release
	case *ndjsonRows:
		rows.release = release
	}
	return rows, d, nil
}

func openText(text *bufio.Reader, d *Dialect, opt *RowsOptions) (Rows, error) {
	sample, err := text.Peek(sampleBytes)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("read: %w", err)
	}
	whole := err == io.EOF
	if opt.Dialect == nil {
		err = sniffText(sample, whole, d)
	} else {
		err = d.complete(sample)
	}
	if err != nil {
		return nil, err
	}
	lines := lineReader{src: text, replaced: d.Encoding != UTF8}
	if d.Format == NDJSON {
		return newNDJSON(lines, opt, sample, whole), nil
	}
	return newCSV(lines, d)
}

// columnName makes the name of a column from a header's cell; number counts from 1.
func columnName(cell []byte, number int) (string, error) {
	name := norm.NFC.String(string(bytes.TrimSpace(cell)))
	if name == "" {
		name = fmt.Sprintf("column_%d", number)
	}
	if err := schema.CheckName(name); err != nil {
		return "", fmt.Errorf("header, column %d: %w", number, err)
	}
	return name, nil
}

// lineReader reads a text into one growing buffer and finds its lines. Positions are
// relative to the first byte that is not consumed; reading moves the buffer.
type lineReader struct {
	src      io.Reader
	buf      []byte
	start    int   // first byte that is not consumed
	end      int   // end of what was read
	at       int64 // bytes consumed
	line     int   // lines consumed
	eof      bool
	err      error // of src; it stays
	replaced bool  // the text was transcoded, so U+FFFD may stand for broken input
	raw      []byte
	release  func()
}

var errLongRow = errors.New("no line end within the limit of a row")

// newline returns the position of the first line end at or after from, or of the end of
// the text. It fails with errLongRow when there is none within MaxRowBytes.
func (l *lineReader) newline(from int) (int, error) {
	for {
		if i := bytes.IndexByte(l.buf[l.start+from:l.end], '\n'); i >= 0 {
			return from + i, nil
		}
		from = l.end - l.start
		if l.eof {
			return from, nil
		}
		if from >= MaxRowBytes {
			return 0, errLongRow
		}
		if err := l.fill(); err != nil {
			return 0, err
		}
	}
}

// fill reads once more, after moving what is not consumed to the buffer's start.
func (l *lineReader) fill() error {
	if l.err != nil {
		return l.err
	}
	if l.start > 0 {
		copy(l.buf, l.buf[l.start:l.end])
		l.start, l.end = 0, l.end-l.start
	}
	if l.end == len(l.buf) {
		size := 2 * len(l.buf)
		if size == 0 {
			size = 4 * sampleBytes
		}
		grown := make([]byte, size)
		copy(grown, l.buf[:l.end])
		l.buf = grown
	}
	for range 100 { // as bufio: a reader that never gives anything is broken
		n, err := l.src.Read(l.buf[l.end:])
		l.end += n
		if err == io.EOF {
			l.eof = true
			return nil
		}
		if err != nil {
			l.err = fmt.Errorf("read after line %d: %w", l.line, err)
		}
		if n > 0 {
			return nil // an error that came with it is returned by the next fill
		}
		if err != nil {
			return l.err
		}
	}
	l.err = fmt.Errorf("read after line %d: %w", l.line, io.ErrNoProgress)
	return l.err
}

// text returns n bytes from the first that is not consumed.
func (l *lineReader) text(n int) []byte { return l.buf[l.start : l.start+n] }

// consume takes n bytes of text, lines lines, and the line end after them if there is one.
func (l *lineReader) consume(n, lines int) {
	if l.start+n < l.end {
		n++
	}
	l.start += n
	l.at += int64(n)
	l.line += lines
}

// skipLine consumes the rest of a line that is too long to hold, and reports it.
func (l *lineReader) skipLine() error {
	bad := l.bad(l.line+1, batch.ReasonTooLong, l.text(l.end-l.start), "the row is longer than 1 MiB, or a quote does not close")
	for {
		n := bytes.IndexByte(l.buf[l.start:l.end], '\n')
		if n >= 0 || l.eof {
			if n < 0 {
				n = l.end - l.start
			}
			l.consume(n, 1)
			return bad
		}
		l.at += int64(l.end - l.start)
		l.start, l.end = 0, 0
		if err := l.fill(); err != nil {
			return err
		}
	}
}

func (l *lineReader) bad(line int, reason batch.Reason, raw []byte, format string, args ...any) *RowError {
	return &RowError{Line: line, Reason: reason, Detail: fmt.Sprintf(format, args...),
		Raw: bytes.Clone(raw[:min(len(raw), maxRaw)])}
}

// badEncoding returns what is wrong with the encoding of a row, or nil.
func (l *lineReader) badEncoding(line int, raw []byte) *RowError {
	if !utf8.Valid(raw) {
		return l.bad(line, batch.ReasonEncoding, raw, "the row is not UTF-8")
	}
	if l.replaced && bytes.ContainsRune(raw, utf8.RuneError) {
		return l.bad(line, batch.ReasonEncoding, raw, "the row has bytes that are no character of its encoding")
	}
	return nil
}

// Raw implements Rows.
func (l *lineReader) Raw() []byte { return l.raw }

// Offset implements Rows.
func (l *lineReader) Offset() int64 { return l.at }

// Close implements Rows.
func (l *lineReader) Close() error {
	if l.release != nil {
		l.release()
		l.release = nil
	}
	return nil
}

// trimCR removes the carriage return of a CRLF line end.
func trimCR(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\r' {
		return b[:n-1]
	}
	return b
}

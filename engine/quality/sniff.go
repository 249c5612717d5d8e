package quality

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"

	"github.com/kantadb/kanta/index/schema"
)

// Format is the form of an input's rows.
type Format string

// The formats.
const (
	CSV    Format = "csv"
	NDJSON Format = "ndjson"
)

// Compression is how an input is compressed, found by its first bytes.
type Compression string

// The compressions.
const (
	Gzip Compression = "gzip"
	Zstd Compression = "zstd"
)

// Encoding is the character encoding of an input.
type Encoding string

// The encodings. UTF-16 is recognised by its byte order mark; the last two must be named.
const (
	UTF8        Encoding = "utf-8"
	UTF16LE     Encoding = "utf-16le"
	UTF16BE     Encoding = "utf-16be"
	Windows1252 Encoding = "windows-1252"
	Latin1      Encoding = "iso-8859-1"
)

// Dialect is what has to be known of an input to read its rows.
type Dialect struct {
	Format      Format
	Compression Compression // "" for none
	Encoding    Encoding
	Delimiter   byte // of CSV: one of , ; tab |
	Header      bool // of CSV: the first row has the names
	Trim        bool // of CSV: spaces after a delimiter do not belong to the cell
}

// maxSniff bounds what is decompressed of a sample.
const maxSniff = 256 << 10

// Sniff finds out the dialect of an input from its first bytes; 64 KiB are plenty. It
// fails on what is no text, on an encoding that it cannot know (the message says
// which flag names it) and on a form that is neither CSV nor NDJSON.
func Sniff(sample []byte) (Dialect, error) {
	var d Dialect
	text, release, err := decode(bytes.NewReader(sample), &d)
	if err != nil {
		return d, err
	}
	defer release()
	// A sample of a compressed input ends anywhere: what could be decompressed counts.
	plain, err := io.ReadAll(io.LimitReader(text, maxSniff))
	if err != nil && len(plain) == 0 && !errors.Is(err, io.ErrUnexpectedEOF) {
		return d, fmt.Errorf("read: %w", err)
	}
	return d, sniffText(plain, false, &d)
}

// decode undoes compression, encoding and byte order mark of r. It sets what it finds in d.
func decode(r io.Reader, d *Dialect) (text *bufio.Reader, release func(), err error) {
	in := bufio.NewReaderSize(r, sampleBytes)
	release = func() {}
	magic, err := in.Peek(4)
	if err != nil && err != io.EOF {
		return nil, nil, fmt.Errorf("read: %w", err)
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, nil, fmt.Errorf("gzip: %w", err)
		}
		d.Compression, in = Gzip, bufio.NewReaderSize(unpacked{z}, sampleBytes)
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(256<<20))
		if err != nil {
			return nil, nil, fmt.Errorf("zstd: %w", err)
		}
		d.Compression, in, release = Zstd, bufio.NewReaderSize(unpacked{z}, sampleBytes), z.Close
	}
	if err := decodeText(in, d, &text); err != nil {
		release()
		return nil, nil, err
	}
	return text, release, nil
}

// unpacked is what a compressed file has in it. A file that was cut says so.
type unpacked struct{ io.Reader }

func (u unpacked) Read(p []byte) (int, error) {
	n, err := u.Reader.Read(p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("the compressed file is not complete: %w", err)
	}
	return n, err
}

func decodeText(in *bufio.Reader, d *Dialect, text **bufio.Reader) error {
	mark, err := in.Peek(3)
	if err != nil && err != io.EOF && len(mark) == 0 {
		return fmt.Errorf("read: %w", err)
	}
	found, size := Encoding(""), 0
	switch {
	case bytes.HasPrefix(mark, []byte("\xef\xbb\xbf")):
		found, size = UTF8, 3
	case bytes.HasPrefix(mark, []byte("\xff\xfe")):
		found, size = UTF16LE, 2
	case bytes.HasPrefix(mark, []byte("\xfe\xff")):
		found, size = UTF16BE, 2
	}
	if found != "" && d.Encoding != "" && found != d.Encoding {
		return fmt.Errorf("the input starts with the mark of %s, but its encoding was said to be %s: do not name it", found, d.Encoding)
	}
	if found != "" {
		d.Encoding = found
		if _, err := in.Discard(size); err != nil {
			return fmt.Errorf("read: %w", err)
		}
	}
	var from encoding.Encoding
	switch d.Encoding {
	case "", UTF8:
		*text = in
		return nil
	case UTF16LE:
		from = unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)
	case UTF16BE:
		from = unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)
	case Windows1252:
		from = charmap.Windows1252
	case Latin1:
		from = charmap.ISO8859_1
	default:
		return fmt.Errorf("there is no encoding %q: it is one of %s, %s, %s, %s, %s", d.Encoding, UTF8, UTF16LE, UTF16BE, Windows1252, Latin1)
	}
	*text = bufio.NewReaderSize(from.NewDecoder().Reader(in), sampleBytes)
	return nil
}

// complete fills in what a dialect that callers made leaves open.
func (d *Dialect) complete(sample []byte) error {
	if d.Format == "" {
		d.Format = CSV
	}
	if d.Encoding == "" {
		if err := checkText(sample); err != nil {
			return err
		}
		d.Encoding = UTF8
	}
	if d.Format == CSV && d.Delimiter == 0 {
		d.Delimiter, _ = sniffDelimiter(sample)
	}
	if d.Format != CSV && d.Format != NDJSON {
		return fmt.Errorf("there is no format %q: it is %s or %s", d.Format, CSV, NDJSON)
	}
	if d.Delimiter == '"' || d.Delimiter == '\n' || d.Delimiter == '\r' || d.Delimiter >= utf8.RuneSelf {
		return fmt.Errorf("%q cannot be a delimiter: it is one of comma, semicolon, tab, |", d.Delimiter)
	}
	return nil
}

// sniffText finds out the rest of a dialect from decoded text; whole says that the
// sample is all there is.
func sniffText(sample []byte, whole bool, d *Dialect) error {
	if !whole { // the last line may be cut anywhere
		if i := bytes.LastIndexByte(sample, '\n'); i > 0 {
			sample = sample[:i+1]
		}
	}
	if d.Encoding == "" {
		if err := checkText(sample); err != nil {
			return err
		}
		d.Encoding = UTF8
	}
	text := bytes.TrimSpace(sample)
	switch {
	case len(text) > 0 && text[0] == '{':
		d.Format = NDJSON
		return nil
	case len(text) > 0 && text[0] == '[':
		return errors.New("a JSON array: write one object per line (with jq: jq -c '.[]')")
	case bytes.IndexByte(text, '\r') >= 0 && bytes.IndexByte(text, '\n') < 0 && bytes.Count(text, []byte{'\r'}) > 1:
		return errors.New("the lines end in a bare carriage return: convert them to line feeds (with tr: tr '\\r' '\\n')")
	}
	d.Format = CSV
	var trimmed [][]string
	d.Delimiter, trimmed = sniffDelimiter(sample)
	rows := sampleRows(sample, d.Delimiter, false)
	// A quote after a space opens a cell only where spaces are trimmed.
	d.Trim = len(rows) < len(trimmed) || spaced(rows)
	d.Header = sniffHeader(trimmed)
	return nil
}

// checkText refuses what is not UTF-8 text. One wrong byte in text that otherwise has
// proper UTF-8 is left to the row it stands in.
func checkText(sample []byte) error {
	if bytes.HasPrefix(sample, []byte("PK\x03\x04")) {
		return errors.New("a zip archive (perhaps a spreadsheet): save it as CSV")
	}
	if bytes.HasPrefix(sample, []byte("PAR1")) {
		return errors.New("a Parquet file, which is not read as a stream or unpacked while it is read: name the unpacked file itself")
	}
	if bytes.IndexByte(sample, 0) >= 0 {
		return fmt.Errorf("not text: it has zero bytes; if it is UTF-16 without a mark, name it with --encoding %s or %s", UTF16LE, UTF16BE)
	}
	good, bad, line, badLine := 0, 0, 1, 0
	for len(sample) > 0 {
		r, n := utf8.DecodeRune(sample)
		switch {
		case r == '\n':
			line++
		case r == utf8.RuneError && n == 1:
			if !utf8.FullRune(sample) {
				return nil // the sample ends within a character
			}
			if bad++; bad == 1 {
				badLine = line
			}
		case n > 1:
			good++
		}
		sample = sample[n:]
	}
	if bad > good {
		return fmt.Errorf("not UTF-8 (line %d): it may be Windows-1252 or Latin-1, which look alike; name it with --encoding %s or %s, or take it as it is with --encoding %s",
			badLine, Windows1252, Latin1, UTF8)
	}
	return nil
}

// sniffRows is how many rows decide on the delimiter and the header.
const sniffRows = 200

// sniffDelimiter chooses the delimiter with which most rows have as many cells as the
// first one; of equals the one with more cells. It returns the rows cut by it, trimmed.
func sniffDelimiter(sample []byte) (byte, [][]string) {
	best, bestScore, bestCells := byte(','), -1.0, 0
	var bestRows [][]string
	for _, delimiter := range []byte{',', ';', '\t', '|'} {
		rows := sampleRows(sample, delimiter, true)
		if len(rows) == 0 {
			continue
		}
		same, cells := 0, len(rows[0])
		for _, row := range rows {
			if len(row) == cells {
				same++
			}
		}
		score := float64(same) / float64(len(rows))
		if cells < 2 {
			score = 0 // only where no other delimiter cuts the first row
		}
		if score > bestScore || score == bestScore && cells > bestCells {
			best, bestScore, bestCells, bestRows = delimiter, score, cells, rows
		}
	}
	return best, bestRows
}

// sampleRows cuts the first rows of a sample that can be read.
func sampleRows(sample []byte, delimiter byte, trim bool) (rows [][]string) {
	c := csvRows{lineReader: lineReader{src: bytes.NewReader(sample)}, delimiter: delimiter, trim: trim}
	for len(rows) < sniffRows {
		_, err := c.read()
		if bad := (*RowError)(nil); errors.As(err, &bad) {
			continue
		}
		if err != nil {
			break
		}
		row := make([]string, len(c.cells))
		for i, cell := range c.cells {
			row[i] = string(cell)
		}
		rows = append(rows, row)
	}
	return rows
}

// spaced reports whether every cell but the first of each row starts with a space.
func spaced(rows [][]string) bool {
	spaces, cells := 0, 0
	for _, row := range rows {
		for _, cell := range row[1:] {
			cells++
			if strings.HasPrefix(cell, " ") {
				spaces++
			}
		}
	}
	return cells > 0 && spaces == cells
}

// sniffHeader reports whether the first row can be names: distinct texts, at most one of
// them empty, none of them a value of another kind.
func sniffHeader(rows [][]string) bool {
	if len(rows) == 0 {
		return false
	}
	seen := map[string]bool{}
	for _, cell := range rows[0] {
		cell = strings.TrimSpace(cell)
		if seen[cell] {
			return false
		}
		seen[cell] = true
		for _, kind := range []schema.Kind{schema.Bool, schema.Float, schema.Date, schema.Timestamp} {
			if _, err := schema.ParseOrdered(kind, 0, []byte(cell), nil); err == nil {
				return false
			}
		}
	}
	return true
}

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"github.com/kantadb/kanta/engine/quality"
)

// inputError is something wrong with a file that was named.
type inputError struct {
	name string
	err  error
}

func (e *inputError) Error() string { return fmt.Sprintf("%s: %v", e.name, e.err) }
func (e *inputError) Unwrap() error { return e.err }

// input is a file of rows, or standard input, which can be read from its start again.
// It is for one goroutine, except for read and ReadAt.
type input struct {
	name   string // as people know it
	file   *os.File
	stream io.Reader     // instead of file: what cannot be read twice
	kept   *bytes.Buffer // of a stream: what was read so far, until rewindLast
	src    io.Reader     // what Read reads
	size   int64         // of a file; 0 is not known
	read   atomic.Int64

	format  quality.Format
	dialect *quality.Dialect // where it is known better than it looks
}

// openInput opens a file; "-" is standard input.
func (a *app) openInput(name string) (*input, error) {
	if name == "-" {
		in := &input{name: "standard input", stream: a.in, kept: new(bytes.Buffer)}
		in.src = io.TeeReader(in.stream, in.kept)
		return in, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, &inputError{name, errors.Unwrap(err)}
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = errors.New("a directory; name the files in it")
	}
	if err != nil {
		return nil, &inputError{name, errors.Join(err, f.Close())}
	}
	if !info.Mode().IsRegular() { // a pipe: it is read once, as standard input is
		in := &input{name: name, stream: f, file: f, kept: new(bytes.Buffer)}
		in.src = io.TeeReader(f, in.kept)
		return in, nil
	}
	return &input{name: name, file: f, src: f, size: info.Size()}, nil
}

// resumable reports whether the input can be read again after a kill.
func (in *input) resumable() bool { return in.stream == nil }

// place is the word for where a row stands.
func (in *input) place() string {
	if in.format == quality.Parquet {
		return "row"
	}
	return "line"
}

// Read reads on.
func (in *input) Read(p []byte) (int, error) {
	n, err := in.src.Read(p)
	in.read.Add(int64(n))
	return n, err
}

// ReadAt reads a place of a file.
func (in *input) ReadAt(p []byte, at int64) (int, error) {
	n, err := in.file.ReadAt(p, at)
	in.read.Add(int64(n))
	return n, err
}

// rewind goes back to the start. What is read of a stream is kept in memory for that.
func (in *input) rewind() error {
	in.read.Store(0)
	if in.stream != nil {
		in.src = io.MultiReader(bytes.NewReader(in.kept.Bytes()), io.TeeReader(in.stream, in.kept))
		return nil
	}
	if _, err := in.file.Seek(0, io.SeekStart); err != nil {
		return &inputError{in.name, err}
	}
	return nil
}

// rewindLast is rewind for the last time: nothing more is kept.
func (in *input) rewindLast() error {
	err := in.rewind()
	if in.stream != nil {
		in.src = io.MultiReader(in.kept, in.stream)
	}
	return err
}

func (in *input) Close() error {
	if in.file == nil {
		return nil
	}
	return in.file.Close()
}

// rowFlags say how files of rows are to be read.
type rowFlags struct {
	key       string
	separator string
	encoding  string
	events    bool // the rows are events: arrays of objects become several
	lines     string
}

// rowsOptions returns how the input's rows are to be read.
func (in *input) rowsOptions(f *rowFlags) *quality.RowsOptions {
	return &quality.RowsOptions{Dialect: in.dialect, Encoding: quality.Encoding(f.encoding), SetSeparator: f.separator, Unnest: f.events, Lines: f.lines}
}

// prepare finds out how the input is written and goes back to its start. A CSV file has
// a header even if it does not look so, unless the key is named as the columns of files
// without one are: column_1.
func (in *input) prepare(f *rowFlags) error {
	if in.resumable() && quality.IsParquet(in.file) {
		in.format = quality.Parquet
		return nil
	}
	rows, dialect, err := quality.OpenRows(in, in.rowsOptions(f))
	if err != nil {
		return &inputError{in.name, err}
	}
	in.format = dialect.Format
	if dialect.Format == quality.CSV && !dialect.Header && !strings.HasPrefix(f.key, "column_") {
		dialect.Header = true
		in.dialect = &dialect
	}
	return errors.Join(rows.Close(), in.rewind())
}

// columns returns the names of the columns and goes back to the start; nil where they show
// only as rows are read.
func (in *input) columns(f *rowFlags) ([]string, error) {
	if in.format == quality.NDJSON {
		return nil, nil
	}
	rows, err := in.rows(f)
	if err != nil {
		return nil, err
	}
	names := append([]string{}, rows.Columns()...) // not nil: there may be none
	return names, errors.Join(rows.Close(), in.rewind())
}

// rows starts to read the input's rows.
func (in *input) rows(f *rowFlags) (rows quality.Rows, err error) {
	if in.format == quality.Parquet {
		rows, err = quality.OpenParquet(in, in.size, in.rowsOptions(f))
	} else {
		rows, _, err = quality.OpenRows(in, in.rowsOptions(f))
	}
	if err != nil {
		return nil, &inputError{in.name, err}
	}
	return rows, nil
}

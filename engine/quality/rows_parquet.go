package quality

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"
	"golang.org/x/text/unicode/norm"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
)

// Parquet is the format of files that OpenParquet reads. Sniff does not find it: such a file
// cannot be read as a stream.
const Parquet Format = "parquet"

const (
	parquetMagic     = "PAR1"
	parquetEncrypted = "PARE"
)

// IsParquet reports whether a file starts as Parquet files do.
func IsParquet(r io.ReaderAt) bool {
	var magic [4]byte
	_, err := r.ReadAt(magic[:], 0)
	return (err == nil || err == io.EOF) && (string(magic[:]) == parquetMagic || string(magic[:]) == parquetEncrypted)
}

// parquetRows reads a Parquet file, column by column, one page of each at a time. Its values
// become the texts that CSV would have; null is an empty cell.
type parquetRows struct {
	file    *parquet.File
	columns []string // of the leaves, then lists that are left out
	leaves  []parquetLeaf
	lines   string // the column of the list of objects whose elements become rows

	group   int   // the row group after that which is read
	left    int64 // rows of the group that were not read
	row     int   // the number of the row that was read last, from 1
	cursors []parquetCursor

	raw     []byte
	scratch []byte // cells that do not stand in raw as they are
	cells   [][]byte
	elems   int // rows that the row's list makes
	part    int // of them, the one that was read last, from 1; 0: it has no list
	offset  int64
	err     error // it stays
}

// parquetLeaf is a column of single values in the file, and what becomes of them.
type parquetLeaf struct {
	at       int // its place among the file's leaves
	name     string
	form     parquetForm
	defined  int // the definition level of a value
	repeated parquetRepeat
	listed   int // the definition level of an element, if it is repeated
}

// parquetRepeat says what a row's values are.
type parquetRepeat int

const (
	parquetOne  parquetRepeat = iota
	parquetSet                // the elements of one set
	parquetLine               // of each line one
)

// OpenParquet starts reading a Parquet file. Members of groups become columns with dotted
// names, lists become sets, a list of groups becomes rows as [RowsOptions].Unnest says. Row
// numbers stand for lines. It fails when the file is damaged, when it has a column of a type
// that no attribute can have, and on names as [OpenRows] does.
func OpenParquet(r io.ReaderAt, size int64, opt *RowsOptions) (Rows, error) {
	if opt == nil {
		opt = &RowsOptions{}
	}
	if err := checkMagic(r, size); err != nil {
		return nil, err
	}
	if err := checkFooter(r, size); err != nil {
		return nil, err
	}
	p := &parquetRows{raw: []byte{}}
	err := guard(func() (err error) {
		p.file, err = parquet.OpenFile(r, size, &parquet.FileConfig{SkipPageIndex: true, SkipBloomFilters: true, ReadBufferSize: sampleBytes})
		return err
	})
	if err != nil {
		return nil, damaged(err)
	}
	separator := opt.SetSeparator
	if separator == "" {
		separator = schema.SetSeparator
	}
	w := parquetWalk{unnest: opt.Unnest, lines: norm.NFC.String(opt.Lines), rows: p, seen: map[string]bool{}}
	if err := guard(func() error { return w.group(p.file.Root(), "", 0) }); err != nil {
		return nil, err
	}
	for _, name := range w.ignored {
		if err := w.column(name); err != nil {
			return nil, err
		}
	}
	p.cursors = make([]parquetCursor, len(p.leaves))
	for i := range p.cursors {
		p.cursors[i] = parquetCursor{leaf: &p.leaves[i], separator: []byte(separator), buffer: make([]parquet.Value, parquetValues)}
	}
	p.cells = make([][]byte, len(p.columns))
	return p, nil
}

func checkMagic(r io.ReaderAt, size int64) error {
	var head, tail [4]byte
	if size < 12 {
		return fmt.Errorf("a Parquet file of %d bytes: it is not complete", size)
	}
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if _, err := r.ReadAt(tail[:], size-4); err != nil && err != io.EOF {
		return fmt.Errorf("read: %w", err)
	}
	switch {
	case string(head[:]) == parquetEncrypted || string(tail[:]) == parquetEncrypted:
		return errors.New("an encrypted Parquet file: decrypt it first")
	case string(head[:]) != parquetMagic || string(tail[:]) != parquetMagic:
		return errors.New("the Parquet file does not end as one does: it is not complete")
	}
	return nil
}

// guard calls the library, which panics on some damaged files.
func guard(call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return call()
}

func damaged(err error) error {
	return fmt.Errorf("the Parquet file is damaged, or of a version that is not known: %w", err)
}

// Columns implements Rows.
func (p *parquetRows) Columns() []string { return p.columns }

// Raw implements Rows: the row's cells, as CSV.
func (p *parquetRows) Raw() []byte { return p.raw }

// Offset implements Rows.
func (p *parquetRows) Offset() int64 { return p.offset }

// Close implements Rows.
func (p *parquetRows) Close() error {
	for i := range p.cursors {
		p.cursors[i].close()
	}
	return nil
}

// place implements knownRows.
func (p *parquetRows) place() int { return p.part }

// declared implements knownRows.
func (p *parquetRows) declared(column int) (schema.Kind, uint8) {
	if column >= len(p.leaves) {
		return schema.Absent, 0
	}
	l := &p.leaves[column]
	if l.repeated == parquetSet {
		return schema.Set, 0
	}
	return l.form.kind()
}

// Next implements Rows.
func (p *parquetRows) Next() ([][]byte, int, error) {
	switch {
	case p.err != nil:
		return nil, p.row, p.err
	case p.part < p.elems:
		p.part++
		p.line()
		return p.cells, p.row, nil
	}
	for p.left == 0 {
		if err := guard(p.nextGroup); err != nil {
			if p.err = err; err != io.EOF {
				p.err = fmt.Errorf("after row %d: %w", p.row, damaged(err))
			}
			return nil, p.row, p.err
		}
	}
	p.left--
	p.row++
	var reason batch.Reason
	var problem string
	err := guard(func() (err error) {
		reason, problem, err = p.read()
		return err
	})
	if err != nil {
		p.err = fmt.Errorf("row %d: %w", p.row, damaged(err))
		return nil, p.row, p.err
	}
	if problem != "" {
		p.elems, p.part = 0, 0
		return nil, p.row, &RowError{Line: p.row, Reason: reason, Detail: problem, Raw: slices.Clone(p.raw[:min(len(p.raw), maxRaw)])}
	}
	if p.elems > 0 {
		p.part = 1
	}
	p.line()
	return p.cells, p.row, nil
}

// nextGroup ends a row group and starts the next one.
func (p *parquetRows) nextGroup() error {
	for i := range p.cursors {
		c := &p.cursors[i]
		if c.pages == nil {
			continue
		}
		if _, err := c.peek(); err == nil {
			return fmt.Errorf("column %q has more values than its row group has rows", c.leaf.name)
		} else if err != io.EOF {
			return err
		}
		c.close()
	}
	groups := p.file.RowGroups()
	if p.group == len(groups) {
		return io.EOF
	}
	g := groups[p.group]
	if p.left = g.NumRows(); p.left < 0 {
		return fmt.Errorf("row group %d has %d rows", p.group+1, p.left)
	}
	chunks, meta := g.ColumnChunks(), p.file.Metadata().RowGroups[p.group].Columns
	for i := range p.cursors {
		c := &p.cursors[i]
		if err := checkPages(p.file, p.file.Size(), &meta[c.leaf.at].MetaData); err != nil {
			return fmt.Errorf("column %q: %w", c.leaf.name, err)
		}
		c.pages = chunks[c.leaf.at].Pages()
	}
	p.group++
	return nil
}

// read reads the values of a row. What is wrong with the row alone is a problem, which is
// told when all of it has been read.
func (p *parquetRows) read() (reason batch.Reason, problem string, err error) {
	p.raw, p.scratch, p.elems, p.part = p.raw[:0], p.scratch[:0], 0, 0
	lines := -1
	for i := range p.cursors {
		c := &p.cursors[i]
		if i > 0 {
			p.raw = append(p.raw, ',')
		}
		if err := c.record(p); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return 0, "", fmt.Errorf("column %q: %w", c.leaf.name, err)
		}
		if c.problem != "" && problem == "" {
			reason, problem = c.reason, fmt.Sprintf("column %q: %s", c.leaf.name, c.problem)
		}
		if c.leaf.repeated != parquetLine || c.problem != "" {
			continue
		}
		if lines >= 0 && lines != len(c.cells) {
			return 0, "", fmt.Errorf("column %q has %d elements in this row, another one of %q has %d", c.leaf.name, len(c.cells), p.lines, lines)
		}
		lines = len(c.cells)
	}
	p.elems = max(lines, 0)
	p.offset += int64(len(p.raw)) + 1
	if problem == "" && len(p.raw) > MaxRowBytes {
		return batch.ReasonTooLong, "the row is longer than 1 MiB", nil
	}
	return reason, problem, nil
}

// line sets the cells of the row, or of one of the rows that its list makes.
func (p *parquetRows) line() {
	for i := range p.cursors {
		c := &p.cursors[i]
		at := 0
		if c.leaf.repeated == parquetLine {
			at = p.part - 1
		}
		if at < 0 || len(c.cells) == 0 {
			p.cells[i] = p.raw[:0]
			continue
		}
		s := c.cells[at]
		if s.scratch {
			p.cells[i] = p.scratch[s.start:s.end:s.end]
		} else {
			p.cells[i] = p.raw[s.start:s.end]
		}
	}
}

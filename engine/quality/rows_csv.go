package quality

import (
	"bytes"
	"fmt"
	"io"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
)

// csvRows reads RFC 4180 with any one-byte delimiter and either line end. Blank lines
// are skipped, as encoding/csv does. A row whose quotes are wrong ends with its first
// line, so that a stray quote costs the fewest rows.
type csvRows struct {
	lineReader
	delimiter byte
	trim      bool // spaces before a cell do not count
	columns   []string
	cells     [][]byte
	scratch   []byte // unescaped cells of the row
	held      bool   // the first row is a row: Next returns it first
	heldLine  int
}

func newCSV(lines lineReader, d *Dialect) (*csvRows, error) {
	c := &csvRows{lineReader: lines, delimiter: d.Delimiter, trim: d.Trim}
	line, err := c.read()
	if err == io.EOF {
		return c, nil // an empty file has no columns and no rows
	}
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	seen := make(map[string]int, len(c.cells))
	for i, cell := range c.cells {
		if !d.Header {
			cell = nil
		}
		name, err := columnName(cell, i+1)
		if err != nil {
			return nil, err
		}
		if first, ok := seen[name]; ok {
			return nil, fmt.Errorf("header, column %d: the name %q is that of column %d too: rename one of them", i+1, name, first)
		}
		seen[name] = i + 1
		c.columns = append(c.columns, name)
	}
	c.held, c.heldLine = !d.Header, line
	return c, nil
}

// Columns implements Rows.
func (c *csvRows) Columns() []string { return c.columns }

// Next implements Rows.
func (c *csvRows) Next() ([][]byte, int, error) {
	if c.held {
		c.held = false
		return c.cells, c.heldLine, nil
	}
	line, err := c.read()
	if err != nil {
		return nil, line, err
	}
	if len(c.cells) != len(c.columns) {
		return nil, line, c.bad(line, batch.ReasonRagged, c.raw, "%d cells, but %d columns", len(c.cells), len(c.columns))
	}
	return c.cells, line, nil
}

// read splits the next row that is not blank into c.cells, with its text in c.raw.
func (c *csvRows) read() (line int, err error) {
	for {
		line = c.line + 1
		n, err := c.newline(0)
		if err == errLongRow {
			return line, c.skipLine()
		}
		if err != nil {
			return line, err
		}
		if n == 0 && c.start == c.end {
			return line, io.EOF
		}
		first, lines := n, 1
		if bytes.IndexByte(c.text(n), '"') >= 0 {
			if n, lines, err = c.closing(n); err != nil {
				return line, err
			}
		}
		c.raw = trimCR(c.text(n))
		problem := c.split(lines)
		if problem != "" {
			c.raw, n, lines = trimCR(c.text(first)), first, 1
		}
		c.consume(n, lines)
		switch {
		case len(c.raw) == 0:
			continue
		case problem != "":
			return line, c.bad(line, batch.ReasonSyntax, c.raw, "%s", problem)
		}
		if bad := c.badEncoding(line, c.raw); bad != nil {
			return line, bad
		}
		return line, c.checkLengths(line)
	}
}

// closing finds the end of a row whose first line, of n bytes, has quotes. A row ends
// where its quotes are even: quoted cells have an opening, a closing and doubled ones.
func (c *csvRows) closing(n int) (end, lines int, err error) {
	first, lines := n, 1
	odd := bytes.Count(c.text(n), []byte{'"'})&1 == 1
	for odd {
		if c.start+n == c.end {
			return first, 1, nil // the text ends within quotes: split will say so
		}
		next, err := c.newline(n + 1)
		if err == errLongRow {
			return first, 1, nil
		}
		if err != nil {
			return 0, 0, err
		}
		odd = bytes.Count(c.text(next)[n+1:], []byte{'"'})&1 == 0
		n, lines = next, lines+1
	}
	return n, lines, nil
}

// split cuts c.raw into c.cells and returns what is wrong with its quotes, or "".
func (c *csvRows) split(lines int) (problem string) {
	c.cells, c.scratch = c.cells[:0], c.scratch[:0]
	row := c.raw
	quotes := bytes.IndexByte(row, '"') >= 0
	for {
		if c.trim {
			row = bytes.TrimLeft(row, " ")
		}
		if !quotes || len(row) == 0 || row[0] != '"' {
			i := bytes.IndexByte(row, c.delimiter)
			cell := row
			if i >= 0 {
				cell = row[:i]
			}
			if quotes && bytes.IndexByte(cell, '"') >= 0 {
				return fmt.Sprintf("cell %d has a quote but does not start with one: quote the cell and double the quotes in it", len(c.cells)+1)
			}
			c.cells = append(c.cells, cell)
			if i < 0 {
				return ""
			}
			row = row[i+1:]
			continue
		}
		cell, rest, ok := c.quoted(row[1:])
		if !ok {
			return fmt.Sprintf("cell %d has a quote that does not close, or text after the closing one", len(c.cells)+1)
		}
		if lines > 1 && bytes.Contains(cell, []byte("\r\n")) {
			from := len(c.scratch)
			c.scratch = append(c.scratch, bytes.ReplaceAll(cell, []byte("\r\n"), []byte("\n"))...)
			cell = c.scratch[from:]
		}
		c.cells = append(c.cells, cell)
		if rest == nil {
			return ""
		}
		row = rest
	}
}

// quoted cuts a cell off the text after its opening quote. rest is nil at the end of
// the row, else what follows the delimiter.
func (c *csvRows) quoted(row []byte) (cell, rest []byte, ok bool) {
	from, escaped := len(c.scratch), false
	for {
		i := bytes.IndexByte(row, '"')
		if i < 0 {
			return nil, nil, false
		}
		if i+1 < len(row) && row[i+1] == '"' {
			c.scratch = append(c.scratch, row[:i+1]...)
			row, escaped = row[i+2:], true
			continue
		}
		cell = row[:i]
		if escaped {
			c.scratch = append(c.scratch, cell...)
			cell = c.scratch[from:]
		}
		switch {
		case i+1 == len(row):
			return cell, nil, true
		case row[i+1] == c.delimiter:
			return cell, row[i+2:], true
		}
		return nil, nil, false
	}
}

func (c *csvRows) checkLengths(line int) error {
	if len(c.raw) <= schema.MaxStringBytes {
		return nil
	}
	for i, cell := range c.cells {
		if len(cell) > schema.MaxStringBytes {
			return c.bad(line, batch.ReasonTooLong, c.raw, "cell %d has %d bytes, more than %d", i+1, len(cell), schema.MaxStringBytes)
		}
	}
	return nil
}

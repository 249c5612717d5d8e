package quality

import (
	"bytes"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
)

// parquetValues is how many values a cursor decodes at a time.
const parquetValues = 256

// parquetCursor reads a column of single values through the pages of a row group.
type parquetCursor struct {
	leaf      *parquetLeaf
	separator []byte
	pages     parquet.Pages
	page      parquet.Page
	values    parquet.ValueReader // of the page
	buffer    []parquet.Value
	at, end   int // values of buffer that were not used

	cells   []parquetCell // of the row: one, or that of each line
	reason  batch.Reason
	problem string // what is wrong with the row
}

// parquetCell is a piece of a row's text.
type parquetCell struct {
	start, end int
	scratch    bool // it stands in the row's scratch, not in its raw text
}

// peek returns the next value. It lives until the next call.
func (c *parquetCursor) peek() (*parquet.Value, error) {
	if c.at == c.end {
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
	return &c.buffer[c.at], nil
}

// fill decodes more values.
func (c *parquetCursor) fill() error {
	c.at, c.end = 0, 0
	for {
		if c.values == nil {
			parquet.Release(c.page)
			c.page = nil
			page, err := c.pages.ReadPage()
			if err != nil {
				return err
			}
			c.page, c.values = page, page.Values()
		}
		n, err := c.values.ReadValues(c.buffer)
		if err != nil && err != io.EOF {
			return err
		}
		if err == io.EOF {
			c.values = nil
		} else if n == 0 {
			return io.ErrNoProgress
		}
		if c.end = n; n > 0 {
			return nil
		}
	}
}

// close ends the reading of a row group. What the library says of a damaged page that is
// given back is of no use: all that was wanted has been read.
func (c *parquetCursor) close() {
	if c.pages == nil {
		return
	}
	_ = guard(func() error {
		parquet.Release(c.page)
		return c.pages.Close()
	})
	c.pages, c.page, c.values, c.at, c.end = nil, nil, nil, 0, 0
}

// record reads the values of one row and appends their text to p.raw.
func (c *parquetCursor) record(p *parquetRows) error {
	c.cells, c.problem = c.cells[:0], ""
	start := len(p.raw)
	for first := true; ; first = false {
		v, err := c.peek()
		if err == io.EOF && !first {
			break
		}
		if err != nil {
			return err
		}
		if (v.RepetitionLevel() == 0) != first {
			if first {
				return errRepetition
			}
			break
		}
		c.at++
		if c.problem == "" {
			if err := c.value(p, v, start); err != nil {
				return err
			}
		}
		if c.leaf.repeated == parquetOne {
			break
		}
	}
	if c.leaf.repeated == parquetSet {
		c.put(p, start)
	}
	return nil
}

// value appends the text of one value of a row, whose text in this column starts at start.
func (c *parquetCursor) value(p *parquetRows, v *parquet.Value, start int) error {
	l := c.leaf
	level := v.DefinitionLevel()
	if l.repeated != parquetOne && level < l.listed {
		return nil // the list is empty, or there is none
	}
	if len(p.raw) > MaxRowBytes {
		c.fail(batch.ReasonTooLong, "the row is longer than 1 MiB")
		return nil
	}
	if n := l.form.size(v); n > maxDecimalBytes {
		c.fail(batch.ReasonOutOfRange, fmt.Sprintf("a number of %d bytes", n))
		return nil
	}
	separator := []byte{';'} // of lines, in the raw text
	if l.repeated == parquetSet {
		separator = c.separator
	}
	if l.repeated == parquetLine && len(c.cells) > 0 || l.repeated == parquetSet && len(p.raw) > start && level == l.defined {
		p.raw = append(p.raw, separator...)
	}
	from := len(p.raw)
	if level == l.defined {
		var err error
		if p.raw, err = l.form.append(p.raw, v); err != nil {
			return err
		}
	}
	text := p.raw[from:]
	limit := from
	if l.repeated == parquetSet {
		limit = start
	}
	switch {
	case len(p.raw)-limit > schema.MaxStringBytes:
		p.raw = p.raw[:limit+maxRaw]
		c.fail(batch.ReasonTooLong, tooLong)
	case l.form.text() && !utf8.Valid(text):
		c.fail(batch.ReasonEncoding, "it is not UTF-8")
	case l.repeated == parquetSet && bytes.Contains(text, c.separator):
		c.fail(batch.ReasonSyntax, "an element has the set separator in it: choose another separator")
	case l.repeated != parquetSet:
		c.put(p, from)
	}
	return nil
}

func (c *parquetCursor) fail(reason batch.Reason, problem string) {
	c.reason, c.problem = reason, problem
}

// put makes a cell of the raw text from a place on. It is quoted as in CSV, so that people
// see where it ends.
func (c *parquetCursor) put(p *parquetRows, from int) {
	text := p.raw[from:]
	if !bytes.ContainsAny(text, ",;\"\n\r") || !c.leaf.form.text() {
		c.cells = append(c.cells, parquetCell{from, len(p.raw), false})
		return
	}
	at := len(p.scratch)
	p.scratch = append(p.scratch, text...)
	c.cells = append(c.cells, parquetCell{at, len(p.scratch), true})
	p.raw = append(p.raw[:from], '"')
	p.raw = append(p.raw, bytes.ReplaceAll(p.scratch[at:], []byte{'"'}, []byte{'"', '"'})...)
	p.raw = append(p.raw, '"')
}

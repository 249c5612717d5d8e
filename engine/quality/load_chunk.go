package quality

import (
	"errors"
	"io"
)

// loadChunk is what one batch (or a few) is made from: the texts of consecutive rows and
// the places of the cells that are loaded. Its memory is used again.
type loadChunk struct {
	plan  *loadPlan
	first uint64 // the number of its first row
	text  []byte
	cells []span // row by row, in order of the plan's fields
	rows  []chunkRow
}

// span is a piece of a chunk's text.
type span struct{ start, end uint32 }

// absent is a cell that the row does not have; an empty one is span{}.
var absent = span{start: 1} //tidy:constant

// chunkRow is a row of a chunk.
type chunkRow struct {
	raw    span      // the row's text
	end    uint32    // of all it has in text: cells that do not stand in raw come behind it
	cells  uint32    // where its cells end
	line   int       // where its text starts
	part   int       // of the line, from 1, if it has several rows; else 0
	offset int64     // where it ends, in bytes of the input's text
	bad    *RowError // why it could not be read, or nil
}

// size is what bounds a chunk, in bytes.
func (c *loadChunk) size() int { return len(c.text) + 4*len(c.cells) }

// fill reads the next chunk and reports whether more may follow. Where it ends depends
// on the rows and the options alone. Before an error it holds what was read.
func (l *loader) fill(c *loadChunk) (more bool, err error) {
	c.first, c.text, c.cells, c.rows = l.next, c.text[:0], c.cells[:0], c.rows[:0]
	for err == nil && len(c.rows) < l.o.BatchRows && c.size() < loadBytes {
		err = l.readRow(c)
	}
	c.plan = l.plan
	l.next += uint64(len(c.rows))
	if err == io.EOF {
		return false, nil
	}
	return err == nil, err
}

// readRow adds the next row to c.
func (l *loader) readRow(c *loadChunk) error {
	cells, line, err := l.rows.Next()
	if err != nil {
		var bad *RowError // declared here, for it escapes to the heap
		if errors.As(err, &bad) {
			c.add(bad.Raw, nil, nil, chunkRow{line: bad.Line, offset: l.rows.Offset(), bad: bad})
			return nil
		}
		return err
	}
	if len(cells) != l.plan.columns {
		plan, err := l.planner.extend(l.plan, l.rows.Columns())
		if err != nil {
			return err
		}
		l.plan = plan
	}
	r := chunkRow{line: line, offset: l.rows.Offset()}
	if known, ok := l.rows.(knownRows); ok {
		r.part = known.place()
	}
	c.add(l.rows.Raw(), cells, l.plan, r)
	return nil
}

// add copies a row, but for the raw text if it is that of the row before. Most cells
// stand in the raw text and are not copied again: two slices of one array have capacities
// that differ by the distance of their starts.
func (c *loadChunk) add(raw []byte, cells [][]byte, plan *loadPlan, r chunkRow) {
	start := len(c.text)
	if n := len(c.rows); r.part > 1 && n > 0 && c.rows[n-1].line == r.line && c.rows[n-1].bad == nil {
		r.raw = c.rows[n-1].raw
		start = int(r.raw.start)
	} else {
		c.text = append(c.text, raw...)
		r.raw = span{uint32(start), uint32(len(c.text))}
	}
	if plan != nil {
		for i := range plan.fields {
			cell := cells[plan.fields[i].cell]
			at := cap(raw) - cap(cell)
			switch {
			case cell == nil:
				c.cells = append(c.cells, absent)
				continue
			case len(cell) == 0:
				c.cells = append(c.cells, span{})
				continue
			case at >= 0 && at+len(cell) <= len(raw) && &raw[at] == &cell[0]:
				at += start
			default:
				at = len(c.text)
				c.text = append(c.text, cell...)
			}
			c.cells = append(c.cells, span{uint32(at), uint32(at + len(cell))})
		}
	}
	r.end, r.cells = uint32(len(c.text)), uint32(len(c.cells))
	c.rows = append(c.rows, r)
}

package batch

import (
	"encoding/binary"

	"github.com/kantadb/kanta/index/schema"
)

// origin is where the rows of the open block come from.
type origin struct {
	source string
	runs   []LineRun
	rows   int
	bytes  int    // that the runs take, but for the rows of the last
	body   []byte // scratch
}

// Origin says on which line of a source, such as a file, the row stands that was started
// last, so that the quarantine can name it. Rows from two sources are two ops. Either all
// rows of an upsert, or of events, have an origin or none has. Lines do not descend.
func (b *Builder) Origin(source string, line uint64) {
	o := &b.origin
	if b.open == nil || o.rows+1 != b.open.rows() {
		b.fail("line %d of %q: an origin belongs to the row that was started last, and to all rows or none", line, source)
		return
	}
	last := o.last()
	switch {
	case o.rows == 0:
		o.source = shorten(source, schema.MaxNameBytes)
	case line < last || o.source != source && o.source != shorten(source, schema.MaxNameBytes):
		b.fail("line %d of %q: the rows of an op come from one source, and their lines do not descend", line, source)
		return
	}
	o.rows++
	if len(o.runs) > 0 && line == last+1 {
		o.runs[len(o.runs)-1].Rows++
		return
	}
	if n := len(o.runs); n > 0 {
		o.bytes += uvarintLen(uint64(o.runs[n-1].Rows))
	}
	o.bytes += uvarintLen(line - last)
	o.runs = append(o.runs, LineRun{1, line})
}

// last returns the line of the last row, 0 if there is none.
func (o *origin) last() uint64 {
	if len(o.runs) == 0 {
		return 0
	}
	return o.runs[len(o.runs)-1].last()
}

// appendOrigin adds the op that stands before a block of rows.
func (b *Builder) appendOrigin(rows int) {
	o := &b.origin
	if o.rows == 0 {
		return
	}
	if o.rows != rows {
		b.fail("%d of %d rows of an op have an origin", o.rows, rows)
	}
	body := appendString(o.body[:0], o.source)
	body = binary.AppendUvarint(body, uint64(len(o.runs)))
	last := uint64(0)
	for _, run := range o.runs {
		body = binary.AppendUvarint(binary.AppendUvarint(body, uint64(run.Rows)), run.Line-last)
		last = run.last()
	}
	o.body = body
	b.appendOp(OpOrigin, body, 0)
	o.reset()
}

// size returns the encoded size of the op, not too small.
func (o *origin) size() int {
	if o.rows == 0 {
		return 0
	}
	const lengths = 1 + 4*binary.MaxVarintLen32 // code, body length, source, runs, rows of the last
	return lengths + len(o.source) + o.bytes
}

func (o *origin) reset() { o.source, o.runs, o.rows, o.bytes = "", o.runs[:0], 0, 0 }

package batch

import (
	"encoding/binary"
	"errors"
	"math"
	"sync"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Decode takes a batch apart and checks it. It fails with CodeNewerFormat for a batch
// (or an op) of a later version and with CodeCorrupt for anything else that is not as
// the package comment says. The result keeps views of b, which must not change.
func Decode(b Batch) (*Decoded, error) { return new(Decoder).Decode(b) }

// Decoder decodes one batch after another and reuses its memory. The zero Decoder is
// ready. It belongs to one goroutine.
type Decoder struct {
	raw    []byte // decompressed payload
	out    Decoded
	blocks []*EventBlock // made so far, of upserts too; out uses the first few
	used   int
	cols   int // of the batch's blocks, as cells
	cells  int
	ints   arena[int64]
	uints  arena[uint32]
	r      reader
}

// Decode is [Decode], with a result that is valid until the next call.
func (d *Decoder) Decode(b Batch) (*Decoded, error) {
	h, err := parseHeader(b)
	if err != nil {
		return nil, err
	}
	payload := h.stored
	if h.codec == codecZstd {
		if payload, err = d.decompress(h); err != nil {
			return nil, err
		}
	}
	d.out = Decoded{Strict: h.strict, Ops: d.out.Ops[:0]}
	d.used, d.cols, d.cells = 0, 0, 0
	d.ints.reset()
	d.uints.reset()
	d.r = reader{b: payload}
	if err := d.payload(); err != nil {
		return nil, err
	}
	return &d.out, nil
}

func (d *Decoder) decompress(h header) ([]byte, error) {
	dec, err := decoder()
	if err != nil {
		return nil, query.Errorf(query.CodeInternal, "zstd: %w", err)
	}
	if cap(d.raw) < h.raw {
		d.raw = make([]byte, 0, h.raw)
	}
	if d.raw, err = dec.DecodeAll(h.stored, d.raw[:0]); err != nil {
		return nil, corrupt("zstd: %v", err)
	}
	if len(d.raw) != h.raw {
		return nil, corrupt("%d bytes decompressed, %d announced", len(d.raw), h.raw)
	}
	return d.raw, nil
}

// Payload returns the decompressed payload of a batch.
func Payload(b Batch) ([]byte, error) {
	h, err := parseHeader(b)
	if err != nil || h.codec == codecNone {
		return h.stored, err
	}
	return new(Decoder).decompress(h)
}

// decoder returns the one zstd decoder, which keeps a pool of workers of its own.
//
//tidy:constant
var decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(MaxRaw), zstd.WithDecoderLowmem(true))
})

func (d *Decoder) payload() error {
	r := &d.r
	out := &d.out
	out.Source = r.optional()
	out.Run, out.Sequence = r.uvarint(), r.uvarint()
	if out.Source == "" && (out.Run != 0 || out.Sequence != 0) {
		r.fail("run and sequence without a source")
	}
	n := r.count(2)
	if n > MaxOps {
		r.fail("%d ops", n)
		n = 0
	}
	for range n {
		code := OpCode(r.byte())
		body := r.take(r.count(1))
		if r.err != nil {
			break
		}
		op := reader{b: body}
		d.op(&op, code)
		if op.err == nil && len(op.b) > 0 {
			op.fail("%d bytes behind op %d", len(op.b), code)
		}
		if r.err = op.err; r.err != nil {
			break
		}
	}
	if r.err == nil && len(r.b) > 0 {
		r.fail("%d bytes behind the ops", len(r.b))
	}
	if n := len(out.Ops); r.err == nil && n > 0 && out.Ops[n-1].Code == OpOrigin {
		r.fail("an origin of no rows")
	}
	return r.err
}

// op decodes one op into out.
func (d *Decoder) op(r *reader, code OpCode) {
	op := Op{Code: code, FirstRow: d.out.Rows}
	switch code {
	case OpUpsert:
		op.Block = &d.block(r, code).Block
	case OpEvents:
		op.Events = d.events(r)
	case OpDelete, OpReadmit:
		op.Keys = d.keys(r, r.count(2))
	case OpErase:
		op.Text = r.reference()
		op.Keys = d.keys(r, r.count(2))
	case OpSchemaChange:
		op.Change = r.change()
	case OpSegmentSave:
		op.Name, op.Text = r.name(), string(r.take(r.count(1)))
	case OpSegmentDrop, OpSegmentShare, OpListDrop:
		op.Name = r.name()
	case OpListPut, OpListAdd, OpListRemove:
		op.Name = r.name()
		op.Keys = d.keys(r, r.count(2))
	case OpListNote:
		op.Name, op.Text = r.name(), r.note()
	case OpDefinitionSave, OpDefinitionDrop:
		op.Definition = r.definition(code == OpDefinitionSave)
	case OpDocumentPut:
		op.Document = r.document()
	case OpDocumentDrop:
		op.Document = &Document{Name: r.name()}
	case OpQuarantined:
		op.Name = r.optional()
		op.Bad = r.badRows()
	case OpOrigin:
		op.Name = r.optional()
		op.Lines = r.lineRuns()
	case OpTick:
	default:
		if code != 0 {
			r.err = query.Errorf(query.CodeNewerFormat, "op %d in a batch is not known to this version", code)
			return
		}
		r.fail("op 0")
	}
	d.out.Ops = append(d.out.Ops, op)
	if r.err == nil {
		d.origin(r)
		d.out.Rows += op.Rows()
	}
}

// origin checks the last op against the origin before it, if there is one.
func (d *Decoder) origin(r *reader) {
	ops := d.out.Ops
	if len(ops) < 2 || ops[len(ops)-2].Code != OpOrigin {
		return
	}
	rows := 0
	for _, run := range ops[len(ops)-2].Lines {
		rows += run.Rows
	}
	if last := &ops[len(ops)-1]; last.Block == nil && last.Events == nil || last.Rows() != rows {
		r.fail("an origin of %d rows before op %d of %d", rows, last.Code, last.Rows())
	}
}

func (d *Decoder) keys(r *reader, n int) Strings {
	keys := d.strings(r, n)
	var start uint32
	for _, end := range keys.ends {
		if l := end - start; l == 0 || l > MaxKeyBytes {
			r.fail("a key of %d bytes", l)
			break
		}
		start = end
	}
	return keys
}

// strings decodes a string list of n, which r has at least n bytes for.
func (d *Decoder) strings(r *reader, n int) Strings {
	if r.err != nil || n > len(r.b) {
		r.fail("a list of %d strings in %d bytes", n, len(r.b))
		return Strings{}
	}
	ends := d.uints.take(n)
	var end uint64
	at := 0
	for i := range ends {
		// One byte is the usual length, and the check keeps the sum far from overflow.
		l := uint64(0)
		if at < len(r.b) && r.b[at] < 0x80 {
			l = uint64(r.b[at])
			at++
		} else {
			v, k := binary.Uvarint(r.b[at:])
			if k <= 0 || v > MaxRaw {
				r.fail("bad length in a string list")
				return Strings{}
			}
			l, at = v, at+k
		}
		end += l
		if end > uint64(len(r.b)) {
			r.fail("a string list ends behind its place")
			return Strings{}
		}
		ends[i] = uint32(end)
	}
	r.b = r.b[at:]
	return Strings{ends: ends, data: r.take(int(end))}
}

// arena hands out slices of one allocation after another. reset makes all of them free.
type arena[T any] struct{ buf []T }

func (a *arena[T]) take(n int) []T {
	if cap(a.buf)-len(a.buf) < n {
		a.buf = make([]T, 0, max(n, 2*cap(a.buf), 1024))
	}
	at := len(a.buf)
	a.buf = a.buf[:at+n]
	return a.buf[at : at+n : at+n]
}

func (a *arena[T]) reset() { a.buf = a.buf[:0] }

// reader takes things off the front of b and keeps the first error; after it,
// everything reads as zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = corrupt(format, args...)
		r.b = nil
	}
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail("it ends too early")
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("bad number")
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// count reads a number of things that take at least size bytes each, so that a forged
// number makes nobody allocate more than the input warrants.
func (r *reader) count(size int) int {
	v := r.uvarint()
	if v > uint64(len(r.b)/size) {
		r.fail("%d things in %d bytes", v, len(r.b))
		return 0
	}
	return int(v)
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.fail("it ends too early")
		return nil
	}
	s := r.b[:n:n]
	r.b = r.b[n:]
	return s
}

// optional reads a name that may be empty.
func (r *reader) optional() string {
	s := r.take(r.count(1))
	if len(s) > schema.MaxNameBytes || !utf8.Valid(s) {
		r.fail("a name of %d bytes, or not UTF-8", len(s))
		return ""
	}
	return string(s)
}

// note reads where a list comes from.
func (r *reader) note() string {
	s := r.take(r.count(1))
	if len(s) > MaxNoteBytes || !utf8.Valid(s) {
		r.fail("a note of %d bytes, or not UTF-8", len(s))
	}
	return string(s)
}

// reference reads why somebody is erased.
func (r *reader) reference() string {
	s := r.take(r.count(1))
	if len(s) > MaxReference || !utf8.Valid(s) {
		r.fail("a reference of %d bytes, or not UTF-8", len(s))
	}
	return string(s)
}

// name reads the name of an attribute, a segment or a list.
func (r *reader) name() string {
	s := string(r.take(r.count(1)))
	if r.err == nil {
		if err := schema.CheckName(s); err != nil {
			r.fail("%v", err)
		}
	}
	return s
}

func (r *reader) change() (c schema.Change) {
	if len(r.b) > MaxChangeBytes {
		r.fail("a schema change of %d bytes", len(r.b))
		return c
	}
	c.Op = schema.ChangeOp(r.byte())
	c.Name, c.To, c.Event = r.optional(), r.optional(), r.optional()
	retention := r.uvarint()
	c.Retention, c.Class, c.Text = uint32(retention), schema.DataClass(r.byte()), string(r.take(r.count(1)))
	if retention > math.MaxUint32 {
		r.fail("a retention of %d days", retention)
	}
	if r.err == nil && c.Class > schema.Correspondence {
		r.err = query.Errorf(query.CodeNewerFormat, "data class %d in a batch is not known to this version", c.Class)
	}
	if r.err != nil {
		return c
	}
	a, n, err := schema.DecodeAttribute(r.b)
	switch {
	case errors.Is(err, schema.ErrNewerFormat):
		r.err = query.Errorf(query.CodeNewerFormat, "a schema change in a batch: %w", err)
	case err != nil:
		r.fail("a schema change: %v", err)
	case c.Op == 0 || a.ID != 0 && !c.Op.Adds():
		r.fail("a schema change of op %d, attribute id %d", c.Op, a.ID)
	default:
		r.b = r.b[n:]
	}
	c.ID, a.ID = a.ID, 0
	c.Attribute = a
	return c
}

// lineRuns reads the runs of an origin. No sum of them overflows.
func (r *reader) lineRuns() []LineRun {
	const most = 1 << 40 // lines of a source, and rows of a run
	n := r.count(2)
	if n == 0 {
		r.fail("an origin without rows")
	}
	runs, line := make([]LineRun, 0, n), uint64(0)
	for range n {
		rows, gap := r.uvarint(), r.uvarint()
		if line += gap; rows == 0 || rows > MaxRaw || gap > most || line > most {
			r.fail("a run of %d rows at line %d", rows, line)
			return nil
		}
		run := LineRun{int(rows), line}
		runs = append(runs, run)
		line = run.last()
	}
	return runs
}

func (r *reader) badRows() []BadRow {
	n := r.count(4)
	if n == 0 {
		r.fail("no quarantined rows")
		return nil
	}
	rows := make([]BadRow, n)
	for i := range rows {
		b := &rows[i]
		b.Line, b.Reason = r.uvarint(), Reason(r.byte())
		detail, raw := r.take(r.count(1)), r.take(r.count(1))
		if r.err == nil && (len(detail) > MaxDetail || len(raw) > MaxQuarantineRaw || b.Reason == ReasonNone) {
			r.fail("a quarantined row is too long or has no reason")
		}
		if r.err != nil {
			return nil
		}
		b.Detail, b.Raw = string(detail), string(raw)
	}
	return rows
}

package batch

import (
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// A payload is compressed when it is at least minCompress bytes and that saves a tenth.
const minCompress = 1 << 10

// Builder makes batches. Its methods add ops in order; the first misuse (an empty key,
// a value that no attribute can have) is kept and returned by [Builder.Encode].
// Strings, keys and names are normalised to NFC on the way in; the text of a segment or of
// a computed attribute is left as it is. A Builder belongs to one goroutine.
type Builder struct {
	source        string
	run, sequence uint64
	strict        bool

	ops    []byte // finished ops
	count  int    // of ops
	rows   int    // of finished ops
	cols   int    // of finished blocks
	cells  int    // of finished blocks
	open   *block // what rows are added to, or nil
	origin origin // of its rows
	row    Row
	single rowBlock // the block of Upsert

	body, block, tmp []byte // scratch: of an op, of a block, of a column
	err              error
}

// New returns an empty builder.
func New() *Builder {
	b := &Builder{}
	b.row.b = b
	b.single.code = OpUpsert
	return b
}

// Source names the batch for exactly-once: the same (source, run, sequence) is applied
// once, a repeat returns the first outcome. source has at most schema.MaxNameBytes.
// Without it the batch is applied as often as it is sent.
func (b *Builder) Source(name string, run, sequence uint64) {
	if name = nfcString(name); len(name) > schema.MaxNameBytes || name == "" || !utf8.ValidString(name) {
		b.fail("the source's name has 1 to %d bytes of UTF-8, not %d", schema.MaxNameBytes, len(name))
		return
	}
	b.source, b.run, b.sequence = name, run, sequence
}

// Strict refuses the whole batch where otherwise a row would be quarantined or refused.
func (b *Builder) Strict(on bool) { b.strict = on }

// Delete deletes profiles.
func (b *Builder) Delete(keys ...string) { b.keysOp(OpDelete, "", keys) }

// Erase erases people: their profiles are deleted, and their keys may not be written any
// more. reference may be "": it says why, such as the number of a ticket, and is kept for
// good, so it must not be personal.
func (b *Builder) Erase(reference string, keys ...string) {
	if len(reference) > MaxReference || !utf8.ValidString(reference) {
		b.fail("a reference has at most %d bytes of UTF-8, not %d", MaxReference, len(reference))
		return
	}
	b.keysOp(OpErase, reference, keys)
}

// Readmit lets people return who were erased.
func (b *Builder) Readmit(keys ...string) { b.keysOp(OpReadmit, "", keys) }

// ListPut makes a list consist of exactly these profiles.
func (b *Builder) ListPut(name string, keys ...string) { b.keysOp(OpListPut, name, keys) }

// ListAdd adds profiles to a list and creates it if need be.
func (b *Builder) ListAdd(name string, keys ...string) { b.keysOp(OpListAdd, name, keys) }

// ListRemove removes profiles from a list.
func (b *Builder) ListRemove(name string, keys ...string) { b.keysOp(OpListRemove, name, keys) }

// ListNote says where a list comes from, which must be there; the text is shortened to
// MaxNoteBytes.
func (b *Builder) ListNote(name, text string) {
	b.nameOp(OpListNote, name, shorten(text, MaxNoteBytes))
}

// ListDrop drops a list.
func (b *Builder) ListDrop(name string) { b.nameOp(OpListDrop, name) }

// SaveSegment saves an expression under a name, new or not.
func (b *Builder) SaveSegment(name, text string) { b.nameOp(OpSegmentSave, name, text) }

// ShareSegment marks a segment, which must be there, as one for all: under a policy it may be
// used by those too who may not name what it reads. A later SaveSegment takes the mark away.
func (b *Builder) ShareSegment(name string) { b.nameOp(OpSegmentShare, name) }

// DropSegment drops a saved segment.
func (b *Builder) DropSegment(name string) { b.nameOp(OpSegmentDrop, name) }

// Tick adds an op that only moves the received time.
func (b *Builder) Tick() { b.op(OpTick, nil, 0) }

// Change adds a step of the schema's evolution. Rows behind it may use it.
func (b *Builder) Change(c schema.Change) {
	c.Name, c.To, c.Attribute.Name, c.Event = nfcString(c.Name), nfcString(c.To), nfcString(c.Attribute.Name), nfcString(c.Event)
	c.Attribute.ID = c.ID
	body := append(b.body[:0], byte(c.Op))
	body = appendString(appendString(appendString(body, c.Name), c.To), c.Event)
	body = appendString(append(binary.AppendUvarint(body, uint64(c.Retention)), byte(c.Class)), c.Text)
	body = schema.AppendAttribute(body, &c.Attribute)
	b.body = body
	if c.ID != 0 && !c.Op.Adds() {
		b.fail("%s %q asks for the id %d: it adds nothing", c.Op, c.Name, c.ID)
	}
	if len(body) > MaxChangeBytes {
		b.limit("a schema change takes %d bytes, at most %d", len(body), MaxChangeBytes)
	}
	b.op(OpSchemaChange, body, 0)
}

// BadRow is a row of input that could not be typed. It goes into the quarantine.
type BadRow struct {
	Line   uint64 // of the source, from 1
	Reason Reason
	Detail string // column and value, for people; shortened to MaxDetail bytes
	Raw    string // as it came; shortened to MaxQuarantineRaw bytes
}

// Quarantine records rows that could not be typed. source is where they come from,
// such as a file's name.
func (b *Builder) Quarantine(source string, rows ...BadRow) {
	if len(rows) == 0 {
		return
	}
	body := appendString(b.body[:0], shorten(source, schema.MaxNameBytes))
	body = binary.AppendUvarint(body, uint64(len(rows)))
	for _, r := range rows {
		if r.Reason == ReasonNone {
			b.fail("a quarantined row has no reason")
		}
		body = append(binary.AppendUvarint(body, r.Line), byte(r.Reason))
		body = appendString(body, shorten(r.Detail, MaxDetail))
		body = appendString(body, shorten(r.Raw, MaxQuarantineRaw))
	}
	b.body = body
	b.op(OpQuarantined, body, len(rows))
}

// shorten returns s as UTF-8, cut at a character so that it has at most n bytes.
func shorten(s string, n int) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	if len(s) <= n {
		return s
	}
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// keysOp adds an op that is a list of keys: an erase has a reference, a list a name.
func (b *Builder) keysOp(code OpCode, name string, keys []string) {
	body := b.body[:0]
	switch code {
	case OpDelete, OpErase, OpReadmit:
		if len(keys) == 0 {
			return
		}
		if code == OpErase {
			body = appendString(body, name)
		}
	default:
		body = appendString(body, b.checkName(name))
	}
	var list stringList
	for _, k := range keys {
		list.add([]byte(b.checkKey(nfcString(k))))
	}
	body = binary.AppendUvarint(body, uint64(len(keys)))
	b.body = list.append(body)
	b.op(code, b.body, len(keys))
}

func (b *Builder) nameOp(code OpCode, name string, text ...string) {
	body := appendString(b.body[:0], b.checkName(name))
	for _, t := range text {
		body = appendString(body, t)
	}
	b.body = body
	b.op(code, body, 0)
}

func (b *Builder) checkName(name string) string {
	name = nfcString(name)
	var wrong *schema.ChangeError
	if errors.As(schema.CheckName(name), &wrong) {
		b.fail("%.150q: %s (%s)", name, wrong.Problem, wrong.Advice)
	}
	return name
}

func (b *Builder) checkKey(key string) string {
	if len(key) == 0 || len(key) > MaxKeyBytes {
		b.fail("a key has 1 to %d bytes, not %d", MaxKeyBytes, len(key))
	}
	return key
}

// op closes the open block and appends a finished op.
func (b *Builder) op(code OpCode, body []byte, rows int) {
	b.flush()
	b.appendOp(code, body, rows)
}

func (b *Builder) appendOp(code OpCode, body []byte, rows int) {
	b.ops = append(b.ops, byte(code))
	b.ops = appendString(b.ops, body)
	b.count++
	b.rows += rows
}

// use makes bl the open block.
func (b *Builder) use(bl *block) {
	if b.open != bl {
		b.flush()
		b.open = bl
	}
}

// flush finishes the open block, if there is one.
func (b *Builder) flush() {
	bl := b.open
	if bl == nil {
		return
	}
	b.open = nil
	if n := bl.rows(); n > 0 {
		b.appendOrigin(n)
		// Not b.body: that may hold the op that made this flush necessary.
		body, cols, cells, err := bl.append(b.block[:0], &b.tmp)
		b.block = body
		if err != nil && b.err == nil {
			b.err = err
		}
		b.cols, b.cells = b.cols+cols, b.cells+cells
		b.appendOp(bl.code, body, n)
	}
	bl.reset()
}

// Rows returns how many rows the batch has so far; see the package comment for what counts.
func (b *Builder) Rows() int {
	if b.open != nil {
		return b.rows + b.open.rows()
	}
	return b.rows
}

// RawSize returns how many bytes the payload has so far before compression, never too
// few. It costs a few ns per column. A batch that is cut at [SafeRaw] always encodes.
func (b *Builder) RawSize() int {
	size := b.envelopeSize() + len(b.ops)
	if b.open != nil {
		size += b.open.size() + b.origin.size()
	}
	return size
}

func (b *Builder) envelopeSize() int {
	return stringSize([]byte(b.source)) + uvarintLen(b.run) + uvarintLen(b.sequence) + binary.MaxVarintLen32
}

// Encode returns the batch so far, which belongs to the caller; the builder may go on.
// It fails with CodeInvalid on the first misuse and with CodeLimit when the batch is
// over [MaxRaw], [MaxStored], [MaxOps], [MaxColumns] or [MaxCells].
func (b *Builder) Encode() (Batch, error) {
	b.flush()
	if b.err != nil {
		return nil, b.err
	}
	raw := appendString(b.body[:0], b.source)
	raw = binary.AppendUvarint(raw, b.run)
	raw = binary.AppendUvarint(raw, b.sequence)
	raw = binary.AppendUvarint(raw, uint64(b.count))
	raw = append(raw, b.ops...)
	b.body = raw
	if len(raw) > MaxRaw {
		return nil, tooLarge("the batch has %d bytes, at most %d", len(raw), MaxRaw)
	}
	if b.cells > MaxCells || b.cols > MaxColumns || b.count > MaxOps {
		return nil, tooLarge("the batch has %d cells in %d columns and %d ops; at most %d, %d and %d",
			b.cells, b.cols, b.count, MaxCells, MaxColumns, MaxOps)
	}
	out, codec, err := pack(raw)
	if err != nil {
		return nil, err
	}
	if stored := len(out) - headerSize; stored > MaxStored {
		return nil, tooLarge("the batch takes %d bytes compressed, at most %d", stored, MaxStored)
	}
	sealHeader(out, codec, b.strict, len(raw))
	return out, nil
}

// pack returns room for the header and the payload behind it, compressed if it pays.
func pack(raw []byte) (out []byte, codec uint8, err error) {
	if len(raw) >= minCompress {
		enc, err := encoder()
		if err != nil {
			return nil, 0, query.Errorf(query.CodeInternal, "zstd: %w", err)
		}
		out = enc.EncodeAll(raw, make([]byte, headerSize, headerSize+len(raw)/2))
		if len(out)-headerSize <= len(raw)-len(raw)/10 {
			return out, codecZstd, nil
		}
	}
	return append(make([]byte, headerSize, headerSize+len(raw)), raw...), codecNone, nil
}

// encoder returns the one zstd encoder, which keeps a pool of workers of its own. The
// batch has its own checksum, so zstd's is left out.
//
//tidy:constant
var encoder = sync.OnceValues(func() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
})

// Reset empties the builder, as if new, and keeps its memory. Tables stay usable.
func (b *Builder) Reset() {
	if b.open != nil {
		b.open.reset()
		b.open = nil
	}
	b.origin.reset()
	b.source, b.run, b.sequence, b.strict = "", 0, 0, false
	b.ops, b.count, b.rows, b.cols, b.cells, b.err = b.ops[:0], 0, 0, 0, 0, nil
}

func (b *Builder) fail(format string, args ...any) {
	if b.err == nil {
		b.err = query.Errorf(query.CodeInvalid, format, args...)
	}
}

func (b *Builder) limit(format string, args ...any) {
	if b.err == nil {
		b.err = tooLarge(format, args...)
	}
}

func tooLarge(format string, args ...any) error {
	err := query.Errorf(query.CodeLimit, format, args...)
	err.Hint = "make several smaller batches"
	return err
}

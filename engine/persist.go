package engine

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Names of the store's pieces of state (see package keys).
const (
	metaState = "state"
	metaFirst = "first-ordinal"
)

// Limits of the quarantine: it is for looking at and correcting, not an archive.
const (
	maxQuarantine    = 100_000        // rows; the oldest go
	quarantineMaxAge = 90 * 86400_000 // milliseconds of received time
)

// writeState stores the position and what goes with it. Format of the payload, version
// 1: version byte, then uvarints epoch, applied, end ordinal, received time, first and
// next quarantine number, then the 16 bytes of the chain hash.
func (w *writer) writeState(kb *kv.Batch) {
	b := []byte{1}
	for _, v := range []uint64{w.pos.Epoch, w.pos.Applied, uint64(w.end), uint64(w.received), w.badRows.first, w.badRows.next} {
		b = binary.AppendUvarint(b, v)
	}
	kb.Set(keys.Meta(metaState), kv.Seal(nil, append(b, w.chain[:]...)))
}

func (w *writer) readState(b []byte) error {
	damaged := query.Errorf(query.CodeCorrupt, "the store's state record is damaged")
	if len(b) == 0 {
		return damaged
	}
	if b[0] != 1 {
		return query.Errorf(query.CodeNewerFormat, "the store's state record has version %d", b[0])
	}
	b = b[1:]
	var v [6]uint64
	for i := range v {
		x, n := binary.Uvarint(b)
		if n <= 0 {
			return damaged
		}
		v[i], b = x, b[n:]
	}
	if len(b) != len(w.chain) {
		return damaged
	}
	w.pos = query.Position{Epoch: v[0], Applied: v[1]}
	w.end, w.received, w.badRows = uint32(v[2]), int64(v[3]), quarantineRange{v[4], v[5]}
	copy(w.chain[:], b)
	return nil
}

func (w *writer) persistMeta(m *metaChanges, kb *kv.Batch) {
	if m.schema != nil {
		kb.Set(keys.Schema(), kv.Seal(nil, schema.AppendSchema(nil, m.schema)))
	}
	for _, name := range slices.Sorted(maps.Keys(m.segments)) {
		if s := m.segments[name]; s == nil {
			kb.Delete(keys.Segment(name))
		} else {
			kb.Set(keys.Segment(name), kv.Seal(nil, appendSegment(nil, s)))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.lists)) {
		if l := m.lists[name]; l == nil {
			kb.Delete(keys.List(name))
		} else {
			b := binary.AppendUvarint(appendPosition(nil, l.saved), uint64(l.code))
			kb.Set(keys.List(name), kv.Seal(nil, b))
		}
	}
	for _, id := range m.dropped {
		kb.DeleteRange(keys.DictOf(uint32(id)))
	}
}

func appendPosition(dst []byte, p query.Position) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(dst, p.Epoch), p.Applied)
}

func appendSegment(dst []byte, s *segment) []byte {
	dst = appendPosition(dst, s.saved)
	dst = binary.AppendUvarint(dst, uint64(len(s.uses)))
	for _, u := range s.uses {
		dst = append(binary.AppendUvarint(dst, uint64(len(u))), u...)
	}
	return append(dst, s.text...)
}

// fields reads uvarints and strings off the front of a payload.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) number() uint64 {
	v, n := binary.Uvarint(f.b)
	if n <= 0 {
		f.bad, f.b = true, nil
		return 0
	}
	f.b = f.b[n:]
	return v
}

func (f *fields) text() string {
	n := f.number()
	if n > uint64(len(f.b)) {
		f.bad, f.b = true, nil
		return ""
	}
	s := string(f.b[:n])
	f.b = f.b[n:]
	return s
}

func (f *fields) position() query.Position {
	return query.Position{Epoch: f.number(), Applied: f.number()}
}

func (f *fields) err(what string) error {
	if f.bad {
		return query.Errorf(query.CodeCorrupt, "%s is damaged", what)
	}
	return nil
}

func readSegment(b []byte) (*segment, error) {
	f := fields{b: b}
	s := &segment{saved: f.position()}
	for n := f.number(); n > 0 && !f.bad; n-- {
		s.uses = append(s.uses, f.text())
	}
	s.text = string(f.b)
	return s, f.err("a saved segment")
}

func readList(b []byte) (*list, error) {
	f := fields{b: b}
	l := &list{saved: f.position(), code: uint32(f.number())}
	return l, f.err("a list")
}

// persistQuarantine stores rows that were not applied, and lets the oldest go.
func (w *writer) persistQuarantine(out *decision, kb *kv.Batch) {
	for _, r := range out.bad {
		b := binary.AppendUvarint(nil, uint64(w.received))
		b = binary.AppendUvarint(b, r.Line)
		b = append(b, byte(r.Reason))
		for _, s := range []string{r.source, r.Detail, r.Raw} {
			b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
		}
		kb.Set(keys.Quarantine(w.badRows.next), kv.Seal(nil, b))
		w.badRows.next++
	}
	if n := w.badRows.next - w.badRows.first; n > uint64(w.db.opt.limits.quarantine) {
		first := w.badRows.next - uint64(w.db.opt.limits.quarantine)
		kb.DeleteRange(keys.Span{Start: keys.Quarantine(w.badRows.first), End: keys.Quarantine(first)})
		w.badRows.first = first
	}
}

// readQuarantined is the inverse for one row; received is in milliseconds since 1970.
func readQuarantined(seq uint64, b []byte) (row query.QuarantinedRow, received int64, err error) {
	f := fields{b: b}
	received = int64(f.number())
	row = query.QuarantinedRow{Seq: seq, Line: f.number()}
	if len(f.b) == 0 {
		f.bad = true
	} else {
		row.Reason = batch.Reason(f.b[0]).String()
		f.b = f.b[1:]
	}
	row.Source, row.Detail, row.Raw = f.text(), f.text(), f.text()
	return row, received, f.err("a quarantined row")
}

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
			kb.Set(keys.List(name), kv.Seal(nil, append(b, l.note...)))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(m.definitions)) {
		d := m.definitions[key]
		if at := keys.Definition(d.Analysis, d.Name); d.dropped {
			kb.Delete(at)
		} else {
			kb.Set(at, kv.Seal(nil, appendDefinition(nil, d.definition)))
		}
	}
	m.persistDocuments(kb)
	for _, id := range m.dropped {
		kb.DeleteRange(keys.DictOf(uint32(id)))
	}
}

func appendPosition(dst []byte, p query.Position) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(dst, p.Epoch), p.Applied)
}

// The flags of a saved segment. One that has any begins with 0, which no epoch is, and them.
// Behind them stands its owner, if it has one: strings id, name and role.
const (
	segmentShared = 1
	segmentOwned  = 2
)

func appendSegment(dst []byte, s *segment) []byte {
	flags := byte(0)
	if s.shared {
		flags |= segmentShared
	}
	if s.owner.ID != "" {
		flags |= segmentOwned
	}
	if flags != 0 {
		dst = append(dst, 0, flags)
	}
	if s.owner.ID != "" {
		for _, text := range [...]string{s.owner.ID, s.owner.Name, s.owner.Role} {
			dst = append(binary.AppendUvarint(dst, uint64(len(text))), text...)
		}
	}
	dst = appendPosition(dst, s.saved)
	dst = binary.AppendUvarint(dst, uint64(len(s.uses)))
	for _, u := range s.uses {
		dst = append(binary.AppendUvarint(dst, uint64(len(u))), u...)
	}
	return append(dst, s.text...)
}

func takePosition(r *kv.Reader) query.Position {
	return query.Position{Epoch: r.Uvarint(), Applied: r.Uvarint()}
}

// damaged returns an error if something was not there.
func damaged(r *kv.Reader, what string) error {
	if r.Bad {
		return query.Errorf(query.CodeCorrupt, "%s is damaged", what)
	}
	return nil
}

func readSegment(b []byte) (*segment, error) {
	r := kv.Reader{B: b}
	s := &segment{}
	if len(b) > 1 && b[0] == 0 {
		if r.B = b[2:]; b[1]&^(segmentShared|segmentOwned) != 0 || b[1] == 0 {
			return nil, query.Errorf(query.CodeNewerFormat, "a saved segment has the flags %#x, which this version does not know", b[1])
		}
		s.shared = b[1]&segmentShared != 0
		if b[1]&segmentOwned != 0 {
			s.owner = query.Author{ID: r.Text(), Name: r.Text(), Role: r.Text()}
			r.Bad = r.Bad || s.owner.ID == ""
		}
	}
	s.saved = takePosition(&r)
	for n := r.Uvarint(); n > 0 && !r.Bad; n-- {
		s.uses = append(s.uses, r.Text())
	}
	s.text = string(r.B)
	r.Bad = r.Bad || s.saved.Epoch == 0
	return s, damaged(&r, "a saved segment")
}

func readList(b []byte) (*list, error) {
	r := kv.Reader{B: b}
	l := &list{saved: takePosition(&r), code: uint32(r.Uvarint())}
	l.note = string(r.B)
	return l, damaged(&r, "a list")
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
		w.group.takes = true
	}
}

// readQuarantined is the inverse for one row; received is in milliseconds since 1970.
func readQuarantined(seq uint64, b []byte) (row query.QuarantinedRow, received int64, err error) {
	r := kv.Reader{B: b}
	received = int64(r.Uvarint())
	row = query.QuarantinedRow{Seq: seq, Line: r.Uvarint()}
	row.Reason = batch.Reason(r.Byte()).String()
	row.Source, row.Detail, row.Raw = r.Text(), r.Text(), r.Text()
	return row, received, damaged(&r, "a quarantined row")
}

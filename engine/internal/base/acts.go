package base

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/kantadb/kanta/engine/internal/digest"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/index/timeline"
	"github.com/kantadb/kanta/query"
)

// ActUnit is one generation of one event type's parts in one shard. A new generation
// shares the parts that stay. What it says is immutable; what it has loaded lives in the
// cache. Safe for concurrent use.
//
// Its manifest is sealed and says:
//
//	1 byte    version: 1
//	uvarint   folded: the position up to which the log's events are in the parts
//	uvarint   the number that the next part, or the next facts, get
//	16 bytes  the content sum of all events in the parts, those of the dead too
//	16 bytes  the replica sum
//	uvarint   events dropped so far, as they were past their retention
//	uvarint   number of parts; for each
//	  varint    first day of its partition
//	  1 byte    days of the partition
//	  uvarint   its number
//	  uvarint   events
//	  uvarint   rows
//	  varint    first time, in ms since 1970
//	  uvarint   last time - first time
//	  uvarint   bytes
//	  uvarint   on which days it has events: bit i tells of day i of its partition
//	  uvarint   bytes of what is kept of these
//	  1 byte    1 if it is summed: its events are in the facts; else 0
//	uvarint   number of the facts; if it is 0, there are none, and nothing follows
//	varint    day: events before it are not in the facts
//	uvarint   bytes
//	32 bytes  which blocks there are: bit i%8 of byte i/8 tells of block i
//	uvarint   number of properties, at most 64; for each: uvarint id
type ActUnit struct {
	ID      keys.Acts
	Folded  uint64
	Next    uint64 // number of the next part, or facts
	Content digest.Sum
	Replica digest.Sum
	Dropped uint64     // events that were past their retention and have been dropped so far
	Parts   []*ActPart // by partition, then number
	Facts   *ActFacts  // nil: there are none

	summed map[uint64]bool // numbers of the parts whose events are in Facts
}

// ActPart is a stored part.
type ActPart struct {
	ID          keys.Part
	Events      uint64
	First, Last int64 // times, in ms
	Bytes       int64
	DayBytes    int64 // of what is kept of its days

	cache  *Cache
	source slot[timeline.Source]
	rows   rowSlots
	days   uint32         // those of the partition with events
	slots  []slot[ActDay] // by day of the partition
}

const actsVersion = 1

func (u *ActUnit) manifest() []byte {
	b := binary.AppendUvarint([]byte{actsVersion}, u.Folded)
	b = binary.AppendUvarint(b, u.Next)
	b = u.Replica.Append(u.Content.Append(b))
	b = binary.AppendUvarint(binary.AppendUvarint(b, u.Dropped), uint64(len(u.Parts)))
	for _, p := range u.Parts {
		b = append(binary.AppendVarint(b, int64(p.ID.FirstDay)), p.ID.Days)
		for _, v := range []uint64{p.ID.Number, p.Events, uint64(p.rows.n)} {
			b = binary.AppendUvarint(b, v)
		}
		b = binary.AppendUvarint(binary.AppendVarint(b, p.First), uint64(p.Last-p.First))
		for _, v := range []uint64{uint64(p.Bytes), uint64(p.days), uint64(p.DayBytes)} {
			b = binary.AppendUvarint(b, v)
		}
		if u.IsSummed(p) {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	return kv.Seal(nil, u.appendFacts(b))
}

// OpenActUnit reads a unit from its manifest.
func OpenActUnit(id keys.Acts, sealed []byte, cache *Cache) (*ActUnit, error) {
	name := fmt.Sprintf("manifest of event %d, shard %d", id.Event, id.Shard)
	r, err := kv.NewReader(sealed, actsVersion)
	if err != nil {
		return nil, kv.Damaged(name, err, nil, nil)
	}
	corrupt := query.Errorf(query.CodeCorrupt, "%s is damaged", name)
	u := &ActUnit{ID: id, Folded: r.Uvarint(), Next: r.Uvarint(), Content: takeSum(&r), Replica: takeSum(&r), Dropped: r.Uvarint(), summed: map[uint64]bool{}}
	for n := r.Uvarint(); n > 0 && !r.Bad; n-- {
		day := r.Varint()
		p := &ActPart{cache: cache, ID: keys.Part{FirstDay: int32(day), Days: r.Byte(), Event: id.Event, Shard: id.Shard, Number: r.Uvarint()}}
		p.Events = r.Uvarint()
		rows := r.Uvarint()
		p.First = r.Varint()
		p.Last = p.First + int64(r.Uvarint())
		p.Bytes = int64(r.Uvarint())
		days := r.Uvarint()
		p.DayBytes = int64(r.Uvarint())
		summed := r.Byte()
		last := len(u.Parts) - 1
		if r.Bad || summed > 1 || day != int64(p.ID.FirstDay) || rows > math.MaxInt32 || p.Last < p.First || p.ID.Days > timeline.SpanDays || days == 0 || days>>p.ID.Days != 0 ||
			p.ID.Number >= u.Next || last >= 0 && compareParts(u.Parts[last], p) >= 0 {
			return nil, corrupt
		}
		p.rows.n = int(rows)
		p.days, p.slots = uint32(days), make([]slot[ActDay], p.ID.Days)
		u.Parts = append(u.Parts, p)
		if summed == 1 {
			u.summed[p.ID.Number] = true
		}
	}
	u.takeFacts(&r, cache)
	if r.Bad || len(r.B) != 0 {
		return nil, corrupt
	}
	return u, nil
}

// takeSum takes a sum off the front of a payload.
func takeSum(r *kv.Reader) digest.Sum {
	if b := r.Take(digest.Size); b != nil {
		return digest.FromBytes(b)
	}
	return digest.Sum{}
}

func compareParts(a, b *ActPart) int {
	return cmp.Or(cmp.Compare(a.ID.FirstDay, b.ID.FirstDay), cmp.Compare(a.ID.Days, b.ID.Days), cmp.Compare(a.ID.Number, b.ID.Number))
}

// Partition returns the part's time.
func (p *ActPart) Partition() timeline.Partition {
	return timeline.Partition{First: p.ID.FirstDay, Days: int32(p.ID.Days)}
}

// Source returns the part for reading: its header is loaded, rows are when they are read.
func (p *ActPart) Source() (timeline.Source, error) {
	if s := p.source.get(); s != nil {
		return *s, nil
	}
	var h *timeline.Part
	ok, err := p.cache.store.View(p.ID.Row(keys.Header, 0), func(v []byte) (err error) {
		h, err = timeline.Open(v)
		return err
	})
	if err == nil && (!ok || h.Rows() != p.rows.n || uint64(h.Len()) != p.Events) {
		err = query.Errorf(query.CodeCorrupt, "it is missing, or not the one that the manifest names")
	}
	if err != nil {
		return timeline.Source{}, p.damaged("header", err)
	}
	s := &timeline.Source{Part: h, Row: func(i int) ([]byte, error) { return p.row(h, i) }}
	keep(p.cache, &p.source, s, int64(h.MemBytes()))
	return *s, nil
}

// LongRow is from how many bytes on a row of a part is counted while it is read: shorter ones
// are part of what every question works in.
const LongRow = 256 << 10

func (p *ActPart) row(h *timeline.Part, i int) ([]byte, error) {
	s := p.rows.at(i)
	if b := s.get(); b != nil {
		return *b, nil
	}
	var row []byte
	ok, err := p.cache.load(p.ID.Row(keys.Piece, uint32(i)), h.RowSize(i) >= LongRow, func(v []byte) error {
		row = append(make([]byte, 0, len(v)), v...)
		return h.Verify(i, row)
	})
	if err == nil && !ok {
		err = query.Errorf(query.CodeCorrupt, "it is missing")
	}
	if err != nil {
		return nil, p.damaged(fmt.Sprintf("row %d", i), err)
	}
	keep(p.cache, s, &row, int64(len(row))+64)
	return row, nil
}

func (p *ActPart) damaged(what string, err error) error {
	return kv.Damaged(fmt.Sprintf("%s of part %d of event %d, shard %d, day %d", what, p.ID.Number, p.ID.Event, p.ID.Shard, p.ID.FirstDay), err, timeline.ErrCorrupt, timeline.ErrNewerFormat)
}

// forget returns the part's slots that have something, emptied.
func (p *ActPart) forget(gone map[any]bool) {
	p.source.empty(gone)
	emptySlots(p.rows.all(), gone)
	emptySlots(p.slots, gone)
}

// ForgetParts takes parts that are gone out of the cache.
func (c *Cache) ForgetParts(parts []*ActPart) {
	gone := map[any]bool{}
	for _, p := range parts {
		p.forget(gone)
	}
	c.remove(gone)
}

// OpenActs finds the newest generation of every event type and shard, and the spans of
// older ones, which a crash kept from being deleted.
func OpenActs(ctx context.Context, store *kv.Store, cache *Cache) (units []*ActUnit, old []keys.Span, err error) {
	err = store.Scan(ctx, keys.AllActs(), func(k, v []byte) (bool, error) {
		id, ok := keys.ParseActs(k)
		if !ok {
			return false, query.Errorf(query.CodeCorrupt, "a key among the manifests of events is none")
		}
		if last := len(units) - 1; last >= 0 && units[last].ID.Event == id.Event && units[last].ID.Shard == id.Shard {
			old = append(old, id.Span())
			return true, nil
		}
		u, err := OpenActUnit(id, v, cache)
		if err == nil {
			units = append(units, u)
		}
		return true, err
	})
	return units, old, err
}

// Spans returns the keys of the unit, of its parts and of its facts.
func (u *ActUnit) Spans() []keys.Span {
	out := []keys.Span{u.ID.Span()}
	for _, p := range u.Parts {
		out = append(out, p.ID.Span())
	}
	if u.Facts != nil {
		out = append(out, u.Facts.ID.Span())
	}
	return out
}

// Window returns the parts that may have events with from <= time < to.
func (u *ActUnit) Window(from, to int64, dst []*ActPart) []*ActPart {
	for _, p := range u.Parts {
		if p.First < to && p.Last >= from {
			dst = append(dst, p)
		}
	}
	return dst
}

package base

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/kantadb/kanta/engine/internal/digest"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/index/timeline"
	"github.com/kantadb/kanta/query"
)

// ActDay is what is kept of one UTC day of a part beside its events: derived from them, for
// questions, and so that a day that is past its retention can be taken out of the sums
// without reading it. It is immutable.
//
// Its stored form is sealed:
//
//	1 byte    version: 1
//	uvarint   number of events
//	16 bytes  their content sum, those of the dead too
//	16 bytes  their replica sum
//	          the presence of package timeline
type ActDay struct {
	Day              int32
	Events           uint64
	Content, Replica digest.Sum
	Presence         *timeline.Presence
}

const actDayVersion = 1

// sealDay returns the stored form of a day.
func sealDay(d *timeline.PartDay, content, replica digest.Sum) []byte {
	b := binary.AppendUvarint([]byte{actDayVersion}, d.Events)
	return kv.Seal(nil, append(replica.Append(content.Append(b)), d.Presence...))
}

// decodeDay is the inverse, into memory of its own.
func decodeDay(day int32, sealed []byte) (*ActDay, error) {
	r, err := kv.NewReader(sealed, actDayVersion)
	if err != nil {
		return nil, err
	}
	d := &ActDay{Day: day, Events: r.Uvarint(), Content: takeSum(&r), Replica: takeSum(&r)}
	if r.Bad || d.Events == 0 {
		return nil, query.Errorf(query.CodeCorrupt, "it ends early, or has no events")
	}
	d.Presence, err = timeline.DecodePresence(r.B)
	return d, err
}

// DaysBetween returns on how many days from first to last the part has events.
func (p *ActPart) DaysBetween(first, last int32) int {
	end := p.ID.FirstDay + int32(p.ID.Days) - 1
	if first, last = max(first, p.ID.FirstDay), min(last, end); last < first {
		return 0
	}
	return bits.OnesCount32(p.days >> (first - p.ID.FirstDay) << (31 - (last - first)))
}

// Days returns on how many days the part has events.
func (p *ActPart) Days() int { return bits.OnesCount32(p.days) }

// EachDay calls f with the days of the part, from first to last, on which it has events.
func (p *ActPart) EachDay(first, last int32, f func(d *ActDay) error) error {
	for rest := p.days; rest != 0; rest &= rest - 1 {
		at := bits.TrailingZeros32(rest)
		if day := p.ID.FirstDay + int32(at); day < first || day > last {
			continue
		}
		d, err := p.day(at)
		if err != nil {
			return err
		}
		if err := f(d); err != nil {
			return err
		}
	}
	return nil
}

// day returns what is kept of a day, by its number within the partition.
func (p *ActPart) day(at int) (*ActDay, error) {
	s := &p.slots[at]
	if d := s.get(); d != nil {
		return d, nil
	}
	var d *ActDay
	day := p.ID.FirstDay + int32(at)
	ok, err := p.cache.store.View(p.ID.Row(keys.Day, uint32(at)), func(v []byte) (err error) {
		d, err = decodeDay(day, v)
		return err
	})
	if err == nil && !ok {
		err = query.Errorf(query.CodeCorrupt, "it is missing")
	}
	if err != nil {
		return nil, p.damaged(fmt.Sprintf("what is kept of day %d", day), err)
	}
	keep(p.cache, s, d, int64(d.Presence.MemBytes())+128)
	return d, nil
}

// CheckDays compares what is kept of the part's days with what was found in its events,
// and the sums of each.
func (p *ActPart) CheckDays(found []timeline.PartDay, sums func(day int32) (content, replica digest.Sum)) error {
	days := uint32(0)
	for i := range found {
		d := &found[i]
		at := d.Day - p.ID.FirstDay
		days |= 1 << at
		content, replica := sums(d.Day)
		stored, err := p.cache.store.Get(p.ID.Row(keys.Day, uint32(at)))
		if err != nil {
			return err
		}
		if string(stored) != string(sealDay(d, content, replica)) {
			if _, err := decodeDay(d.Day, stored); err != nil {
				return p.damaged(fmt.Sprintf("what is kept of day %d", d.Day), err)
			}
			return fmt.Errorf("what is kept of day %d is not that of its events", d.Day)
		}
	}
	if days != p.days {
		return errors.New("the manifest names other days than its events have")
	}
	return nil
}

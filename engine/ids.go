package engine

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/index/schema"
)

// eventIDs tells which ids of events have been seen: an id is unique per source and UTC
// day of the event. They are keyed by 128 bits of hash; a value is 64 bits of the content.
type eventIDs struct {
	kv      *kv.Store
	seed    uint64
	pending map[eventID]uint64 // claimed by this commit group
}

// eventID is a day and the hash of (source, id).
type eventID struct {
	day    int32
	hi, lo uint64
}

// idOf hashes an id, with its source, under the store's seed.
func (x *eventIDs) idOf(source string, day int32, id []byte) eventID {
	b := binary.AppendUvarint(nil, uint64(len(source)))
	b = append(append(b, source...), id...)
	var h xxhash.Digest
	h.ResetWithSeed(x.seed)
	_, _ = h.Write(b)
	lo := h.Sum64()
	h.ResetWithSeed(x.seed ^ 0x9e3779b97f4a7c15)
	_, _ = h.Write(b)
	return eventID{day, h.Sum64(), lo}
}

// claim takes an id for an event of a batch, or returns the content of the event that has it.
func (x *eventIDs) claim(d *decider, source string, day int32, id []byte, content uint64) (first uint64, seen bool, err error) {
	key := x.idOf(source, day, id)
	for _, claimed := range []map[eventID]uint64{d.claimed, x.pending} {
		if first, seen = claimed[key]; seen {
			return first, true, nil
		}
	}
	stored, err := x.kv.GetSealed(keys.EventID(day, key.hi, key.lo))
	if err != nil {
		return 0, false, err
	}
	if len(stored) == 8 {
		return binary.LittleEndian.Uint64(stored), true, nil
	}
	if d.claimed == nil {
		d.claimed = map[eventID]uint64{}
	}
	d.claimed[key] = content
	return 0, false, nil
}

// persist writes what a batch has claimed. It is found in the store when the group is
// committed, and in pending before.
func (x *eventIDs) persist(claimed map[eventID]uint64, kb *kv.Batch) {
	for id, content := range claimed {
		kb.Set(keys.EventID(id.day, id.hi, id.lo), kv.Seal(nil, binary.LittleEndian.AppendUint64(nil, content)))
		if x.pending == nil {
			x.pending = map[eventID]uint64{}
		}
		x.pending[id] = content
	}
}

// committed forgets what is pending.
func (x *eventIDs) committed() { clear(x.pending) }

// eventContent is what an event with an id is compared by when the id comes again.
func eventContent(ord uint32, event schema.EventID, time, hash int64) uint64 {
	var b [24]byte
	binary.LittleEndian.PutUint32(b[0:], ord)
	binary.LittleEndian.PutUint32(b[4:], uint32(event))
	binary.LittleEndian.PutUint64(b[8:], uint64(time))
	binary.LittleEndian.PutUint64(b[16:], uint64(hash))
	return xxhash.Sum64(b[:])
}

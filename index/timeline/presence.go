package timeline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/kantadb/kanta/index/bitmap"
)

// Presence is who of a shard has an event of a part on one UTC day, and in which slot of
// the day the last is: so a window that begins within the day is answered without its
// events, but for those whose last event is in the slot in which it begins. (Of one that
// ends within the day, those are left whose last event is later.) It never changes and is
// safe for concurrent use.
type Presence struct {
	who    *bitmap.Fragment
	last   []uint8 // the slot, by rank in who
	starts [bitmap.ShardChunks]uint32
}

// SlotMillis is the length of a slot: 240 of them are a day, and fit a byte. With ten
// minutes nothing would be smaller, and more people would have to be looked up.
const SlotMillis int64 = 6 * 60_000

const (
	presenceMagic   = "KNTY"
	presenceVersion = 1
	presenceFixed   = 16 // bytes before the fragment
)

// PartDay is what a [Builder] has found out about a day of its part that has events.
type PartDay struct {
	Day      int32
	Events   uint64
	Presence []byte // its stored form
}

// dayBuilder takes in the events of one day, by profile, then time.
type dayBuilder struct {
	events uint64
	last   []uint32 // of each profile the slot of its last event: profile << 8 | slot
}

func (b *dayBuilder) add(profile uint32, ms int64) {
	b.events++
	entry := profile<<8 | uint32(ms/SlotMillis)
	if n := len(b.last); n > 0 && b.last[n-1]>>8 == profile {
		b.last[n-1] = entry
		return
	}
	b.last = append(b.last, entry)
}

// presence returns the stored form; the profiles ascend.
func (b *dayBuilder) presence() []byte {
	profiles := make([]uint32, len(b.last))
	for i, entry := range b.last {
		profiles[i] = entry >> 8
	}
	dst := append(append([]byte(presenceMagic), presenceVersion), make([]byte, presenceFixed-5)...)
	dst, err := bitmap.EncodeOrdinals(dst, profiles)
	if err != nil {
		panic(err) //tidy:invariant the builder has checked their order
	}
	binary.LittleEndian.PutUint32(dst[12:], uint32(len(dst)-presenceFixed))
	for _, entry := range b.last {
		dst = append(dst, uint8(entry))
	}
	binary.LittleEndian.PutUint32(dst[8:], checksum(dst))
	return dst
}

// DecodePresence reads what a [Builder] made of a day, into memory of its own. The error is
// an [ErrCorrupt] or an [ErrNewerFormat].
func DecodePresence(b []byte) (*Presence, error) {
	if len(b) < presenceFixed || string(b[:4]) != presenceMagic {
		return nil, corrupt("no presence")
	}
	if b[4] > presenceVersion {
		return nil, fmt.Errorf("%w: presence of version %d", ErrNewerFormat, b[4])
	}
	if checksum(b) != binary.LittleEndian.Uint32(b[8:]) {
		return nil, corrupt("checksum of presence")
	}
	size := binary.LittleEndian.Uint32(b[12:])
	if b[4] != presenceVersion || b[5]|b[6]|b[7] != 0 || uint64(size) > uint64(len(b)-presenceFixed) {
		return nil, corrupt("header of presence")
	}
	who, err := bitmap.DecodeFragment(b[presenceFixed : presenceFixed+size])
	if errors.Is(err, bitmap.ErrNewerFormat) {
		return nil, fmt.Errorf("%w: presence: %v", ErrNewerFormat, err)
	}
	if err != nil {
		return nil, corrupt("presence: %v", err)
	}
	p := &Presence{who: who, last: append([]uint8(nil), b[presenceFixed+size:]...)}
	if len(p.last) != who.Total() {
		return nil, corrupt("presence: %d slots of %d profiles", len(p.last), who.Total())
	}
	for _, slot := range p.last {
		if int64(slot) >= msPerDay/SlotMillis {
			return nil, corrupt("presence: slot %d", slot)
		}
	}
	at := uint32(0)
	for chunk := range p.starts {
		p.starts[chunk] = at
		at += uint32(who.Count(chunk))
	}
	return p, nil
}

// Chunk returns who of a chunk of the shard has an event on the day.
func (p *Presence) Chunk(chunk int) bitmap.Set { return p.who.Chunk(chunk) }

// MemBytes returns how many bytes of memory it takes.
func (p *Presence) MemBytes() int { return p.who.MemBytes() + len(p.last) + 128 }

// Between adds to sure who of a chunk has an event with from <= time < to, in ms of the day,
// and to maybe who may have one: that takes the events to know.
func (p *Presence) Between(chunk int, from, to int64, sure, maybe *bitmap.Words) {
	early := from / SlotMillis                    // whose last event is before this slot has none
	least := (from + SlotMillis - 1) / SlotMillis // that of these slots is in the window
	end := to / SlotMillis
	last := p.last[p.starts[chunk]:][:p.who.Count(chunk)]
	var in, open [bitmap.RankWords]uint64 // by rank
	n := (len(last) + 63) / 64
	if least < end {
		bitmap.BetweenU8(last, uint8(least), uint8(end-1), in[:n])
	}
	bitmap.BetweenU8(last, uint8(early), math.MaxUint8, open[:n])
	for i := range n {
		open[i] &^= in[i]
	}
	switch set := p.who.Chunk(chunk); set.Form {
	case bitmap.Sparse:
		for i, o := range set.Array {
			sure[o>>6] |= in[i>>6] >> (i & 63) & 1 << (o & 63)
			maybe[o>>6] |= open[i>>6] >> (i & 63) & 1 << (o & 63)
		}
	case bitmap.Dense:
		sure.Deposit(set.Words, in[:])
		maybe.Deposit(set.Words, open[:])
	case bitmap.Full:
		for i := range sure {
			sure[i] |= in[i]
			maybe[i] |= open[i]
		}
	}
}

package timeline

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kantadb/kanta/index/bitmap"
)

// presences decodes what a builder said of a part's days.
func presences(t *testing.T, b *built) map[int32]*Presence {
	t.Helper()
	days, err := Check(b.Source)
	if err != nil {
		t.Fatal(err)
	}
	out := map[int32]*Presence{}
	for i, d := range days {
		if i > 0 && d.Day <= days[i-1].Day {
			t.Fatalf("day %d comes after %d", d.Day, days[i-1].Day)
		}
		events := uint64(0)
		for _, e := range b.events {
			if DayOf(e.time) == d.Day {
				events++
			}
		}
		if d.Events == 0 || d.Events != events {
			t.Fatalf("%d events on day %d, want %d", d.Events, d.Day, events)
		}
		if out[d.Day], err = DecodePresence(d.Presence); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestPresenceAgainstModel(t *testing.T) {
	r := seeded(t)
	looked := 0
	for range rounds(30) {
		for _, b := range randomSources(t, r) {
			days := presences(t, &b)
			for _, e := range b.events {
				if days[DayOf(e.time)] == nil {
					t.Fatalf("no presence of day %d", DayOf(e.time))
				}
			}
			for day, p := range days {
				chunk := r.IntN(bitmap.ShardChunks)
				from, to := momentOf(r, &b, day), momentOf(r, &b, day)
				if r.IntN(2) == 0 {
					to = msPerDay
				}
				looked += checkPresence(t, &b, day, chunk, p, from, to)
			}
		}
	}
	if looked == 0 {
		t.Error("nobody would be looked up")
	}
}

// momentOf returns a time of a day, of an event, of a slot's border, or next to one.
func momentOf(r *rand.Rand, b *built, day int32) int64 {
	ms := r.Int64N(msPerDay/SlotMillis)*SlotMillis + r.Int64N(3) - 1
	for _, e := range b.events {
		if DayOf(e.time) == day && r.IntN(3) > 0 {
			ms = e.time - int64(day)*msPerDay + r.Int64N(3) - 1
			break
		}
	}
	return min(max(ms, 0), msPerDay-1)
}

// checkPresence compares the presence of a chunk on a day with the events, and returns how
// many people would have to be looked up.
func checkPresence(t *testing.T, b *built, day int32, chunk int, p *Presence, from, to int64) int {
	t.Helper()
	last, has := map[uint16]int64{}, map[uint16]bool{}
	for _, e := range b.events {
		if DayOf(e.time) == day && int(e.profile>>bitmap.ChunkBits) == chunk {
			at := e.time - int64(day)*msPerDay
			last[uint16(e.profile)] = at
			has[uint16(e.profile)] = has[uint16(e.profile)] || at >= from && at < to
		}
	}
	var sure, maybe bitmap.Words
	p.Between(chunk, from, to, &sure, &maybe)
	for i := range bitmap.ChunkSize {
		o := uint16(i)
		at, there := last[o]
		if p.Chunk(chunk).Contains(o) != there {
			t.Fatalf("day %d, chunk %d: profile %d has an event: %v", day, chunk, o, !there)
		}
		if sure.Has(o) && !has[o] || has[o] && !sure.Has(o) && !maybe.Has(o) {
			t.Fatalf("profile %d, the last event at %d: has it one from %d to %d? surely %v, maybe %v", o, at, from, to, sure.Has(o), maybe.Has(o))
		}
		// Nobody else is to be looked up than doc.go says.
		if begins, ends := at/SlotMillis == from/SlotMillis && from%SlotMillis != 0, at/SlotMillis >= to/SlotMillis; maybe.Has(o) && (!there || !begins && !ends) {
			t.Fatalf("profile %d, the last event at %d, may have one from %d to %d", o, at, from, to)
		}
	}
	return maybe.Count()
}

// TestPresenceForms has a chunk of which everybody is there, and one of which many are.
func TestPresenceForms(t *testing.T) {
	var events []event
	for o := range uint32(2 * bitmap.ChunkSize) {
		if o < bitmap.ChunkSize || o%3 == 0 {
			events = append(events, event{profile: o, time: int64(o * 600)})
		}
	}
	b := build(t, ID{Partition: Day(0)}, nil, events)
	p := presences(t, &b)[0]
	if p.Chunk(0).Form != bitmap.Full || p.Chunk(1).Form != bitmap.Dense || p.Chunk(2).Form != bitmap.Empty {
		t.Fatalf("forms %v, %v, %v", p.Chunk(0).Form, p.Chunk(1).Form, p.Chunk(2).Form)
	}
	for chunk := range 3 {
		if n := checkPresence(t, &b, 0, chunk, p, int64(chunk)*65536*600+SlotMillis+1, msPerDay); (n == 0) != (chunk == 2) {
			t.Errorf("%d of chunk %d may have one", n, chunk)
		}
		checkPresence(t, &b, 0, chunk, p, 20*SlotMillis, 50*SlotMillis+7)
	}
}

func randomPresence(r *rand.Rand) []byte {
	var b dayBuilder
	for o := uint32(0); o < bitmap.ShardSize; o += 1 + r.Uint32N(40_000) {
		b.add(o, r.Int64N(msPerDay))
	}
	return b.presence()
}

func TestPresenceDamage(t *testing.T) {
	r := seeded(t)
	good := randomPresence(r)
	for _, at := range []int{4, presenceFixed + 4} { // the version, and the fragment's
		newer := bytes.Clone(good)
		newer[at]++
		if at > presenceFixed {
			binary.LittleEndian.PutUint32(newer[8:], checksum(newer))
		}
		if _, err := DecodePresence(newer); !errors.Is(err, ErrNewerFormat) || errors.Is(err, ErrCorrupt) {
			t.Errorf("version+1 at %d: %v", at, err)
		}
	}
	for range 300 {
		flipped := slices.Clone(good)
		flipped[r.IntN(len(flipped))] ^= 1 << r.IntN(8)
		if _, err := DecodePresence(flipped); err == nil {
			t.Error("a flipped bit is not seen")
		}
		if _, err := DecodePresence(good[:r.IntN(len(good))]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut: %v", err)
		}
	}
	for name, change := range map[string]func(b []byte) []byte{
		"version 0":     func(b []byte) []byte { b[4] = 0; return b },
		"reserved":      func(b []byte) []byte { b[6] = 1; return b },
		"a slot more":   func(b []byte) []byte { return append(b, 0) },
		"a slot less":   func(b []byte) []byte { return b[:len(b)-1] },
		"a slot of 240": func(b []byte) []byte { b[len(b)-1] = 240; return b },
		"no fragment":   func(b []byte) []byte { clear(b[12:16]); return b },
		"too long":      func(b []byte) []byte { b[15] = 255; return b },
		"the fragment":  func(b []byte) []byte { b[presenceFixed+17] ^= 1; return b },
	} {
		b := change(bytes.Clone(good))
		binary.LittleEndian.PutUint32(b[8:], checksum(b))
		if _, err := DecodePresence(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzPresence(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 5 {
		f.Add(randomPresence(r), r.Int64N(msPerDay), r.Int64N(msPerDay))
	}
	f.Fuzz(func(t *testing.T, b []byte, from, to int64) {
		if len(b) >= 12 {
			b = slices.Clone(b)
			binary.LittleEndian.PutUint32(b[8:], checksum(b)) // else the checksum is all that is tested
		}
		p, err := DecodePresence(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewerFormat) {
				t.Fatal(err)
			}
			return
		}
		for chunk := range bitmap.ShardChunks {
			var sure, maybe bitmap.Words
			p.Between(chunk, from&(1<<26-1), to&(1<<26-1), &sure, &maybe)
			for _, w := range []*bitmap.Words{&sure, &maybe} {
				for _, o := range (bitmap.Set{Form: bitmap.Dense, Words: w}).AppendTo(nil) {
					if !p.Chunk(chunk).Contains(o) {
						t.Fatalf("profile %d of chunk %d is not there", o, chunk)
					}
				}
			}
		}
	})
}

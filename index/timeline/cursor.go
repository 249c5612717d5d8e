package timeline

import (
	"encoding/binary"
	"math/bits"
	"sort"

	"github.com/kantadb/kanta/index/bitmap"
)

// Scan says which events a [Cursor] looks for.
type Scan struct {
	Chunk    int           // of the shard, 0 to 15
	From, To int64         // times t with From <= t < To
	Within   *bitmap.Words // the profiles, by ordinal within the chunk; nil: all
	One      bool          // Within holds one profile only, Profile: its events are found without looking at the others
	Profile  uint16

	// Where sets yes to those of the block's events From to To-1 for which a predicate is
	// true, and no to those for which it is false; it is unknown for the others. Both come
	// with anything in them. nil: true for all. See [All].
	Where func(b *Block, yes, no *Mask) error
}

// fewProfiles is up to how many of a chunk it is better to find their events before any is
// compared with the window.
const fewProfiles = bitmap.ChunkSize / 16

// Stats is what a cursor has done.
type Stats struct {
	Blocks  int // of which something was read
	Skipped int // that the header alone decided
	Others  int // of those skipped: for whose events they have, and not for when
	Zoned   int // of Blocks: those that have nothing by what the header says of their values; nothing was read
	Bytes   int // of the pieces read
	Unknown int // events in time and of the profiles looked for, for which the predicate is unknown
}

// Cursor finds the events of one chunk in several parts, part by part and block by block:
//
//	for c.Reset(sources, scan); c.Next(); {
//		counts.Add(&c.Batch)
//	}
//	if err := c.Err(); err != nil {
//
// The zero Cursor is ready for Reset, and keeps its memory, about 70 KiB. It belongs to
// one goroutine.
type Cursor struct {
	Batch // what Next found
	Stats Stats

	sources []Source
	scan    Scan
	at      int      // the next source
	end     int      // of the blocks of this one
	few     []uint16 // whose events are looked for, if they are few; in fewBuffer
	err     error
	ends    [BlockSize]uint16
	counts  [BlockSize]uint16
	hits    Mask
	yes, no Mask
	memory  scratch

	fewBuffer [fewProfiles]uint16
}

// Batch is the events that a cursor found in one block: runs, each of one profile and in
// order of time. It is valid until the next call of Next.
type Batch struct {
	Block
	At       int      // which of the sources it is of
	Profiles []uint16 // of run i, within the chunk, ascending
	Starts   []uint16 // the first event meant of run i
	Ends     []uint16 // the one after its last meant
	Hits     *Mask    // which events between are meant; nil: all
	Counts   []uint16 // how many these are; nil: all
}

// Count returns how many events run i has; at least one.
func (b *Batch) Count(i int) int {
	if b.Counts == nil {
		return int(b.Ends[i] - b.Starts[i])
	}
	return int(b.Counts[i])
}

// Reset begins a scan over parts of one shard. Several may be of one partition, and of
// different event types.
func (c *Cursor) Reset(sources []Source, scan Scan) {
	c.sources, c.scan, c.few = sources, scan, nil
	if scan.Within != nil && scan.Within.Count() < fewProfiles {
		c.few = bitmap.FromWords(scan.Within).AppendTo(c.fewBuffer[:0])
	}
	c.Batch, c.Stats = Batch{At: -1}, Stats{}
	c.at, c.end, c.err = 0, 0, nil
	c.Batch.Index = -1
	c.memory.bytes = 0
}

// Err returns why Next returned false, nil if there is no more.
func (c *Cursor) Err() error { return c.err }

// Next finds the next block that has events looked for.
func (c *Cursor) Next() bool {
	for c.err == nil {
		c.Index++
		if c.Index >= c.end {
			if !c.nextSource() {
				return false
			}
			continue
		}
		if c.skips() {
			c.Stats.Skipped++
			continue
		}
		c.Stats.Blocks++
		found, err := c.read()
		if !found && c.scan.Where != nil && c.memory.bytes == c.Stats.Bytes {
			c.Stats.Zoned++
		}
		c.Stats.Bytes = c.memory.bytes
		if err != nil {
			c.err = err
			return false
		}
		if found {
			return true
		}
	}
	return false
}

// nextSource goes to before the first block of the next part that has some.
func (c *Cursor) nextSource() bool {
	if c.at == len(c.sources) {
		return false
	}
	c.Source, c.At, c.mem = c.sources[c.at], c.at, &c.memory
	c.at++
	p, chunk := c.Source.Part, c.scan.Chunk
	from, to := int(p.starts[chunk]), int(p.starts[chunk+1])
	c.Index, c.end = from>>BlockBits-1, (to+BlockSize-1)>>BlockBits
	if p.last < c.scan.From || p.first >= c.scan.To || from == to {
		c.Stats.Skipped += c.end - c.Index - 1
		c.Index, c.end = -1, 0
	}
	return true
}

// skips reports whether the header says that a block has nothing.
func (c *Cursor) skips() bool {
	p, chunk := c.Source.Part, c.scan.Chunk
	times, profiles := &p.column(timeColumn)[c.Index], &p.column(profileColumn)[c.Index]
	if times.max() < c.scan.From || times.min >= c.scan.To {
		return true
	}
	c.From, c.To = p.segment(c.Index, chunk)
	if c.scan.Within == nil {
		return false
	}
	base := int64(chunk) << bitmap.ChunkBits
	first, last := max(profiles.min-base, 0), min(profiles.max()-base, bitmap.ChunkSize-1)
	if one := int64(c.scan.Profile); c.scan.One && first <= one && one <= last || !c.scan.One && anyOf(c.scan.Within, int(first), int(last)) {
		return false
	}
	c.Stats.Others++
	return true
}

// anyOf reports whether w has any of the ordinals first to last.
func anyOf(w *bitmap.Words, first, last int) bool {
	i, j := first>>6, last>>6
	head, tail := ^uint64(0)<<(first&63), ^uint64(0)>>(63-last&63)
	if i == j {
		return w[i]&head&tail != 0
	}
	any := w[i]&head | w[j]&tail
	for k := i + 1; k < j && any == 0; k++ {
		any |= w[k]
	}
	return any != 0
}

// read finds what the block has.
func (c *Cursor) read() (found bool, err error) {
	times := &c.Source.Part.column(timeColumn)[c.Index]
	timed := times.min < c.scan.From || times.max() >= c.scan.To
	if c.scan.One {
		return c.one(timed)
	}
	switch {
	case c.scan.Where != nil:
	case !timed:
		return c.all()
	case c.few != nil:
		if found, err := c.all(); !found {
			return false, err
		}
		return c.inWindow()
	}
	c.hits.fill(c.From, c.To)
	var unknown Mask
	if c.scan.Where != nil { // first: it leaves few whose times are looked at
		if err := c.scan.Where(&c.Block, &c.yes, &c.no); err != nil {
			return false, err
		}
		for i, w := range c.hits {
			unknown[i] = w &^ (c.yes[i] | c.no[i])
			c.hits[i] = w & c.yes[i]
		}
	}
	if timed {
		if err := c.inTime(&unknown); err != nil {
			return false, err
		}
	}
	return c.someKnown(&unknown)
}

// inTime takes those that the scan's window does not hold out of the hits, and out of the
// events that are unknown.
func (c *Cursor) inTime(unknown *Mask) error {
	n := c.hits.Count() + unknown.Count()
	if n == 0 {
		return nil
	}
	p, packed, err := c.piece(timeColumn)
	if err != nil {
		return err
	}
	window := Range{c.scan.From, c.scan.To - 1}
	if n*someShare > c.To-c.From || p.width == 0 {
		c.compare(p, packed, nil, []Range{window}, nil, &c.yes)
		for i, w := range c.yes {
			c.hits[i] &= w
			unknown[i] &= w
		}
		return nil
	}
	from, to, ok := p.frame(window)
	if !ok {
		c.hits, *unknown = Mask{}, Mask{}
		return nil
	}
	// All places first, then all times: so the processor waits for many of them at once.
	in := &c.yes
	for i, w := range c.hits {
		in[i] = w | unknown[i]
	}
	at := c.memory.starts[:]
	at = at[:bitmap.Positions(at, in[:], 0)]
	var times [BlockSize / someShare]uint64
	width, mask := int(p.width), ^uint64(0)>>(64-p.width)
	for i, k := range at {
		bit := int(k) * width
		times[i&(len(times)-1)] = binary.LittleEndian.Uint64(packed[bit>>3:]) >> (bit & 7)
	}
	*in = Mask{}
	for i, k := range at {
		one := uint64(0) // no jump, which would be taken half the time
		if times[i&(len(times)-1)]&mask-from <= to-from {
			one = 1
		}
		in[k>>6] |= one << (k & 63)
	}
	for i, w := range in {
		c.hits[i] &= w
		unknown[i] &= w
	}
	return nil
}

// someKnown is some, and counts the events that are unknown: for that it finds out whose
// they are.
func (c *Cursor) someKnown(unknown *Mask) (bool, error) {
	if unknown.IsEmpty() {
		return c.some()
	}
	if c.scan.Within == nil {
		c.Stats.Unknown += unknown.Count()
		return c.some()
	}
	hits := c.hits
	c.hits = *unknown
	if _, err := c.some(); err != nil {
		return false, err
	}
	for _, n := range c.Counts {
		c.Stats.Unknown += int(n)
	}
	c.hits = hits
	return c.some()
}

// all makes a batch of all events of the block.
func (c *Cursor) all() (bool, error) {
	n, err := c.runs()
	if err != nil {
		return false, err
	}
	mem := &c.memory
	c.Hits, c.Counts = nil, nil
	first := c.From >> 6
	mem.begins[first] &= ^uint64(0) << (c.From & 63)
	bitmap.Positions(mem.starts[:], mem.begins[first:(c.To-1)>>6+1], first<<6)
	mem.starts[n] = uint16(c.To)
	c.Profiles, c.Starts, c.Ends = mem.profiles[:n], mem.starts[:n], mem.starts[1:n+1]
	if c.scan.Within == nil {
		return true, nil
	}
	at := mem.gaps[:]
	if wanted := c.wanted(); c.few != nil && len(wanted)*lookShare <= n {
		at = among(at, wanted, c.Profiles)
	} else {
		at = filtered(at, c.scan.Within, c.Profiles)
	}
	k := len(at)
	c.Starts, c.Ends = c.counts[:k], c.ends[:k]
	for to, i := range at {
		c.Profiles[to], c.Starts[to], c.Ends[to] = c.Profiles[i], mem.starts[i], mem.starts[i+1]
	}
	c.Profiles = c.Profiles[:k]
	return k > 0, nil
}

// lookShare is from how many runs of a block per profile that is looked for on each of these
// is found by itself: that costs about as much as looking at so many in a row.
const lookShare = 8

// wanted returns those of the few that are looked for who lie from the first to the last of
// the block's profiles.
func (c *Cursor) wanted() []uint16 {
	below := func(p int) int { // how many are
		return sort.Search(len(c.few), func(i int) bool { return int(c.few[i]) >= p })
	}
	return c.few[below(int(c.Profiles[0])):below(int(c.Profiles[len(c.Profiles)-1])+1)]
}

// filtered writes to dst which of profiles are in w, and returns them.
func filtered(dst []uint16, w *bitmap.Words, profiles []uint16) []uint16 {
	k := 0
	for i, p := range profiles { // every run is written, and stays if the next one does not replace it
		dst[k] = uint16(i)
		k += int(w[p>>6] >> (p & 63) & 1)
	}
	return dst[:k]
}

// among is filtered of few, which ascend: profiles are halved for each of them.
func among(dst, wanted, profiles []uint16) []uint16 {
	k := 0
	keep := func(at int, p uint16) {
		dst[k] = uint16(at) // it stays if it is the one
		k += int((uint32(profiles[at]^p) - 1) >> 31)
	}
	for ; len(wanted) >= 4; wanted = wanted[4:] {
		a, b, c, d := fourOf(profiles, wanted[0], wanted[1], wanted[2], wanted[3])
		keep(a, wanted[0])
		keep(b, wanted[1])
		keep(c, wanted[2])
		keep(d, wanted[3])
	}
	for _, p := range wanted {
		at, _, _, _ := fourOf(profiles, p, p, p, p)
		keep(at, p)
	}
	return dst[:k]
}

// fourOf returns where four are in profiles, which ascend, as far as they are: the first that
// is not below each, or the last. Each step waits for the one before, so that four searches
// take little longer than one; there is no jump in them, which would be taken half the time.
func fourOf(profiles []uint16, p, q, r, s uint16) (a, b, c, d int) {
	for n := len(profiles); n > 1; {
		half := n >> 1
		rest := profiles[half-1:]
		a += (int(rest[a]) - int(p)) >> 63 & half
		b += (int(rest[b]) - int(q)) >> 63 & half
		c += (int(rest[c]) - int(r)) >> 63 & half
		d += (int(rest[d]) - int(s)) >> 63 & half
		n -= half
	}
	return a, b, c, d
}

// inWindow cuts the runs of a batch to what the window holds of them: their events are in
// order of time.
func (c *Cursor) inWindow() (bool, error) {
	p, packed, err := c.piece(timeColumn)
	if err != nil {
		return false, err
	}
	first, last, ok := p.frame(Range{c.scan.From, c.scan.To - 1})
	if !ok {
		return false, nil
	}
	width, k := int(p.width), 0
	for i, profile := range c.Profiles {
		from, to := c.Starts[i], c.Ends[i]
		for from < to && number(packed, int(from), width) < first {
			from++
		}
		for from < to && number(packed, int(to)-1, width) > last {
			to--
		}
		c.Profiles[k], c.Starts[k], c.Ends[k] = profile, from, to
		if from < to {
			k++
		}
	}
	c.Profiles, c.Starts, c.Ends = c.Profiles[:k], c.Starts[:k], c.Ends[:k]
	return k > 0, nil
}

// some makes a batch of the events in c.hits. It goes from hit to hit: a run's number is
// that of the runs that begin before.
func (c *Cursor) some() (bool, error) {
	if c.hits.IsEmpty() {
		c.Counts = nil
		return false, nil
	}
	n, err := c.runs()
	if err != nil {
		return false, err
	}
	mem, within := &c.memory, c.scan.Within
	k, begun, last := 0, 0, -1 // begun: runs that began before the word; last: the run of batch entry k-1
	for i := c.From >> 6; i <= (c.To-1)>>6; i++ {
		begins := mem.begins[i]
		if i == c.From>>6 {
			begins &= ^uint64(0) << (c.From & 63)
		}
		for hits := c.hits[i]; hits != 0; {
			low := hits & -hits
			upTo := low | (low - 1)
			run := begun + bits.OnesCount64(begins&upTo) - 1
			rest := begins &^ upTo // the runs that begin later
			own := hits
			if rest != 0 {
				own &= rest&-rest - 1
			}
			hits &^= own
			profile := mem.profiles[min(run, n-1)]
			if within != nil && !within.Has(profile) {
				continue
			}
			end, count := uint16(i<<6+bits.Len64(own)), uint16(bits.OnesCount64(own))
			if run == last {
				c.ends[k-1] = end
				c.counts[k-1] += count
				continue
			}
			mem.gaps[k], mem.starts[k], c.ends[k], c.counts[k] = profile, uint16(i<<6+bits.TrailingZeros64(low)), end, count
			k, last = k+1, run
		}
		begun += bits.OnesCount64(begins)
	}
	c.Hits = &c.hits
	c.Profiles, c.Starts, c.Ends, c.Counts = mem.gaps[:k], mem.starts[:k], c.ends[:k], c.counts[:k]
	return k > 0, nil
}

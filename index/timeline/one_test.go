package timeline

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/kantadb/kanta/index/bitmap"
)

// TestOne: a scan for one profile finds what a scan within that profile finds.
func TestOne(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 1))
	for round := range 30 {
		var e Events
		spread := uint32(1 + r.IntN(3000))
		for p := uint32(65_000); p < 65_000+spread; p += 1 + r.Uint32N(3) {
			at := int64(0)
			for range r.IntN(8) {
				at += r.Int64N(1000)
				e.Profiles, e.Times = append(e.Profiles, p), append(e.Times, at)
			}
		}
		header, rows, err := Build(ID{Event: 1, Partition: Day(0)}, nil, &e)
		if err != nil {
			t.Fatal(err)
		}
		part, err := Open(header)
		if err != nil {
			t.Fatal(err)
		}
		sources := []Source{InMemory(part, rows)}
		read := func(scan Scan) (out []string) {
			var c Cursor
			for c.Reset(sources, scan); c.Next(); {
				for i, p := range c.Profiles {
					if c.Hits != nil && !(c.Hits.Has(int(c.Starts[i])) && c.Hits.Has(int(c.Ends[i])-1)) {
						t.Fatalf("round %d: the first or the last event of a run is not meant", round)
					}
					out = append(out, fmt.Sprint(c.Index, " ", p, " ", c.Count(i)))
					for k := c.Starts[i]; k < c.Ends[i]; k++ {
						if c.Hits == nil || c.Hits.Has(int(k)) {
							out = append(out, fmt.Sprint(k))
						}
					}
				}
			}
			if c.Err() != nil {
				t.Fatal(c.Err())
			}
			return append(out, fmt.Sprint(c.Stats.Unknown, " unknown"))
		}
		for range 200 {
			p := uint32(65_000) + r.Uint32N(spread+10)
			var within bitmap.Words
			within.SetBit(uint16(p))
			scan := Scan{Chunk: int(p >> bitmap.ChunkBits), From: 0, To: 1 << 40, Within: &within}
			if r.IntN(2) == 0 {
				scan.From, scan.To = r.Int64N(2000), r.Int64N(4000)
			}
			if r.IntN(2) == 0 {
				scan.Where = thirds
			}
			want := read(scan)
			scan.One, scan.Profile = true, uint16(p)
			if got := read(scan); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("round %d, profile %d: %q, want %q", round, p, got, want)
			}
		}
	}
}

// thirds is true, false and unknown of the events of a third of the times each.
func thirds(b *Block, yes, no *Mask) error {
	var times [BlockSize]int64
	if err := b.Times(times[:]); err != nil {
		return err
	}
	*yes, *no = Mask{}, Mask{}
	for i := b.From; i < b.To; i++ {
		switch times[i] % 3 {
		case 0:
			yes[i>>6] |= 1 << (i & 63)
		case 1:
			no[i>>6] |= 1 << (i & 63)
		}
	}
	return nil
}

// TestFewAtTheEdges: a window holds the event with which it begins, and not the one at its
// end, of a few profiles out of many.
func TestFewAtTheEdges(t *testing.T) {
	var events []event
	for p := range uint32(300) {
		for k := range int64(4) {
			events = append(events, event{profile: p, time: 1000 * k})
		}
	}
	b := build(t, ID{Event: 1, Partition: Day(0)}, nil, events)
	var within bitmap.Words
	for _, p := range []uint16{0, 7, 8, 299} {
		within.SetBit(p)
	}
	for _, x := range []struct {
		from, to int64
		want     []uint16
	}{{0, 3001, []uint16{0, 4}}, {1000, 3000, []uint16{1, 3}}, {1001, 3000, []uint16{2, 3}}, {1000, 2001, []uint16{1, 3}}, {999, 2000, []uint16{1, 2}}, {3000, 9000, []uint16{3, 4}}, {3001, 9000, nil}} {
		found := 0
		var c Cursor
		for c.Reset([]Source{b.Source}, Scan{From: x.from, To: x.to, Within: &within}); c.Next(); {
			for i, p := range c.Profiles {
				if from, to := c.Starts[i]-4*p, c.Ends[i]-4*p; x.want == nil || from != x.want[0] || to != x.want[1] {
					t.Errorf("%d to %d: profile %d has events %d to %d, want %v", x.from, x.to, p, from, to, x.want)
				}
				found++
			}
		}
		if want := map[bool]int{true: 4}[x.want != nil]; found != want || c.Err() != nil {
			t.Errorf("%d to %d: %d profiles, want %d (%v)", x.from, x.to, found, want, c.Err())
		}
	}
}

// TestRareInTime: of events that a condition leaves few of, those in time are found, and of
// those for which it is unknown, as many are counted.
func TestRareInTime(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for round := range 40 {
		var e Events
		n := 3000 + r.IntN(6000)
		width := int64(1) << (1 + r.IntN(26))
		for p := range n {
			e.Profiles, e.Times = append(e.Profiles, uint32(p/3)), append(e.Times, int64(p%3)*width+r.Int64N(width))
		}
		header, rows, err := Build(ID{Event: 1, Partition: Span(0)}, nil, &e)
		if err != nil {
			t.Fatal(err)
		}
		part, err := Open(header)
		if err != nil {
			t.Fatal(err)
		}
		yes, unknown := map[int]bool{}, map[int]bool{} // by event
		for k := range n {
			switch r.IntN(30) {
			case 0:
				yes[k] = true
			case 1:
				unknown[k] = true
			}
		}
		scan := Scan{From: r.Int64N(2 * width), Where: func(b *Block, is, not *Mask) error {
			*is, *not = Mask{}, Mask{}
			for i := b.From; i < b.To; i++ {
				k := b.Index*BlockSize + i
				if yes[k] {
					is[i>>6] |= 1 << (i & 63)
				} else if !unknown[k] {
					not[i>>6] |= 1 << (i & 63)
				}
			}
			return nil
		}}
		scan.To = scan.From + 1 + r.Int64N(2*width)
		var want []int
		open := 0
		for k, at := range e.Times {
			if in := at >= scan.From && at < scan.To; in && yes[k] {
				want = append(want, k)
			} else if in && unknown[k] {
				open++
			}
		}
		var got []int
		var c Cursor
		for c.Reset([]Source{InMemory(part, rows)}, scan); c.Next(); {
			for i := range c.Profiles {
				for k := int(c.Starts[i]); k < int(c.Ends[i]); k++ {
					if c.Hits == nil || c.Hits.Has(k) {
						got = append(got, c.Index*BlockSize+k)
					}
				}
			}
		}
		if c.Err() != nil || fmt.Sprint(got) != fmt.Sprint(want) || c.Stats.Unknown != open {
			t.Fatalf("round %d, %d to %d: %v and %d unknown, want %v and %d (%v)", round, scan.From, scan.To, got, c.Stats.Unknown, want, open, c.Err())
		}
	}
}

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
					out = append(out, fmt.Sprint(c.Index, " ", p, " ", c.Starts[i], " ", c.Ends[i], " ", c.Count(i)))
				}
			}
			if c.Err() != nil {
				t.Fatal(c.Err())
			}
			return out
		}
		for range 200 {
			p := uint32(65_000) + r.Uint32N(spread+10)
			var within bitmap.Words
			within.SetBit(uint16(p))
			scan := Scan{Chunk: int(p >> bitmap.ChunkBits), From: 0, To: 1 << 40, Within: &within}
			if r.IntN(2) == 0 {
				scan.From, scan.To = r.Int64N(2000), r.Int64N(4000)
			}
			want := read(scan)
			scan.One, scan.Profile = true, uint16(p)
			if got := read(scan); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("round %d, profile %d: %q, want %q", round, p, got, want)
			}
		}
	}
}

package timeline

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kantadb/kanta/index/bitmap"
)

// TestAmong: who is looked for one by one is found where a look at everybody finds them.
func TestAmong(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	some := func(n int) (ascending []uint16) {
		last := r.IntN(1 << r.IntN(17))
		for range n {
			ascending = append(ascending, uint16(r.IntN(last+1)))
		}
		slices.Sort(ascending)
		return slices.Compact(ascending)
	}
	for range 2000 {
		profiles, looked := some(1+r.IntN(BlockSize)), some(1+r.IntN(300))
		looked = append(looked, profiles[r.IntN(len(profiles))])
		slices.Sort(looked)
		looked = slices.Compact(looked)
		var within bitmap.Words
		for _, p := range looked {
			within.SetBit(p)
		}
		room := make([]uint16, BlockSize+1)
		want := slices.Clone(filtered(room, &within, profiles))
		c := Cursor{few: looked}
		c.Profiles = profiles
		if got := among(room, c.wanted(), profiles); !slices.Equal(got, want) {
			t.Fatalf("%d looked for out of %d: %v, want %v", len(looked), len(profiles), got, want)
		}
	}
}

package view

import (
	"math"
	"testing"

	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// TestInZone: zones may reach below the least value and above the greatest.
func TestInZone(t *testing.T) {
	codes := &head.ActColumn{Class: effect.Code, Codes: []uint32{9, 0, 5, schema.NoCode, 7}}
	ints := &head.ActColumn{Class: effect.Int, Ints: []int64{9, -3, 5, 0, 7}, Present: []uint8{1, 1, 1, 0, 1}}
	for _, x := range []struct {
		name   string
		col    *head.ActColumn
		lo, hi int64
		want   uint64
	}{
		{"codes", codes, 0, 7, 0b1011}, {"codes from below 0", codes, -1, 0, 0b1}, {"codes below 0", codes, -9, -1, 0},
		{"codes above", codes, 1 << 32, math.MaxInt64, 0}, {"a code", codes, 7, 7, 0b1000},
		{"ints", ints, -3, 5, 0b11}, {"ints below 0", ints, math.MinInt64, -1, 0b1}, {"an absent int", ints, 0, 0, 0}, {"none has any", nil, 0, 9, 0},
	} {
		in := []uint64{0b1111} // of the events 1 to 4
		if inZone(in, x.col, 1, 5, query.ZoneMap{Lo: x.lo, Hi: x.hi}); in[0] != x.want {
			t.Errorf("%s: %b, want %b", x.name, in[0], x.want)
		}
	}
}

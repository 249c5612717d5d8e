package breakdown

import (
	"errors"
	"testing"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// TestTooManyGroups: somebody whose sets alone make too many groups is refused before they
// are made.
func TestTooManyGroups(t *testing.T) {
	const each = 101 // of two less than the limit, of three ten times as many
	for by, want := range map[int]int{1: each, 2: each * each, 3: 0} {
		v := &visitor{breakdown: &breakdown{any: true}, who: []uint16{7}}
		for k := range by {
			v.by = append(v.by, &dimension{values: make([]schema.Value, each)})
			for place := range int32(each) {
				v.places[k].place = append(v.places[k].place, place)
			}
			v.places[k].ends = []uint32{each}
		}
		groups := map[uint64]bool{}
		err := v.each(func(_ int, number uint64) error {
			groups[number] = true
			return nil
		})
		e := (*query.Error)(nil)
		if len(groups) != want || (err == nil) != (want > 0) || err != nil && (!errors.As(err, &e) || e.Code != query.CodeLimit) {
			t.Errorf("by %d: %d groups, want %d (%v)", by, len(groups), want, err)
		}
		if cap(v.in) > 2*MaxRows {
			t.Errorf("by %d: room for %d groups", by, cap(v.in))
		}
	}
}

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

// TestMaxRows: as many groups are found as there may be, by lists and by hashing.
func TestMaxRows(t *testing.T) {
	for _, values := range []int{MaxRows / 4, 200} { // of the second there are fewer numbers than MaxRows
		b := &breakdown{by: []*dimension{{values: make([]schema.Value, values)}, {values: make([]schema.Value, 200)}}}
		all := newTally(b)
		if (all.few != nil) != (values == 200) {
			t.Fatal("groups are found the other way")
		}
		n := min(uint64(b.by[0].size()*b.by[1].size()), MaxRows)
		for range 2 {
			for number := range n {
				if place, err := all.group(number); err != nil || place != int(number)+1 {
					t.Fatalf("group %d is at %d (%v)", number, place, err)
				}
			}
		}
		e := (*query.Error)(nil)
		if n < MaxRows {
			continue
		}
		if _, err := all.group(MaxRows); !errors.As(err, &e) || e.Code != query.CodeLimit {
			t.Errorf("one more: %v", err)
		}
	}
}

// TestMergeBytes: what a tally takes on by another's groups is told, as by its own.
func TestMergeBytes(t *testing.T) {
	b := &breakdown{by: []*dimension{{values: make([]schema.Value, 10)}}, measure: &query.StudyField{Field: query.Field{Attribute: schema.Attribute{Kind: schema.Float}}}}
	counted := func(numbers ...uint64) *tally {
		v := &visitor{breakdown: b, tally: newTally(b), has: []bool{true}, values: []int64{schema.OrderedFloat(0.5)}}
		for _, number := range numbers {
			place, err := v.group(number)
			if err != nil {
				t.Fatal(err)
			}
			v.count(place, 0)
		}
		return v.tally
	}
	one, other, both := counted(1, 2, 3), counted(3, 4), counted(1, 2, 3, 4)
	if err := one.merge(other); err != nil || one.bytes != both.bytes || both.bytes < 4*(groupBytes+query.FloatSumBytes) {
		t.Errorf("%d bytes, want %d (%v)", one.bytes, both.bytes, err)
	}
}

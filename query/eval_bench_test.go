package query

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// benchView holds 153 chunks (10 million profiles) as a warm cache would: dense words
// that are handed out without a copy. Codes are those of four attributes; rows of chunk
// c are those of chunk c % 16, so that the view is built fast and still does not fit the
// first cache levels.
type benchView struct {
	schema *schema.Schema
	rows   map[schema.AttrID][][]bitmap.Set // by code, by chunk
	exists map[schema.AttrID][]bitmap.Set
	ages   []uint8
	exact  bool
}

const (
	benchChunks   = 153
	benchDistinct = 16
)

var benchCodes = map[schema.AttrID]int{aBool: 2, aPlan: 4, aCity: 40, aTotal: 8}

func newBenchView(exact bool, absent float64) *benchView {
	r := rand.New(rand.NewPCG(1, 1))
	v := &benchView{schema: memSchema(), rows: map[schema.AttrID][][]bitmap.Set{}, exists: map[schema.AttrID][]bitmap.Set{}, exact: exact}
	full := bitmap.Set{Form: bitmap.Full}
	for attr, codes := range benchCodes {
		v.rows[attr] = make([][]bitmap.Set, codes)
		for range benchDistinct {
			words := make([]bitmap.Words, codes)
			has := new(bitmap.Words)
			for i := range bitmap.ChunkSize {
				if r.Float64() >= absent {
					words[r.IntN(codes)].SetBit(uint16(i))
					has.SetBit(uint16(i))
				}
			}
			for c := range codes {
				v.rows[attr][c] = append(v.rows[attr][c], bitmap.FromWords(&words[c]))
			}
			v.exists[attr] = append(v.exists[attr], bitmap.FromWords(has))
		}
	}
	for range benchDistinct {
		v.exists[schema.KeyAttr] = append(v.exists[schema.KeyAttr], full)
		v.exists[aAge] = append(v.exists[aAge], full)
	}
	for range bitmap.ChunkSize {
		v.ages = append(v.ages, uint8(r.IntN(90)))
	}
	return v
}

func (v *benchView) Schema() *schema.Schema { return v.schema }
func (v *benchView) Chunks() int            { return benchChunks }
func (v *benchView) Code(_ schema.AttrID, s string) (uint32, bool) {
	var c uint32
	_, err := fmt.Sscanf(s, "c%d", &c)
	return c, err == nil
}
func (v *benchView) Text(_ schema.AttrID, code uint32) (string, bool) {
	return fmt.Sprintf("c%d", code), true
}
func (v *benchView) Codes(schema.AttrID, func(uint32, string) bool) {}
func (v *benchView) RowCount(attr schema.AttrID, code uint32) (uint64, bool) {
	return uint64(v.rows[attr][code][0].Count()) * benchChunks, v.exact
}
func (v *benchView) ExistsCount(attr schema.AttrID) (uint64, bool) {
	return uint64(v.exists[attr][0].Count()) * benchChunks, v.exact
}
func (v *benchView) Find(context.Context, schema.AttrID, string) ([]uint32, error) { return nil, nil }
func (v *benchView) Cursor() Cursor                                                { return &benchCursor{memCursor{}, v} }

// benchCursor leaves out what the benchmarks do not use.
type benchCursor struct {
	memCursor
	v *benchView
}

func (c *benchCursor) Exists(attr schema.AttrID, chunk int, _ *bitmap.Words) (bitmap.Set, error) {
	return c.v.exists[attr][chunk%benchDistinct], nil
}
func (c *benchCursor) Row(attr schema.AttrID, code uint32, chunk int, _ *bitmap.Words) (bitmap.Set, error) {
	return c.v.rows[attr][code][chunk%benchDistinct], nil
}
func (c *benchCursor) Range(_ schema.AttrID, lo, hi int64, _ int, within *bitmap.Set, buf *bitmap.Words) (bitmap.Set, error) {
	bitmap.BetweenU8(c.v.ages, uint8(lo), uint8(hi), buf[:])
	return bitmap.And(bitmap.Set{Form: bitmap.Dense, Words: buf}, *cmp.Or(within, &bitmap.Set{Form: bitmap.Full}), buf), nil
}
func (c *benchCursor) GatherCodes(_ schema.AttrID, _ int, ords []uint16, dst []uint32) error {
	for i, o := range ords {
		dst[i] = uint32(c.v.ages[o])
	}
	return nil
}
func (c *benchCursor) Close() {}

func is(attr schema.AttrID, codes ...int) Node {
	n := &In{Attr: attr}
	for _, c := range codes {
		if attr == aBool {
			n.Values = append(n.Values, schema.BoolValue(c == 1))
		} else {
			n.Values = append(n.Values, str(fmt.Sprintf("c%d", c)))
		}
	}
	return n
}

func BenchmarkCount(b *testing.B) {
	four := &And{[]Node{is(aTotal, 1), is(aPlan, 2), is(aCity, 3), is(aBool, 1)}}
	// ten nodes: the shape of the workload's Q3
	ten := &And{[]Node{
		&Or{[]Node{&And{[]Node{is(aTotal, 1, 2, 3), is(aPlan, 2, 3)}}, &And{[]Node{is(aCity, 1, 2), &Range{Attr: aAge, Lo: 25, Hi: 44}}}}},
		&Not{&Or{[]Node{is(aPlan, 0), is(aCity, 7)}}}, is(aTotal, 1, 2, 3, 4, 5), &Range{Attr: aAge, Lo: 10, Hi: 60}}}
	for _, c := range []struct {
		name   string
		tree   Node
		exact  bool
		absent float64
	}{
		{"one/known", is(aTotal, 1), true, 0},
		{"and4/total", four, true, 0},
		{"and4/head", four, false, 0}, // presence has to be read
		{"and4/absent", four, true, 0.1},
		{"tree10", ten, true, 0},
		{"tree10/absent", ten, true, 0.1},
	} {
		v := newBenchView(c.exact, c.absent)
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/%d", c.name, workers), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					p, err := Prepare(context.Background(), c.tree, v)
					if err != nil {
						b.Fatal(err)
					}
					if _, err := CountOf(context.Background(), v, p, Options{Parallelism: workers}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkBitmapAndBreakdown(b *testing.B) {
	v := newBenchView(true, 0)
	p, err := Prepare(context.Background(), is(aPlan, 2), v)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("bitmap", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := BitmapOf(context.Background(), v, p, Options{Parallelism: 2}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("breakdown", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := BreakdownOf(context.Background(), v, p, Field{Attribute: *v.schema.ByID(aCity)}, BreakdownOptions{Options: Options{Parallelism: 2}}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

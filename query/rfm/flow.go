package rfm

import (
	"context"
	"slices"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// transitions count people by the segments that they were and are in; the one behind all is
// outside.
type transitions [MaxFlow + 1][MaxFlow + 1]uint64

// both is one chunk at two dates; nil: nobody was scored.
type both struct {
	chunk     int
	then, now *part
}

// flow makes the table of how people have gone from segment to segment, and puts those who
// are wanted where they are.
func (a *rfm) flow(ctx context.Context, then, now *people) (query.ReportTable, error) {
	chunks := chunksOf(then, now)
	var each []*transitions
	err := a.spread(ctx, len(chunks), func() func(i int) error {
		own := new(transitions)
		each = append(each, own)
		return func(i int) error {
			own.add(a, chunks[i])
			return nil
		}
	})
	all := new(transitions)
	for _, own := range each {
		for from := range own {
			for to, n := range own[from] {
				all[from][to] += n
			}
		}
	}
	out := flowTable
	names := append(slices.Clone(a.segments.names), outside)
	for i, from := range names {
		people := uint64(0)
		for _, n := range all[i] {
			people += n
		}
		for k, to := range names {
			if from != outside || to != outside {
				out.Rows = append(out.Rows, query.ReportRow{Cells: []string{from + ">" + to}, Values: []schema.Value{
					schema.StringValue(from), schema.StringValue(to), schema.IntValue(int64(all[i][k])), query.Share(all[i][k], people)}})
			}
		}
	}
	return out, err
}

// chunksOf brings the parts of two dates together.
func chunksOf(then, now *people) (out []both) {
	old := then.parts
	for _, p := range now.parts {
		for ; len(old) > 0 && old[0].chunk < p.chunk; old = old[1:] {
			out = append(out, both{chunk: old[0].chunk, then: old[0]})
		}
		b := both{chunk: p.chunk, now: p}
		if len(old) > 0 && old[0].chunk == p.chunk {
			b.then, old = old[0], old[1:]
		}
		out = append(out, b)
	}
	for _, p := range old {
		out = append(out, both{chunk: p.chunk, then: p})
	}
	return out
}

// add counts the people of a chunk.
func (t *transitions) add(a *rfm, b both) {
	for i, k := 0, 0; ; {
		old, young := b.then.at(i), b.now.at(k)
		who := min(old, young)
		if who == chunkSize {
			return
		}
		from, to := len(a.segments.names), len(a.segments.names)
		if old == who {
			from = a.segment(b.then, i)
			i++
		}
		if young == who {
			to = a.segment(b.now, k)
			k++
		}
		t[from][to]++
		if a.wanted.from == from+1 && a.wanted.to == to+1 {
			a.study.Put(uint32(b.chunk)<<bitmap.ChunkBits | uint32(who))
		}
	}
}

// at returns who is at a place, chunkSize where there is nobody any more.
func (p *part) at(place int) int {
	if p == nil || place == len(p.who) {
		return chunkSize
	}
	return int(p.who[place])
}

// segment returns that of who is at a place of a part.
func (a *rfm) segment(p *part, place int) int {
	return int(a.segments.of[p.scores[recency][place]][p.scores[frequency][place]])
}

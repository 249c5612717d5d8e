package engine

import (
	"context"
	"math"

	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/engine/internal/digest"
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
	"github.com/kantadb/kanta/query"
)

// eachPast calls f with the days of a unit's parts that are past the retention and not
// dropped yet.
func eachPast(u *base.ActUnit, horizon int64, f func(d *base.ActDay)) error {
	for _, p := range u.Parts {
		if p.First >= horizon {
			continue
		}
		err := p.EachDay(math.MinInt32, timeline.DayOf(horizon)-1, func(d *base.ActDay) error { f(d); return nil })
		if err != nil {
			return err
		}
	}
	return nil
}

// actSums returns the content and replica sums of the events of one type: those of the
// parts, less what is past the retention and the events of the dead that are still in
// them, and those of the head.
func (db *DB) actSums(ctx context.Context, s *state, e *schema.Event) (content, replica digest.Sum, err error) {
	if e.Reduced {
		return db.readSums(ctx, s, e)
	}
	horizon := s.Horizon(e)
	for _, u := range s.Acts[e.ID] {
		if u == nil {
			continue
		}
		content.Add(u.Content)
		replica.Add(u.Replica)
		err := eachPast(u, horizon, func(d *base.ActDay) {
			content.Sub(d.Content)
			replica.Sub(d.Replica)
		})
		if err != nil {
			return content, replica, err
		}
	}
	v := view.View{S: &s.State}
	c := v.NewCursor()
	sum := &actSum{db: db, s: s, e: e, horizon: horizon, cursor: c, content: &content, replica: &replica}
	for chunk := range v.Chunks() {
		if err := ctx.Err(); err != nil {
			return content, replica, err
		}
		live, err := c.Exists(schema.KeyAttr, chunk, &sum.live)
		if err != nil {
			return content, replica, err
		}
		if err := sum.chunk(chunk, live); err != nil {
			return content, replica, err
		}
	}
	return content, replica, nil
}

// readSums is actSums of a type that has lost a property, which had a part in what is stored
// of its events: it reads them all.
func (db *DB) readSums(ctx context.Context, s *state, e *schema.Event) (content, replica digest.Sum, err error) {
	v := view.View{S: &s.State}
	c, keys := v.NewCursor(), v.NewCursor()
	defer c.Close()
	defer keys.Close()
	x := &actSum{db: db, cursor: keys}
	scan := &query.EventScan{Event: e.ID, From: math.MinInt64, To: math.MaxInt64, Times: true}
	for i := range e.Properties {
		scan.Properties = append(scan.Properties, e.Properties[i].ID)
	}
	var h query.ActHash
	for chunk := range v.Chunks() {
		if err := ctx.Err(); err != nil {
			return content, replica, err
		}
		err := c.Events(scan, chunk, nil, func(b *query.EventBlock) error {
			for i, ord := range b.Ords {
				h.Reset()
				for k := range e.Properties {
					p := &e.Properties[k]
					value, err := b.Columns[k].Value(v, p, i)
					if err != nil {
						return err
					}
					h.Value(p.ID, value)
				}
				c, r, err := x.fact(chunk, ord, b.Times[i], actOrder(&h))
				if err != nil {
					return err
				}
				content.Add(c)
				replica.Add(r)
			}
			return nil
		})
		if err != nil {
			return content, replica, err
		}
	}
	return content, replica, nil
}

// actSum corrects the sums of one event type chunk by chunk.
type actSum struct {
	db               *DB
	s                *state
	e                *schema.Event
	horizon          int64
	cursor           *view.Cursor
	scan             timeline.Cursor
	live, dead       bitmap.Words
	content, replica *digest.Sum
}

func (x *actSum) chunk(chunk int, live bitmap.Set) error {
	x.dead.Fill()
	x.dead.AndNot(live)
	if err := x.subtractDead(chunk); err != nil {
		return err
	}
	return x.s.Tiers.EachActs(x.e.ID, chunk, func(a *head.Acts, n int, _ bool) error {
		for i := range n {
			if a.Times[i] >= x.horizon && live.Contains(a.Ords[i]) {
				c, r, err := x.fact(chunk, a.Ords[i], a.Times[i], a.Hashes[i])
				if err != nil {
					return err
				}
				x.content.Add(c)
				x.replica.Add(r)
			}
		}
		return nil
	})
}

// fact returns what an event adds to the sums.
func (x *actSum) fact(chunk int, ord uint16, time, hash int64) (content, replica digest.Sum, err error) {
	var who [1]uint64
	err = x.db.hashKeys(x.cursor, chunk, []uint16{ord}, who[:])
	what := base.ActFact(time, hash)
	return digest.Fact(who[0], what), digest.Fact(uint64(chunk)<<bitmap.ChunkBits|uint64(ord), what), err
}

// subtractDead takes the stored events of the dead away.
func (x *actSum) subtractDead(chunk int) error {
	units := x.s.Acts[x.e.ID]
	shard := chunk / bitmap.ShardChunks
	if shard >= len(units) || units[shard] == nil {
		return nil
	}
	var sources []timeline.Source
	for _, p := range units[shard].Parts {
		source, err := p.Source()
		if err != nil {
			return err
		}
		sources = append(sources, source)
	}
	hash := actHashes(x.s, x.e)
	var times [timeline.BlockSize]int64
	x.scan.Reset(sources, timeline.Scan{Chunk: chunk % bitmap.ShardChunks, From: x.horizon, To: schema.MaxTimestamp + 1, Within: &x.dead})
	for x.scan.Next() {
		b := &x.scan.Batch
		if err := b.Times(times[:]); err != nil {
			return err
		}
		for i, ord := range b.Profiles {
			for k := b.Starts[i]; k < b.Ends[i]; k++ {
				var h [1]int64
				if err := hash(b.Source, []uint32{uint32(b.Index)<<timeline.BlockBits | uint32(k)}, h[:]); err != nil {
					return err
				}
				c, r, err := x.fact(chunk, ord, times[k], h[0])
				if err != nil {
					return err
				}
				x.content.Sub(c)
				x.replica.Sub(r)
			}
		}
	}
	return x.scan.Err()
}

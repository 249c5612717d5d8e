package engine

import (
	"context"
	"fmt"

	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/engine/internal/digest"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
	"github.com/kantadb/kanta/query"
)

// acts verifies the parts of all event types: that each is as its writer makes it, what is
// kept of its days too, and that the sums of their manifests and the lifetime facts are those
// of their events.
func (c *checker) acts(ctx context.Context) error {
	for e := range c.s.Schema.Stored() {
		for shard, u := range c.s.Acts[e.ID] {
			if u == nil {
				continue
			}
			c.step(fmt.Sprintf("%s, shard %d", c.actName(e), shard))
			if err := c.actUnit(ctx, e, shard, u); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *checker) actName(e *schema.Event) string {
	if c.s.Schema.ChangedBy(e.ID) != nil {
		return fmt.Sprintf("changes of attribute %q", e.Name)
	}
	return fmt.Sprintf("event %q", e.Name)
}

func (c *checker) actUnit(ctx context.Context, e *schema.Event, shard int, u *base.ActUnit) error {
	x := newActChecker(c.s, e, shard)
	for _, p := range u.Parts {
		if err := ctx.Err(); err != nil {
			return err
		}
		c.report.Values++
		source, err := p.Source()
		if err == nil {
			c.report.Values += uint64(source.Part.Rows())
			c.report.Derived += uint64(p.Days())
			err = x.part(p, source)
		}
		if err != nil {
			c.problem("%s: part %d of shard %d, day %d: %v", c.actName(e), p.ID.Number, shard, p.ID.FirstDay, err)
		}
	}
	c.report.Derived++
	if x.content != u.Content || x.replica != u.Replica {
		c.problem("%s, shard %d: the digest in the manifest is not that of the events", c.actName(e), shard)
	}
	blocks, problems, err := u.CheckFacts(ctx)
	c.report.Values += uint64(blocks)
	c.report.Derived += uint64(blocks)
	for _, p := range problems {
		c.problem("%s, shard %d: %s", c.actName(e), shard, p)
	}
	return err
}

// ids verifies the stored ids of events.
func (c *checker) ids(ctx context.Context) error {
	for _, r := range c.s.ids.Runs {
		c.step(fmt.Sprintf("ids of events, run %d", r.ID.Number))
		c.report.Values += uint64(r.Pages())
		if err := r.Check(ctx); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			c.problem("ids of events, run %d of day %d: %v", r.ID.Number, r.ID.Day, err)
		}
	}
	return nil
}

// actChecker computes the sums of an event type in one shard.
type actChecker struct {
	s                *state
	e                *schema.Event
	who              func(ords []uint32, dst []uint64) error
	base             uint64
	content, replica digest.Sum
	days             map[int32]*daySums // of one part
	events           timeline.Events
	hashes           []uint64
	hash             query.ActHash
}

func newActChecker(s *state, e *schema.Event, shard int) *actChecker {
	return &actChecker{s: s, e: e, who: readKeyHashes(&s.State, shard), base: uint64(shard) << bitmap.ShardBits}
}

type daySums struct{ content, replica digest.Sum }

func (x *actChecker) part(p *base.ActPart, source timeline.Source) error {
	days, err := timeline.Check(source)
	if err != nil {
		return err
	}
	sums, err := x.sums(p, source, days)
	if err != nil {
		return err
	}
	for _, d := range x.days {
		x.content.Add(d.content)
		x.replica.Add(d.replica)
	}
	return p.CheckDays(days, sums)
}

// sums returns the sums of the days of a part.
func (x *actChecker) sums(p *base.ActPart, source timeline.Source, days []timeline.PartDay) (func(day int32) (content, replica digest.Sum), error) {
	x.days = map[int32]*daySums{}
	for _, d := range days {
		x.days[d.Day] = &daySums{}
	}
	err := x.sum(source)
	if err == nil && x.e.Reduced { // what it has lost had a part in the sums: where they can be read they are compared with each other only
		for _, d := range days {
			_ = p.EachDay(d.Day, d.Day, func(d *base.ActDay) error { // what cannot be read CheckDays tells of
				x.days[d.Day] = &daySums{d.Content, d.Replica}
				return nil
			})
		}
	}
	return func(day int32) (content, replica digest.Sum) { return x.days[day].content, x.days[day].replica }, err
}

// sum adds the events of a part to the sums of their days.
func (x *actChecker) sum(source timeline.Source) error {
	for i := range source.Part.Blocks() {
		x.events.Reset(source.Part.Properties())
		if err := timeline.BlockOf(source, i).Events(&x.events); err != nil {
			return err
		}
		n := x.events.Len()
		x.hashes = append(x.hashes[:0], make([]uint64, n)...)
		if err := x.who(x.events.Profiles, x.hashes); err != nil {
			return err
		}
		for k := range n {
			what := base.ActFact(x.events.Times[k], storedOrder(&x.hash, x.s, x.e, &x.events, k))
			day := x.days[timeline.DayOf(x.events.Times[k])]
			day.content.Add(digest.Fact(x.hashes[k], what))
			day.replica.Add(digest.Fact(x.base|uint64(x.events.Profiles[k]), what))
		}
	}
	return nil
}

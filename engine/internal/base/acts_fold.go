package base

import (
	"context"
	"errors"
	"maps"
	"math"
	"runtime"
	"slices"

	"github.com/kantadb/kanta/engine/internal/digest"
	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
)

// ActJob is one fold of events: the settled ones of an event type and shard become parts,
// and parts that have become many are merged.
type ActJob struct {
	ID     keys.Acts // the new generation
	Old    *ActUnit  // nil: the shard had no events of the type
	Table  *head.EventTable
	Runs   [][]*head.Acts // by chunk of the shard
	Folded uint64         // the position the runs stand for
	Closed int32          // days before it are over: their parts are merged into those of spans of 30 days
	First  int32          // days before it are past the retention: their events are dropped

	Facts     []schema.AttrID // properties that facts are kept of, by ascending id
	FactsFrom uint64          // from how many events on facts are kept; 0: never
	Compact   bool            // facts are to be of nearly all events
	Erased    Erased          // ascending

	Who  func(ords []uint32, dst []uint64) error                     // as in Job
	Hash func(s timeline.Source, events []uint32, dst []int64) error // the hashes of events of a part
}

// ActResult is a new generation and what became obsolete.
type ActResult struct {
	Unit    *ActUnit
	Gone    []*ActPart
	Facts   *ActFacts // those that are gone; nil: none
	Written int64
}

// mergeFrom is the number of parts of one day from which they are merged into one: a
// reader of one profile looks into each, and a merge writes them all again.
const mergeFrom = 8

// actFolder is the state of one fold of events.
type actFolder struct {
	job     *ActJob
	store   *kv.Store
	cache   *Cache
	unit    *ActUnit
	tables  []*kv.Table
	fresh   map[*ActPart]freshPart // made in this fold
	runs    []headRun
	written int64
}

// freshPart is a part that is not in the store yet: some are merged before they would be.
type freshPart struct {
	source  timeline.Source
	written timeline.Written
	days    [][]byte // what is kept of its days
	sums    daySums
}

// daySums are the sums of the events of each day of a part.
type daySums map[int32]*daySum

type daySum struct {
	events           uint64
	content, replica digest.Sum
}

func (s *daySum) add(events uint64, content, replica digest.Sum) {
	s.events += events
	s.content.Add(content)
	s.replica.Add(replica)
}

// of returns the sums of a day, to add to.
func (s daySums) of(day int32) *daySum {
	if s[day] == nil {
		s[day] = &daySum{}
	}
	return s[day]
}

// FoldActs makes the unit's new generation durable. The caller has made sure that the log
// is synced up to job.Folded.
func FoldActs(ctx context.Context, store *kv.Store, cache *Cache, job *ActJob) (ActResult, error) {
	f := newActFolder(store, cache, job)
	err := f.expire()
	if err == nil {
		err = f.parts(ctx)
	}
	if err == nil {
		err = f.erase(ctx)
	}
	if err == nil {
		if f.factsDue() {
			f.unit.dropFacts() // before: parts are merged with those of which there are facts, or with the others
		}
		err = f.merge(ctx)
	}
	if err == nil {
		err = f.facts(ctx)
	}
	return f.publish(ctx, err)
}

// newActFolder begins a new generation as a copy of the old one.
func newActFolder(store *kv.Store, cache *Cache, job *ActJob) *actFolder {
	f := &actFolder{job: job, store: store, cache: cache, unit: &ActUnit{ID: job.ID, Folded: job.Folded, Next: 1, summed: map[uint64]bool{}}, fresh: map[*ActPart]freshPart{}}
	if old := job.Old; old != nil {
		f.unit.Next, f.unit.Content, f.unit.Replica, f.unit.Dropped = old.Next, old.Content, old.Replica, old.Dropped
		f.unit.Parts = slices.Clone(old.Parts)
		f.unit.Facts, f.unit.summed = old.Facts, maps.Clone(old.summed)
	}
	return f
}

// publish writes what was made, if nothing has failed, and ingests it.
func (f *actFolder) publish(ctx context.Context, failed error) (out ActResult, err error) {
	if err = failed; err == nil {
		err = f.finish()
	}
	if err != nil {
		for _, t := range f.tables {
			err = joinDiscard(t, err)
		}
		return out, err
	}
	if err := f.store.Ingest(ctx, f.tables...); err != nil {
		return out, err
	}
	out = ActResult{Unit: f.unit, Written: f.written}
	if old := f.job.Old; old != nil {
		for _, p := range old.Parts {
			if !slices.Contains(f.unit.Parts, p) {
				out.Gone = append(out.Gone, p)
			}
		}
		if old.Facts != f.unit.Facts {
			out.Facts = old.Facts
		}
	}
	return out, nil
}

// expire drops the parts whose days are all past the retention.
func (f *actFolder) expire() error {
	kept := f.unit.Parts[:0]
	for _, p := range f.unit.Parts {
		if !p.Expired(f.job.First) {
			kept = append(kept, p)
			continue
		}
		sums := daySums{}
		if err := p.addSums(sums); err != nil {
			return err
		}
		if f.forget(sums); f.unit.IsSummed(p) {
			f.unit.dropFacts()
		}
	}
	f.unit.Parts = kept
	return nil
}

// forget takes the days that are past the retention out of sums, and what they add to the
// unit's out of these. It reports whether there are any.
func (f *actFolder) forget(sums daySums) (any bool) {
	for day, sum := range sums {
		if day >= f.job.First {
			continue
		}
		any = true
		f.unit.Content.Sub(sum.content)
		f.unit.Replica.Sub(sum.replica)
		f.unit.Dropped += sum.events
		delete(sums, day)
	}
	return any
}

// headRef is event i of source, one of the head's runs. first is the first day of what its
// part is of.
type headRef struct {
	first     int32
	source, i uint32
}

// headRun is a run of the head, and its columns in order of the unit's properties, nil for
// those that it does not have.
type headRun struct {
	*head.Acts
	chunk   uint32 // of the shard
	columns []*head.ActColumn
}

// parts makes the parts of the head's events: of each day one, but of all days that are
// over one for their span. They would be merged into it when there are more.
func (f *actFolder) parts(ctx context.Context) error {
	for refs := sortByFirst(f.sortByProfile()); len(refs) > 0; {
		n := 1
		for n < len(refs) && refs[n].first == refs[0].first {
			n++
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f.part(refs[:n]); err != nil {
			return err
		}
		refs = refs[n:]
	}
	return nil
}

// sortByProfile returns the head's events by profile, time and hash, and counts those that
// are past the retention.
func (f *actFolder) sortByProfile() []headRef {
	n := 0
	for _, runs := range f.job.Runs {
		for _, a := range runs {
			n += a.Len()
		}
	}
	refs := make([]headRef, 0, n)
	var sorter head.Sorter
	for chunk, runs := range f.job.Runs {
		runtime.Gosched() // as a fold does
		first := uint32(len(f.runs))
		for _, a := range runs {
			r := headRun{Acts: a, chunk: uint32(chunk)}
			for _, p := range f.job.Table.Properties {
				r.columns = append(r.columns, a.Column(p.ID))
			}
			f.runs = append(f.runs, r)
		}
		for _, r := range sorter.Sort(runs) {
			day := timeline.DayOf(runs[r.Part].Times[r.I])
			if day < f.job.First {
				f.unit.Dropped++
				continue
			}
			if day < f.job.Closed {
				day = timeline.Span(day).First
			}
			refs = append(refs, headRef{day, first + r.Part, r.I})
		}
	}
	return refs
}

// sortByFirst sorts by the first days, and leaves those of one in their order: by digits of
// the days since the least, of which there is mostly one.
func sortByFirst(refs []headRef) []headRef {
	const digit = 11
	least, most := int32(math.MaxInt32), int32(math.MinInt32)
	for i := range refs {
		least, most = min(least, refs[i].first), max(most, refs[i].first)
	}
	var spare []headRef
	for shift := 0; len(refs) > 0 && (most-least)>>shift > 0; shift += digit {
		var starts [1<<digit + 1]int
		for i := range refs {
			starts[(refs[i].first-least)>>shift&(1<<digit-1)+1]++
		}
		for d := 1; d < len(starts); d++ {
			starts[d] += starts[d-1]
		}
		spare = slices.Grow(spare[:0], len(refs))[:len(refs)]
		for _, r := range refs {
			at := &starts[(r.first-least)>>shift&(1<<digit-1)]
			spare[*at] = r
			*at++
		}
		refs, spare = spare, refs
	}
	return refs
}

// properties returns the event type's properties as parts have them.
func (f *actFolder) properties() []timeline.Property {
	var out []timeline.Property
	for _, p := range f.job.Table.Properties {
		out = append(out, timeline.Property{ID: p.ID, Class: partClass(p.Class)})
	}
	return out
}

func partClass(c effect.Class) timeline.Class {
	switch c {
	case effect.Code:
		return timeline.Code
	case effect.Bytes:
		return timeline.Text
	case effect.Set:
		return timeline.Set
	}
	return timeline.Int
}

// part makes a part of events.
func (f *actFolder) part(refs []headRef) error {
	id := timeline.ID{Event: f.job.ID.Event, Shard: f.job.ID.Shard, Partition: f.partition(refs)}
	b, err := timeline.NewBuilder(id, f.properties())
	if err != nil {
		return err
	}
	var e timeline.Events
	who := make([]uint64, timeline.BlockSize)
	days := make([]daySum, id.Partition.Days)
	for len(refs) > 0 {
		some := refs[:min(len(refs), timeline.BlockSize)]
		refs = refs[len(some):]
		f.gather(&e, some)
		if err := f.job.Who(e.Profiles, who); err != nil {
			return err
		}
		f.sum(some, &e, who, id.Partition.First, days)
		if err := b.Add(&e); err != nil {
			return err
		}
	}
	sums := daySums{}
	for i := range days {
		if day := &days[i]; day.events > 0 {
			sums[id.Partition.First+int32(i)] = day
			f.unit.Content.Add(day.content)
			f.unit.Replica.Add(day.replica)
		}
	}
	return f.add(id.Partition, b.Finish(), sums)
}

// partition returns what events that may share a part are of: a day, if all are.
func (f *actFolder) partition(refs []headRef) timeline.Partition {
	first, last := int64(math.MaxInt64), int64(math.MinInt64)
	for _, r := range refs {
		t := f.runs[r.source].Times[r.i]
		first, last = min(first, t), max(last, t)
	}
	if day := timeline.DayOf(first); day == timeline.DayOf(last) {
		return timeline.Day(day)
	}
	return timeline.Span(refs[0].first)
}

// sum adds events to the sums of their days, the first of which is day first.
func (f *actFolder) sum(refs []headRef, e *timeline.Events, who []uint64, first int32, days []daySum) {
	base := uint64(f.job.ID.Shard) << bitmap.ShardBits
	for k, r := range refs {
		what := ActFact(e.Times[k], f.runs[r.source].Hashes[r.i])
		days[timeline.DayOf(e.Times[k])-first].add(1, digest.Fact(who[k], what), digest.Fact(base|uint64(e.Profiles[k]), what))
	}
}

// ActFact is the hash of an event as a fact of a profile.
func ActFact(time, hash int64) uint64 { return digest.Number(time) ^ digest.Number(^hash) }

// gather copies events of the head into the form of parts.
func (f *actFolder) gather(e *timeline.Events, refs []headRef) {
	e.Reset(f.properties())
	for _, r := range refs {
		a := &f.runs[r.source]
		e.Profiles = append(e.Profiles, a.chunk<<bitmap.ChunkBits|uint32(a.Ords[r.i]))
		e.Times = append(e.Times, a.Times[r.i])
	}
	for j := range e.Columns {
		f.gatherColumn(&e.Columns[j], j, refs)
	}
}

// gatherColumn copies the values of property j.
func (f *actFolder) gatherColumn(c *timeline.Column, j int, refs []headRef) {
	if c.Class != timeline.Set {
		c.Present = append(c.Present, make([]uint64, (len(refs)+63)/64)...)
	}
	for k, r := range refs {
		present := false
		src := f.runs[r.source].columns[j]
		switch c.Class {
		case timeline.Code:
			code := uint32(schema.NoCode)
			if src != nil {
				code = src.Codes[r.i]
			}
			c.Codes, present = append(c.Codes, code), code != schema.NoCode
		case timeline.Int:
			v := int64(0)
			if present = src != nil && src.Present[r.i] != 0; present {
				v = src.Ints[r.i]
			}
			c.Ints = append(c.Ints, v)
		case timeline.Text:
			var text []byte
			if present = src != nil && src.Present[r.i] != 0; present {
				from, to := src.Span(int(r.i))
				text = notNil(src.Data[from:to:to])
			}
			c.Texts = append(c.Texts, text)
		case timeline.Set:
			if src != nil {
				from, to := src.Span(int(r.i))
				c.Codes = append(c.Codes, src.Codes[from:to]...)
			}
			c.Ends = append(c.Ends, uint32(len(c.Codes)))
		}
		if present {
			c.Present[k>>6] |= 1 << (k & 63)
		}
	}
}

// add takes a part into the unit.
func (f *actFolder) add(partition timeline.Partition, w timeline.Written, sums daySums) error {
	h, err := timeline.Open(w.Header)
	if err != nil || h.Len() == 0 {
		return err
	}
	first, last := h.Times()
	p := &ActPart{cache: f.cache, Events: uint64(h.Len()), First: first, Last: last, Bytes: int64(len(w.Header) + h.Size()),
		rows: rowSlots{n: len(w.Rows)}, slots: make([]slot[ActDay], partition.Days),
		ID: keys.Part{FirstDay: partition.First, Days: uint8(partition.Days), Event: f.job.ID.Event, Shard: f.job.ID.Shard, Number: f.unit.Next}}
	f.unit.Next++
	fresh := freshPart{source: timeline.InMemory(h, w.Rows), written: w, sums: sums}
	for i := range w.Days {
		d := &w.Days[i]
		sum := sums.of(d.Day)
		sealed := sealDay(d, sum.content, sum.replica)
		p.days |= 1 << (d.Day - partition.First)
		p.DayBytes += int64(len(sealed))
		fresh.days = append(fresh.days, sealed)
	}
	f.fresh[p] = fresh
	at, _ := slices.BinarySearchFunc(f.unit.Parts, p, compareParts)
	f.unit.Parts = slices.Insert(f.unit.Parts, at, p)
	return nil
}

// write writes a part into a table of its own.
func (f *actFolder) write(p *ActPart, fresh *freshPart) error {
	t, err := f.store.NewTable()
	if err != nil {
		return err
	}
	f.tables = append(f.tables, t)
	err = t.Set(p.ID.Row(keys.Header, 0), fresh.written.Header)
	for i := 0; i < len(fresh.written.Rows) && err == nil; i++ {
		err = t.Set(p.ID.Row(keys.Piece, uint32(i)), fresh.written.Rows[i])
	}
	for i := 0; i < len(fresh.days) && err == nil; i++ {
		at := fresh.written.Days[i].Day - p.ID.FirstDay
		err = t.Set(p.ID.Row(keys.Day, uint32(at)), fresh.days[i])
	}
	f.written += p.Bytes + p.DayBytes
	return err
}

// mergeGroup is parts that may be merged into one: the events of all are in the facts, or
// of none.
type mergeGroup struct {
	target timeline.Partition
	summed bool
}

// merge merges days that have many parts, and days that are over into their span.
func (f *actFolder) merge(ctx context.Context) error {
	groups := map[mergeGroup][]*ActPart{}
	var order []mergeGroup // that of parts: the numbers of new ones must not depend on a map's
	for _, p := range f.unit.Parts {
		g := mergeGroup{f.target(p), f.unit.IsSummed(p)}
		if groups[g] == nil {
			order = append(order, g)
		}
		groups[g] = append(groups[g], p)
	}
	for _, g := range order {
		if !f.due(g.target, groups[g]) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f.mergeInto(g, groups[g]); err != nil {
			return err
		}
	}
	return nil
}

// target returns what a part is merged into: a day that is over into its span, which may
// not be over itself, a day that is not with other parts of the day.
func (f *actFolder) target(p *ActPart) timeline.Partition {
	if p.ID.Days == 1 && p.ID.FirstDay >= f.job.Closed {
		return p.Partition()
	}
	return timeline.Span(p.ID.FirstDay)
}

// due reports whether parts are to be merged: there are many, or the last of a span that is
// over and to which this fold brings nothing, and what comes to the span is a good part of
// it. (As long as a load of old events comes to it they would be written again each time.)
// A few late events are not worth writing it again, until there are very many of them.
func (f *actFolder) due(target timeline.Partition, parts []*ActPart) bool {
	if target.Days == 1 {
		return len(parts) >= mergeFrom
	}
	whole, more := uint64(0), uint64(0)
	last := len(parts) > 1 && target.First+target.Days <= f.job.Closed
	for _, p := range parts {
		if p.Partition() == target {
			whole = max(whole, p.Events)
		}
		more += p.Events
		_, fresh := f.fresh[p]
		last = last && !fresh
	}
	return (len(parts) >= mergeFrom || last) && (more-whole)*4 >= whole || len(parts) >= 4*mergeFrom
}

func (f *actFolder) mergeInto(g mergeGroup, parts []*ActPart) error {
	sources := make([]timeline.Source, len(parts))
	sums := daySums{}
	for i, p := range parts {
		var err error
		if sources[i], err = f.read(p, sums); err != nil {
			return err
		}
	}
	var failed error
	less := func(a, b timeline.Ref) bool {
		var x, y [1]int64
		failed = errors.Join(failed, f.job.Hash(sources[a.Source], []uint32{a.Event}, x[:]), f.job.Hash(sources[b.Source], []uint32{b.Event}, y[:]))
		return x[0] < y[0]
	}
	options := timeline.MergeOptions{Less: less}
	if f.forget(sums) {
		options.Keep = func(_ uint32, t int64) bool { return timeline.DayOf(t) >= f.job.First }
		if g.summed {
			f.unit.dropFacts()
		}
	}
	id := timeline.ID{Event: f.job.ID.Event, Shard: f.job.ID.Shard, Partition: g.target}
	w, err := timeline.Merge(id, sources, options)
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	f.unit.Parts = slices.DeleteFunc(f.unit.Parts, func(p *ActPart) bool { return slices.Contains(parts, p) })
	for _, p := range parts {
		delete(f.fresh, p) // nobody will read it
		delete(f.unit.summed, p.ID.Number)
	}
	if g.summed && f.unit.Facts != nil {
		f.unit.summed[f.unit.Next] = true // the number it gets
	}
	return f.add(g.target, w, sums)
}

// read opens a part for merging and adds the sums of its days to sums.
func (f *actFolder) read(p *ActPart, sums daySums) (timeline.Source, error) {
	if fresh, ok := f.fresh[p]; ok {
		for day, sum := range fresh.sums {
			sums.of(day).add(sum.events, sum.content, sum.replica)
		}
		return fresh.source, nil
	}
	if err := p.addSums(sums); err != nil {
		return timeline.Source{}, err
	}
	return p.Source()
}

// addSums adds the sums of the part's days.
func (p *ActPart) addSums(sums daySums) error {
	return p.EachDay(math.MinInt32, math.MaxInt32, func(d *ActDay) error {
		sums.of(d.Day).add(d.Events, d.Content, d.Replica)
		return nil
	})
}

// Expired reports whether all events of the part are of days before one.
func (p *ActPart) Expired(first int32) bool { return timeline.DayOf(p.Last) < first }

// finish writes the new parts and the manifest.
func (f *actFolder) finish() error {
	for _, p := range f.unit.Parts {
		if fresh, ok := f.fresh[p]; ok {
			if err := f.write(p, &fresh); err != nil {
				return err
			}
		}
	}
	t, err := f.store.NewTable()
	if err != nil {
		return err
	}
	f.tables = append(f.tables, t)
	return t.Set(f.job.ID.Key(), f.unit.manifest())
}

package funnel

import (
	"context"
	"slices"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/query"
)

// What is counted of a group at a step: who came to it, who went no further, and who took
// how long.
const (
	came = iota
	dropped
	firstBin
)

// counts is what was counted of a group, by step and within it what.
type counts struct {
	entries []uint64
	people  []uint64
	times   [][]int64 // by step: of those who came so far, from the first step
}

// numbers returns how many numbers there are of each step.
func (f *funnel) numbers() int { return firstBin + max(0, len(f.edges)-1) }

func (f *funnel) newCounts() *counts {
	n := len(f.texts) * f.numbers()
	return &counts{make([]uint64, n), make([]uint64, n), make([][]int64, len(f.texts))}
}

func (c *counts) add(o *counts) {
	for i := range c.entries {
		c.entries[i] += o.entries[i]
		c.people[i] += o.people[i]
	}
	for i := range c.times {
		c.times[i] = append(c.times[i], o.times[i]...)
	}
}

func (c *counts) isEmpty() bool {
	return !slices.ContainsFunc(c.entries, func(n uint64) bool { return n > 0 })
}

// timeBytes is what one time takes: itself, the room that lists grow by, and its place when
// all are put together.
const timeBytes = 3 * 8

// visitor counts the people of chunks.
type visitor struct {
	*funnel
	path   path
	codes  codes
	groups groups
	counts []*counts // by group
	slots  []slot    // of the person at hand
}

// slot is a number of a group.
type slot struct{ group, at int }

// count counts the people of all chunks, and returns what each worker has counted.
func (f *funnel) count(ctx context.Context, s *query.Study) ([]*visitor, query.Answer, error) {
	var parts []*visitor
	answer, err := s.Each(ctx, func() query.ChunkVisitor {
		v := &visitor{funnel: f, codes: newCodes(s, f), groups: groups{ids: map[value]int{}, codes: map[int64]int{}}}
		parts = append(parts, v)
		return v.chunk
	})
	return parts, answer, err
}

// sum adds up what workers have counted, whose groups are the same.
func (f *funnel) sum(parts []*visitor) []*counts {
	n := 1
	if f.by != nil {
		n = len(f.by.labels) + 2
	}
	out := make([]*counts, n)
	for i := range out {
		out[i] = f.newCounts()
		for _, v := range parts {
			out[i].add(v.of(i))
		}
	}
	return out
}

// of returns what was counted of a group.
func (v *visitor) of(group int) *counts {
	for len(v.counts) <= group {
		v.counts = append(v.counts, nil)
	}
	if v.counts[group] == nil {
		v.counts[group] = v.newCounts()
		v.groups.bytes += int64(len(v.texts)) * int64(16*v.numbers()+24)
	}
	return v.counts[group]
}

// chunk counts the people of one chunk.
func (v *visitor) chunk(ctx context.Context, c *query.StudyChunk) error {
	within := c.People
	if v.order != anyOrder {
		var err error
		if within, err = v.some(ctx, c, 0, within); err != nil || within.IsEmpty() {
			return err
		}
	}
	v.codes.clear() // each person is in one chunk
	clear(v.groups.codes)
	if err := v.groupPeople(ctx, c, within); err != nil {
		return err
	}
	if err := v.trails(ctx, c, within); err != nil {
		return err
	}
	if len(v.groups.values) > query.MaxBreakdownValues {
		return query.Errorf(query.CodeLimit, "--by: %s has more than %d values", v.by.name, query.MaxBreakdownValues)
	}
	err := c.Keep(v.groups.bytes)
	v.groups.bytes = 0
	return err
}

// trails counts who has an event of the first step.
func (v *visitor) trails(ctx context.Context, c *query.StudyChunk, within bitmap.Set) error {
	if !v.isOnward() {
		return c.Trails(ctx, v.lists, v.values, &within, func(who uint16, steps []query.Step) error {
			v.person(c, who, steps)
			return nil
		})
	}
	goes := new(bitmap.Words)
	err := c.OnwardTrails(ctx, v.lists, v.onward, &within, func(who uint16, steps []query.Step) error {
		goes.SetBit(who)
		if len(steps) == 2 && !v.onward.Whole { // to the second step and no further
			v.path.took = append(v.path.took[:0], 0, steps[1].Time-steps[0].Time)
			v.entry(c, who, steps, &entry{began: steps[0].Time, took: v.path.took})
		} else {
			v.person(c, who, steps)
		}
		return nil
	})
	if err != nil {
		return err
	}
	v.stay(c, bitmap.AndNot(within, bitmap.FromWords(goes), new(bitmap.Words)))
	return nil
}

// some returns who has an event of a step.
func (v *visitor) some(ctx context.Context, c *query.StudyChunk, step int, within bitmap.Set) (bitmap.Set, error) {
	out := new(bitmap.Words)
	for i, l := range v.lists {
		if v.step[i] != step || v.ends[i] {
			continue
		}
		who, err := c.HasAny(ctx, l, &within)
		if err != nil {
			return bitmap.Set{}, err
		}
		out.Or(who)
	}
	return bitmap.FromWords(out), nil
}

// stay counts people who have come to the first step and no further.
func (v *visitor) stay(c *query.StudyChunk, who bitmap.Set) {
	isWanted := v.cell != nil && (v.cell.at == came || v.cell.at == dropped)
	if v.by == nil {
		if v.addStaying(0, uint64(who.Count())); isWanted {
			c.Put(who)
		}
		return
	}
	g := &v.groups
	g.staying = append(g.staying[:0], make([]uint64, len(v.counts))...)
	for _, o := range c.Who(who) {
		group := int(g.people[o])
		for len(g.staying) <= group {
			g.staying = append(g.staying, 0)
		}
		if g.staying[group]++; isWanted && group == v.cell.group {
			c.PutOne(o)
		}
	}
	for group, n := range g.staying {
		if n > 0 {
			v.addStaying(group, n)
		}
	}
}

func (v *visitor) addStaying(group int, n uint64) {
	of := v.of(group)
	for _, at := range []int{came, dropped} {
		of.entries[at] += n
		of.people[at] += n
	}
}

// person counts the entries of one person.
func (v *visitor) person(c *query.StudyChunk, who uint16, steps []query.Step) {
	if v.coded {
		for i := range steps {
			steps[i].Value = v.codes.of(code{v.values[steps[i].List], steps[i].Value})
		}
	}
	v.slots = v.slots[:0]
	found := v.entriesOf(steps)
	for i := range found {
		v.add(who, steps, &found[i])
	}
	if len(found) > 1 { // of several entries the person is one
		slices.SortFunc(v.slots, func(a, b slot) int {
			if a.group != b.group {
				return a.group - b.group
			}
			return a.at - b.at
		})
		v.slots = slices.Compact(v.slots)
	}
	v.put(c, who)
}

// entry counts the only entry of one person.
func (v *visitor) entry(c *query.StudyChunk, who uint16, steps []query.Step, e *entry) {
	v.slots = v.slots[:0]
	v.add(who, steps, e)
	v.put(c, who)
}

// add counts an entry.
func (v *visitor) add(who uint16, steps []query.Step, e *entry) {
	for k, t := range e.took {
		group := v.groupOf(who, steps, e, k)
		v.slot(group, k, came)
		if k == len(e.took)-1 && k < len(v.texts)-1 { // whoever is at the end has not dropped
			v.slot(group, k, dropped)
		}
		if k == 0 {
			continue
		}
		of := v.of(group)
		of.times[k] = append(of.times[k], t)
		v.groups.bytes += timeBytes
		if v.edges != nil {
			v.slot(group, k, firstBin+v.bin(t))
		}
	}
}

func (v *visitor) slot(group, k, what int) {
	s := slot{group, k*v.numbers() + what}
	v.of(group).entries[s.at]++
	v.slots = append(v.slots, s)
}

// put counts the person, once for each slot.
func (v *visitor) put(c *query.StudyChunk, who uint16) {
	for _, s := range v.slots {
		v.counts[s.group].people[s.at]++
		if v.cell != nil && v.cell.group == s.group && v.cell.at == s.at {
			c.PutOne(who)
		}
	}
}

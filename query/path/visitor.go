package path

import (
	"cmp"
	"context"
	"slices"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/query"
)

// visitor finds the paths of chunks. They are added to a trie, or it finds whose they match.
type visitor struct {
	*paths
	study   *query.Study
	labels  labels
	callers []caller // of the sources; the last is the chosen events'

	trie    *trie
	matches func(path []uint32) bool // not nil: instead of the trie
	total   *labels                  // by which matches knows labels
	known   []uint32                 // by label: the one of total

	entries []entry
	lanes   []lane // by who
	who     bitmap.Words
	ords    []uint16
	order   []place // events of one person that may be steps
	begins  []place // chosen events of one person
	next    []int32 // by step: the next one with another label
	ends    []int32 // by step: where the pause before is longer than the gap
	path    []uint32
	kept    keeper
}

// lane is what there is of one person: the times between which chosen events lie, and the last
// entry, from 1.
type lane struct {
	first, last int64
	entry       int32
}

// entry is one event. Of looking back times are negative, so that what came before comes next.
type entry struct {
	place
	before int32 // the same person's one before, from 1
}

// place is an event's place in order.
type place struct {
	at  int64
	key uint32 // the source, then labelBits of the label
}

func (p place) source() int   { return int(p.key >> labelBits) }
func (p place) label() uint32 { return p.key & (1<<labelBits - 1) }

// entryBytes is what an entry takes.
const entryBytes = 16

func newVisitor(p *paths, s *query.Study) *visitor {
	v := &visitor{paths: p, study: s, labels: newLabels(), lanes: make([]lane, bitmap.ChunkSize)}
	for i := range p.sources {
		v.callers = append(v.callers, caller{source: &p.sources[i], name: v.labels.of(p.sources[i].name)})
	}
	v.callers = append(v.callers, caller{source: &p.chosen, name: v.labels.of(p.chosen.name)})
	return v
}

// chunk finds the paths of one chunk.
func (v *visitor) chunk(ctx context.Context, c *query.StudyChunk) error {
	err := c.InParts(&c.People, func(p *query.StudyPart) error { return v.part(ctx, c, p) })
	if err == nil {
		err = v.keep(c)
	}
	return err
}

// part reads the events of some people, then goes through them.
func (v *visitor) part(ctx context.Context, c *query.StudyChunk, p *query.StudyPart) error {
	v.entries = v.entries[:0]
	v.who.Clear()
	if err := v.read(ctx, p, len(v.sources), &p.People); err != nil {
		return err
	}
	some := bitmap.FromWords(&v.who)
	if some.IsEmpty() {
		return nil
	}
	for i := range v.sources {
		if err := v.read(ctx, p, i, &some); err != nil {
			return err
		}
	}
	v.ords = some.AppendTo(v.ords[:0])
	for i, who := range v.ords {
		if i%checkEach == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := v.keep(c); err != nil {
				return err
			}
		}
		v.person(c, who)
	}
	return nil
}

// checkEach is after how many people it is looked whether anybody still wants to know.
const checkEach = 512

// read takes the events of a source in.
func (v *visitor) read(ctx context.Context, p *query.StudyPart, i int, within *bitmap.Set) error {
	call, sign := &v.callers[i], int64(1)
	if v.before {
		sign = -1
	}
	return p.Events(ctx, call.list, within, func(e *query.StudyEvents) error {
		n := e.Len()
		if err := p.Hold(n * entryBytes); err != nil {
			return err
		}
		v.entries = slices.Grow(v.entries, n)
		value := func(int) int64 { return query.NoValue }
		if call.property != nil {
			var err error
			if value, err = e.Numbers(call.property.ID); err != nil {
				return err
			}
		}
		for k := range n {
			who, at := e.Who(k), sign*e.Time(k)
			l := &v.lanes[who]
			if i == len(v.sources) {
				if !v.choose(who, l, at) {
					continue
				}
			} else if !v.near(l, at) {
				continue
			}
			label := call.name
			if call.property != nil {
				var err error
				if label, err = v.label(call, value(k)); err != nil {
					return err
				}
			}
			v.entries = append(v.entries, entry{place{at, uint32(i)<<labelBits | label}, l.entry})
			l.entry = int32(len(v.entries))
		}
		return nil
	})
}

// choose takes the time of a chosen event, and reports whether it may begin a path.
func (v *visitor) choose(who uint16, l *lane, at int64) bool {
	switch {
	case !v.who.Has(who):
		v.who.SetBit(who)
		*l = lane{at, at, 0}
	case v.every:
		l.first, l.last = min(l.first, at), max(l.last, at)
	case v.before && at < l.last || !v.before && at > l.last: // there is an earlier one
		return false
	default:
		l.first, l.last = at, at
	}
	return true
}

// near reports whether a time may be that of a step.
func (v *visitor) near(l *lane, at int64) bool { return at > l.first && at-l.last <= v.within }

// label returns the label of a value.
func (v *visitor) label(call *caller, n int64) (uint32, error) {
	if label, ok := call.at(n); ok {
		return label, nil
	}
	label, bytes := call.lookUp(v.study, &v.labels, n)
	v.kept.bytes += bytes
	if label > MaxLabels {
		return 0, &query.Error{Code: query.CodeLimit, Message: query.Errorf(query.CodeLimit, "--label: %s has more than %d values", call.property.Name, MaxLabels).Message, Hint: "choose a property that is alike for many, such as a category"}
	}
	return label, nil
}

// person goes through the events of one.
func (v *visitor) person(c *query.StudyChunk, who uint16) {
	l := &v.lanes[who]
	v.order, v.begins = v.order[:0], v.begins[:0]
	for at := l.entry; at > 0; at = v.entries[at-1].before {
		switch e := &v.entries[at-1]; {
		case e.source() < len(v.sources):
			v.order = append(v.order, e.place)
		case v.every || e.at == l.first:
			v.begins = append(v.begins, e.place)
		}
	}
	v.sort(v.order)
	v.sort(v.begins)
	if first := 0; !v.every { // of those of one time
		if v.before {
			first = len(v.begins) - 1
		}
		v.begins = v.begins[first : first+1]
	}
	v.prepare()
	from := 0
	for _, chosen := range v.begins {
		for from < len(v.order) && v.order[from].at <= chosen.at {
			from++
		}
		v.follow(chosen, from)
		if v.matches == nil {
			v.trie.add(v.path)
		} else if v.matches(v.inTotal()) {
			c.PutOne(who)
			return
		}
	}
}

// inTotal returns the path by the labels that matches knows.
func (v *visitor) inTotal() []uint32 {
	for at := len(v.known); at < len(v.labels.texts); at++ {
		label := uint32(none)
		if at != none {
			label = v.total.place[v.labels.texts[at]]
		}
		v.known = append(v.known, label)
	}
	for i, label := range v.path {
		v.path[i] = v.known[label]
	}
	return v.path
}

// sort puts events in order that stand the last one first, in which they were read: of each
// list most are in order then.
func (v *visitor) sort(events []place) {
	slices.Reverse(events)
	if len(events) > 24 {
		slices.SortFunc(events, v.compare)
		return
	}
	for i := 1; i < len(events); i++ {
		e, k := events[i], i
		for ; k > 0 && (events[k-1].at > e.at || events[k-1].at == e.at && v.compare(events[k-1], e) > 0); k-- {
			events[k] = events[k-1]
		}
		events[k] = e
	}
}

// compare tells which event comes first.
func (v *visitor) compare(a, b place) int {
	if a.at != b.at || a.key == b.key {
		return cmp.Compare(a.at, b.at)
	}
	if v.before {
		a, b = b, a
	}
	return cmp.Or(cmp.Compare(a.source(), b.source()), v.labels.compare(a.label(), b.label()))
}

// prepare finds out for each event where one goes on from it.
func (v *visitor) prepare() {
	n := int32(len(v.order))
	v.next, v.ends = slices.Grow(v.next[:0], int(n))[:n], slices.Grow(v.ends[:0], int(n))[:n]
	for i := n - 1; i >= 0; i-- {
		v.next[i], v.ends[i] = i+1, n
		if i == n-1 {
			continue
		}
		if v.order[i].label() == v.order[i+1].label() {
			v.next[i] = v.next[i+1]
		}
		if v.ends[i] = v.ends[i+1]; v.gap > 0 && v.order[i+1].at-v.order[i].at > v.gap {
			v.ends[i] = i + 1
		}
	}
}

// follow finds the path of a chosen event; the events later than it begin at from.
func (v *visitor) follow(chosen place, from int) {
	v.path = v.path[:0]
	if from == len(v.order) || v.gap > 0 && v.order[from].at-chosen.at > v.gap {
		return
	}
	i, end, last := int32(from), v.ends[from], chosen.label()
	for len(v.path) < v.steps {
		if v.collapse && i < end && v.order[i].label() == last {
			i = v.next[i]
		}
		if i >= end || v.order[i].at-chosen.at > v.within {
			return
		}
		last = v.order[i].label()
		v.path = append(v.path, last)
		i++
	}
}

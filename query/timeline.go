package query

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"time"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// TimelineOptions shape a listing of one profile's events and of the changes of its
// attributes with history.
type TimelineOptions struct {
	Options
	From, To time.Time // From <= time < To; zero: no bound. No listing reaches past now
	Events   []string  // of these types, and the changes of these attributes, only; empty: of all
	Limit    int       // at most so many; 0: DefaultTimeline
	After    string    // Timeline.Next of the page before
}

// RecentEvents is how many events a Profile shows unless it is told.
const RecentEvents = 20

// Limits of a timeline.
const (
	DefaultTimeline = 100
	MaxTimeline     = 100_000 // they are held in memory to be sorted
)

// Timeline is events and changes of one profile, the newest first; of the same time, in
// the order of the names of their types and attributes, backwards, and of what they say.
type Timeline struct {
	Events []TimelineEvent
	Next   string // continues the listing; "" at its end
	Answer
}

// TimelineEvent is one event of a profile, or one change of an attribute.
type TimelineEvent struct {
	Event      string // the event type; of a change, the attribute
	Time       time.Time
	Properties []AttributeValue // in the schema's order; absent ones are left out
	Change     *Change          // nil: it is an event

	hash uint64
}

// Change is what an attribute was before and after a record changed it; absent is none.
// From is what it was when its history was turned on, if that came later.
type Change struct{ From, To schema.Value }

// firstWindow is how far back a timeline looks first: as many parts as a month has. If
// that is not enough it looks widen times further, and so on.
const (
	firstWindow = 30 * 24 * time.Hour
	widen       = 12
)

// TimelineOf lists events and changes of a living profile. The caller has resolved the
// names: events and changed are the types and attributes to list, now the instant of the
// question.
func TimelineOf(ctx context.Context, view View, ordinal uint32, events []*schema.Event, changed []*schema.Attribute, now time.Time, o *TimelineOptions) (Timeline, error) {
	limit := o.Limit
	switch {
	case limit == 0:
		limit = DefaultTimeline
	case limit < 0 || limit > MaxTimeline:
		return Timeline{}, Errorf(CodeInvalid, "a limit of %d events; it is 1 to %d", limit, MaxTimeline)
	}
	from, to := int64(schema.MinTimestamp), now.UnixMilli()+1
	if !o.From.IsZero() {
		from = ceilMilli(o.From)
	}
	if !o.To.IsZero() {
		to = min(to, ceilMilli(o.To))
	}
	if !o.From.IsZero() && !o.To.IsZero() && !o.From.Before(o.To) {
		err := Errorf(CodeInvalid, "there is nothing from %s to %s", o.From.Format(time.RFC3339), o.To.Format(time.RFC3339))
		err.Hint = "from must be before to"
		return Timeline{}, err
	}
	start := timelinePlace{time: to, name: "\xff"}
	if o.After != "" {
		var err error
		if start, err = parseTimelinePlace(o.After); err != nil {
			return Timeline{}, err
		}
		to = min(to, start.time+1)
	}
	r := timelineReader{view: view, cur: view.Cursor(), ordinal: ordinal}
	defer r.cur.Close()
	var changes []TimelineEvent
	for _, a := range changed {
		list, err := r.changes(a)
		if err != nil {
			return Timeline{}, err
		}
		changes = append(changes, list...)
	}
	out := Timeline{}
	for span := firstWindow.Milliseconds(); to > from && len(out.Events) <= limit; span *= widen {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		lo := from
		if to-span > from && span > 0 && to-span < to {
			lo = to - span
		}
		page, err := r.window(events, changes, lo, to, start, limit+1-len(out.Events))
		if err != nil {
			return out, err
		}
		out.Events = append(out.Events, start.behind(page)...)
		to = lo
	}
	if len(out.Events) > limit {
		out.Events = out.Events[:limit]
		out.Next = start.next(out.Events).text()
	}
	out.BytesRead = r.cur.BytesRead()
	return out, nil
}

// ceilMilli returns the first whole millisecond that is not before t.
func ceilMilli(t time.Time) int64 {
	ms := t.UnixMilli()
	if t.After(time.UnixMilli(ms)) {
		ms++
	}
	return ms
}

// timelineReader reads one profile's events.
type timelineReader struct {
	view    View
	cur     Cursor
	ordinal uint32
	hash    ActHash
}

// window returns the events, and those of the changes, with from <= time < to, the newest first:
// as many as there are n behind a place.
func (r *timelineReader) window(events []*schema.Event, changes []TimelineEvent, from, to int64, start timelinePlace, n int) ([]TimelineEvent, error) {
	out := newestEvents{cur: r.cur, most: n + int(start.skip)}
	add := func(t *TimelineEvent) error {
		if start.compare(t) < 0 {
			return nil
		}
		return out.add(t)
	}
	for _, e := range events {
		err := r.each(e, from, to, func(b *EventBlock, i int) error {
			t, err := r.event(e, b, i)
			if err == nil {
				err = add(&t)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	for i := range changes {
		if at := changes[i].Time.UnixMilli(); at >= from && at < to {
			if err := add(&changes[i]); err != nil {
				return nil, err
			}
		}
	}
	out.cut()
	return out.all, nil
}

// newestEvents keeps the newest of many events, in memory of the store's budget.
type newestEvents struct {
	cur    Cursor
	most   int  // so many are kept
	oldest bool // those that came first are kept instead
	all    []TimelineEvent
	since  int64 // bytes of those added since others were forgotten
}

const (
	eventBytes = 160  // what an event takes without its values
	moreEvents = 1000 // how many more than those kept, or bytes, are held before others are forgotten
	moreBytes  = 4 << 20
)

// bytes returns about what the event takes.
func (t *TimelineEvent) bytes() int64 {
	n := eventBytes + len(t.Properties)*(valueBytes+16)
	for i := range t.Properties {
		n += textBytes(t.Properties[i].Value)
	}
	if t.Change != nil {
		n += 2*valueBytes + textBytes(t.Change.From) + textBytes(t.Change.To)
	}
	return int64(n)
}

func textBytes(v schema.Value) int {
	if v.Kind() == schema.String {
		return len(v.Str())
	}
	return 0
}

func (n *newestEvents) add(t *TimelineEvent) error {
	bytes := t.bytes()
	if err := take(n.cur, bytes); err != nil {
		return err
	}
	n.since += bytes
	if n.all = append(n.all, *t); len(n.all) > n.most && (len(n.all) >= n.most+moreEvents || n.since > moreBytes) {
		n.cut()
	}
	return nil
}

// drop forgets all.
func (n *newestEvents) drop() {
	most := n.most
	n.most = 0
	n.cut()
	n.most = most
}

// cut sorts the events and forgets those that are not wanted.
func (n *newestEvents) cut() {
	slices.SortFunc(n.all, func(a, b TimelineEvent) int {
		return -cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Event, b.Event), cmp.Compare(a.hash, b.hash))
	})
	n.since = 0
	more := len(n.all) - n.most
	if more <= 0 {
		return
	}
	gone := n.all[n.most:]
	if n.oldest {
		gone = n.all[:more]
	}
	for i := range gone {
		_ = take(n.cur, -gone[i].bytes()) // giving back does not fail
	}
	if n.oldest {
		copy(n.all, n.all[more:])
	}
	clear(n.all[n.most:])
	n.all = n.all[:n.most]
}

// each calls f with every event of one type, and all of its properties, in a window.
func (r *timelineReader) each(e *schema.Event, from, to int64, f func(b *EventBlock, i int) error) error {
	cur, ok := r.cur.(EventCursor)
	if !ok {
		return Errorf(CodeInternal, "this view has no events")
	}
	defer r.cur.Release()
	who := bitmap.FromArray([]uint16{uint16(r.ordinal)})
	scan := &EventScan{Event: e.ID, From: from, To: to, Times: true}
	for i := range e.Properties {
		scan.Properties = append(scan.Properties, e.Properties[i].ID)
	}
	return cur.Events(scan, int(r.ordinal>>bitmap.ChunkBits), &who, func(b *EventBlock) error {
		for i := range b.Ords {
			if err := f(b, i); err != nil {
				return err
			}
		}
		return nil
	})
}

// changes returns all changes of an attribute, the oldest first: what one changed it to
// is what the next found, and what the last did is what there is.
func (r *timelineReader) changes(a *schema.Attribute) ([]TimelineEvent, error) {
	e := a.ChangeType()
	if e == nil {
		return nil, nil
	}
	var out []TimelineEvent
	err := r.each(e, schema.MinTimestamp, schema.MaxTimestamp+1, func(b *EventBlock, i int) error {
		before, err := b.Columns[1].Value(r.view, &e.Properties[1], i)
		out = append(out, TimelineEvent{Event: a.Name, Time: time.UnixMilli(b.Times[i]).UTC(), Change: &Change{From: before}, hash: uint64(b.Columns[0].Ints[i])})
		if err != nil {
			return err
		}
		return take(r.cur, out[len(out)-1].bytes())
	})
	if err != nil || len(out) == 0 {
		return nil, err
	}
	slices.SortFunc(out, func(x, y TimelineEvent) int { return cmp.Compare(x.hash, y.hash) }) // by position
	var last [1]schema.Value
	reader := valueReader{view: r.view, attr: *a}
	if err := reader.read(r.cur, int(r.ordinal>>bitmap.ChunkBits), []uint16{uint16(r.ordinal)}, last[:], 1); err != nil {
		return nil, err
	}
	for i := range out {
		if i+1 < len(out) {
			out[i].Change.To = out[i+1].Change.From
		} else {
			out[i].Change.To = last[0]
		}
	}
	return out, nil
}

// event makes event i of a block, whose columns are all of the type's properties.
func (r *timelineReader) event(e *schema.Event, b *EventBlock, i int) (TimelineEvent, error) {
	out := TimelineEvent{Event: e.Name, Time: time.UnixMilli(b.Times[i]).UTC()}
	r.hash.Reset()
	for k := range e.Properties {
		p := &e.Properties[k]
		v, err := b.Columns[k].Value(r.view, p, i)
		if err != nil {
			return out, err
		}
		r.hash.Value(p.ID, v)
		if !v.IsAbsent() && (p.Kind != schema.Set || len(v.Elements()) > 0) {
			out.Properties = append(out.Properties, AttributeValue{Name: p.Name, Value: v})
		}
	}
	out.hash = r.hash.Sum()
	return out, nil
}

// Value returns value i of the column, which is of property p.
func (c *EventColumn) Value(view View, p *schema.Attribute, i int) (schema.Value, error) {
	switch {
	case p.Kind == schema.Set:
		from := uint32(0)
		if i > 0 {
			from = c.Sets.Ends[i-1]
		}
		var elements []string
		for _, code := range c.Sets.Codes[from:c.Sets.Ends[i]] {
			v, err := codeValue(view, p, code)
			if err != nil {
				return v, err
			}
			elements = append(elements, v.Str())
		}
		return schema.SetValue(elements...), nil
	case p.Coded():
		return codeValue(view, p, c.Codes[i])
	case c.Present != nil && c.Present[i>>6]>>(i&63)&1 == 0:
		return schema.Value{}, nil
	case p.Kind == schema.String:
		return schema.StringValue(string(c.Texts[i])), nil
	}
	return schema.FromOrdered(p.Kind, p.Scale, c.Ints[i]), nil
}

// timelinePlace is where a timeline goes on: behind skip events that are equal in time,
// type and hash. Its text is opaque: unpadded base64url of 1 byte version, 1, then 8 bytes
// time, 8 bytes hash and 4 bytes skip, little endian, and the type's name.
type timelinePlace struct {
	time int64
	name string
	hash uint64
	skip uint32
}

const timelineVersion = 1

func (p timelinePlace) compare(e *TimelineEvent) int {
	return cmp.Or(cmp.Compare(p.time, e.Time.UnixMilli()), cmp.Compare(p.name, e.Event), cmp.Compare(p.hash, e.hash))
}

// behind returns the events of a page, newest first, that come behind the place.
func (p timelinePlace) behind(page []TimelineEvent) []TimelineEvent {
	equal := uint32(0)
	for i := range page {
		switch c := p.compare(&page[i]); {
		case c > 0:
			return page[i:]
		case c == 0:
			if equal++; equal > p.skip {
				return page[i:]
			}
		}
	}
	return nil
}

// next returns the place behind the last event of a page that began at p.
func (p timelinePlace) next(page []TimelineEvent) timelinePlace {
	last := &page[len(page)-1]
	q := timelinePlace{time: last.Time.UnixMilli(), name: last.Event, hash: last.hash}
	for i := len(page) - 1; i >= 0 && q.compare(&page[i]) == 0; i-- {
		q.skip++
	}
	if p.time == q.time && p.name == q.name && p.hash == q.hash {
		q.skip += p.skip
	}
	return q
}

func (p timelinePlace) text() string {
	b := binary.LittleEndian.AppendUint64([]byte{timelineVersion}, uint64(p.time))
	b = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint64(b, p.hash), p.skip)
	return base64.RawURLEncoding.EncodeToString(append(b, p.name...))
}

func parseTimelinePlace(text string) (timelinePlace, error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	switch {
	case err != nil || len(b) <= 21: // no cursor is as short
	case b[0] != timelineVersion:
		return timelinePlace{}, Errorf(CodeNewerFormat, "the cursor has format %d, this version knows %d", b[0], timelineVersion)
	case len(b) <= 21+schema.MaxNameBytes:
		return timelinePlace{int64(binary.LittleEndian.Uint64(b[1:])), string(b[21:]), binary.LittleEndian.Uint64(b[9:]), binary.LittleEndian.Uint32(b[17:])}, nil
	}
	return timelinePlace{}, Errorf(CodeInvalid, "this is not a cursor of a timeline")
}

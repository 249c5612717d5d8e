package engine

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Timeline lists the events of the profile with a key and the changes of its attributes
// with history, the newest first.
func (n *snapshot) Timeline(ctx context.Context, key string, o *query.TimelineOptions) (query.Timeline, error) {
	if o == nil {
		o = &query.TimelineOptions{}
	}
	if err := n.showsPeople(); err != nil {
		return query.Timeline{}, err
	}
	release, err := n.useFor(&o.Options)
	if err != nil {
		return query.Timeline{}, err
	}
	defer release()
	start, v := time.Now(), n.shown(n.plain(&o.Options))
	events, changed, err := n.listed(o.Events)
	if err != nil {
		return query.Timeline{}, err
	}
	ords, err := v.Find(ctx, schema.KeyAttr, key)
	if err != nil {
		return query.Timeline{}, err
	}
	if len(ords) == 0 {
		return query.Timeline{}, query.Errorf(query.CodeUnknownName, "there is no profile %q", key)
	}
	now := n.db.now(&o.Options)
	t, err := query.TimelineOf(ctx, v, ords[0], events, changed, now, o)
	t.Position, t.Now, t.Elapsed, t.BytesRead = n.s.pos, now, time.Since(start), n.told(t.BytesRead)
	return t, err
}

// recent returns the last events of a profile.
func (n *snapshot) recent(ctx context.Context, memory *base.Quota, ordinal uint32, now time.Time, limit int) (query.Timeline, error) {
	events, _, err := n.listed(nil)
	if err != nil || len(events) == 0 || limit < 0 {
		return query.Timeline{}, err
	}
	return query.TimelineOf(ctx, n.shown(view.View{S: &n.s.State, Memory: memory}), ordinal, events, nil, now, &query.TimelineOptions{Limit: cmp.Or(limit, query.RecentEvents)})
}

// lifetime returns what a profile's events come to, by type.
func (n *snapshot) lifetime(ctx context.Context, who *query.Person) (out []query.Lifetime, err error) {
	for i := range n.s.Schema.Events {
		l, err := who.LifetimeOf(ctx, &n.s.Schema.Events[i])
		if err != nil {
			return nil, err
		}
		if l != nil {
			out = append(out, *l)
		}
	}
	return out, nil
}

// listed returns the event types and the attributes with history that have some names, or all.
func (n *snapshot) listed(names []string) (events []*schema.Event, changed []*schema.Attribute, err error) {
	s := n.shownSchema()
	if len(names) == 0 {
		for i := range s.Events {
			events = append(events, &s.Events[i])
		}
		for i := range s.Attributes {
			if a := &s.Attributes[i]; a.History {
				changed = append(changed, a)
			}
		}
		return events, changed, nil
	}
	for _, name := range names {
		e, a := s.LookupEvent(name), s.Lookup(name)
		switch {
		case e == nil && a != nil && !a.History:
			return nil, nil, &query.Error{Code: query.CodeType, Message: fmt.Sprintf("attribute %q keeps no history", name), Hint: "history = true in the schema begins one"}
		case e == nil && a == nil:
			return nil, nil, n.unknownEvent(name)
		}
		if e != nil {
			events = append(events, e)
		}
		if a != nil && a.History {
			changed = append(changed, a)
		}
	}
	return events, changed, nil
}

func (n *snapshot) unknownEvent(name string) error {
	var known []string
	for i := range n.shownSchema().Events {
		known = append(known, n.shownSchema().Events[i].Name)
	}
	return unknownName("event", name, known)
}

// Timeline lists the events of the profile with a key and the changes of its attributes
// with history, the newest first, as they are now.
func (db *DB) Timeline(ctx context.Context, key string, o *query.TimelineOptions) (query.Timeline, error) {
	return read(ctx, db, func(n *snapshot) (query.Timeline, error) { return n.Timeline(ctx, key, o) })
}

package engine

import (
	"context"
	"time"

	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Timeline lists the events of the profile with a key, the newest first.
func (n *snapshot) Timeline(ctx context.Context, key string, o *query.TimelineOptions) (query.Timeline, error) {
	if o == nil {
		o = &query.TimelineOptions{}
	}
	release, err := n.use()
	if err != nil {
		return query.Timeline{}, err
	}
	defer release()
	start, v := time.Now(), view.View{S: &n.s.State}
	events, err := n.eventTypes(o.Events)
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
	t, err := query.TimelineOf(ctx, v, ords[0], events, now, o)
	t.Position, t.Now, t.Elapsed = n.s.pos, now, time.Since(start)
	return t, err
}

// recent returns the last events of a profile.
func (n *snapshot) recent(ctx context.Context, ordinal uint32, now time.Time) ([]query.TimelineEvent, error) {
	events, err := n.eventTypes(nil)
	if err != nil || len(events) == 0 {
		return nil, err
	}
	t, err := query.TimelineOf(ctx, view.View{S: &n.s.State}, ordinal, events, now, &query.TimelineOptions{Limit: query.RecentEvents})
	return t.Events, err
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

// eventTypes returns the event types with some names, or all.
func (n *snapshot) eventTypes(names []string) (out []*schema.Event, err error) {
	if len(names) == 0 {
		for i := range n.s.Schema.Events {
			out = append(out, &n.s.Schema.Events[i])
		}
		return out, nil
	}
	for _, name := range names {
		e := n.s.Schema.LookupEvent(name)
		if e == nil {
			return nil, n.unknownEvent(name)
		}
		out = append(out, e)
	}
	return out, nil
}

func (n *snapshot) unknownEvent(name string) error {
	var known []string
	for i := range n.s.Schema.Events {
		known = append(known, n.s.Schema.Events[i].Name)
	}
	e := query.Errorf(query.CodeUnknownName, "there is no event %q", name)
	if near := query.Nearest(name, known); near != "" {
		e.Hint = "did you mean " + near + "?"
	}
	return e
}

// Timeline lists the events of the profile with a key, the newest first, as they are now.
func (db *DB) Timeline(ctx context.Context, key string, o *query.TimelineOptions) (query.Timeline, error) {
	return read(ctx, db, func(n *snapshot) (query.Timeline, error) { return n.Timeline(ctx, key, o) })
}

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/engine/listing"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// timelineFlags are the flags of kanta timeline.
type timelineFlags struct {
	ask      questionFlags
	from, to string
	events   []string
	limit    int
	after    string
}

func newTimeline(a *app) *cobra.Command {
	var f timelineFlags
	c := &cobra.Command{
		Use:   "timeline KEY",
		Short: "What one person did, the newest first",
		Long: `What one person did, the newest first: each event with its time, its type and its
properties, and each change of an attribute that keeps history, with what it was before
and after. --after goes on where the list before ended, with the cursor that it printed.

--json: {"key":"...","events":[{"time":"...","event":"...","properties":{"p":...}}, and of
changes {"time":"...","attribute":"...","from":...,"to":...}, null for no value],
"next":"CURSOR","position":"E.N","now":"...",...}`,
		Example: "  kanta timeline user-00000042 --events purchase,support_ticket --from 2026-01-01",
		Args:    rangeArgs(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			o, err := f.options()
			if err != nil {
				return err
			}
			return a.withStore(func(s store) error { return a.timeline(c.Context(), s, args[0], &o) })
		},
	}
	c.Flags().StringVar(&f.from, "from", "", "not before this time: RFC 3339, or a date (its start in UTC)")
	c.Flags().StringVar(&f.to, "to", "", "before this time")
	c.Flags().StringSliceVar(&f.events, "events", nil, "only these types of event, and changes of these attributes, separated by commas")
	c.Flags().IntVar(&f.limit, "limit", 0, fmt.Sprintf("how many to list (default %d)", query.DefaultTimeline))
	c.Flags().StringVar(&f.after, "after", "", "go on behind the list that ended with this cursor")
	a.completeList(c, "events", a.timelineNames)
	f.ask.add(c)
	return c
}

func (f *timelineFlags) options() (query.TimelineOptions, error) {
	ask, err := f.ask.options()
	if err != nil {
		return query.TimelineOptions{}, err
	}
	o := query.TimelineOptions{Options: ask, Events: f.events, Limit: f.limit, After: f.after}
	if o.From, err = parseInstant("--from", f.from); err != nil {
		return o, err
	}
	o.To, err = parseInstant("--to", f.to)
	return o, err
}

func (a *app) timeline(ctx context.Context, s store, key string, o *query.TimelineOptions) error {
	t, err := s.Timeline(ctx, key, o)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(struct {
			Key    string `json:"key"`
			Events []any  `json:"events"`
			Next   string `json:"next"`
			answerJSON
		}{key, listing.Events(t.Events), t.Next, answerOf(t.Answer)})
	}
	if err := a.eventTable(t.Events); err != nil {
		return err
	}
	if t.Next != "" {
		fmt.Fprintln(a.err, "there are more: --after", t.Next)
	}
	return nil
}

// eventTable prints events, one a line.
func (a *app) eventTable(events []query.TimelineEvent) error {
	t := a.newTable("time", "event", "properties")
	for i := range events {
		t.add(events[i].Time.Format(time.RFC3339Nano), events[i].Event, whatOf(&events[i]))
	}
	return t.write(a.out)
}

// whatOf writes what an event says, or what a change changed.
func whatOf(e *query.TimelineEvent) string {
	if e.Change != nil {
		return valueOrNone(e.Change.From) + " -> " + valueOrNone(e.Change.To)
	}
	return properties(e)
}

func properties(e *query.TimelineEvent) string {
	var out []string
	for _, p := range e.Properties {
		out = append(out, p.Name+"="+p.Value.String())
	}
	return strings.Join(out, " ")
}

// none is how those without a value are named.
const none = "(none)"

// valueOrNone writes a value as breakdowns do.
func valueOrNone(v schema.Value) string {
	if v.IsAbsent() || v.Kind() == schema.Set && len(v.Elements()) == 0 {
		return none
	}
	return v.String()
}

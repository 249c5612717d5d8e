package query

import (
	"context"

	"github.com/kantadb/kanta/index/bitmap"
)

// StudyPart is those people of a chunk whose events of several lists are held together.
type StudyPart struct {
	People bitmap.Set

	c *StudyChunk
}

// InParts calls f with all of within, or, where what f holds of their events is too much, with
// some at a time: f ends with the error that it got, and begins anew with fewer people.
func (c *StudyChunk) InParts(within *bitmap.Set, f func(p *StudyPart) error) error {
	e := c.w.eventsOf(within)
	defer e.release(e.mark())
	return c.w.inParts(within, func(within *bitmap.Set) error { return f(&StudyPart{*within, c}) })
}

// Events is [StudyChunk.Events] of some of the part's people.
func (p *StudyPart) Events(ctx context.Context, l *StudyList, within *bitmap.Set, f func(e *StudyEvents) error) error {
	return p.c.w.eachEvent(ctx, l.list, within, func(h *hits) error { return f(&StudyEvents{h, l}) })
}

// Hold counts bytes that are held of events until f ends.
func (p *StudyPart) Hold(bytes int) error { return p.c.w.events.keep(bytes) }

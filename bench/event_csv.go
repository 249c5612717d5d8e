package bench

import (
	"context"
	"io"
)

// EventHeader returns the first line of the CSV form of events.
func EventHeader(ids bool) []byte {
	line := "profile,event,time,category,item_id,amount,channel"
	if ids {
		line += ",id"
	}
	return []byte(line + "\n")
}

// AppendEventCSV appends an event as a line of CSV to dst: the time as RFC 3339 in UTC with
// milliseconds, an absent property as an empty cell. No cell needs quotes.
func (g *Generator) AppendEventCSV(dst []byte, e *Event, ids bool) []byte {
	t := &g.events
	dst = append(AppendKey(dst, e.Profile), ',')
	dst = append(append(dst, t.names[e.Type]...), ',')
	dst = append(t.appendTime(dst, e.Time), ',')
	if e.Type.HasItem() {
		dst = append(dst, t.words[categoryProperty][e.Category]...)
		dst = append(append(dst, ','), t.words[itemProperty][e.Item]...)
		dst = append(dst, ',')
	} else {
		dst = append(dst, ',', ',')
	}
	if e.Type == Purchase {
		dst = appendCents(dst, e.Amount)
	}
	dst = append(append(dst, ','), t.words[channelProperty][e.Channel]...)
	if ids {
		dst = e.AppendID(append(dst, ','))
	}
	return append(dst, '\n')
}

// appendTime appends a time of the 90 days.
func (t *eventTables) appendTime(dst []byte, ms int64) []byte {
	since := ms - Now().UnixMilli() + eventDays*day
	dst = append(dst, t.days[since/day]...)
	two := func(before byte, n int64) { dst = append(dst, before, byte('0'+n/10), byte('0'+n%10)) }
	two('T', since/hour%24)
	two(':', since/60_000%60)
	two(':', since/1000%60)
	return append(dst, '.', byte('0'+since/100%10), byte('0'+since/10%10), byte('0'+since%10), 'Z')
}

// WriteEventsCSV writes the header and the events with the numbers from up to below to, in
// order. The bytes do not depend on Options.Parallelism. An error is one of w or of ctx.
func (g *Generator) WriteEventsCSV(ctx context.Context, w io.Writer, from, to uint64, ids bool) error {
	if _, err := w.Write(EventHeader(ids)); err != nil {
		return err
	}
	return g.inOrder(ctx, from, to, func(_ int, dst []byte, from, to uint64) []byte {
		var e Event
		for number := from; number < to; number++ {
			g.Event(number, &e)
			dst = g.AppendEventCSV(dst, &e, ids)
		}
		return dst
	}, func(block []byte) error {
		_, err := w.Write(block)
		return err
	})
}

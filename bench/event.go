package bench

import (
	"math"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/kantadb/kanta/index/schema"
)

// EventType numbers a type of event, in the order of the package comment.
type EventType uint8

// The types of events.
const (
	AppOpen EventType = iota
	ViewItem
	Search
	AddToCart
	Purchase
	Watch
	Share
	Review
	SupportTicket
	EmailOpen
	PushClick
	Uninstall
	NumEventTypes int = iota
)

// The properties of events, as columns.
const (
	categoryProperty = iota
	itemProperty
	amountProperty
	channelProperty
	numProperties
)

const (
	eventDays   = 90
	eventHours  = 24 * eventDays
	categories  = 40
	items       = 5000
	channels    = 5
	amountScale = 2

	hour = int64(time.Hour / time.Millisecond)
	day  = 24 * hour
)

// Event is one act of a profile. Its memory is the caller's and can be used again.
type Event struct {
	Number   uint64 // 0 is the first; the order is that of time
	Profile  uint64 // the number of who did it
	Time     int64  // milliseconds since 1970
	Amount   int64  // cents; of purchases, else 0
	Category uint16 // c0 ... by its number; of types with an item, else 0
	Item     uint16 // likewise
	Channel  uint16 // by its number
	Type     EventType
	id       [2]uint64
}

// HasItem reports whether the events of a type are about an item, with its category.
func (t EventType) HasItem() bool {
	return t == ViewItem || t == AddToCart || t == Purchase || t == Watch || t == Review
}

// eventTables are what events are drawn from. They are the same for every seed, but for
// the hours, which count the events of the generator.
type eventTables struct {
	names                             []string // of the types
	words                             [numProperties][]string
	types, category, item, channel    alias
	days                              [eventDays]string      // "2025-10-03" ... "2025-12-31"
	hours                             [eventHours + 1]uint64 // how many events are before each hour
	scatterBits, scatterBy, scatterTo uint64                 // see scatter
}

func newEventTables(opt *Options) eventTables {
	t := eventTables{
		names: strings.Fields("app_open view_item search add_to_cart purchase watch share review support_ticket email_open push_click uninstall"),
		// In tenths of a percent.
		types:    newAlias([]uint64{450, 250, 80, 60, 30, 40, 15, 8, 4, 40, 20, 3}),
		category: newAlias(zipf(categories, 0.8)),
		item:     newAlias(zipf(items, 0.9)),
		channel:  newAlias(zipf(channels, 1)),
	}
	t.words[categoryProperty] = numbered("c%d", 0, categories)
	t.words[itemProperty] = numbered("item-%04d", 0, items)
	t.words[channelProperty] = strings.Fields("app web email store partner")
	for d := range t.days {
		t.days[d] = Now().AddDate(0, 0, d-eventDays).Format(time.DateOnly)
	}
	t.scatterBits = uint64(bits.Len64(max(opt.Profiles, 1) - 1))
	t.scatterBy, t.scatterTo = newStream(opt.Seed, domainScatter, 0).at(0)|1, newStream(opt.Seed, domainScatter, 0).at(1)
	var sum [eventHours + 1]uint64
	for h := range eventHours {
		sum[h+1] = sum[h] + hourWeight(h)
	}
	for h, before := range sum {
		hi, lo := bits.Mul64(opt.Events, before)
		t.hours[h], _ = bits.Div64(hi, lo, sum[eventHours])
	}
	return t
}

// hourWeight returns how busy an hour is, counted from the first.
func hourWeight(h int) uint64 {
	// 1000 + 600 sin(2 pi (hour - 14) / 24): least at 8, most at 20.
	daily := [24]uint64{1300, 1155, 1000, 845, 700, 576, 480, 420, 400, 420, 480, 576, 700, 845, 1000, 1155, 1300, 1424, 1520, 1580, 1600, 1580, 1520, 1424}
	weight := daily[h%24] * uint64(4*eventHours+h) // a quarter more in the end
	if weekday := Now().Add(time.Duration(h-eventHours) * time.Hour).Weekday(); weekday == time.Saturday || weekday == time.Sunday {
		return 13 * weight
	}
	return 10 * weight
}

// EventSchema returns the types of events with their properties, without ids: who adds
// them to a store assigns those. The caller may change the result.
func (g *Generator) EventSchema() []schema.Event {
	events := make([]schema.Event, NumEventTypes)
	for t := range events {
		e := schema.Event{Name: g.events.names[t], Class: schema.Activity}
		switch EventType(t) {
		case Purchase:
			e.Class = schema.Transaction
		case EmailOpen, PushClick, SupportTicket:
			e.Class = schema.Correspondence
		}
		if EventType(t).HasItem() {
			e.Properties = append(e.Properties, schema.Attribute{Name: "category", Kind: schema.String}, schema.Attribute{Name: "item_id", Kind: schema.String})
		}
		if EventType(t) == Purchase {
			e.Properties = append(e.Properties, schema.Attribute{Name: "amount", Kind: schema.Decimal, Scale: amountScale})
		}
		e.Properties = append(e.Properties, schema.Attribute{Name: "channel", Kind: schema.String})
		events[t] = e
	}
	return events
}

// Event sets *e to the event with a number, which must be below Options.Events. A later
// number is never an earlier time.
func (g *Generator) Event(number uint64, e *Event) {
	s := newStream(g.opt.Seed, domainEvent, number)
	hours := g.events.hours[:]
	h, _ := slices.BinarySearchFunc(hours, number, func(before, number uint64) int {
		if before <= number {
			return -1
		}
		return 1
	})
	h-- // the last hour with no more events before it
	// The events of an hour lie in as many equal parts of it, one in each.
	part := float64(number-hours[h]) + unit(s.at(0))
	within := min(int64(float64(part*float64(hour))/float64(hours[h+1]-hours[h])), hour-1)
	e.Number, e.Time = number, Now().UnixMilli()+int64(h-eventHours)*hour+within
	g.drawEvent(s, e)
}

// LiveEvent sets *e to one of the events that arrive when the others have: as those, but
// in the hour before [Now], a millisecond after each other, again and again.
func (g *Generator) LiveEvent(number uint64, e *Event) {
	e.Number, e.Time = number, Now().UnixMilli()-hour+int64(number%uint64(hour))
	g.drawEvent(newStream(g.opt.Seed, domainLive, number), e)
}

// drawEvent sets all of an event but its number and time.
func (g *Generator) drawEvent(s stream, e *Event) {
	t := &g.events
	u := unit(s.at(1))
	n := g.opt.Profiles
	e.Profile = g.scatter(min(uint64(float64(n)*float64(float64(u*u)*math.Sqrt(u))), n-1))
	e.Type = EventType(t.types.pick(s.at(2)))
	e.Category, e.Item, e.Amount = 0, 0, 0
	if e.Type.HasItem() {
		if s.below(3, 2) == 0 {
			e.Category = uint16(newStream(g.opt.Seed, domainFavourite, e.Profile).below(0, categories))
		} else {
			e.Category = uint16(t.category.pick(s.at(4)))
		}
		e.Item = uint16(t.item.pick(s.at(5)))
	}
	if e.Type == Purchase {
		e.Amount = int64(float64(100*exactExp(3.2+float64(0.9*normalQuantile(unit(s.at(6))))))+0.5) + 99
	}
	e.Channel = uint16(t.channel.pick(s.at(7)))
	e.id = [2]uint64{s.at(8), s.at(9)}
}

// scatter turns the rank of a profile by its activity into its number: a permutation, so
// that who is how active has nothing to do with the order of the keys.
func (g *Generator) scatter(rank uint64) uint64 {
	// Each step is a permutation of the numbers of so many bits; who is led out of the
	// numbers of profiles goes on until he is in again.
	t := &g.events
	mask, half := uint64(1)<<t.scatterBits-1, (t.scatterBits+1)/2
	for x := rank; ; {
		for range 3 {
			x = (x*t.scatterBy + t.scatterTo) & mask
			x ^= x >> half
		}
		if x < g.opt.Profiles {
			return x
		}
	}
}

// AppendID appends the event's id to dst, random and in the form of a UUID.
func (e *Event) AppendID(dst []byte) []byte {
	const digits = "0123456789abcdef"
	for i := range 32 {
		if i == 8 || i == 12 || i == 16 || i == 20 {
			dst = append(dst, '-')
		}
		dst = append(dst, digits[e.id[i/16]>>(i%16*4)&15])
	}
	return dst
}

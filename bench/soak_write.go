package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/kantadb/kanta/engine/batch"
)

// soakWriters share the writing of everything but erasures; one more, who has fewer people,
// erases and purges.
const soakWriters = 4

// What of the events with ids is not new, in thousands, and of all events is late or wrong.
const (
	againOfThousand = 20 // sent again as it was: a duplicate
	otherOfThousand = 2  // the id of another event
	lateOfThousand  = 30 // one hour to three days old
	oldOfThousand   = 3  // up to 80 days old
	farOfThousand   = 1  // in 2100
)

// rememberedEvents is how many of the last events with ids a writer may send again.
const rememberedEvents = 256

// sentEvent is an event that was accepted, from a life of its profile.
type sentEvent struct {
	event Event
	life  uint16
}

// soakWriter writes about its own profiles, and keeps books about them.
type soakWriter struct {
	s        *soak
	b        *books
	random   *rand.Rand
	live     uint64 // number of its next event
	batches  uint64 // of events
	sent     []sentEvent
	segments map[string]string

	// One builder for each kind of batch: a table lives as long as its builder.
	events, eventsWithIDs, changes, signups, other *batch.Builder
	fill, fillWithIDs                              *EventFiller
	change                                         func(number uint64)
	signup                                         func(number uint64)
}

func (s *soak) newWriter(class, classes uint64) *soakWriter {
	w := &soakWriter{s: s, random: rand.New(rand.NewPCG(s.Data.Seed, 1000+class)), segments: map[string]string{},
		events: batch.New(), eventsWithIDs: batch.New(), changes: batch.New(), signups: batch.New(), other: batch.New()}
	room := uint64(2*signupsOfBatch*s.Duration/SoakSignups.every()) + 1000
	w.b = newBooks(class, classes, s.Data.Profiles, room)
	w.fill, w.fillWithIDs = s.g.NewEventFiller(w.events, false), s.g.NewEventFiller(w.eventsWithIDs, true)
	w.change = s.g.fewAttributes(w.changes, w.random)
	w.signup = s.g.profiles(w.signups)
	return w
}

// send applies a batch and compares what became of it with the books.
func (w *soakWriter) send(ctx context.Context, b *batch.Builder) error {
	encoded, err := b.Encode()
	if err != nil {
		return err
	}
	start := time.Now()
	r, err := w.s.store.Apply(ctx, encoded)
	if err != nil {
		return err
	}
	w.s.took(soakBatch, start)
	return w.b.settle(r)
}

// sendEvents writes a batch of events, every other one with ids.
func (w *soakWriter) sendEvents(ctx context.Context) error {
	w.batches++
	b, fill := w.events, w.fill
	ids := w.batches%2 == 0
	if ids {
		b, fill = w.eventsWithIDs, w.fillWithIDs
	}
	b.Reset()
	for range eventsOfBatch {
		if ids && len(w.sent) > 0 && w.random.IntN(1000) < againOfThousand+otherOfThousand {
			w.addAgain(fill)
		} else {
			w.addNew(fill, ids)
		}
	}
	return w.send(ctx, b)
}

// addNew adds an event that has just happened, or is late.
func (w *soakWriter) addNew(fill *EventFiller, ids bool) {
	var e Event
	w.s.g.LiveEvent(w.live*w.b.classes+w.b.class, &e)
	w.live++
	i := e.Profile / w.b.classes % uint64(len(w.b.state))
	if recent := uint64(1000); w.random.IntN(50) == 0 && uint64(len(w.b.state)) > recent { // who signed up last
		i = uint64(len(w.b.state)) - 1 - w.random.Uint64N(recent)
	}
	kind := newEvent
	late := time.Duration(w.random.ExpFloat64() * float64(3*time.Second))
	switch n := w.random.IntN(1000); {
	case n < farOfThousand:
		late, kind = -75*365*24*time.Hour, farEvent
	case n < farOfThousand+oldOfThousand:
		late = time.Duration(w.random.Int64N(int64(80 * 24 * time.Hour)))
	case n < farOfThousand+oldOfThousand+lateOfThousand:
		late = time.Hour + time.Duration(w.random.Int64N(int64(71*time.Hour)))
	}
	e.Profile, e.Time = w.b.number(i), w.s.clock().Add(-late).UnixMilli()
	fill.Add(&e)
	if !w.b.happened(i, kind, 0) || !ids {
		return
	}
	sent := sentEvent{e, w.b.lives[i]}
	if len(w.sent) < rememberedEvents {
		w.sent = append(w.sent, sent)
	} else {
		w.sent[w.random.IntN(rememberedEvents)] = sent
	}
}

// addAgain adds an event that was sent before, or another with its id.
func (w *soakWriter) addAgain(fill *EventFiller) {
	of := w.sent[w.random.IntN(len(w.sent))]
	kind := sameEvent
	if w.random.IntN(againOfThousand+otherOfThousand) < otherOfThousand {
		kind = otherEvent
		of.event.Channel = (of.event.Channel + 1) % channels
	}
	fill.Add(&of.event)
	w.b.happened(of.event.Profile/w.b.classes, kind, of.life)
}

// sendChanges changes some attributes of random profiles.
func (w *soakWriter) sendChanges(ctx context.Context) error {
	w.changes.Reset()
	for range changesOfBatch {
		i := w.b.any(w.random)
		w.change(w.b.number(i))
		w.b.upserted(i)
	}
	return w.send(ctx, w.changes)
}

// sendSignups makes new profiles.
func (w *soakWriter) sendSignups(ctx context.Context) error {
	w.signups.Reset()
	for range signupsOfBatch {
		i := w.b.next()
		w.signup(w.b.number(i))
		w.b.upserted(i)
	}
	return w.send(ctx, w.signups)
}

// sendDelete deletes a profile; now and then the key is nobody's.
func (w *soakWriter) sendDelete(ctx context.Context) error {
	w.other.Reset()
	i := w.b.anyLiving(w.random)
	w.other.Delete(Key(w.b.number(i)))
	w.b.deleted(i)
	if w.random.IntN(4) == 0 { // the same again
		w.other.Delete(Key(w.b.number(i)))
		w.b.deleted(i)
	}
	return w.send(ctx, w.other)
}

// listsOfWriter is how many lists each writer has, of up to some people.
const (
	listsOfWriter = 5
	peopleOfList  = 200
)

func (w *soakWriter) listName(n int) string { return fmt.Sprintf("list-%d-%d", w.b.class, n) }

// sendList changes one of its lists.
func (w *soakWriter) sendList(ctx context.Context) error {
	return w.changeList(ctx, w.listName(w.random.IntN(listsOfWriter)))
}

// changeList fills a list anew, as the first time, or adds people to it, or removes some.
func (w *soakWriter) changeList(ctx context.Context, name string) error {
	w.other.Reset()
	members, change := w.b.lists[name], w.random.IntN(3)
	if members == nil || len(members) > 2*peopleOfList {
		change = 0
	}
	var keys []string
	put := func(i uint64) { keys = append(keys, Key(w.b.number(i))) }
	switch change {
	case 0:
		members = map[uint64]struct{}{}
		w.b.lists[name] = members
		fallthrough
	case 1:
		for range 1 + w.random.IntN(peopleOfList) {
			i := w.b.anyLiving(w.random)
			put(i)
			members[i] = struct{}{}
		}
	default:
		for i := range members {
			if len(keys) == peopleOfList/4 {
				break
			}
			put(i)
			delete(members, i)
		}
	}
	switch change {
	case 0:
		w.other.ListPut(name, keys...)
	case 1:
		w.other.ListAdd(name, keys...)
	default:
		w.other.ListRemove(name, keys...)
	}
	w.b.want.Received += uint64(len(keys))
	w.b.want.Accepted += uint64(len(keys))
	return w.send(ctx, w.other)
}

// soakSegments is how many segments a writer saves, drops and saves again.
const soakSegments = 25

// sendSegment saves a segment with another text, or drops it.
func (w *soakWriter) sendSegment(ctx context.Context) error {
	w.other.Reset()
	name := fmt.Sprintf("mine-%d-%d", w.b.class, w.random.IntN(soakSegments))
	if _, there := w.segments[name]; there && w.random.IntN(4) == 0 {
		w.other.DropSegment(name)
		delete(w.segments, name)
	} else {
		text := w.s.g.Mix(w.random.Uint64()).Text
		if w.random.IntN(2) == 0 {
			text += " && purchase.in_last(days(" + strconv.Itoa(1+w.random.IntN(60)) + ")).any()"
		}
		w.other.SaveSegment(name, text)
		w.segments[name] = text
	}
	return w.send(ctx, w.other)
}

// erasedTogether is how many people are erased at once.
const erasedTogether = 3

// erase erases people, writes about them as if nothing had happened, which must be refused,
// and purges.
func (w *soakWriter) erase(ctx context.Context) error {
	var who []uint64
	var keys []string
	for range erasedTogether {
		i := w.b.anyLiving(w.random)
		w.b.gone(i, erased)
		who, keys = append(who, i), append(keys, Key(w.b.number(i)))
	}
	e, err := w.s.store.Erase(ctx, "soak", keys...)
	if err != nil {
		return err
	}
	if e.People != erasedTogether {
		return fmt.Errorf("of %d people %d were erased", erasedTogether, e.People)
	}
	w.b.sum.Erased += erasedTogether
	if err := w.writeErased(ctx, who); err != nil {
		return err
	}
	receipt, err := w.s.store.Purge(ctx, nil)
	if err != nil {
		return err
	}
	if receipt == nil || receipt.Hits != 0 || receipt.People < erasedTogether {
		return fmt.Errorf("the receipt of the purge is %+v", receipt)
	}
	w.s.purged.add(receipt)
	return nil
}

func (w *soakWriter) writeErased(ctx context.Context, who []uint64) error {
	w.events.Reset()
	w.changes.Reset()
	for _, i := range who {
		var e Event
		w.s.g.LiveEvent(w.live*w.b.classes+w.b.class, &e)
		w.live++
		e.Profile, e.Time = w.b.number(i), w.s.clock().UnixMilli()
		w.fill.Add(&e)
		w.b.happened(i, newEvent, 0)
	}
	if err := w.send(ctx, w.events); err != nil {
		return err
	}
	for _, i := range who {
		w.change(w.b.number(i))
		w.b.upserted(i)
	}
	return w.send(ctx, w.changes)
}

package bench

import (
	"fmt"
	"math/rand/v2"

	"github.com/kantadb/kanta/engine/batch"
)

// What the books know of a profile.
const (
	nobody = iota // never there, or deleted
	living
	erased
)

// books are what a writer knows to be in the store of its profiles, which are those whose
// number modulo the number of writers is its own: nobody else writes them, so what the store
// answers to each batch is known before it is sent. Only their writer uses them.
type books struct {
	class, classes uint64
	state          []uint8  // of each profile of the class, by number / classes
	lives          []uint16 // how often it has come to life: what it did in another life is not its own
	acts           []uint32 // its events, while it lives
	lists          map[string]map[uint64]struct{}
	sum            SoakRows
	want           SoakRows // of the batch that is made
}

// SoakRows counts rows by what became of them.
type SoakRows struct {
	Received, Accepted, Created, Duplicates, Quarantined, Refused, Deleted, Erased uint64
}

func (r *SoakRows) add(o SoakRows) {
	r.Received += o.Received
	r.Accepted += o.Accepted
	r.Created += o.Created
	r.Duplicates += o.Duplicates
	r.Quarantined += o.Quarantined
	r.Refused += o.Refused
	r.Deleted += o.Deleted
	r.Erased += o.Erased
}

// newBooks makes the books of a writer, with room for as many new profiles.
func newBooks(class, classes, profiles, room uint64) *books {
	n := (profiles + classes - 1 - class) / classes
	b := &books{class: class, classes: classes, state: make([]uint8, n, n+room), lives: make([]uint16, n, n+room), acts: make([]uint32, n, n+room), lists: map[string]map[uint64]struct{}{}}
	for i := range b.state {
		b.state[i] = living
	}
	return b
}

// number returns the number of a profile of the class.
func (b *books) number(i uint64) uint64 { return i*b.classes + b.class }

// any returns a random profile of the class, in whatever state.
func (b *books) any(r *rand.Rand) uint64 { return r.Uint64N(uint64(len(b.state))) }

// anyLiving returns a random profile that lives. Almost all do.
func (b *books) anyLiving(r *rand.Rand) uint64 {
	for {
		if i := b.any(r); b.state[i] == living {
			return i
		}
	}
}

// next returns the next new profile.
func (b *books) next() uint64 {
	b.state, b.lives, b.acts = append(b.state, nobody), append(b.lives, 0), append(b.acts, 0)
	return uint64(len(b.state)) - 1
}

// upserted notes a row about a profile.
func (b *books) upserted(i uint64) {
	b.want.Received++
	if b.state[i] == erased {
		b.want.Refused++
		return
	}
	b.want.Accepted++
	b.live(i)
}

func (b *books) live(i uint64) {
	if b.state[i] == nobody {
		b.state[i] = living
		b.lives[i]++
		b.want.Created++
	}
}

// eventKind says what is to be thought of an event.
type eventKind uint8

const (
	newEvent   eventKind = iota
	sameEvent            // of an event that was accepted, with its id, from the life that is given
	otherEvent           // likewise, but something else has happened
	farEvent             // years ahead
)

// happened notes an event, and reports whether it was accepted.
func (b *books) happened(i uint64, kind eventKind, life uint16) bool {
	b.want.Received++
	switch {
	case b.state[i] == erased:
		b.want.Refused++
	case kind == sameEvent && b.state[i] == living && b.lives[i] == life:
		b.want.Duplicates++
	case kind != newEvent: // what somebody did in another life has the id of another's event
		b.want.Quarantined++
	default:
		b.want.Accepted++
		b.live(i)
		b.acts[i]++
		return true
	}
	return false
}

// deleted notes that a profile is deleted.
func (b *books) deleted(i uint64) {
	b.want.Received++
	switch b.state[i] {
	case erased:
		b.want.Refused++
	case nobody:
		b.want.Quarantined++
	default:
		b.want.Accepted++
		b.want.Deleted++
		b.gone(i, nobody)
	}
}

// gone notes that a profile lives no more.
func (b *books) gone(i uint64, state uint8) {
	b.state[i], b.acts[i] = state, 0
	for _, list := range b.lists {
		delete(list, i)
	}
}

// settle compares what became of a batch with what the books say, which then begin the next.
func (b *books) settle(got batch.Result) error {
	want := b.want
	have := SoakRows{Received: got.Received, Accepted: got.Accepted, Created: got.Created, Duplicates: got.Duplicates, Quarantined: got.Quarantined, Refused: got.Refused, Deleted: want.Deleted, Erased: want.Erased}
	if have != want {
		return fmt.Errorf("of a batch at %s became %+v (%v); right is %+v", got.Position, have, got.Reasons, want)
	}
	b.sum.add(want)
	b.want = SoakRows{}
	return nil
}

// totals adds up who lives and what they did.
func (b *books) totals() (people, events uint64) {
	for i, state := range b.state {
		if state == living {
			people++
			events += uint64(b.acts[i])
		}
	}
	return people, events
}

package query

import (
	"errors"
	"math/bits"

	"github.com/kantadb/kanta/index/bitmap"
)

// How events are evaluated on one chunk.
//
// A list is read once per node, block by block; of each block the events that are in the
// list are chosen, and what is made of them is added up per profile in lanes: arrays with a
// place for each candidate, of which only those of candidates who have events are ever
// touched, so that none need be cleared.
//
// What needs all events of a profile together (the members of sequences, different values,
// sums of floats, acts for residuals) is kept until the list has been read, in at most
// maxHeldBytes per worker, and of what the store's budget has: if they do not suffice, the
// candidates are halved and the list is read for each half (worker.inParts). Only one
// profile's events may take more. Beside,
// a worker holds 8 to 32 bytes per candidate in a chunk for each fold of one comparison and
// each list of a sequence: 2 MiB if everybody is one.

// maxHeldBytes is how much a worker keeps of events: of some 1.5 million of them, which is
// many times what a chunk of everyday data has.
const maxHeldBytes = 32 << 20

// maxCounter is where counting in bytes ends.
const maxCounter = 255

// errHeld says that more than maxHeldBytes would be kept.
var errHeld = errors.New("too many events are kept")

// eventWork is what a worker needs for events. What is taken from it is given back in
// reverse order, as the worker's buffers are.
type eventWork struct {
	slots    slots
	lists    map[*eventList]*listReader
	folds    map[*foldTerm]*foldState
	numbers  shelf[int64]
	bytes    shelf[uint8]
	gathered []*gathered
	gathers  int    // how many of these are taken
	held     int    // bytes kept
	cur      Cursor // takes the memory that is held
	taken    int    // of the store's budget: the most that has been held
	most     int    // may be kept
	endless  bool   // one profile is left: it may take what it takes
	sum      floatSum
	days     [2][]bitmap.Words
	many     int // from how many candidates on sequences are narrowed by days
}

// slots numbers the candidates of one node in one chunk: these are their places in lanes.
type slots struct {
	n      int // places
	isAll  bool
	words  bitmap.Words
	before [bitmap.WordsPerSet]uint16 // candidates in the words before
}

// manyCandidates is from how many candidates on everybody has a place: finding a place
// costs more then than the memory of the others.
const manyCandidates = bitmap.ChunkSize / 4

func (s *slots) begin(who bitmap.Set) {
	s.n = who.Count()
	if s.isAll = s.n >= manyCandidates; s.isAll {
		s.n = bitmap.ChunkSize
		return
	}
	if w := who.ToWords(&s.words); w != &s.words {
		s.words = *w
	}
	n := 0
	for i, word := range s.words {
		s.before[i] = uint16(n)
		n += bits.OnesCount64(word)
	}
	s.n++ // whoever is no candidate has a place too, if not one of its own
}

// of returns the place of a candidate.
func (s *slots) of(o uint16) int {
	if s.isAll {
		return int(o)
	}
	return int(s.before[o>>6]) + bits.OnesCount64(s.words[o>>6]&(1<<(o&63)-1))
}

// shelf is a stack of buffers.
type shelf[T any] struct {
	all  [][]T
	used int
}

// take returns a buffer of n elements with undefined content.
func (s *shelf[T]) take(n int) []T {
	if s.used == len(s.all) {
		s.all = append(s.all, nil)
	}
	s.all[s.used] = grow(s.all[s.used], n)
	s.used++
	return s.all[s.used-1]
}

// lane returns a number for each place, undefined at first.
func (e *eventWork) lane() []int64 { return e.numbers.take(e.slots.n) }

// gather returns an empty gathered.
func (e *eventWork) gather() *gathered {
	if e.gathers == len(e.gathered) {
		e.gathered = append(e.gathered, new(gathered))
	}
	e.gathers++
	g := e.gathered[e.gathers-1]
	g.reset(&e.slots)
	return g
}

// eventMark is what had been taken at some time.
type eventMark struct{ numbers, bytes, gathers, held int }

func (e *eventWork) mark() eventMark {
	return eventMark{e.numbers.used, e.bytes.used, e.gathers, e.held}
}

func (e *eventWork) release(m eventMark) {
	e.numbers.used, e.bytes.used, e.gathers, e.held = m.numbers, m.bytes, m.gathers, m.held
}

// eventsOf makes ready for the events of a node's candidates (nil: everybody).
func (w *worker) eventsOf(within *bitmap.Set) *eventWork {
	e := w.eventWork()
	e.slots.begin(w.undecided(within))
	return e
}

func (w *worker) eventWork() *eventWork {
	if w.events == nil {
		w.events = &eventWork{lists: make(map[*eventList]*listReader), folds: make(map[*foldTerm]*foldState), most: maxHeldBytes, many: narrowFrom}
	}
	if w.events.cur != w.cur { // what was taken with another has been given back
		w.events.cur, w.events.taken = w.cur, 0
	}
	return w.events
}

// keep counts bytes that are kept. What the store's memory does not suffice for is done with
// fewer candidates at a time, too; if it is one, the question is given up.
func (e *eventWork) keep(n int) error {
	if e.held += n; e.held > e.most && !e.endless {
		return errHeld
	}
	more := e.held - e.taken
	if more <= 0 {
		return nil
	}
	err := take(e.cur, int64(more))
	if err == nil {
		e.taken = e.held // buffers stay, for the next chunk
	} else if !e.endless {
		return errHeld
	}
	return err
}

// inParts calls f for all candidates (nil: everybody), or, where their events are too many
// to be kept, for some at a time. f must do all again when it is called again.
func (w *worker) inParts(within *bitmap.Set, f func(within *bitmap.Set) error) error {
	e := w.events
	mark, unknown := e.mark(), w.unknownEvents
	err := f(within)
	e.release(mark)
	if err != errHeld {
		return err
	}
	w.unknownEvents = unknown
	return w.halves(w.undecided(within).AppendTo(nil), f)
}

func (w *worker) halves(ords []uint16, f func(within *bitmap.Set) error) error {
	e := w.events
	for _, half := range [][]uint16{ords[:len(ords)/2], ords[len(ords)/2:]} {
		if len(half) == 0 {
			continue
		}
		set, mark, unknown := bitmap.FromArray(half), e.mark(), w.unknownEvents
		e.endless = len(half) == 1
		err := f(&set)
		e.endless = false
		e.release(mark)
		if err == errHeld {
			w.unknownEvents = unknown
			err = w.halves(half, f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

package erasure

import (
	"encoding/binary"
	"encoding/json"
	"slices"
)

// Limits of traces.
const (
	// MinTrace is the length in bytes from which on a value is looked for. Shorter ones, such
	// as a year or a first name, stand in rows and files of others by accident.
	MinTrace = 8
	maxTrace = 64 // bytes of a value that are looked for: more would not tell more
)

// Trace is what is kept of a value to recognise it.
type Trace struct {
	Len  uint8
	Hint uint32
	Rest uint32 // another hint
	Hash Hash
}

// Traces returns the traces of a value as it is and as it is written in JSON, none if it is
// too short.
func (s *Secret) Traces(value []byte) []Trace {
	if len(value) < MinTrace {
		return nil
	}
	out := []Trace{s.trace(value)}
	if quoted, err := json.Marshal(string(value)); err == nil && len(quoted) != len(value)+2 {
		out = append(out, s.trace(quoted[1:len(quoted)-1]))
	}
	return out
}

func (s *Secret) trace(value []byte) Trace {
	value = value[:min(len(value), maxTrace)]
	return Trace{uint8(len(value)), s.hintOf(value), s.restOf(value), s.hash(labelTrace, value)}
}

// hintOf is of the first 8 bytes.
func (s *Secret) hintOf(b []byte) uint32 {
	return uint32((binary.LittleEndian.Uint64(b) ^ s.hint) * 0x9e3779b97f4a7c15 >> 32)
}

// restOf is of the last 8 bytes and of 8 in the middle: keys and addresses of many begin
// alike, or end alike.
func (s *Secret) restOf(b []byte) uint32 {
	last, middle := binary.LittleEndian.Uint64(b[len(b)-8:]), binary.LittleEndian.Uint64(b[(len(b)-8)/2:])
	return uint32(((last + 3*middle) ^ s.hint) * 0x9e3779b97f4a7c15 >> 32)
}

// Finder finds values by their traces. It belongs to one goroutine.
type Finder struct {
	secret *Secret
	maybe  [1 << 16]uint64 // bit h>>10: a hint h may be in byHint
	byHint map[uint32]*alike
	traces []Trace
}

// alike are the values with one hint: how long they are, and which have a length and a rest.
type alike struct {
	lengths []uint8
	of      map[ending][]int
}

type ending struct {
	length uint8
	rest   uint32
}

// NewFinder makes a finder of some values.
func NewFinder(s *Secret, traces []Trace) *Finder {
	f := &Finder{secret: s, byHint: map[uint32]*alike{}}
	seen := map[Trace]bool{}
	for _, t := range traces {
		if seen[t] {
			continue
		}
		seen[t] = true
		f.maybe[t.Hint>>16] |= 1 << (t.Hint >> 10 & 63)
		a := f.byHint[t.Hint]
		if a == nil {
			a = &alike{of: map[ending][]int{}}
			f.byHint[t.Hint] = a
		}
		if !slices.Contains(a.lengths, t.Len) {
			a.lengths = append(a.lengths, t.Len)
		}
		end := ending{t.Len, t.Rest}
		a.of[end] = append(a.of[end], len(f.traces))
		f.traces = append(f.traces, t)
	}
	return f
}

// Len returns how many values are looked for.
func (f *Finder) Len() int { return len(f.traces) }

// Trace returns one of them.
func (f *Finder) Trace(i int) Trace { return f.traces[i] }

// Find calls found for each place where a value begins, wholly within b, until it says no.
func (f *Finder) Find(b []byte, found func(trace, at int) (more bool)) {
	if len(f.traces) == 0 {
		return
	}
	for at := 0; at+MinTrace <= len(b); at++ {
		hint := f.secret.hintOf(b[at:])
		if f.maybe[hint>>16]>>(hint>>10&63)&1 == 0 {
			continue
		}
		a := f.byHint[hint]
		if a == nil {
			continue
		}
		for _, n := range a.lengths {
			if at+int(n) > len(b) {
				continue
			}
			value := b[at : at+int(n)]
			for _, i := range a.of[ending{n, f.secret.restOf(value)}] {
				if f.secret.hash(labelTrace, value) == f.traces[i].Hash && !found(i, at) {
					return
				}
			}
		}
	}
}

// Overlap is how many bytes of a stretch must be looked at again with the next one.
const Overlap = maxTrace - 1

// Any reports whether any of the values is in b.
func (f *Finder) Any(b []byte) (any bool) {
	f.Find(b, func(int, int) bool {
		any = true
		return false
	})
	return any
}

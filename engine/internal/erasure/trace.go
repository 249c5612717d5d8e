package erasure

import (
	"encoding/binary"
	"encoding/json"
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
	return Trace{uint8(len(value)), s.hintOf(value), s.hash(labelTrace, value)}
}

func (s *Secret) hintOf(b []byte) uint32 {
	return uint32((binary.LittleEndian.Uint64(b) ^ s.hint) * 0x9e3779b97f4a7c15 >> 32)
}

// Finder finds values by their traces. It belongs to one goroutine.
type Finder struct {
	secret *Secret
	byHint map[uint32][]int
	maybe  [1 << 16]uint64 // bit h>>10: a hint h may be in byHint
	traces []Trace
}

// NewFinder makes a finder of some values.
func NewFinder(s *Secret, traces []Trace) *Finder {
	f := &Finder{secret: s, byHint: map[uint32][]int{}}
	seen := map[Trace]bool{}
	for _, t := range traces {
		if !seen[t] {
			seen[t] = true
			f.byHint[t.Hint] = append(f.byHint[t.Hint], len(f.traces))
			f.maybe[t.Hint>>16] |= 1 << (t.Hint >> 10 & 63)
			f.traces = append(f.traces, t)
		}
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
		for _, i := range f.byHint[hint] {
			t := &f.traces[i]
			if n := at + int(t.Len); n <= len(b) && f.secret.hash(labelTrace, b[at:n]) == t.Hash && !found(i, at) {
				return
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

package query

import (
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
)

// Sums add up numbers of one kind, by place: ints and decimals in 128 bits, floats exactly.
// No order of them changes a bit of a sum.
type Sums struct {
	kind   schema.Kind
	scale  uint8
	exact  []timeline.Int128
	floats []*FloatSum
}

// SumBytes is what a place takes, but one of floats to which something was added: that
// takes FloatSumBytes more.
const SumBytes = 16

// NewSums returns n sums of 0.
func NewSums(n int, kind schema.Kind, scale uint8) *Sums {
	s := &Sums{kind: kind, scale: scale}
	if kind == schema.Float {
		s.floats = make([]*FloatSum, n)
	} else {
		s.exact = make([]timeline.Int128, n)
	}
	return s
}

// More adds a place, a sum of 0.
func (s *Sums) More() {
	if s.exact != nil {
		s.exact = append(s.exact, timeline.Int128{})
	} else {
		s.floats = append(s.floats, nil)
	}
}

// Add adds a number, as [StudyEvents.Measures] gives it, and returns how many bytes more
// that takes.
func (s *Sums) Add(place int, n int64, x float64) (bytes int64) {
	if s.exact != nil {
		s.exact[place] = s.exact[place].Add(n)
		return 0
	}
	f, bytes := s.float(place)
	f.Add(x)
	return bytes
}

func (s *Sums) float(place int) (f *FloatSum, bytes int64) {
	if s.floats[place] == nil {
		s.floats[place], bytes = new(FloatSum), FloatSumBytes
	}
	return s.floats[place], bytes
}

// AddSum adds a sum of others of the same kind, and returns how many bytes more that takes.
func (s *Sums) AddSum(place int, o *Sums, other int) (bytes int64) {
	if s.exact != nil {
		s.exact[place] = s.exact[place].Plus(o.exact[other])
		return 0
	}
	if o.floats[other] == nil {
		return 0
	}
	f, bytes := s.float(place)
	f.AddSum(o.floats[other])
	return bytes
}

// Value returns a sum; ok is false if it does not fit its kind.
func (s *Sums) Value(place int) (v schema.Value, ok bool) {
	if s.exact == nil {
		if f := s.floats[place]; f != nil {
			return schema.FloatValue(f.Value()), true
		}
		return schema.FloatValue(0), true
	}
	n, ok := s.exact[place].Int64()
	return schema.FromOrdered(s.kind, s.scale, n), ok
}

// Per returns a sum divided by n, as a float, nothing if n is 0; see [Quotient].
func (s *Sums) Per(place int, n uint64) schema.Value {
	switch {
	case n == 0:
		return schema.Value{}
	case s.exact != nil:
		return schema.FloatValue(Quotient(s.exact[place], s.scale, n))
	}
	v, _ := s.Value(place)
	return schema.FloatValue(v.Float() / float64(n))
}

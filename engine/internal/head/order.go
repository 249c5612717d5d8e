package head

import "slices"

// Ref names an event of one of several lists of a chunk.
type Ref struct {
	Part, I uint32
	ord     uint16
}

// Sorter brings events into their order. It is scratch for one goroutine; the zero Sorter
// is ready for use.
type Sorter struct{ refs, spare []Ref }

// radixFrom is from how many events on they are sorted by the digits of their ordinals:
// with fewer, counting the 256 values of a digit costs more than comparing (measured).
const radixFrom = 12

// Sort returns the events of some lists of one chunk by profile, time and hash, until the
// next call. Most profiles have one event in a head, so sorting the ordinals is nearly
// all, and costs the same whether the lists are sorted or not.
func (s *Sorter) Sort(parts []*Acts) []Ref {
	n := 0
	for _, a := range parts {
		n += a.Len()
	}
	s.refs = slices.Grow(s.refs[:0], n)
	for p, a := range parts {
		for i, ord := range a.Ords {
			s.refs = append(s.refs, Ref{uint32(p), uint32(i), ord})
		}
	}
	if n < radixFrom {
		sortAll(s.refs, parts)
		return s.refs
	}
	s.spare = slices.Grow(s.spare[:0], n)[:n]
	byDigit(s.spare, s.refs, 0)
	byDigit(s.refs, s.spare, 8)
	for from := 0; from < n; {
		to := from + 1
		for to < n && s.refs[to].ord == s.refs[from].ord {
			to++
		}
		if to-from > 1 {
			sortAll(s.refs[from:to], parts)
		}
		from = to
	}
	return s.refs
}

// byDigit writes src to dst by 8 bits of the ordinals; equals stay in their order.
func byDigit(dst, src []Ref, shift uint) {
	var at [256]uint32
	for i := range src {
		at[src[i].ord>>shift&255]++
	}
	sum := uint32(0)
	for d, n := range at {
		at[d] = sum
		sum += n
	}
	for _, r := range src {
		d := r.ord >> shift & 255
		dst[at[d]] = r
		at[d]++
	}
}

func sortAll(refs []Ref, parts []*Acts) {
	slices.SortFunc(refs, func(x, y Ref) int {
		return parts[x.Part].Compare(int(x.I), parts[y.Part], int(y.I))
	})
}

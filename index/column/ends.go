package column

import "slices"

// ends gives each row its piece [from, to) of one shared array, in constant time and
// about 2 bytes per row: the end of a row is kept relative to the begin of its group of
// 64 rows, or absolute (wide) in the rare block that has a group too long for that.
type ends struct {
	begin  []uint32 // per group, if not wide
	narrow []uint16
	wide   []uint32
}

const (
	groupBits = 6
	groupSize = 1 << groupBits
	maxGroup  = 1<<16 - 1 // what a relative end can say
)

// bounds returns row i's piece.
func (e *ends) bounds(i int) (from, to uint32) {
	if e.wide != nil {
		if i > 0 {
			from = e.wide[i-1]
		}
		return from, e.wide[i]
	}
	from = e.begin[i>>groupBits]
	to = from + uint32(e.narrow[i])
	if i&(groupSize-1) != 0 {
		from += uint32(e.narrow[i-1])
	}
	return from, to
}

// size returns its bytes.
func (e *ends) size() int { return 4*cap(e.begin) + 2*cap(e.narrow) + 4*cap(e.wide) }

// fitsNarrow reports whether absolute ends can be kept relative to their groups.
func fitsNarrow(abs []uint32) bool {
	begin := uint32(0)
	for i := 0; i < len(abs); i += groupSize {
		end := abs[min(i+groupSize, len(abs))-1]
		if end-begin > maxGroup {
			return false
		}
		begin = end
	}
	return true
}

// makeEnds builds ends from absolute ones, of which it keeps nothing.
func makeEnds(abs []uint32) ends {
	if !fitsNarrow(abs) {
		return ends{wide: slices.Clone(abs)}
	}
	e := ends{begin: make([]uint32, (len(abs)+groupSize-1)>>groupBits), narrow: make([]uint16, len(abs))}
	begin := uint32(0)
	for i, end := range abs {
		if i&(groupSize-1) == 0 {
			if i > 0 {
				begin = abs[i-1]
			}
			e.begin[i>>groupBits] = begin
		}
		e.narrow[i] = uint16(end - begin)
	}
	return e
}

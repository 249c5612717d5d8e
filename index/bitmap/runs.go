package bitmap

import "math/bits"

// Ascend turns the gaps between ascending numbers into the numbers: number i is next + i
// and the gaps up to its own. It returns the one that could come after the last; if that
// is more than 65,536, they did not fit and mean nothing.
func Ascend(gaps []uint16, next int) int {
	done, sum := ascend(machine, gaps, next)
	next += done + sum
	for i, gap := range gaps[done:] {
		next += int(gap)
		gaps[done+i] = uint16(next)
		next++
	}
	return next
}

// Positions writes to dst which bits of words are set, ascending, the first bit being
// number first, and returns how many there are. dst has room for all bits of words and 16
// more; what it has behind the positions may be overwritten.
func Positions(dst []uint16, words []uint64, first int) int {
	done, n := positions(machine, dst, words, first)
	for i, w := range words[done:] {
		for ; w != 0; w &= w - 1 {
			dst[n] = uint16(first + (done+i)<<6 + bits.TrailingZeros64(w))
			n++
		}
	}
	return n
}

// RankWords is how many words [Words.Deposit] may read, whatever the members.
const RankWords = WordsPerSet + 1

// Deposit adds those of members whose bit is set in ranks, which has one for each member,
// in their order; its length is at least RankWords.
func (w *Words) Deposit(members *Words, ranks []uint64) {
	_ = ranks[RankWords-1] // the assembly does not look
	if !deposit(machine, w, members, ranks) {
		depositGo(w, members, ranks)
	}
}

func depositGo(dst, members *Words, ranks []uint64) {
	rank := 0
	for i, m := range members {
		at := uint(rank & 63)
		bit := ranks[rank>>6]>>at | ranks[rank>>6+1]<<1<<(63-at)
		rank += bits.OnesCount64(m)
		in := uint64(0)
		for ; m != 0; m &= m - 1 { // no jump for those that are not meant
			in |= m & -m & -(bit & 1)
			bit >>= 1
		}
		dst[i] |= in
	}
}

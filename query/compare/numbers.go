package compare

import (
	"math"
	"math/big"
	"math/bits"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
	"github.com/kantadb/kanta/query"
)

// msPerDay is how many milliseconds a day of UTC has.
const msPerDay = 24 * 60 * 60 * 1000

// dayOf returns the day of a time, since 1970 in UTC.
func dayOf(ms int64) int64 {
	day := ms / msPerDay
	if ms%msPerDay < 0 {
		day--
	}
	return day
}

// maxCells is how many cells a grid has at most: a range of values as wide is told one by one.
const maxCells = 1 << 16

// cellBytes is what a cell takes.
const cellBytes = 4

// numbers are those that a group of people has of one attribute: counted by cells of
// 2^shift, and added up. The shift is the least with which the cells from that of the least
// number to that of the greatest are at most maxCells, so that it does not depend on the
// order in which they come. The cells are of numbers made unsigned; see unsigned.
type numbers struct {
	apart bool // the sums are not of what the cells count; else, while shift is 0, the cells have what the sums lack
	shift uint8
	first uint64 // the cell at cells[0]
	cells []uint32
	bytes int64 // that the cells have grown by
	moments
}

// unsigned keeps the order of numbers.
func unsigned(n int64) uint64 { return uint64(n) ^ 1<<63 }

// signed is its inverse.
func signed(n uint64) int64 { return int64(n ^ 1<<63) }

// add adds numbers, those that are ok (nil: all), and returns how many they are.
func (g *numbers) add(values []int64, ok []bool) (n uint64) {
	var small moments // of numbers whose squares are of 64 bits
	cells, first, shift := g.cells, g.first, g.shift&63
	for i, x := range values {
		if ok != nil && !ok[i] {
			continue
		}
		n++
		cell := unsigned(x) >> shift
		if at := cell - first; at < uint64(len(cells)) && cell >= first {
			cells[at]++
		} else {
			g.count(x)
			cells, first, shift = g.cells, g.first, g.shift&63
		}
		switch {
		case shift == 0:
		case x == int64(int32(x)):
			small.addSmall(x)
		default:
			g.moments.add(x, 1)
		}
	}
	small.sum.Hi = int64(small.sum.Lo) >> 63
	g.moments.merge(&small)
	return n
}

// addTimes adds times in ms, whose cells are those of their days.
func (g *numbers) addTimes(values []int64, ok []bool) (n uint64) {
	g.apart = true
	for i, ms := range values {
		if ok[i] {
			n++
			g.count(dayOf(ms))
			g.moments.add(ms, 1)
		}
	}
	return n
}

// addFloats adds floats by their ordered forms.
func (g *numbers) addFloats(values []int64, ok []bool) (n uint64) {
	g.apart = true
	for i, x := range values {
		if ok[i] {
			n++
			g.count(x)
			g.moments.addFloat(schema.FloatFromOrdered(x))
		}
	}
	return n
}

// count counts a number in its cell.
func (g *numbers) count(number int64) {
	cell := unsigned(number) >> g.shift
	if at := cell - g.first; at >= uint64(len(g.cells)) || cell < g.first {
		g.reach(cell, cell)
	}
	g.cells[unsigned(number)>>g.shift-g.first]++
}

// spill adds up what only the cells have.
func (g *numbers) spill() {
	if g.apart || g.shift > 0 {
		return
	}
	for i, n := range g.cells {
		if n > 0 {
			g.moments.add(signed(g.first+uint64(i)), uint64(n))
		}
	}
}

// reach makes room for two cells, and those between them. There is never room for more than
// maxCells, so that what is in it asks for no greater shift.
func (g *numbers) reach(lo, hi uint64) {
	if first, last, ok := g.used(); ok {
		lo, hi = min(lo, first), max(hi, last)
	}
	for hi-lo >= maxCells {
		g.coarsen(g.shift + 1)
		lo, hi = lo>>1, hi>>1
	}
	if n := uint64(len(g.cells)); n > 0 && lo >= g.first && hi < g.first+n {
		return
	}
	slack := min((hi-lo)/2, (maxCells-1-(hi-lo))/2) // so that few reaches are enough
	lo, hi = lo-min(lo, slack), hi+min(math.MaxUint64>>g.shift-hi, slack)
	cells := make([]uint32, hi-lo+1)
	for i, n := range g.cells {
		if n > 0 {
			cells[g.first+uint64(i)-lo] = n
		}
	}
	g.bytes += cellBytes * max(0, int64(len(cells)-len(g.cells)))
	g.first, g.cells = lo, cells
}

// used returns the first and the last cell that has numbers.
func (g *numbers) used() (first, last uint64, ok bool) {
	from, to := 0, len(g.cells)
	for from < to && g.cells[from] == 0 {
		from++
	}
	for from < to && g.cells[to-1] == 0 {
		to--
	}
	return g.first + uint64(from), g.first + uint64(to) - 1, from < to
}

// coarsen makes the cells those of a greater shift.
func (g *numbers) coarsen(shift uint8) {
	by := shift - g.shift
	if by > 0 {
		g.spill()
	}
	g.shift = shift
	if by == 0 || len(g.cells) == 0 {
		return
	}
	first := g.first >> by
	for i, n := range g.cells {
		g.cells[i] = 0
		g.cells[(g.first+uint64(i))>>by-first] += n
	}
	g.cells = g.cells[:(g.first+uint64(len(g.cells))-1)>>by-first+1]
	g.first = first
}

// merge adds others, and changes them.
func (g *numbers) merge(o *numbers) {
	g.apart = g.apart || o.apart
	g.mergeCells(o)
	g.moments.merge(&o.moments)
}

func (g *numbers) mergeCells(o *numbers) {
	first, last, ok := o.used()
	if !ok {
		return
	}
	if by := int(g.shift) - int(o.shift); by > 0 {
		first, last = first>>by, last>>by
	} else {
		g.coarsen(o.shift)
	}
	g.reach(first, last)
	o.coarsen(g.shift)
	for i, n := range o.cells {
		if n > 0 {
			g.cells[o.first+uint64(i)-g.first] += n
		}
	}
}

// cuts returns the greatest number of each of some parts of equal size, but for the last: a
// part ends with the cell in which the number is that is at its rank. Equal numbers are of
// one part, so that there may be fewer.
func (g *numbers) cuts(parts int) (out []int64) {
	all := uint64(0)
	for _, n := range g.cells {
		all += uint64(n)
	}
	seen, part := uint64(0), uint64(1)
	for i, n := range g.cells {
		if seen += uint64(n); seen == all {
			break
		}
		if n == 0 || seen*uint64(parts) < part*all {
			continue
		}
		for part*all <= seen*uint64(parts) {
			part++
		}
		out = append(out, signed((g.first+uint64(i)+1)<<g.shift-1))
	}
	return out
}

// between returns how many numbers are from lo to hi, which are bounds of cells.
func (g *numbers) between(lo, hi int64) (n uint64) {
	from, to := unsigned(lo)>>g.shift, unsigned(hi)>>g.shift
	for i, k := range g.cells {
		if cell := g.first + uint64(i); from <= cell && cell <= to {
			n += uint64(k)
		}
	}
	return n
}

// moments are what an average and a variance are made of, exactly. Whole numbers and floats
// have their own.
type moments struct {
	n       uint64
	sum     timeline.Int128
	squares [3]uint64 // 192 bits, the lowest first
	floats  *[2]query.FloatSum
}

// add adds a whole number n times.
func (m *moments) add(number int64, n uint64) {
	m.n += n
	size := uint64(number)
	if number < 0 {
		size = -size
	}
	hi, lo := bits.Mul64(size, n)
	if sum := (timeline.Int128{Hi: int64(hi), Lo: lo}); number < 0 {
		m.sum = m.sum.Minus(sum)
	} else {
		m.sum = m.sum.Plus(sum)
	}
	hi, lo = bits.Mul64(size, size)
	middle, low := bits.Mul64(lo, n)
	high, rest := bits.Mul64(hi, n)
	var carry uint64
	m.squares[0], carry = bits.Add64(m.squares[0], low, 0)
	m.squares[1], carry = bits.Add64(m.squares[1], middle, carry)
	m.squares[2] += high + carry
	m.squares[1], carry = bits.Add64(m.squares[1], rest, 0)
	m.squares[2] += carry
}

// addSmall adds a whole number of 32 bits, fewer than 2^31 of them.
func (m *moments) addSmall(number int64) {
	var carry uint64
	m.n++
	m.sum.Lo += uint64(number) // as a signed number of 64 bits; see add
	m.squares[0], carry = bits.Add64(m.squares[0], uint64(number*number), 0)
	m.squares[1] += carry
}

// addFloat adds a float. Its square is the sum of two floats.
func (m *moments) addFloat(x float64) {
	if m.floats == nil {
		m.floats = new([2]query.FloatSum)
	}
	m.n++
	m.floats[0].Add(x)
	square := x * x
	m.floats[1].Add(square)
	m.floats[1].Add(math.FMA(x, x, -square))
}

// merge adds others.
func (m *moments) merge(o *moments) {
	m.n += o.n
	m.sum = m.sum.Plus(o.sum)
	var carry uint64
	for i := range m.squares {
		m.squares[i], carry = bits.Add64(m.squares[i], o.squares[i], carry)
	}
	if o.floats == nil {
		return
	}
	if m.floats == nil {
		m.floats = new([2]query.FloatSum)
	}
	m.floats[0].AddSum(&o.floats[0])
	m.floats[1].AddSum(&o.floats[1])
}

// mean returns the average of whole numbers, exactly.
func (m *moments) mean() *big.Rat { return new(big.Rat).SetFrac(m.total(), whole(m.n)) }

// average returns the average as a float: infinite where a sum of floats is.
func (m *moments) average() float64 {
	if m.floats != nil {
		return m.floats[0].Value() / float64(m.n)
	}
	x, _ := m.mean().Float64()
	return x
}

func whole(n uint64) *big.Int { return new(big.Int).SetUint64(n) }

func (m *moments) total() *big.Int {
	n := new(big.Int).Lsh(big.NewInt(m.sum.Hi), 64)
	return n.Add(n, whole(m.sum.Lo))
}

// variance returns the variance of a sample: what squares differ from the square of the sum,
// divided by one less than there are; infinite where a sum is of floats. There are at least two.
func (m *moments) variance() float64 {
	n := new(big.Rat).SetInt(whole(m.n))
	sum, squares := new(big.Rat), new(big.Rat)
	if m.floats != nil {
		if sum.SetFloat64(m.floats[0].Value()) == nil || squares.SetFloat64(m.floats[1].Value()) == nil {
			return math.Inf(1)
		}
	} else {
		sum.SetInt(m.total())
		all := new(big.Int)
		for i := len(m.squares) - 1; i >= 0; i-- {
			all.Add(all.Lsh(all, 64), whole(m.squares[i]))
		}
		squares.SetInt(all)
	}
	squares.Mul(squares, n)
	squares.Sub(squares, sum.Mul(sum, sum))
	v, _ := squares.Quo(squares, n.Mul(n, new(big.Rat).Sub(n, big.NewRat(1, 1)))).Float64()
	return max(0, v) // of floats the sums are rounded
}

package bitmap

// fanIn is how many dense operands one pass of a kernel takes. Segments with more
// conjuncts are rare; they take another pass.
const fanIn = 8

// operands are the dense operands of one fused pass: the elements in all of the first
// npos and in none of the rest.
type operands struct {
	words [fanIn]*Words
	npos  int
	n     int
}

// AndAll returns the elements that are in all sets (Full if there are none). The result
// is one of the sets or is backed by buf. One set may be backed by buf, which then is
// overwritten.
func AndAll(sets []Set, buf *Words) Set {
	return AndAllNot(sets, nil, buf)
}

// AndAllNot returns the elements that are in all of sets and in none of not, as [AndAll]
// does.
func AndAllNot(sets, not []Set, buf *Words) Set {
	small, last, state := survey(sets, not)
	switch {
	case state == nothing:
		return Set{}
	case state == one:
		return last
	case small >= 0:
		return fold(sets, not, small, buf)
	}
	return andDense(sets, not, buf)
}

// CountAnd returns how many elements are in all sets (65,536 if there are none). It writes
// no result: dense operands are read where they lie, in one pass. scratch is overwritten.
func CountAnd(sets []Set, scratch *Words) int {
	return CountAndNot(sets, nil, scratch)
}

// CountAndNot returns how many elements are in all of sets and in none of not, as
// [CountAnd] does.
func CountAndNot(sets, not []Set, scratch *Words) int {
	small, last, state := survey(sets, not)
	switch {
	case state == nothing:
		return 0
	case state == one:
		return last.Count()
	case small >= 0:
		return fold(sets, not, small, scratch).Count()
	}
	var ops operands
	if !ops.gather(sets, not) {
		return andDense(sets, not, scratch).Count()
	}
	return countOperands(machine, &ops)
}

// What survey found.
type state uint8

const (
	nothing state = iota // the result is empty
	one                  // the result is a single operand
	several              // there is something to do
)

// survey finds the smallest Sparse set (its index, or -1) and the cases that need no work.
func survey(sets, not []Set) (small int, last Set, s state) {
	small, last = -1, Set{Form: Full}
	n := 0
	for i := range sets {
		switch sets[i].Form {
		case Empty:
			return -1, Set{}, nothing
		case Sparse:
			if small < 0 || len(sets[i].Array) < len(sets[small].Array) {
				small = i
			}
			n++
			last = sets[i]
		case Dense:
			n++
			last = sets[i]
		}
	}
	negative := 0
	for i := range not {
		switch not[i].Form {
		case Full:
			return -1, Set{}, nothing
		case Dense, Sparse:
			negative++
		}
	}
	if n <= 1 && negative == 0 {
		return -1, last, one
	}
	return small, last, several
}

// gather collects the operands, if all are dense and there are at most fanIn.
func (o *operands) gather(sets, not []Set) bool {
	for i := range sets {
		if sets[i].Form != Dense {
			continue
		}
		if o.n == fanIn {
			return false
		}
		o.words[o.n] = sets[i].Words
		o.n++
	}
	o.npos = o.n
	for i := range not {
		switch not[i].Form {
		case Empty:
			continue
		case Sparse:
			return false
		}
		if o.n == fanIn {
			return false
		}
		o.words[o.n] = not[i].Words
		o.n++
	}
	return true
}

// andDense is AndAllNot where no set is Sparse.
func andDense(sets, not []Set, buf *Words) Set {
	var ops operands
	if ops.gather(sets, not) {
		return dense(buf, andOperands(machine, buf, &ops))
	}
	return fold(sets, not, -1, buf)
}

// fold is AndAllNot one operand after the other. It begins with the smallest Sparse set,
// if there is one (small >= 0), which is probed against the others and only shrinks, and
// then takes the operand that is backed by buf, before buf gets the result so far.
func fold(sets, not []Set, small int, buf *Words) Set {
	acc := Set{Form: Full}
	if small >= 0 {
		acc = sets[small]
	}
	positive, negative := backedBy(sets, buf), backedBy(not, buf)
	if positive >= 0 && positive != small {
		acc = And(acc, sets[positive], buf)
	} else if negative >= 0 {
		acc = AndNot(acc, not[negative], buf)
	}
	for i := range sets {
		if acc.Form == Empty {
			return acc
		}
		if i != small && i != positive {
			acc = And(acc, sets[i], buf)
		}
	}
	for i := range not {
		if i != negative {
			acc = AndNot(acc, not[i], buf)
		}
	}
	return acc
}

// backedBy returns the index of the set that is backed by buf, or -1.
func backedBy(sets []Set, buf *Words) int {
	for i := range sets {
		s := &sets[i]
		if s.Form == Dense && s.Words == buf || s.Form == Sparse && backs(buf, s.Array) {
			return i
		}
	}
	return -1
}

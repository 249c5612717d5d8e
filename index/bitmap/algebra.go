package bitmap

// And returns the elements that are in both. The result is an operand, or is backed by
// buf, dense or as an array; it is Sparse if an operand is. An operand may be backed by
// buf, which then is overwritten.
func And(a, b Set, buf *Words) Set {
	switch {
	case a.Form == Empty || b.Form == Empty:
		return Set{}
	case a.Form == Full:
		return b
	case b.Form == Full:
		return a
	case a.Form == Dense && b.Form == Dense:
		return dense(buf, andWords(machine, buf, a.Words, b.Words))
	case a.Form == Dense:
		return probe(buf, b.Array, a.Words, 0)
	case b.Form == Dense:
		return probe(buf, a.Array, b.Words, 0)
	}
	return sparse(buf, intersect(buf.array(), a.Array, b.Array))
}

// Or returns the elements that are in either. The result is an operand or is backed by
// buf. An operand may be backed by buf, which then is overwritten.
func Or(a, b Set, buf *Words) Set {
	switch {
	case a.Form == Full || b.Form == Empty:
		return a
	case b.Form == Full || a.Form == Empty:
		return b
	case a.Form == Dense && b.Form == Dense:
		orWords(machine, buf, a.Words, b.Words)
		return Set{Form: Dense, Words: buf}
	case a.Form == Dense:
		return orArray(a.Words, b.Array, buf)
	case b.Form == Dense:
		return orArray(b.Words, a.Array, buf)
	}
	if len(a.Array)+len(b.Array) <= orSparseTotal {
		var out [orSparseTotal]uint16
		n := union(out[:], a.Array, b.Array)
		copy(buf.array()[:], out[:n])
		return sparse(buf, n)
	}
	if backs(buf, a.Array) {
		a, b = b, a
	}
	if backs(buf, b.Array) {
		var mask Words
		mask.scatter(b.Array)
		*buf = mask
	} else {
		buf.Clear()
		buf.scatter(b.Array)
	}
	buf.scatter(a.Array)
	return Set{Form: Dense, Words: buf}
}

// orArray is Or of words and an array, which may be backed by buf.
func orArray(w *Words, a []uint16, buf *Words) Set {
	if backs(buf, a) {
		var mask Words
		mask.scatter(a)
		orWords(machine, buf, &mask, w)
		return Set{Form: Dense, Words: buf}
	}
	if w != buf {
		*buf = *w
	}
	buf.scatter(a)
	return Set{Form: Dense, Words: buf}
}

// AndNot returns the elements of a that are not in b. The result is a, or is backed by
// buf, dense or as an array; it is Sparse if a is. An operand may be backed by buf, which
// then is overwritten.
func AndNot(a, b Set, buf *Words) Set {
	switch {
	case a.Form == Empty || b.Form == Full:
		return Set{}
	case b.Form == Empty:
		return a
	case a.Form == Full && b.Form == Dense:
		return dense(buf, notWords(buf, b.Words))
	case a.Form == Dense && b.Form == Dense:
		return dense(buf, andNotWords(machine, buf, a.Words, b.Words))
	case a.Form == Sparse && b.Form == Dense:
		return probe(buf, a.Array, b.Words, 1)
	case a.Form == Sparse:
		return sparse(buf, subtract(buf.array(), a.Array, b.Array, !backs(buf, b.Array)))
	case backs(buf, b.Array):
		var mask Words
		mask.scatter(b.Array)
		return AndNot(a, Set{Form: Dense, Words: &mask}, buf)
	case a.Form == Full:
		buf.Fill()
	case a.Words != buf:
		*buf = *a.Words
	}
	buf.unscatter(b.Array)
	return Set{Form: Dense, Words: buf}
}

// probe is filter into buf, which may be w.
func probe(buf *Words, a []uint16, w *Words, not uint64) Set {
	if w == buf {
		return probeCopy(buf, a, not)
	}
	return sparse(buf, filter(buf.array(), a, w, not))
}

// probeCopy is probe where the words are buf: the array would overwrite bits unread.
func probeCopy(buf *Words, a []uint16, not uint64) Set {
	w := *buf
	return sparse(buf, filter(buf.array(), a, &w, not))
}

// dense returns the set that a kernel left in buf; any is the or of its words.
func dense(buf *Words, any uint64) Set {
	if any == 0 {
		return Set{}
	}
	return Set{Form: Dense, Words: buf}
}

// sparse returns the set of the first n elements of buf's array.
func sparse(buf *Words, n int) Set {
	if n == 0 {
		return Set{}
	}
	return Set{Form: Sparse, Array: buf.array()[:n:n]}
}

package bitmap

// Where the ways to intersect two arrays cross over (measured, 10 to 4,096 elements):
// galloping pays when one array is 64 times the other, a merge when both are tiny, and in
// between a bitmap of the larger is built and probed.
const (
	gallopRatio = 64
	mergeTotal  = 32
)

// orSparseTotal is up to how many elements of two arrays a union stays an array. Beyond,
// building a bitmap is faster than merging, and so is every later operation on it.
const orSparseTotal = 128

// intersect writes the elements that small and large share to out and returns how many
// there are. out may begin where either begins.
func intersect(out *[MaxSparse]uint16, small, large []uint16) int {
	if len(small) > len(large) {
		small, large = large, small
	}
	switch {
	case len(large) >= gallopRatio*len(small):
		return gallop(out, small, large)
	case len(small)+len(large) <= mergeTotal:
		return merge(out, small, large)
	}
	var mask Words
	mask.scatter(large)
	return filter(out, small, &mask, 0)
}

// filter writes the elements of a whose bit in w is not equal to not (0 or 1) to out and
// returns how many there are. out may begin where a begins.
func filter(out *[MaxSparse]uint16, a []uint16, w *Words, not uint64) int {
	return filterLevel(machine, out, a, w, not)
}

func filterLevel(l level, out *[MaxSparse]uint16, a []uint16, w *Words, not uint64) int {
	done, k := filterWords(l, out, a, w, not)
	for _, i := range a[done:] {
		out[k] = i
		k += int(w[i>>6]>>(i&63)&1 ^ not)
	}
	return k
}

// merge is intersect for a few elements.
func merge(out *[MaxSparse]uint16, a, b []uint16) int {
	k, i, j := 0, 0, 0
	for i < len(a) && j < len(b) {
		x, y := a[i], b[j]
		if x == y {
			out[k] = x
			k++
		}
		if x <= y {
			i++
		}
		if y <= x {
			j++
		}
	}
	return k
}

// gallop is intersect for a large that is far larger than small.
func gallop(out *[MaxSparse]uint16, small, large []uint16) int {
	k := 0
	for _, x := range small {
		large = large[seek(large, x):]
		if len(large) == 0 {
			break
		}
		if large[0] == x {
			out[k] = x
			k++
		}
	}
	return k
}

// seek returns the index of the first element of a that is at least x, or len(a).
// It costs the logarithm of the answer, not of len(a).
func seek(a []uint16, x uint16) int {
	step := 1
	for step < len(a) && a[step-1] < x {
		step *= 2
	}
	lo, hi := step/2, min(step, len(a)) // the answer is in [lo, hi]
	for lo < hi {
		mid := (lo + hi) / 2
		if a[mid] < x {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// union writes the elements of a and b to out, which must not overlap them, and returns
// how many there are; it has room for all of both.
func union(out, a, b []uint16) int {
	k, i, j := 0, 0, 0
	for i < len(a) && j < len(b) {
		x, y := a[i], b[j]
		out[k] = min(x, y)
		k++
		if x <= y {
			i++
		}
		if y <= x {
			j++
		}
	}
	k += copy(out[k:], a[i:])
	return k + copy(out[k:], b[j:])
}

// subtract writes the elements of a that are not in b to out and returns how many there
// are. out may begin where a begins and, unless apart is true, where b begins.
func subtract(out *[MaxSparse]uint16, a, b []uint16, apart bool) int {
	if apart && (len(b) >= gallopRatio*len(a) || len(a)+len(b) <= mergeTotal) {
		return subtractGallop(out, a, b)
	}
	var mask Words
	mask.scatter(b)
	return filter(out, a, &mask, 1)
}

func subtractGallop(out *[MaxSparse]uint16, a, b []uint16) int {
	k := 0
	for _, x := range a {
		b = b[seek(b, x):]
		if len(b) == 0 || b[0] != x {
			out[k] = x
			k++
		}
	}
	return k
}

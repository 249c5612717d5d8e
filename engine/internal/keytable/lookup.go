package keytable

import "sync/atomic"

// Candidate is an ordinal that a table has for one of several hashes.
type Candidate struct {
	Of      uint32 // the place of the hash
	Ordinal uint32
}

// abreast is how many hashes take a step together: more than the processor can wait for
// at a time, and few enough that what they brought into its cache is still there.
const abreast = 64

// AppendCandidates appends the ordinals of all entries whose kept bits are those of one of
// the hashes, in order of these, and those of one hash ascending. Errors are those of load,
// ErrCorrupt and ErrNewerFormat.
//
// In a large table each step of a look-up waits for memory; here all hashes take one before
// any takes the next, and the first ones decide nothing by what they read, so that the
// processor waits for many at a time.
func (s *Static) AppendCandidates(hashes []uint64, dst []Candidate) ([]Candidate, error) {
	if s == nil {
		return dst, nil
	}
	var pages [abreast]*page
	var guesses [abreast]guess
	var places [abreast]int
	fpBits := prefixBits - s.pageBits
	for first := 0; first < len(hashes); first += abreast {
		some := hashes[first:min(first+abreast, len(hashes))]
		for i, hash := range some {
			p, err := s.page(int(hash >> (64 - s.pageBits)))
			if err != nil {
				return dst, err
			}
			pages[i] = p
		}
		for i, hash := range some {
			guesses[i] = guessOf(pages[i].fingerprints(), fingerprint(hash, fpBits), fpBits)
		}
		for i, hash := range some {
			places[i] = guesses[i].search(pages[i].fingerprints(), fingerprint(hash, fpBits))
		}
		for i, hash := range some {
			fps, ords, fp := pages[i].fingerprints(), pages[i].ordinals(), fingerprint(hash, fpBits)
			for k := places[i]; k < len(fps) && fps[k] == fp; k++ {
				dst = append(dst, Candidate{uint32(first + i), ords[k]})
			}
		}
	}
	return dst, nil
}

// AppendCandidates appends the ordinals of all entries whose kept bits are those of one of
// the hashes, in order of these, and those of one hash in no order; see that of Static.
func (d *Delta) AppendCandidates(hashes []uint64, dst []Candidate) []Candidate {
	if d.Len() == 0 {
		return dst
	}
	var stripes [abreast]*stripe
	var heads [abreast]uint32
	for first := 0; first < len(hashes); first += abreast {
		some := hashes[first:min(first+abreast, len(hashes))]
		for i, hash := range some {
			s := d.stripes[hash>>(64-minPageBits)].Load()
			if stripes[i], heads[i] = s, 0; s != nil {
				heads[i] = atomic.LoadUint32(&s.heads[s.bucket(uint32(hash>>hashShift))])
			}
		}
		for i, hash := range some {
			for at, tail := heads[i], uint32(hash>>hashShift); at != 0; {
				e := &stripes[i].entries[at-1]
				if e.tail == tail {
					dst = append(dst, Candidate{uint32(first + i), e.ordinal})
				}
				at = e.next
			}
		}
	}
	return dst
}

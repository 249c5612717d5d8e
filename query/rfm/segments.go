package rfm

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kantadb/kanta/query"
)

// StandardMap names the cells of a grid of five by five, as is usual: good customers in the
// corner of both, those who were good below them, and so on. In another grid the scores are
// stretched to five.
const StandardMap = "r5f4-5=champions,r3-4f4-5=loyal,r4-5f2-3=potential loyalists,r5f1=new,r4f1=promising," +
	"r3f3=need attention,r3f1-2=about to sleep,r1-2f3-4=at risk,r1-2f5=cannot lose them,r1-2f1-2=hibernating"

// standardBins is the grid of the standard map.
const standardBins = 5

// MaxNameBytes bounds the name of a segment, as that of anything else that is shown.
const MaxNameBytes = 128

// segments say which segment a cell is of.
type segments struct {
	names []string // in the order of the map
	of    [MaxBins + 1][MaxBins + 1]uint8
}

// readSegments reads the texts of a map for a grid.
func readSegments(texts []string, bins int) (segments, error) {
	text := strings.Join(texts, ",")
	if text != StandardMap || bins == standardBins {
		return readMap(text, bins)
	}
	standard, err := readMap(text, standardBins)
	if err != nil {
		return segments{}, err
	}
	out := segments{names: standard.names}
	for r := 1; r <= bins; r++ {
		for f := 1; f <= bins; f++ {
			out.of[r][f] = standard.of[stretched(r, bins)][stretched(f, bins)]
		}
	}
	return out, nil
}

// stretched returns a score of some bins as one of the standard's: the first is the first,
// the last the last, the others the nearest, a half up.
func stretched(score, bins int) int {
	return 1 + (2*(score-1)*(standardBins-1)+bins-1)/(2*(bins-1))
}

func readMap(text string, bins int) (out segments, err error) {
	wrong := func(format string, args ...any) error {
		e := query.Errorf(query.CodeInvalid, "--map: "+format, args...)
		e.Hint = "such as r4-5f2-3=potential loyalists,r5f1=new"
		return e
	}
	var known [MaxBins + 1][MaxBins + 1]bool
	for part := range strings.SplitSeq(text, ",") {
		cells, name, ok := strings.Cut(strings.TrimSpace(part), "=")
		name = strings.TrimSpace(name)
		rs, fs, isCell := readCells(strings.TrimSpace(cells), bins)
		_, _, likeCell := readCells(name, MaxBins)
		switch {
		case !ok || name == "":
			return out, wrong("%q names no segment", part)
		case !isCell:
			return out, wrong("%q are no cells of a grid of %d by %d", cells, bins, bins)
		case len(name) > MaxNameBytes:
			return out, wrong("the name of %s is longer than %d bytes", cells, MaxNameBytes)
		case likeCell || isAmountCell(name):
			return out, wrong("the segment %q is named as a cell is", name)
		}
		at := slices.Index(out.names, name)
		if at < 0 {
			at = len(out.names)
			out.names = append(out.names, name)
		}
		for r := rs[0]; r <= rs[1]; r++ {
			for f := fs[0]; f <= fs[1]; f++ {
				if known[r][f] {
					return out, wrong("%s is there twice", cellName(r, f))
				}
				known[r][f], out.of[r][f] = true, uint8(at)
			}
		}
	}
	for r := bins; r >= 1; r-- {
		for f := bins; f >= 1; f-- {
			if !known[r][f] {
				return out, wrong("%s is of no segment", cellName(r, f))
			}
		}
	}
	return out, nil
}

// readCells reads r4-5f2-3, or r4f2.
func readCells(text string, bins int) (r, f [2]int, ok bool) {
	rest, isR := strings.CutPrefix(text, "r")
	first, second, isF := strings.Cut(rest, "f")
	r, okR := readRange(first, bins)
	f, okF := readRange(second, bins)
	return r, f, isR && isF && okR && okF
}

func readRange(text string, bins int) (out [2]int, ok bool) {
	from, to, isRange := strings.Cut(text, "-")
	if !isRange {
		to = from
	}
	for i, digits := range [2]string{from, to} {
		n, err := strconv.ParseUint(digits, 10, 8)
		if err != nil || n < 1 || int(n) > bins || digits[0] == '0' {
			return out, false
		}
		out[i] = int(n)
	}
	return out, out[0] <= out[1]
}

func cellName(r, f int) string { return fmt.Sprintf("r%df%d", r, f) }

func amountName(score int) string { return "m" + strconv.Itoa(score) }

func isAmountCell(text string) bool {
	digits, isM := strings.CutPrefix(text, "m")
	_, ok := readRange(digits, MaxBins)
	return isM && ok && !strings.Contains(digits, "-")
}

// wanted is the cell whose people are wanted: the zero wanted is nobody's.
type wanted struct {
	r, f, m int // scores; 0: any
	segment int // from 1
}

// readWanted reads the name of a cell.
func (a *rfm) readWanted(cell string) (wanted, error) {
	if cell == "" {
		return wanted{}, nil
	}
	if at := slices.Index(a.segments.names, cell); at >= 0 {
		return wanted{segment: at + 1}, nil
	}
	r, f, ok := readCells(cell, a.bins)
	if ok && r[0] == r[1] && f[0] == f[1] && !strings.Contains(cell, "-") {
		return wanted{r: r[0], f: f[0]}, nil
	}
	if isAmountCell(cell) && a.has > amount {
		if m, ok := readRange(cell[1:], a.bins); ok {
			return wanted{m: m[0]}, nil
		}
	}
	e := query.Errorf(query.CodeInvalid, "there is no cell %q in a grid of %d by %d", cell, a.bins, a.bins)
	if near := query.Nearest(cell, a.segments.names); near != "" {
		e.Hint = fmt.Sprintf("did you mean %q?", near)
	} else {
		e.Hint = fmt.Sprintf(`"r5f3" are those of recency 5 and frequency 3, %q a segment; "m5" needs an amount`, a.segments.names[0])
	}
	return wanted{}, e
}

// has reports whether somebody with these scores is wanted.
func (w *wanted) has(r, f, m uint8, segment uint8) bool {
	switch {
	case w.segment > 0:
		return w.segment == int(segment)+1
	case w.m > 0:
		return w.m == int(m)
	}
	return w.r == int(r) && w.f == int(f)
}

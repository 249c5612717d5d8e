package rfm

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// StandardMap names the cells of a grid of five by five, as is usual: good customers in the
// corner of both, those who were good below them, and so on. In another grid the scores are
// stretched to five.
const StandardMap = "r5f4-5=champions,r3-4f4-5=loyal,r4-5f2-3=potential loyalists,r5f1=new,r4f1=promising," +
	"r3f3=need attention,r3f1-2=about to sleep,r1-2f3-4=at risk,r1-2f5=cannot lose them,r1-2f1-2=hibernating"

// standardBins is the grid of the standard map.
const standardBins = 5

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
	var bad *schema.ChangeError
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
		case errors.As(schema.CheckName(name), &bad):
			return out, wrong("the segment of %s: %s", cells, bad.Problem)
		case likeCell || isAmountCell(name) || name == outside || strings.ContainsAny(name, ":>"):
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

// outside is who has no score.
const outside = "outside"

// wanted is the cell whose people are wanted: the zero wanted is nobody's.
type wanted struct {
	r, f, m  int // scores; 0: any
	segment  int // from 1
	reach    int // from 1: only those whom it is true of
	from, to int // from 1: segments, behind them outside
}

// isFlow reports whether it is a cell of the transitions.
func (w *wanted) isFlow() bool { return w.from > 0 }

// readWanted reads the name of a cell.
func (a *rfm) readWanted(cell string) (out wanted, err error) {
	if cell == "" {
		return wanted{}, nil
	}
	if from, to, ok := strings.Cut(cell, ">"); ok && len(a.dates) > 1 {
		out.from, out.to = a.readEnd(from), a.readEnd(to)
		if out.from > 0 && out.to > 0 && (from != outside || to != outside) {
			return out, nil
		}
	}
	name, text, isReach := strings.Cut(cell, ":") // which no name has
	if out.reach = 1 + slices.IndexFunc(a.reach, func(r reach) bool { return r.text == text }); isReach && out.reach == 0 {
		name = cell
	}
	if at := slices.Index(a.segments.names, name); at >= 0 {
		return wanted{segment: at + 1, reach: out.reach}, nil
	}
	r, f, ok := readCells(name, a.bins)
	if ok && r[0] == r[1] && f[0] == f[1] && !strings.Contains(name, "-") {
		return wanted{r: r[0], f: f[0], reach: out.reach}, nil
	}
	if isAmountCell(name) && a.has > amount {
		if m, ok := readRange(name[1:], a.bins); ok {
			return wanted{m: m[0], reach: out.reach}, nil
		}
	}
	e := query.Errorf(query.CodeInvalid, "there is no cell %q in a grid of %d by %d", cell, a.bins, a.bins)
	known, first := a.segments.names, a.segments.names[0]
	if strings.Contains(cell, ">") && len(a.dates) > 1 {
		known = a.transitions()
	}
	if e.Hint = query.DidYouMean(cell, known); e.Hint == "" {
		e.Hint = fmt.Sprintf(`"r5f3" are those of recency 5 and frequency 3, %q a segment; "m5" needs an amount, "%s:NAME" --reach NAME, "%s>outside" --since`, first, first, first)
	}
	return wanted{}, e
}

// transitions returns the names of all cells of segments that people may go between.
func (a *rfm) transitions() (out []string) {
	names := append(slices.Clone(a.segments.names), outside)
	for _, from := range names {
		for _, to := range names {
			if from != outside || to != outside {
				out = append(out, from+">"+to)
			}
		}
	}
	return out
}

// readEnd reads one end of a transition; 0: there is none of that name.
func (a *rfm) readEnd(name string) int {
	if name == outside {
		return len(a.segments.names) + 1
	}
	return slices.Index(a.segments.names, name) + 1
}

// has reports whether somebody with these scores is wanted. Of reach bit i is that of number i.
func (w *wanted) has(r, f, m, segment, reach uint8) bool {
	switch {
	case w.reach > 0 && reach>>(w.reach-1)&1 == 0:
		return false
	case w.segment > 0:
		return w.segment == int(segment)+1
	case w.m > 0:
		return w.m == int(m)
	}
	return w.r == int(r) && w.f == int(f)
}

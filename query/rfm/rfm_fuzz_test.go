package rfm

import "testing"

// FuzzTexts reads maps, ways and cells: whatever is accepted is whole.
func FuzzTexts(f *testing.F) {
	f.Add(StandardMap, "edges:1,2.5,30,400", "r5f5", 5)
	f.Add("r1-3f1-3=all", "edges:-1,0.5", "m3", 3)
	f.Add("r1-200f1-5=x", "rank", "m7", 6)
	f.Add("r1f1=a,r1f1=b", "edges:1d,2w", "all", 4)
	f.Fuzz(func(t *testing.T, text, by, cell string, bins int) {
		if bins < MinBins || bins > MaxBins {
			return
		}
		a := &rfm{bins: bins, has: dimensions, round: 1000}
		for d := range dimensions {
			if w, err := a.readWay(d, "by", by); err == nil && w.edges != nil {
				for k := 1; k < len(w.edges); k++ {
					if w.edges[k-1].Cmp(w.edges[k]) >= 0 {
						t.Errorf("%q: %v do not ascend", by, w.edges)
					}
				}
				if len(w.edges) != bins-1 {
					t.Errorf("%q: %d edges of %d bins", by, len(w.edges), bins)
				}
			}
		}
		var err error
		if a.segments, err = readSegments([]string{text}, bins); err != nil {
			return
		}
		for r := 1; r <= bins; r++ {
			for f := 1; f <= bins; f++ {
				if name := a.segments.names[a.segments.of[r][f]]; name == "" {
					t.Errorf("%q: %s has no name", text, cellName(r, f))
				}
				if w, err := a.readWanted(cellName(r, f)); err != nil || w != (wanted{r: r, f: f}) {
					t.Errorf("%q: cell %s is %+v (%v)", text, cellName(r, f), w, err)
				}
			}
		}
		if w, err := a.readWanted(cell); err == nil && cell != "" && w == (wanted{}) {
			t.Errorf("cell %q is nobody's", cell)
		}
	})
}

package audit

import (
	"sync"
	"testing"
)

// BenchmarkAppend has many callers who wait each for their own record, on the machine's disk.
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 8, 64, 256} {
		b.Run(map[int]string{1: "callers=1", 8: "callers=8", 64: "callers=64", 256: "callers=256"}[callers], func(b *testing.B) {
			s, err := Open(b.TempDir(), nil)
			if err != nil {
				b.Fatal(err)
			}
			r := rec("Profile")
			r.Keys = []Hash{s.Hash("ann")}
			var all sync.WaitGroup
			for c := range callers {
				all.Go(func() {
					for i := c; i < b.N; i += callers {
						if err := s.Append(b.Context(), r); err != nil {
							b.Error(err)
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
			if err := s.Close(); err != nil {
				b.Error(err)
			}
		})
	}
}

// BenchmarkShape hides the literals of an expression, as is done for each call.
func BenchmarkShape(b *testing.B) {
	k := keyed{1}
	for b.Loop() {
		k.Shape(`country in ["IT", "FI", "NL"] && plan != "premium" && age >= 25`, func(string) bool { return true }, true)
	}
}

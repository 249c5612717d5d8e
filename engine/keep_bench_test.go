package engine_test

import (
	"fmt"
	"testing"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
)

// BenchmarkApplyKeepingLog applies batches of 1,000 rows with and without the log being kept
// for backups: what it costs in time and in bytes written.
func BenchmarkApplyKeepingLog(b *testing.B) {
	for _, keep := range []bool{false, true} {
		b.Run(fmt.Sprintf("keep=%v", keep), func(b *testing.B) {
			db, err := engine.Open(b.TempDir(), &engine.Options{Durability: engine.SyncNone})
			if err != nil {
				b.Fatal(err)
			}
			defer func() {
				if err := db.Close(); err != nil {
					b.Fatal(err)
				}
			}()
			if err := db.KeepLog(b.Context(), keep); err != nil {
				b.Fatal(err)
			}
			apply := func(fill func(w *batch.Builder)) {
				w := batch.New()
				fill(w)
				raw, err := w.Encode()
				if err != nil {
					b.Fatal(err)
				}
				if _, err := db.Apply(b.Context(), raw); err != nil {
					b.Fatal(err)
				}
			}
			apply(func(w *batch.Builder) {
				for i := range 10 {
					w.Change(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: fmt.Sprint("a", i), Kind: schema.Int}})
				}
			})
			b.ResetTimer()
			for n := range b.N {
				apply(func(w *batch.Builder) {
					for i := range 1000 {
						row := w.Upsert(fmt.Sprintf("person-%07d", (n*1000+i)%1_000_000))
						for a := range 10 {
							row.Set(fmt.Sprint("a", a), schema.IntValue(int64(n*7919+i*a*31)))
						}
					}
				})
			}
			b.StopTimer()
			st, err := db.Stats(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(st.Written["wal"])/float64(1000*b.N), "walB/row")
			b.ReportMetric(float64(st.KeptLog.Bytes)/float64(1000*b.N), "keptB/row")
		})
	}
}

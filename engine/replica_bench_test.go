package engine_test

import (
	"fmt"
	"testing"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/index/schema"
)

// BenchmarkReplica submits batches of so many rows of ten numbers, 32 at a time, to a store that
// is its own master, and to a replica whose log costs nothing: what the way through the log costs.
func BenchmarkReplica(b *testing.B) {
	for _, rows := range []int{1, 1000} {
		for _, replica := range []bool{false, true} {
			b.Run(fmt.Sprintf("rows=%d/replica=%v", rows, replica), func(b *testing.B) { benchmarkReplica(b, rows, replica) })
		}
	}
}

func benchmarkReplica(b *testing.B, rows int, replica bool) {
	o := engine.Options{Durability: engine.SyncNone}
	m := enginetest.NewLog().Member()
	if replica {
		o.Replica = m.Options()
	}
	db, err := engine.Open(b.TempDir(), &o)
	check := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	check(err)
	if replica {
		m.Run(db)
	}
	w := batch.New()
	for i := range 10 {
		w.Change(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: fmt.Sprint("a", i), Kind: schema.Int}})
	}
	raw, err := w.Encode()
	check(err)
	_, err = db.Apply(b.Context(), raw)
	check(err)
	batches := make([]batch.Batch, 64)
	for n := range batches {
		w := batch.New()
		for i := range rows {
			row := w.Upsert(fmt.Sprintf("person-%07d", n*rows+i))
			for a := range 10 {
				row.Set(fmt.Sprint("a", a), schema.IntValue(int64(n*7919+i*a*31)))
			}
		}
		batches[n], err = w.Encode()
		check(err)
	}
	var waits []func() (batch.Result, error)
	b.ResetTimer()
	for n := range b.N {
		wait, err := db.Submit(b.Context(), batches[n%len(batches)])
		check(err)
		if waits = append(waits, wait); len(waits) == 32 {
			_, err := waits[0]()
			check(err)
			waits = waits[1:]
		}
	}
	for _, wait := range waits {
		_, err := wait()
		check(err)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "rows/s")
	if replica {
		check(m.Stop())
	}
	check(db.Close())
}

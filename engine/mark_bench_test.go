package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/kv"
)

// BenchmarkDurable applies small batches on a disk, with marks and without: by one writer
// that waits for each, and by sixteen, whose batches share commits.
func BenchmarkDurable(b *testing.B) {
	for _, writers := range []int{1, 16} {
		for _, marks := range []string{"with", "without"} {
			b.Run(fmt.Sprintf("writers=%d/marks=%s", writers, marks), func(b *testing.B) {
				build := filepath.Join("..", ".build") // a disk; the machine's temporary directory may be in memory
				if err := os.MkdirAll(build, 0o755); err != nil {
					b.Fatal(err)
				}
				dir, err := os.MkdirTemp(build, "bench-")
				if err != nil {
					b.Fatal(err)
				}
				defer os.RemoveAll(dir)
				db, err := Open(filepath.Join(dir, "store"), nil)
				if err != nil {
					b.Fatal(err)
				}
				defer func() { _ = db.Close() }()
				if marks == "without" { // all that come are below it
					if err := db.kv.WriteMark(kv.Mark{Epoch: 1, Applied: 1 << 62}); err != nil {
						b.Fatal(err)
					}
				}
				applyDurably(b, db, writers)
			})
		}
	}
}

func applyDurably(b *testing.B, db *DB, writers int) {
	var next atomic.Int64
	var all sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range writers {
		all.Go(func() {
			for {
				n := next.Add(1)
				if n > int64(b.N) {
					return
				}
				x := batch.New()
				x.Upsert(fmt.Sprint("k", n))
				raw, err := x.Encode()
				if err == nil {
					_, err = db.Apply(b.Context(), raw)
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

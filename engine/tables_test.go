package engine

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/keys"
)

// TestOldKeyTables: of the key table there is one generation when nobody reads the others.
func TestOldKeyTables(t *testing.T) {
	db, err := Open("store", &Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for round := range 4 {
		mustApply(t, db, func(b *batch.Builder) {
			for i := range 10 {
				b.Upsert(fmt.Sprint("k", round, i))
			}
		})
		if err := db.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
		tables := map[keys.Table]bool{}
		err := db.kv.Scan(t.Context(), keys.Tables(), func(k, _ []byte) (bool, error) {
			table, _, _, _ := keys.ParseTable(k)
			tables[table] = true
			return true, nil
		})
		if err != nil || len(tables) != 1 {
			t.Fatalf("round %d: tables %v (error %v)", round, tables, err)
		}
	}
}

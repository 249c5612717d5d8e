package enginetest_test

import (
	"testing"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/server/client"
)

var (
	_ enginetest.Database = (*engine.DB)(nil)
	_ enginetest.Database = (*client.Client)(nil)
)

// TestDatabases is the suite over the store itself: what it knows of the outcomes is right.
func TestDatabases(t *testing.T) {
	enginetest.Databases(t, func(_ *testing.T, db *engine.DB) enginetest.Database { return db })
}

// TestReplicated is the suite over a store that is written through a log it shares.
func TestReplicated(t *testing.T) {
	enginetest.Replicated(t, func(_ *testing.T, db *engine.DB) enginetest.Database { return db })
}

// Package engine is the embedded database: open a directory, apply batches, ask.
//
//	db, err := engine.Open("customers", nil)
//	result, err := db.Apply(ctx, batch)
//	n, err := db.Count(ctx, `country == "IT" && age >= 30`, nil)
//
// All methods of [DB] are safe for concurrent use. Readers see one consistent state and
// never wait for writers; writers share commit groups, one fsync each. What Apply has
// acknowledged survives a crash (see [Options.Durability]).
//
// How it works is in DESIGN.md of this folder.
package engine

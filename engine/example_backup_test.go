package engine_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
)

// A backup into a folder, and a store made of it. Package engine/s3 opens a bucket instead.
func ExampleDB_Backup() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "kanta")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := engine.Open(filepath.Join(dir, "customers"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	b := batch.New()
	b.Change(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "country", Kind: schema.String}})
	b.Upsert("aino").Set("country", schema.StringValue("FI"))
	b.Upsert("bruno").Set("country", schema.StringValue("IT"))
	raw, err := b.Encode()
	if err != nil {
		log.Fatal(err)
	}
	if _, err := db.Apply(ctx, raw); err != nil {
		log.Fatal(err)
	}

	target, err := engine.OpenBackupDir(filepath.Join(dir, "backups"))
	if err != nil {
		log.Fatal(err)
	}
	defer target.Close()
	made, err := db.Backup(ctx, target, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("backed up", made.Position)

	again := filepath.Join(dir, "again")
	restored, err := engine.Restore(ctx, again, target, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("restored", restored.Position) // in an epoch of its own

	copied, err := engine.Open(again, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer copied.Close()
	n, err := copied.Count(ctx, `country == "FI"`, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(n.Count)
	// Output:
	// backed up 1.1
	// restored 2.1
	// 1
}

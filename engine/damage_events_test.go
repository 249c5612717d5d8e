package engine_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// eventsOnDisk makes a store whose base has events with ids, of so many of one day that
// presence answers for them and ids have filters, and closes it. It returns the events,
// ready to be sent again.
func eventsOnDisk(t *testing.T, o *engine.Options) (again []byte) {
	t.Helper()
	db, err := engine.Open("store", o)
	must(t, err)
	b := batch.New()
	b.Change(schema.Change{Op: schema.AddEvent, Event: "buy"})
	raw, err := b.Encode()
	must(t, err)
	_, err = db.Apply(t.Context(), raw)
	must(t, err)
	b = batch.New()
	table := b.Events(nil)
	for i := range 1500 {
		table.Row(fmt.Append(nil, "k", i%50), []byte("buy"), fixedClock().UnixMilli()-int64(i))
		table.ID(fmt.Append(nil, i))
	}
	again, err = b.Encode()
	must(t, err)
	_, err = db.Apply(t.Context(), again)
	must(t, err)
	must(t, db.Compact(t.Context()))
	must(t, db.Close())
	return again
}

// valuesOfEvents returns the keys of all that is stored of events, by a name of their kind.
func valuesOfEvents(t *testing.T, files vfs.FS) map[string][][]byte {
	t.Helper()
	store, err := kv.Open("store", kv.Config{FS: files, Cache: 1 << 20, MemTable: 4 << 20})
	must(t, err)
	out := map[string][][]byte{}
	for name, span := range map[string]keys.Span{"manifest": keys.AllActs(), "part": keys.Parts(), "ids": keys.Runs(), "facts": keys.AllFacts(), "manifest of ids": {Start: keys.RunManifest(), End: append(keys.RunManifest(), 0)}} {
		must(t, store.Scan(t.Context(), span, func(k, _ []byte) (bool, error) {
			kind := name
			if p, is, _, ok := keys.ParsePart(k); ok && p.Event > 0 {
				kind = map[keys.Kind]string{keys.Header: "header", keys.Piece: "row", keys.Day: "day"}[is]
			} else if _, is, _, ok := keys.ParseRun(k); ok {
				kind = map[keys.Kind]string{keys.Page: "page of ids", keys.Filter: "filter of ids"}[is]
			}
			out[kind] = append(out[kind], bytes.Clone(k))
			return true, nil
		}))
	}
	must(t, store.Close())
	return out
}

// TestDamagedEvents flips a bit of each value that is stored of events, and raises the
// versions of those that are sealed: check finds it, who reads the value is told, and it
// is right again when the value is.
func TestDamagedEvents(t *testing.T) {
	o := &engine.Options{FS: vfs.NewMem(), Clock: fixedClock}
	engine.LowerLimits(o, 1<<20, 1<<20, 1<<20) // but for the events from which on there are facts
	again := eventsOnDisk(t, o)
	send := func(ctx context.Context, db *engine.DB) error {
		r, err := db.Apply(ctx, again)
		if err == nil && r.Duplicates != 1500 {
			err = fmt.Errorf("%+v", r)
		}
		return err
	}
	ask := func(text string) func(ctx context.Context, db *engine.DB) error {
		return func(ctx context.Context, db *engine.DB) error {
			n, err := db.Count(ctx, text, nil)
			if err == nil && n.Count != 50 {
				err = fmt.Errorf("%d people", n.Count)
			}
			return err
		}
	}
	events := ask(`buy.between(timestamp("1971-01-01T00:00:00Z"), now + hours(1)).count() == 30`)
	readers := map[string]func(ctx context.Context, db *engine.DB) error{ // nil: opening reads it
		"manifest": nil, "manifest of ids": nil, "header": events, "row": events, "facts": ask("buy.count() == 30"),
		"day": ask("buy.in_last(days(2)).any()"), "page of ids": send, "filter of ids": send,
	}
	r := rand.New(rand.NewPCG(3, 3))
	flip := func(v []byte) { v[r.IntN(len(v))] ^= 1 << r.IntN(8) }
	values := valuesOfEvents(t, o.FS)
	for kind, read := range readers {
		if len(values[kind]) == 0 {
			t.Errorf("there is no %s", kind)
		}
		for _, key := range values[kind] {
			damagedEvent(t, o, kind, key, query.CodeCorrupt, flip, read)
			if kind == "header" || kind == "row" || kind == "facts" {
				continue // these have formats of their own
			}
			for at := range 2 { // the seal's version and, where there is one, the value's
				if at == 0 || kind != "page of ids" && kind != "filter of ids" {
					damagedEvent(t, o, kind, key, query.CodeNewerFormat, func(v []byte) { v[at]++; reseal(v) }, read)
				}
			}
		}
	}
	db, err := engine.Open("store", o)
	must(t, err)
	for kind, read := range readers {
		if read != nil {
			if err := read(t.Context(), db); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
		}
	}
	must(t, db.Close())
}

// reseal gives a changed value a right checksum.
func reseal(v []byte) {
	body := v[:len(v)-4]
	binary.LittleEndian.PutUint32(v[len(body):], crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
}

// damagedEvent changes a value, opens the store, checks and reads it, and puts the value back.
func damagedEvent(t *testing.T, o *engine.Options, kind string, key []byte, code query.Code, change func(v []byte), read func(ctx context.Context, db *engine.DB) error) {
	t.Helper()
	var good []byte
	damage(t, o.FS, key, func(v []byte) []byte {
		good = bytes.Clone(v)
		change(v)
		return v
	})
	db, err := engine.Open("store", o)
	if read == nil && err == nil {
		t.Errorf("%s: opening does not tell", kind)
	}
	if read != nil {
		must(t, err)
		report, wrong := db.Check(t.Context(), nil)
		if must(t, wrong); len(report.Problems) == 0 {
			t.Errorf("%s: check does not find it", kind)
		}
		err = read(t.Context(), db)
	}
	if !errors.Is(err, &query.Error{Code: code}) {
		t.Errorf("%s: who reads it is told: %v", kind, err)
	}
	if db != nil {
		must(t, db.Close())
	}
	damage(t, o.FS, key, func([]byte) []byte { return good })
}

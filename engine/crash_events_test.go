package engine_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/faultfs"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Events of the process that is killed: those of even batches have ids, the others come
// in batches of a source, so that each may be sent again.
const (
	eventsOfBatch = 10
	eventKeys     = 7
	firstEnv      = "KANTA_TEST_FIRST" // the batch that the process begins with
)

// TestKilledEvents kills a process that writes events, again and again. The next one
// begins with batches that were acknowledged: every event of an acknowledged batch is
// there, and none is twice.
func TestKilledEvents(t *testing.T) {
	if dir := os.Getenv(childEnv); dir != "" {
		writeEventsUntilKilled(t, dir)
		return
	}
	exe, err := os.Executable()
	must(t, err)
	dir := filepath.Join(t.TempDir(), "store")
	acked := -1
	for round := range 4 {
		cmd := exec.Command(exe, "-test.run=^TestKilledEvents$", "-test.count=1")
		cmd.Env = append(os.Environ(), childEnv+"="+dir, fmt.Sprint(firstEnv, "=", max(0, acked-15)))
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if n, ok := strings.CutPrefix(lines.Text(), "acknowledged "); ok {
				batch, err := strconv.Atoi(n)
				must(t, err)
				acked = max(acked, batch)
			} else {
				t.Log(lines.Text())
			}
			if acked >= 60*(round+1) {
				must(t, cmd.Process.Kill())
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
		checkEventsAfterKill(t, dir, acked)
	}
}

// eventBatch makes a batch, always the same of a number.
func eventBatch(t *testing.T, number int) batch.Batch {
	b := batch.New()
	if number%2 == 1 {
		b.Source("feed", 1, uint64(number))
	}
	table := b.Events([]batch.Column{{Name: "number", Kind: schema.Int}})
	for k := range eventsOfBatch {
		n := number*eventsOfBatch + k
		table.Row([]byte(fmt.Sprint("key-", n%eventKeys)), []byte("act"), fixedClock().Add(-time.Duration(n%50)*17*time.Hour).UnixMilli())
		table.Int(0, int64(n))
		if number%2 == 0 {
			table.ID([]byte(fmt.Sprint("id-", n)))
		}
	}
	raw, err := b.Encode()
	must(t, err)
	return raw
}

// writeEventsUntilKilled has three batches under way, as a load has.
func writeEventsUntilKilled(t *testing.T, dir string) {
	o := engine.Options{Clock: fixedClock}
	engine.LowerLimits(&o, 64, 500, 100)
	db, err := engine.Open(dir, &o)
	must(t, err)
	b := batch.New()
	if s, err := db.Schema(t.Context()); err != nil || s.LookupEvent("act") == nil {
		b.Change(schema.Change{Op: schema.AddEvent, Event: "act"})
		b.Change(schema.Change{Op: schema.AddProperty, Event: "act", Name: "number", Attribute: schema.Attribute{Name: "number", Kind: schema.Int}})
		raw, err := b.Encode()
		must(t, err)
		_, err = db.Apply(t.Context(), raw)
		must(t, err)
	}
	first, err := strconv.Atoi(os.Getenv(firstEnv))
	must(t, err)
	var waits []func() (batch.Result, error)
	for number := first; ; number++ {
		wait, err := db.Submit(t.Context(), eventBatch(t, number))
		must(t, err)
		if waits = append(waits, wait); len(waits) < 3 {
			continue
		}
		r, err := waits[0]()
		must(t, err)
		if r.Accepted != eventsOfBatch && r.Duplicates != eventsOfBatch {
			t.Fatalf("batch %d was in part there: %+v", number, r)
		}
		waits = waits[1:]
		fmt.Println("acknowledged", number-2)
	}
}

func checkEventsAfterKill(t *testing.T, dir string, acked int) {
	t.Helper()
	db, err := engine.Open(dir, &engine.Options{Clock: fixedClock})
	must(t, err)
	defer func() { must(t, db.Close()) }()
	seen := map[int64]int{}
	for k := range eventKeys {
		for o := (&query.TimelineOptions{Limit: 100}); ; {
			page, err := db.Timeline(t.Context(), fmt.Sprint("key-", k), o)
			must(t, err)
			for _, e := range page.Events {
				seen[e.Properties[0].Value.Ordered()]++
			}
			if o.After = page.Next; o.After == "" {
				break
			}
		}
	}
	for n := range int64(acked+1) * eventsOfBatch {
		if seen[n] == 0 {
			t.Fatalf("event %d was acknowledged and is lost", n)
		}
	}
	for n, times := range seen {
		if times != 1 {
			t.Fatalf("event %d is there %d times", n, times)
		}
	}
	if len(seen)%eventsOfBatch != 0 || len(seen) > (acked+4)*eventsOfBatch {
		t.Fatalf("%d events, %d batches were acknowledged", len(seen), acked+1)
	}
	report, err := db.Check(t.Context(), nil)
	must(t, err)
	if len(report.Problems) > 0 {
		t.Fatalf("%q", report.Problems)
	}
}

// TestIDsAreNotAheadOfTheLog loses the newest records and sends all events again: ids that
// were stored before the records that claimed them would make duplicates of lost events.
func TestIDsAreNotAheadOfTheLog(t *testing.T) {
	files := faultfs.New()
	o := engine.Options{FS: files, Clock: fixedClock, Durability: engine.SyncNone}
	engine.LowerLimits(&o, 1, 8, 100)
	db, err := engine.Open("store", &o)
	must(t, err)
	const events = 12
	send := func(db *engine.DB, i int) {
		t.Helper()
		written(t, db, func(b *batch.Builder) {
			e := b.Events(nil)
			e.Row([]byte("anna"), []byte("buy"), fixedClock().UnixMilli())
			e.ID(fmt.Append(nil, "id-", i))
		})
	}
	written(t, db, func(b *batch.Builder) { b.Change(schema.Change{Op: schema.AddEvent, Event: "buy"}) })
	must(t, db.Compact(t.Context()))
	pictures := crashes(t, files, func() {
		for i := range events {
			send(db, i)
		}
		must(t, db.Compact(t.Context()))
		must(t, db.Close())
	})
	for i := 0; i < len(pictures); i += 2 {
		c := pictures[i]
		o.FS = c.files
		again, err := engine.Open("store", &o)
		must(t, err)
		for i := range events {
			send(again, i)
		}
		n, err := again.Count(t.Context(), fmt.Sprintf("buy.count() == %d", events), nil)
		if must(t, err); n.Count != 1 {
			t.Fatalf("crash before %s: an event is lost, or there twice", c.op)
		}
		must(t, again.Close())
	}
}

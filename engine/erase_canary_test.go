package engine_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// canary begins every value of a person who will be erased, and nothing else does. The
// letters are such that JSON, hexadecimal digits and base64 change some of them.
const canary = `Kanarie<é>`

// mark is a value of 32 bytes of a person.
func mark(person int, what string) string {
	return fmt.Sprintf("%s%-16s%05d", canary, what, person)
}

// aviary writes people to stores. Who is a canary has a mark in every field.
type aviary struct {
	t  *testing.T
	at atomic.Int64 // ms since 1970
	fs vfs.FS       // nil: one in memory for each store
}

func (a *aviary) clock() time.Time { return time.UnixMilli(a.at.Load()).UTC() }

func (a *aviary) set(now time.Time) { a.at.Store(now.UnixMilli()) }

func (a *aviary) options() *engine.Options {
	o := &engine.Options{FS: a.fs, Clock: a.clock, FirstOrdinal: 65_500, PurgeAfter: -1}
	if o.FS == nil {
		o.FS = vfs.NewMem()
	}
	engine.LowerLimits(o, 40, 400, 60)
	return o
}

func (a *aviary) open() *engine.DB {
	a.t.Helper()
	db, err := engine.Open("store", a.options())
	must(a.t, err)
	written(a.t, db, func(b *batch.Builder) {
		for _, at := range []schema.Attribute{
			{Name: "city", Kind: schema.String, History: true},
			{Name: "email", Kind: schema.String, Storage: schema.StorageInline, PII: true, Unique: true},
			{Name: "bio", Kind: schema.String, Storage: schema.StorageInline, History: true},
			{Name: "likes", Kind: schema.Set, History: true},
			{Name: "tags", Kind: schema.Set},
			{Name: "phone", Kind: schema.Int, Unique: true},
			{Name: "country", Kind: schema.String},
		} {
			addAttribute(b, at)
		}
		b.Change(schema.Change{Op: schema.AddEvent, Event: "buy", Name: "buy"})
		for _, p := range []schema.Attribute{
			{Name: "sku", Kind: schema.String},
			{Name: "comment", Kind: schema.String, Storage: schema.StorageInline},
			{Name: "items", Kind: schema.Set},
			{Name: "amount", Kind: schema.Int},
		} {
			b.Change(schema.Change{Op: schema.AddProperty, Event: "buy", Name: p.Name, Attribute: p})
		}
	})
	return db
}

// person writes somebody once more, for the n-th time; canaries have values of their own.
func (a *aviary) person(b *batch.Builder, i, n int, key string, of func(what string) string) {
	v := func(what string) schema.Value { return schema.StringValue(of(fmt.Sprint(what, n))) }
	b.Upsert(key).Set("city", v("city")).Set("email", v("email")).Set("bio", v("bio")).
		Set("likes", schema.SetValue(of(fmt.Sprint("likes", n)), "tea")).Set("tags", schema.SetValue(of(fmt.Sprint("tags", n)), "new")).
		Set("phone", schema.IntValue(int64(i*1000+n))).Set("country", schema.StringValue("Finland"))
	e := b.Events([]batch.Column{{Name: "sku", Kind: schema.String}, {Name: "comment", Kind: schema.String}, {Name: "items", Kind: schema.Set}, {Name: "amount", Kind: schema.Int}})
	for k := range 3 {
		e.Row([]byte(key), []byte("buy"), a.clock().Add(-time.Duration(40*k)*24*time.Hour).UnixMilli())
		e.Str(0, []byte(of(fmt.Sprint("sku", n, k))))
		e.Str(1, []byte(of(fmt.Sprint("comment", n, k))))
		e.Elems(2, [][]byte{[]byte(of(fmt.Sprint("items", n, k))), []byte("milk")})
		e.Int(3, int64(i))
		e.ID([]byte(of(fmt.Sprint("id", n, k))))
	}
}

func (a *aviary) apply(db *engine.DB, fill func(b *batch.Builder)) batch.Result {
	a.t.Helper()
	b := batch.New()
	fill(b)
	raw, err := b.Encode()
	must(a.t, err)
	r, err := db.Apply(a.t.Context(), raw)
	must(a.t, err)
	return r
}

// fill writes everybody, and canaries if there are to be any, in several rounds.
func (a *aviary) fill(db *engine.DB, people, canaries int) {
	a.t.Helper()
	for n := range 3 {
		for i := range people {
			a.apply(db, func(b *batch.Builder) {
				b.Source("feed", uint64(n), uint64(i+1))
				key := fmt.Sprintf("person-%05d", i)
				a.person(b, 100_000+i, n, key, func(what string) string {
					return fmt.Sprintf("%s of %d", what, i/7*7) + map[bool]string{true: key}[strings.HasPrefix(what, "email") || strings.HasPrefix(what, "id")]
				})
				b.ListAdd("vip", key)
			})
			if i < canaries {
				a.canary(db, i, n)
			}
			if i%50 == 49 {
				must(a.t, db.Compact(a.t.Context()))
			}
		}
		a.set(a.clock().Add(24 * time.Hour))
	}
}

// canary writes a canary: also rows of it that go to the quarantine.
func (a *aviary) canary(db *engine.DB, i, n int) {
	a.t.Helper()
	key := mark(i, "key")
	a.apply(db, func(b *batch.Builder) {
		b.Source("canaries", uint64(n), uint64(i+1))
		if n == 1 && i%3 == 0 {
			b.Delete(key) // and comes again, as another profile
		}
		a.person(b, 1000+i, n, key, func(what string) string { return mark(i, what) })
		b.ListAdd("vip", key)
		b.Upsert(key).Set("nothing", schema.StringValue(mark(i, "quarantined")))
		b.ListAdd("vip", mark(i, "key")+" and none")
		b.Quarantine("file.csv", batch.BadRow{Line: 7, Reason: batch.ReasonRagged, Detail: "cells", Raw: mark(i, "email2") + ",x"})
	})
}

// forms returns the mark as files may have it.
func forms() map[string][]byte {
	wide := utf16.Encode([]rune(canary))
	little, big := make([]byte, 0, 64), make([]byte, 0, 64)
	for _, u := range wide {
		little, big = append(little, byte(u), byte(u>>8)), append(big, byte(u>>8), byte(u))
	}
	out := map[string][]byte{
		"raw": []byte(canary), "hex": []byte(hex.EncodeToString([]byte(canary))), "HEX": []byte(strings.ToUpper(hex.EncodeToString([]byte(canary)))),
		"UTF-16LE": little, "UTF-16BE": big, "JSON": []byte(`Kanarie\u003cé`), "JSON in ASCII": []byte(`Kanarie\u003c\u00e9`), "JSON 2": []byte(`Kanarie<\u00e9`),
	}
	for shift := range 3 { // of where it begins among three bytes, what does not depend on its neighbours
		b := base64.StdEncoding.EncodeToString(append(make([]byte, shift), canary...))
		out[fmt.Sprint("base64 ", shift)] = []byte(b[4 : len(b)-4])
	}
	return out
}

// remains counts what files hold of canaries, by form and kind of file.
func remains(t *testing.T, db *engine.DB) map[string]int {
	t.Helper()
	found, looked := map[string]int{}, 0
	of := forms()
	must(t, engine.Contents(t.Context(), db, 64, func(file string, b []byte) {
		looked++
		for form, want := range of {
			if n := bytes.Count(b, want); n > 0 {
				found[file+": "+form] += n
			}
		}
	}))
	if looked < 20 {
		t.Fatalf("only %d pieces of files", looked)
	}
	return found
}

func canaryNumbers() (people, canaries int) {
	if os.Getenv("KANTA_LONG") != "" {
		return 5000, 1000
	}
	return 150, 50
}

// TestErasedCanaries erases people who have a mark in every field, purges, and looks for the
// mark in everything that the files of the store hold. Everybody else's answers are those of
// a store in which they never were.
func TestErasedCanaries(t *testing.T) {
	people, canaries := canaryNumbers()
	a := &aviary{t: t}
	a.set(fixedClock())
	without := a.open()
	defer func() { must(t, without.Close()) }()
	a.fill(without, people, 0)
	a.set(fixedClock())
	db := a.open()
	defer func() { must(t, db.Close()) }()
	must(t, db.KeepLog(t.Context(), true))
	a.fill(db, people, canaries)
	if kept := db.KeptLog(); kept.Records < uint64(people+canaries) {
		t.Fatalf("%+v", kept)
	}
	if n := len(remains(t, db)); n < 3 {
		t.Fatalf("the marks are in %d kinds of places only", n)
	}
	var keys []string
	for i := range canaries {
		keys = append(keys, mark(i, "key"))
	}
	a.set(a.clock().Add(time.Hour))
	gone, err := db.Erase(t.Context(), "T-17", append(slices.Clone(keys), "who is that")...)
	must(t, err)
	if gone.People != uint64(canaries)+1 || len(gone.Named) > 0 {
		t.Fatalf("%+v", gone)
	}
	a.same(db, without)
	a.refused(db, keys)
	receipt, err := db.Purge(t.Context(), func(what string) { t.Log(what) })
	must(t, err)
	if receipt == nil || receipt.Hits > 0 || receipt.People != uint64(canaries)+1 || receipt.Ordinals < uint64(canaries) || receipt.Events < uint64(9*canaries) ||
		receipt.Quarantined < uint64(canaries) || receipt.Strings < uint64(canaries) || receipt.Files < 5 || receipt.Values < uint64(10*canaries) {
		t.Fatalf("%+v", receipt)
	}
	t.Logf("%+v", receipt)
	if found := remains(t, db); len(found) > 0 {
		t.Fatalf("after the purge: %v", found)
	}
	a.same(db, without)
	a.refused(db, keys)
	if kept := db.KeptLog(); kept.Broken != "off" || kept.Records > 4 {
		t.Fatalf("%+v", kept)
	}
	none, err := db.Receipts(t.Context())
	must(t, err)
	if len(none) != 1 {
		t.Fatalf("%+v", none)
	}
}

// same compares the answers of two stores, and their content.
func (a *aviary) same(x, y *engine.DB) {
	a.t.Helper()
	answers := func(db *engine.DB) (out []any) {
		for _, expr := range []string{"1 == 1", `in_list("vip")`, `country == "Finland"`, `"tea" in likes`, `buy.in_last(days(90)).count() >= 2`, `buy.in_last(days(400)).sum(e, e.amount) > 0`} {
			n, err := db.Count(a.t.Context(), expr, nil)
			must(a.t, err)
			out = append(out, n.Count, n.Unknown)
		}
		for _, name := range []string{"city", "likes", "bio"} {
			values, err := db.Values(a.t.Context(), name, "", 10_000)
			must(a.t, err)
			slices.SortFunc(values, func(a, b query.ValueCount) int { return strings.Compare(a.Value, b.Value) })
			out = append(out, values)
		}
		d, err := db.Digests(a.t.Context())
		must(a.t, err)
		return append(out, d.Content)
	}
	if got, want := fmt.Sprint(answers(x)), fmt.Sprint(answers(y)); got != want {
		a.t.Fatalf("answers are\n%.2000s\nin a store without them\n%.2000s", got, want)
	}
	report, err := x.Check(a.t.Context(), nil)
	must(a.t, err)
	if len(report.Problems) > 0 {
		a.t.Fatalf("%q", report.Problems)
	}
}

// refused writes rows of erased people: nothing of them is kept.
func (a *aviary) refused(db *engine.DB, keys []string) {
	a.t.Helper()
	before, err := db.Quarantine(a.t.Context(), 0, 10_000)
	must(a.t, err)
	for _, row := range before {
		if strings.Contains(row.Raw+row.Detail, canary) {
			a.t.Fatalf("in the quarantine: %+v", row)
		}
	}
	n := uint64(len(keys))
	for _, fill := range []func(b *batch.Builder){
		func(b *batch.Builder) {
			for _, k := range keys {
				b.Upsert(k).Set("city", schema.StringValue("Rome")).Set("nothing", schema.IntValue(1))
			}
		},
		func(b *batch.Builder) {
			e := b.Events(nil)
			for _, k := range keys {
				e.Row([]byte(k), []byte("buy"), a.clock().Add(time.Hour).UnixMilli())
			}
		},
		func(b *batch.Builder) { b.Delete(keys...) },
		func(b *batch.Builder) { b.ListAdd("vip", keys...) },
	} {
		r := a.apply(db, fill)
		if r.Refused != n || r.Reasons[batch.ReasonErased] != n || r.Received != n {
			a.t.Fatalf("%+v", r)
		}
	}
	after, err := db.Quarantine(a.t.Context(), 0, 10_000)
	must(a.t, err)
	if len(after) != len(before) {
		a.t.Fatal("refused rows are in the quarantine")
	}
}

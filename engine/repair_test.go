package engine_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/keytable"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
	"github.com/kantadb/kanta/query"
)

// derived are the kinds of values that derive from others, by the name that derivedKind gives
// them. wrong makes one that is whole and says something else, nil if there is none.
type derived struct {
	opens bool // with a broken checksum
	wrong func(t *testing.T, s *kv.Store, key, v []byte, others [][]byte) []byte
}

func derivedKinds() map[string]derived {
	another := func(_ *testing.T, _ *kv.Store, _, v []byte, others [][]byte) []byte {
		for _, o := range others {
			if !bytes.Equal(o, v) {
				return o
			}
		}
		return nil
	}
	// sums changes the sums of a sealed value, which stand behind so many numbers.
	sums := func(skip, numbers int) func(*testing.T, *kv.Store, []byte, []byte, [][]byte) []byte {
		return func(_ *testing.T, _ *kv.Store, _, v []byte, _ [][]byte) []byte {
			v = bytes.Clone(v)
			at := 1 + skip
			for range numbers {
				for ; v[at] >= 0x80; at++ {
				}
				at++
			}
			v[at] ^= 1
			reseal(v)
			return v
		}
	}
	return map[string]derived{
		"fragment": {true, another}, "exists": {true, another}, "manifest": {false, sums(2, 3)},
		"index": {true, func(t *testing.T, _ *kv.Store, key, _ []byte, _ [][]byte) (out []byte) {
			_, _, page, _ := keys.ParseTable(key)
			_, err := keytable.Build(func(func(uint64, uint32) bool) {}, 0, func(n int, b []byte) error {
				if n == int(page) {
					out = bytes.Clone(b)
				}
				return nil
			})
			must(t, err)
			return out
		}},
		"manifest of an index": {true, func(_ *testing.T, _ *kv.Store, _, v []byte, _ [][]byte) []byte {
			v = kv.Seal(nil, append([]byte{1, 0x80, 0x04}, v[4:len(v)-4]...)) // 512 pages
			return v
		}},
		"events": {false, sums(1, 2)}, "day": {true, sums(1, 1)},
		"facts": {true, fewerFacts},
		"filter": {true, func(_ *testing.T, _ *kv.Store, _, v []byte, _ [][]byte) []byte {
			return kv.Seal(nil, make([]byte, len(v)-5))
		}},
	}
}

// derivedKind returns what a value is, "" if it does not derive from others.
func derivedKind(key []byte) string {
	if _, kind, _, ok := keys.ParseUnit(key); ok {
		return map[keys.Kind]string{keys.Fragment: "fragment", keys.Exists: "exists", keys.Manifest: "manifest"}[kind]
	}
	if _, kind, _, ok := keys.ParseTable(key); ok && kind == keys.Page {
		return "index"
	}
	if _, kind, _, ok := keys.ParseTable(key); ok && kind == keys.Done {
		return "manifest of an index"
	}
	if _, ok := keys.ParseActs(key); ok {
		return "events"
	}
	if _, kind, _, ok := keys.ParsePart(key); ok && kind == keys.Day {
		return "day"
	}
	if _, _, _, ok := keys.ParseFacts(key); ok {
		return "facts"
	}
	if _, kind, _, ok := keys.ParseRun(key); ok && kind == keys.Filter {
		return "filter"
	}
	return ""
}

// fewerFacts returns a block of facts as it would be without what is old.
func fewerFacts(t *testing.T, s *kv.Store, key, _ []byte, _ [][]byte) []byte {
	f, _, row, _ := keys.ParseFacts(key)
	var sources []timeline.Source
	var header *timeline.Part
	var rows [][]byte
	flush := func() {
		if header != nil {
			sources = append(sources, timeline.InMemory(header, rows))
		}
		header, rows = nil, nil
	}
	must(t, s.Scan(t.Context(), keys.Parts(), func(k, v []byte) (bool, error) {
		p, kind, _, _ := keys.ParsePart(k)
		if p.Event != f.Event {
			return true, nil
		}
		switch kind {
		case keys.Header:
			flush()
			var err error
			header, err = timeline.Open(bytes.Clone(v))
			return true, err
		case keys.Piece:
			rows = append(rows, bytes.Clone(v))
		}
		return true, nil
	}))
	flush()
	stored, err := s.Get(key)
	must(t, err)
	b, err := timeline.OpenFacts(stored)
	must(t, err)
	blocks, err := new(timeline.FactsCollector).Collect(sources, 0, fixedClock().UnixMilli()-1_000_000, b.Properties())
	must(t, err)
	return bytes.Clone(blocks[row])
}

// hasLiving reports whether a page of an index has somebody who must be in it. Of the last two of
// rotPeople there are entries that nobody needs any more: they were deleted and changed.
func hasLiving(page []byte) bool {
	n := int(binary.LittleEndian.Uint32(page[12:]))
	for at := 20 + 4*n; at < len(page); at += 4 {
		if binary.LittleEndian.Uint32(page[at:]) < rotPeople-2 {
			return true
		}
	}
	return false
}

// derivedKeys returns the keys of the values of each kind, and the values: of an index, the pages
// that somebody is in.
func derivedKeys(t *testing.T, files vfs.FS) (at, values map[string][][]byte) {
	t.Helper()
	s, err := kv.Open("store", kv.Config{FS: files, Cache: 1 << 20, MemTable: 4 << 20})
	must(t, err)
	at, values = map[string][][]byte{}, map[string][][]byte{}
	whole := map[uint32]uint64{} // generations of indexes: older ones are deleted when the store is opened
	must(t, s.Scan(t.Context(), keys.Tables(), func(k, _ []byte) (bool, error) {
		if x, kind, _, ok := keys.ParseTable(k); ok && kind == keys.Done {
			whole[x.Attr] = max(whole[x.Attr], x.Generation)
		}
		return true, nil
	}))
	must(t, s.Scan(t.Context(), keys.Span{Start: []byte{0}, End: []byte{0xff}}, func(k, v []byte) (bool, error) {
		if x, _, _, ok := keys.ParseTable(k); ok && x.Generation != whole[x.Attr] {
			return true, nil
		}
		kind := derivedKind(k)
		if kind == "index" && !hasLiving(v) {
			return true, nil
		}
		if kind != "" {
			at[kind], values[kind] = append(at[kind], bytes.Clone(k)), append(values[kind], bytes.Clone(v))
		}
		return true, nil
	}))
	must(t, s.Close())
	return at, values
}

// inPlace changes a stored value.
func inPlace(t *testing.T, files vfs.FS, key []byte, change func(s *kv.Store, v []byte) []byte) {
	t.Helper()
	s, err := kv.Open("store", kv.Config{FS: files, Cache: 1 << 20, MemTable: 4 << 20})
	must(t, err)
	v, err := s.Get(key)
	must(t, err)
	b := s.NewBatch()
	b.Set(key, change(s, v))
	must(t, errors.Join(b.Commit(true), b.Close(), s.Close()))
}

// TestRepair damages values of each kind that derives from others, in their bytes and in
// what they say: repair mends them, and then the store answers as it did before.
func TestRepair(t *testing.T) {
	s := newRotStore(t)
	at, values := derivedKeys(t, clonedStore(t, s.closed))
	kinds := derivedKinds()
	if got, want := slices.Sorted(maps.Keys(at)), slices.Sorted(maps.Keys(kinds)); !slices.Equal(got, want) {
		t.Fatalf("there are the kinds %v, want %v", got, want)
	}
	for kind, x := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			step := max(1, len(at[kind])/3)
			if testing.Short() {
				step = len(at[kind])
			}
			tried := 0
			for i := 0; i < len(at[kind]); i += step {
				key := at[kind][i]
				wrong := func(store *kv.Store, v []byte) []byte { return x.wrong(t, store, key, v, values[kind]) }
				broken := func(_ *kv.Store, v []byte) []byte { v[len(v)/2] ^= 4; return v }
				for name, change := range map[string]func(*kv.Store, []byte) []byte{"wrong": wrong, "broken": broken} {
					if name == "broken" && !x.opens {
						continue
					}
					if s.repaired(t, fmt.Sprintf("%s %x", name, key), key, change) {
						tried++
					}
				}
			}
			if tried == 0 {
				t.Error("nothing was damaged")
			}
		})
	}
}

// repaired damages a value and repairs the store. It returns false if the value is as it was.
func (s *rotStore) repaired(t *testing.T, name string, key []byte, change func(*kv.Store, []byte) []byte) bool {
	t.Helper()
	trial := *s
	trial.options.FS = clonedStore(t, s.closed)
	same := false
	inPlace(t, trial.options.FS, key, func(store *kv.Store, v []byte) []byte {
		after := change(store, bytes.Clone(v))
		same = after == nil || bytes.Equal(after, v)
		if same {
			return v
		}
		return after
	})
	if same {
		return false
	}
	db, err := engine.Open("store", &trial.options)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return false
	}
	before, err := db.Check(t.Context(), nil)
	must(t, err)
	r, err := db.Repair(t.Context(), nil)
	if err != nil || len(r.Mended) == 0 || len(r.Beyond) > 0 || len(before.Problems) == 0 {
		t.Errorf("%s: check: %q; repair: %+v %v", name, before.Problems, r, err)
	}
	after, err := db.Check(t.Context(), nil)
	if err != nil || len(after.Problems) > 0 {
		t.Errorf("%s: after repair: %q %v", name, after.Problems, err)
	}
	must(t, db.Close())
	answers, bad := trial.ask(t)
	if len(bad) > 0 || !maps.Equal(answers, s.answers) {
		t.Errorf("%s: after repair the answers are others: %v", name, bad)
	}
	return true
}

// TestRepairLeaves what does not derive from anything as it is, and says so.
func TestRepairLeaves(t *testing.T) {
	s := newRotStore(t)
	found := map[string][]byte{}
	store, err := kv.Open("store", kv.Config{FS: clonedStore(t, s.closed), Cache: 1 << 20, MemTable: 4 << 20})
	must(t, err)
	must(t, store.Scan(t.Context(), keys.Span{Start: []byte{0}, End: []byte{0xff}}, func(k, v []byte) (bool, error) {
		if u, kind, _, ok := keys.ParseUnit(k); ok && kind == keys.Block && u.Attr >= uint32(schema.FirstUserAttr) {
			found["column block"] = bytes.Clone(k)
		}
		if _, kind, _, ok := keys.ParsePart(k); ok && kind == keys.Piece {
			found["row"] = bytes.Clone(k)
		}
		if _, kind, _, ok := keys.ParseRun(k); ok && kind == keys.Page {
			found["page"] = bytes.Clone(k)
		}
		return true, nil
	}))
	must(t, store.Close())
	if len(found) != 3 {
		t.Fatalf("found %v", found)
	}
	for what, key := range found {
		o := s.options
		o.FS = clonedStore(t, s.closed)
		var left []byte
		inPlace(t, o.FS, key, func(_ *kv.Store, v []byte) []byte {
			v[len(v)/2] ^= 4
			left = bytes.Clone(v)
			return v
		})
		db, err := engine.Open("store", &o)
		must(t, err)
		r, err := db.Repair(t.Context(), nil)
		if err != nil || len(r.Beyond) == 0 || !strings.Contains(strings.Join(r.Beyond, ";"), what) {
			t.Errorf("%s: %+v %v", what, r, err)
		}
		report, err := db.Check(t.Context(), nil)
		if must(t, err); len(report.Problems) == 0 {
			t.Errorf("%s: check says that all is well", what)
		}
		must(t, db.Close())
		inPlace(t, o.FS, key, func(_ *kv.Store, v []byte) []byte {
			if !bytes.Equal(v, left) {
				t.Errorf("%s: repair has changed it", what)
			}
			return v
		})
	}
}

// TestRepairGoesOn ends a repair after its first steps, with everything damaged that can be,
// while others write and ask; the next one finishes it.
func TestRepairGoesOn(t *testing.T) {
	s := newRotStore(t)
	files := clonedStore(t, s.closed)
	at, _ := derivedKeys(t, files)
	for kind, x := range derivedKinds() {
		ofKeys := func(key []byte) bool {
			table, _, _, ok := keys.ParseTable(key)
			return ok && table.Attr == uint32(schema.KeyAttr)
		}
		at[kind] = slices.DeleteFunc(at[kind], ofKeys) // without an index of keys nobody writes
		for i := 0; i < len(at[kind]) && x.opens; i += 1 + len(at[kind])/3 {
			inPlace(t, files, at[kind][i], func(_ *kv.Store, v []byte) []byte { v[len(v)/2] ^= 4; return v })
		}
	}
	trial := *s
	trial.options.FS = files
	engine.LowerLimits(&trial.options, 1<<20, 1<<20, 1<<20) // nothing is folded meanwhile: that needs what is damaged
	db, err := engine.Open("store", &trial.options)
	must(t, err)
	total := 0
	for round := 1; ; round++ {
		ctx, cancel := context.WithCancel(t.Context())
		steps := 0
		r, err := db.Repair(ctx, func(done, _ uint64, _ string) {
			if steps++; steps == 6*round {
				cancel()
			}
			if n, err := db.Count(t.Context(), "true", nil); err == nil && n.Count == 0 {
				t.Error("nobody is left")
			}
			counted(t, db, 3) // it is there
		})
		cancel()
		total += len(r.Mended)
		if err == nil {
			if len(r.Beyond) > 0 {
				t.Errorf("%q", r.Beyond)
			}
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if total < 12 {
		t.Errorf("only %d things were mended", total)
	}
	again, err := db.Repair(t.Context(), nil)
	if err != nil || len(again.Mended)+len(again.Beyond) > 0 {
		t.Errorf("a second repair: %+v %v", again, err)
	}
	must(t, db.Close())
	trial.options = s.options
	trial.options.FS = files
	answers, bad := trial.ask(t)
	for _, name := range []string{"stats", "digests"} { // of the positions of what was written meanwhile
		delete(answers, name)
	}
	for name, got := range answers {
		if got != s.answers[name] {
			t.Errorf("%s: %s, it was %s", name, got, s.answers[name])
		}
	}
	if len(bad) > 0 {
		t.Error(bad)
	}
}

// TestRepairForReading: a store that is opened for reading is not repaired.
func TestRepairForReading(t *testing.T) {
	o := engine.Options{FS: vfs.NewMem(), Clock: fixedClock}
	db, err := engine.Open("store", &o)
	must(t, err)
	must(t, db.Close())
	o.ReadOnly = true
	db, err = engine.Open("store", &o)
	must(t, err)
	if _, err := db.Repair(t.Context(), nil); !errors.Is(err, &query.Error{Code: query.CodeReadOnly}) {
		t.Errorf("opened for reading: %v", err)
	}
	must(t, db.Close())
}

// TestRepairComesFirst opens a store with much to fold into what is damaged: it is repaired
// before.
func TestRepairComesFirst(t *testing.T) {
	s := newRotStore(t)
	files := clonedStore(t, s.closed)
	at, _ := derivedKeys(t, files)
	for _, key := range at["fragment"] {
		inPlace(t, files, key, func(_ *kv.Store, v []byte) []byte { v[len(v)/2] ^= 4; return v })
	}
	trial := *s
	trial.options.FS, trial.options.Repair = files, true
	failed := make(chan error, 1)
	trial.options.Hooks.Failed = func(err error) { failed <- err }
	engine.LowerLimits(&trial.options, 1, 1, 1)
	db, err := engine.Open("store", &trial.options)
	must(t, err)
	r, err := db.Repair(t.Context(), nil)
	if err != nil || len(r.Mended) == 0 || len(r.Beyond) > 0 {
		t.Errorf("%+v %v", r, err)
	}
	must(t, db.Compact(t.Context()))
	must(t, db.Close())
	answers, bad := trial.ask(t)
	if len(bad) > 0 || !maps.Equal(answers, s.answers) {
		t.Errorf("after repair the answers are others: %v", bad)
	}
	select {
	case err := <-failed:
		t.Error(err)
	default:
	}
}

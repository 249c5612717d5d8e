package base

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/query"
)

// idStore is a store with ids, and everything that was put into it.
type idStore struct {
	t     *testing.T
	files vfs.FS
	kv    *kv.Store
	cache *Cache
	ids   *IDs
	model map[effect.ID]uint64
	first int32 // ids of days before it are forgotten
}

func newIDStore(t *testing.T) *idStore {
	s := &idStore{t: t, files: vfs.NewMem(), model: map[effect.ID]uint64{}, first: math.MinInt32}
	s.open()
	if len(s.ids.Runs) != 0 || s.ids.Folded != 0 {
		t.Fatalf("a new store has %+v", s.ids)
	}
	t.Cleanup(func() { s.must(s.kv.Close()) })
	return s
}

func (s *idStore) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// open opens the store and returns the spans that are to be deleted.
func (s *idStore) open() []keys.Span {
	s.t.Helper()
	var err error
	s.kv, err = kv.Open("store", kv.Config{FS: s.files, Cache: 1 << 20, MemTable: 1 << 20})
	s.must(err)
	s.cache = NewCache(s.kv, 1<<20)
	s.ids, err = OpenIDs(s.kv, s.cache)
	s.must(err)
	old, err := Leftovers(s.t.Context(), s.kv, nil, s.ids)
	s.must(err)
	return old
}

func (s *idStore) fold(claims map[effect.ID]uint64, folded uint64) IDResult {
	s.t.Helper()
	r, err := FoldIDs(s.t.Context(), s.kv, s.cache, &IDJob{Old: s.ids, Claims: claims, Folded: folded, First: s.first})
	s.must(err)
	maps.Copy(s.model, claims)
	maps.DeleteFunc(s.model, func(id effect.ID, _ uint64) bool { return id.Day < s.first })
	s.ids = r.IDs
	return r
}

// compare looks for every id, and for as many that are not there: of the same day, of
// another, and with one half of the hash of one that is.
func (s *idStore) compare(r *rand.Rand) {
	s.t.Helper()
	for id, want := range s.model {
		if got, ok, err := s.ids.Lookup(id); err != nil || !ok || got != want {
			s.t.Fatalf("%x: %x %t %v, want %x", id, got, ok, err, want)
		}
		for _, other := range []effect.ID{{Hi: r.Uint64(), Lo: r.Uint64(), Day: id.Day}, {Hi: id.Hi, Lo: r.Uint64(), Day: id.Day}, {Hi: id.Hi, Lo: id.Lo, Day: id.Day + 1}} {
			if _, known := s.model[other]; known {
				continue
			}
			if _, ok, err := s.ids.Lookup(other); ok || err != nil {
				s.t.Fatalf("%x is there (%v)", other, err)
			}
		}
	}
	n := uint64(0)
	for _, run := range s.ids.Runs {
		s.must(run.Check(s.t.Context()))
		n += run.IDs
	}
	if n != uint64(len(s.model)) {
		s.t.Fatalf("%d ids in runs, want %d", n, len(s.model))
	}
}

// TestIDs folds random ids of a few days, some days often, so that runs are merged, and
// finds all of them again and no others, also when the store is opened again.
func TestIDs(t *testing.T) {
	const seed = 5
	r := rand.New(rand.NewPCG(seed, 1))
	s := newIDStore(t)
	merged, paged := 0, 0
	for step := range 40 {
		claims := map[effect.ID]uint64{}
		for range 1 + r.IntN(1<<r.IntN(13)) {
			claims[effect.ID{Hi: r.Uint64() >> (r.IntN(2) * 8), Lo: r.Uint64(), Day: int32(r.IntN(4)) - 2}] = r.Uint64() >> (64 - effect.ContentBits)
		}
		out := s.fold(claims, uint64(step+1))
		for _, run := range out.Gone {
			merged++
			s.must(s.kv.Excise(run.ID.Span()))
		}
		s.cache.ForgetRuns(out.Gone)
		for _, run := range out.IDs.Runs {
			paged = max(paged, run.Pages())
		}
		if step%8 != 7 {
			continue
		}
		s.compare(r)
		s.must(s.kv.Close())
		if old := s.open(); len(old) != 0 || s.ids.Folded != uint64(step+1) {
			t.Fatalf("opened again: %d spans to delete, folded up to %d", len(old), s.ids.Folded)
		}
		s.compare(r)
	}
	days := map[int32]int{}
	for _, run := range s.ids.Runs {
		days[run.ID.Day]++
	}
	for day, n := range days {
		if n > 3*mergeRuns {
			t.Errorf("day %d has %d runs", day, n)
		}
	}
	if merged < 2*mergeRuns || paged < 4 {
		t.Errorf("%d runs were merged, the largest had %d pages", merged, paged)
	}
}

// TestIDsForgotten folds ids of days that pass: before the first day nothing is left, of
// what was stored and of what comes late, and every other id is found.
func TestIDsForgotten(t *testing.T) {
	const seed = 9
	r := rand.New(rand.NewPCG(seed, 1))
	s := newIDStore(t)
	gone, late := 0, 0
	for step := range 30 {
		claims := map[effect.ID]uint64{}
		for range r.IntN(60) {
			claims[effect.ID{Hi: r.Uint64(), Lo: r.Uint64(), Day: int32(step + r.IntN(10) - 12)}] = 1
		}
		if r.IntN(2) == 0 {
			s.first = int32(step - 8)
		}
		for id := range claims {
			if id.Day < s.first {
				late++
			}
		}
		before := s.ids.Expired(s.first)
		out := s.fold(claims, uint64(step+1))
		for _, run := range out.Gone {
			if run.ID.Day < s.first {
				gone++
			}
			s.must(s.kv.Excise(run.ID.Span()))
		}
		s.cache.ForgetRuns(out.Gone)
		if before && len(out.Gone) == 0 || s.ids.Expired(s.first) {
			t.Fatalf("step %d: days before %d are there", step, s.first)
		}
		s.compare(r)
	}
	if gone < 20 || late < 20 {
		t.Errorf("%d runs are gone, %d ids came late", gone, late)
	}
	s.must(s.kv.Close())
	if old := s.open(); len(old) != 0 {
		t.Errorf("opened again: %d spans to delete", len(old))
	}
	s.compare(r)
}

// TestIDsInTheCache: what was looked at is in the cache, until its run is gone. The run's
// last pages are empty.
func TestIDsInTheCache(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 1))
	s := newIDStore(t)
	claims := map[effect.ID]uint64{}
	for range 3 * idPage {
		claims[effect.ID{Hi: r.Uint64() >> 1, Lo: r.Uint64(), Day: 1}] = 7
	}
	s.fold(claims, 1)
	s.cache.ForgetRuns(s.ids.Runs) // nothing was looked at
	if n := s.cache.Used(); n != 0 {
		t.Errorf("%d bytes before the first look", n)
	}
	s.compare(r)
	if n := s.cache.Used(); n < int64(len(claims)*(idEntry+1)) {
		t.Errorf("%d bytes of %d ids", n, len(claims))
	}
	s.must(s.kv.Excise(s.ids.Runs[0].ID.Span()))
	for id := range claims {
		if _, ok, err := s.ids.Lookup(id); !ok || err != nil {
			t.Fatalf("a page in the cache is read: %v", err)
		}
	}
	s.cache.ForgetRuns(s.ids.Runs)
	if n := s.cache.Used(); n != 0 {
		t.Errorf("%d bytes of a run that is gone", n)
	}
}

// TestIDSize: a stored id takes at most 24 bytes, filters, keys and checksums included.
func TestIDSize(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 1))
	for _, n := range []int{idPage, idPage + 1, 50_000} {
		s := newIDStore(t)
		claims := map[effect.ID]uint64{}
		for range n {
			claims[effect.ID{Hi: r.Uint64(), Lo: r.Uint64()}] = 0
		}
		s.fold(claims, 1)
		if each := float64(s.ids.Runs[0].Bytes) / float64(n); each > 24 {
			t.Errorf("of %d ids each takes %.2f bytes", n, each)
		}
	}
}

// TestIDsWrittenSeldom: with many small folds of one day, an id is not written at each.
func TestIDsWrittenSeldom(t *testing.T) {
	const folds, each = 400, 100
	r := rand.New(rand.NewPCG(2, 1))
	s := newIDStore(t)
	written := int64(0)
	for i := range uint64(folds) {
		claims := map[effect.ID]uint64{}
		for range each {
			claims[effect.ID{Hi: r.Uint64(), Lo: r.Uint64()}] = 0
		}
		written += s.fold(claims, i+1).Written
	}
	if times := written / (folds * each * (idEntry + 2)); times > 12 {
		t.Errorf("an id is written %d times", times)
	}
}

// TestFilterForm: how long a filter is, and which bits an id sets.
func TestFilterForm(t *testing.T) {
	for n, want := range map[int]int{0: 64, 51: 64, 52: 128, 1024: 1280} {
		if got := len(newFilter(n)); got != want {
			t.Errorf("the filter of %d ids has %d bytes, want %d", n, got, want)
		}
	}
	got, want := newFilter(52), newFilter(52)
	addToFilter(got, idKey{1 << 63, 1<<63 | 3<<9 | 5})
	want[64] = 1<<5 | 1<<3 | 1<<0 // of line 1: bits 5, 3, and 0 four times
	if !bytes.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}

// TestFilters: few of the ids that a page does not have pass its filter.
func TestFilters(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 1))
	filter := newFilter(idPage)
	for range idPage {
		addToFilter(filter, idKey{r.Uint64(), r.Uint64()})
	}
	const asked = 100_000
	pass := 0
	for range asked {
		if mayHold(filter, idKey{r.Uint64(), r.Uint64()}) {
			pass++
		}
	}
	if pass > asked/50 {
		t.Errorf("%d of %d pass", pass, asked)
	}
}

// TestIDLeftovers: runs that a crash kept from being deleted, or that no manifest names
// any more, are found at opening.
func TestIDLeftovers(t *testing.T) {
	s := newIDStore(t)
	var gone []*IDRun
	for i := range uint64(2 * mergeRuns) {
		gone = append(gone, s.fold(map[effect.ID]uint64{{Hi: i, Lo: i, Day: 3}: i}, i+1).Gone...)
	}
	s.must(s.kv.Close())
	old := s.open()
	if len(gone) == 0 || len(old) != len(gone) {
		t.Fatalf("%d runs are gone, %d found", len(gone), len(old))
	}
	for i, span := range old {
		if !bytes.Equal(span.Start, gone[i].ID.Span().Start) {
			t.Errorf("%x is to be deleted, want %x", span.Start, gone[i].ID.Span().Start)
		}
	}
	s.compare(rand.New(rand.NewPCG(1, 1)))
}

func exampleIDs() *IDs {
	run := newIDRun(keys.Run{Day: 20_000, Number: 2}, 1, nil)
	run.Bytes = 45
	return &IDs{Folded: 300, Next: 3, Runs: []*IDRun{run}}
}

func TestIDsGolden(t *testing.T) {
	text, err := os.ReadFile("ids.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "# Worked example")
	var parts [2][]byte
	at := 0
	for line := range strings.Lines(rest) {
		if strings.Contains(line, "page 0") {
			at = 1
		}
		for _, field := range strings.Fields(strings.TrimPrefix(line, "//\t")) {
			b, err := hex.DecodeString(field)
			if len(field) != 2 || err != nil {
				break
			}
			parts[at] = append(parts[at], b...)
		}
	}
	if got := exampleIDs().manifest(); !bytes.Equal(got, parts[0]) {
		t.Errorf("the manifest is\n%x\nthe comment has\n%x", got, parts[0])
	}
	page := kv.Seal(nil, appendID(nil, &effect.Claim{ID: effect.ID{Hi: 1, Lo: 2, Day: 20_000}, Content: 3}))
	if !bytes.Equal(page, parts[1]) {
		t.Errorf("the page is\n%x\nthe comment has\n%x", page, parts[1])
	}
	x, err := readIDs(parts[0], nil)
	if err != nil || x.Folded != 300 || x.Next != 3 || len(x.Runs) != 1 || x.Runs[0].ID != (keys.Run{Day: 20_000, Number: 2}) || x.Runs[0].IDs != 1 || x.Runs[0].Bytes != 45 {
		t.Fatalf("%+v %v", x, err)
	}
	b, err := kv.Unseal(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	if content, ok := findID(b, idKey{1, 2}); !ok || content != 3 {
		t.Errorf("%d %t", content, ok)
	}
}

// TestIDsDamaged: what is not as its writer makes it is told, a newer version by its name.
func TestIDsDamaged(t *testing.T) {
	newer, err := kv.Unseal(exampleIDs().manifest())
	if err != nil {
		t.Fatal(err)
	}
	newer[0]++
	if _, err := readIDs(kv.Seal(nil, newer), nil); !errors.Is(err, &query.Error{Code: query.CodeNewerFormat}) {
		t.Errorf("version 2: %v", err)
	}
	corrupt := &query.Error{Code: query.CodeCorrupt}
	for cut := range newer {
		payload := append([]byte{idsVersion}, newer[1:]...)
		if _, err := readIDs(kv.Seal(nil, payload[:cut]), nil); !errors.Is(err, corrupt) {
			t.Errorf("%d bytes: %v", cut, err)
		}
	}
	for name, runs := range map[string][]*IDRun{
		"a run twice":            {newIDRun(keys.Run{Day: 5, Number: 1}, 0, nil), newIDRun(keys.Run{Day: 5, Number: 1}, 0, nil)},
		"days do not ascend":     {newIDRun(keys.Run{Day: 5, Number: 1}, 0, nil), newIDRun(keys.Run{Day: 4, Number: 2}, 0, nil)},
		"a number not given yet": {newIDRun(keys.Run{Day: 5, Number: 3}, 0, nil)},
		"ids in no bytes":        {newIDRun(keys.Run{Day: 5, Number: 1}, 1, nil)},
		"too many ids":           {{ID: keys.Run{Day: 5, Number: 1}, IDs: maxRunIDs + 1, Bytes: math.MaxInt64}},
	} {
		if _, err := readIDs((&IDs{Next: 3, Runs: runs}).manifest(), nil); !errors.Is(err, corrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	far := binary.AppendVarint([]byte{idsVersion, 1, 3, 1}, math.MaxInt32+1)
	if _, err := readIDs(kv.Seal(nil, []byte{idsVersion, 1, 3, 0, 0}), nil); !errors.Is(err, corrupt) {
		t.Errorf("a byte more: %v", err)
	}
	if _, err := readIDs(kv.Seal(nil, append(far, 1, 0, 0)), nil); !errors.Is(err, corrupt) {
		t.Errorf("a day that there is not: %v", err)
	}
}

// TestRunDamaged: what is wrong with a page or a filter is found by Check, and by who looks
// for ids as far as it can be seen in one page.
func TestRunDamaged(t *testing.T) {
	corrupt := &query.Error{Code: query.CodeCorrupt}
	r := rand.New(rand.NewPCG(8, 1))
	claims := map[effect.ID]uint64{}
	for range 5000 {
		claims[effect.ID{Hi: r.Uint64(), Lo: r.Uint64(), Day: 1}] = 0
	}
	ascending := func(hi ...uint64) (page []byte) {
		for _, h := range hi {
			page = appendID(page, &effect.Claim{ID: effect.ID{Hi: h, Lo: 1}})
		}
		return page
	}
	for name, damage := range map[string]func(b *kv.Batch, run keys.Run){
		"a page is missing":   func(b *kv.Batch, run keys.Run) { b.Delete(run.Row(keys.Page, 2)) },
		"a filter is missing": func(b *kv.Batch, run keys.Run) { b.Delete(run.Row(keys.Filter, 2)) },
		"half an id":          func(b *kv.Batch, run keys.Run) { b.Set(run.Row(keys.Page, 2), kv.Seal(nil, make([]byte, 11))) },
		"another page":        func(b *kv.Batch, run keys.Run) { b.Set(run.Row(keys.Page, 2), kv.Seal(nil, ascending(1, 2))) },
		"ends in another page": func(b *kv.Batch, run keys.Run) {
			b.Set(run.Row(keys.Page, 2), kv.Seal(nil, ascending(2<<61, 3<<61)))
		},
		"in the wrong order":  func(b *kv.Batch, run keys.Run) { b.Set(run.Row(keys.Page, 0), kv.Seal(nil, ascending(2, 1))) },
		"ids are lost":        func(b *kv.Batch, run keys.Run) { b.Set(run.Row(keys.Page, 0), kv.Seal(nil, nil)) },
		"another's filter":    func(b *kv.Batch, run keys.Run) { b.Set(run.Row(keys.Filter, 0), kv.Seal(nil, newFilter(1))) },
		"a filter of nothing": func(b *kv.Batch, run keys.Run) { b.Set(run.Row(keys.Filter, 0), kv.Seal(nil, nil)) },
		"a bit of a page flips": func(b *kv.Batch, run keys.Run) {
			b.Set(run.Row(keys.Page, 1), append([]byte{1}, bytes.Repeat([]byte{7}, idEntry+4)...))
		},
	} {
		s := newIDStore(t)
		s.fold(claims, 1)
		b := s.kv.NewBatch()
		damage(b, s.ids.Runs[0].ID)
		s.must(b.Commit(false))
		s.must(b.Close())
		seen := false
		for id := range claims {
			_, _, err := s.ids.Lookup(id)
			if seen = seen || err != nil; err != nil && !errors.Is(err, corrupt) {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if seen == (name == "in the wrong order" || name == "ids are lost" || name == "another's filter") {
			t.Errorf("%s: that a reader sees it is %t", name, seen)
		}
		if err := s.ids.Runs[0].Check(t.Context()); !errors.Is(err, corrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := newIDStore(t)
	if _, err := FoldIDs(ctx, s.kv, s.cache, &IDJob{Old: s.ids, Claims: claims, Folded: 1}); err != nil {
		t.Errorf("a fold of new ids reads nothing, and is not given up: %v", err)
	}
}

// FuzzIDs reads anything as a manifest, a page and a filter.
func FuzzIDs(f *testing.F) {
	f.Add(exampleIDs().manifest()[1:])
	f.Add([]byte{idsVersion, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add(appendID(nil, &effect.Claim{ID: effect.ID{Hi: 1, Lo: 2}, Content: 3}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if x, err := readIDs(kv.Seal(nil, b), nil); err == nil {
			again, err := readIDs(x.manifest(), nil)
			if err != nil || fmt.Sprint(len(again.Runs), again.Folded, again.Next) != fmt.Sprint(len(x.Runs), x.Folded, x.Next) {
				t.Fatal(err)
			}
		}
		k := idKey{1 << 60, 7}
		if verifyPage(b, 3, pageOf(k, 3)) == nil {
			findID(b, k)
		}
		if verifyFilter(b) == nil {
			filter := slices.Clone(b)
			addToFilter(filter, k)
			if !mayHold(filter, k) {
				t.Fatal("an id that was added does not pass")
			}
		}
	})
}

package keytable

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// seeded returns a generator whose seed is printed if the test fails.
func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 1))
}

// disk keeps the pages of a table as a store would.
type disk struct{ pages [][]byte }

func (d *disk) emit(page int, b []byte) error {
	if page != len(d.pages) {
		return fmt.Errorf("page %d after %d", page, len(d.pages)-1)
	}
	d.pages = append(d.pages, bytes.Clone(b))
	return nil
}

func (d *disk) load(page int) ([]byte, error) { return d.pages[page], nil }

func merge(t testing.TB, old *Static, delta *Delta, keep func(uint32) bool) (*Static, *disk) {
	t.Helper()
	var d disk
	pages, err := Merge(old, delta, keep, d.emit)
	if err != nil || pages != len(d.pages) {
		t.Fatalf("%d pages, %d emitted, %v", pages, len(d.pages), err)
	}
	s, err := Open(pages, math.MaxInt64, d.load)
	if err != nil {
		t.Fatal(err)
	}
	return s, &d
}

// model is the obvious table: full hashes.
type model map[uint64][]uint32

// check looks up the hashes of the model, of a large one some, and some others.
func check(t *testing.T, r *rand.Rand, m model, s *Static, d *Delta) {
	t.Helper()
	looked := 0
	for hash, want := range m {
		if looked++; looked > 100_000 {
			break
		}
		got, err := ofStatic(s, hash, []uint32{99})
		if err != nil {
			t.Fatal(err)
		}
		got = ofDelta(d, hash, got)[1:]
		slices.Sort(got)
		got = slices.Compact(got)
		for _, ordinal := range want {
			if _, ok := slices.BinarySearch(got, ordinal); !ok {
				t.Fatalf("hash %x: candidates %d lack %d", hash, got, ordinal)
			}
		}
		if len(got) > len(want)+2 {
			t.Fatalf("hash %x: candidates %d, want %d", hash, got, want)
		}
	}
	others := make([]uint64, 10_000)
	for i := range others {
		others[i] = r.Uint64()
	}
	found, err := s.AppendCandidates(others, nil)
	if err != nil {
		t.Fatal(err)
	}
	falses := len(found)
	if falses > 2+s.Pages()*pageTarget>>20 { // n / 2^40 each
		t.Fatalf("%d false candidates in 10,000 look-ups", falses)
	}
}

// TestGrowth merges deltas into a table that grows through several numbers of pages and
// shrinks again, against a map.
func TestGrowth(t *testing.T) {
	r := seeded(t)
	m, ordinal, seen := model{}, uint32(0), map[int]bool{}
	var s *Static
	for round := range 9 {
		d := NewDelta()
		hashes := make([]uint64, 0, 1000)
		var together []uint64 // half of the rounds insert all at once
		var ordinals []uint32
		for range []int{0, 10, 1000, 60_000, 170_000}[min(round, 4)] {
			hash := r.Uint64()
			if len(hashes) > 0 && r.IntN(10) == 0 {
				hash = hashes[r.IntN(len(hashes))]
			}
			if len(hashes) < cap(hashes) {
				hashes = append(hashes, hash)
			}
			if together, ordinals = append(together, hash), append(ordinals, ordinal); round%2 == 0 {
				d.Insert(hash, ordinal)
			}
			m[hash] = append(m[hash], ordinal)
			if r.IntN(50) == 0 {
				d.Insert(hash, ordinal) // twice
			}
			ordinal++
		}
		if round%2 == 1 {
			d.InsertAll(together, ordinals)
		}
		if round < 4 {
			check(t, r, m, s, d)
		}
		limit := uint32(0)
		if round == 8 {
			limit = ordinal - 1000 // nearly all are gone
		}
		keep := func(o uint32) bool { return o%97 != 0 && o >= limit }
		for hash, ords := range m {
			if ords = slices.DeleteFunc(ords, func(o uint32) bool { return !keep(o) }); len(ords) == 0 {
				delete(m, hash)
			} else {
				m[hash] = ords
			}
		}
		s, _ = merge(t, s, d, keep)
		seen[s.Pages()] = true
		if round < 4 || round == 6 || round == 8 {
			check(t, r, m, s, NewDelta())
			checkEach(t, m, s)
		}
	}
	if s, _ = merge(t, s, NewDelta(), nil); s.Pages() != 256 {
		t.Errorf("%d pages for 1,000 entries", s.Pages())
	}
	check(t, r, m, s, NewDelta())
	if len(seen) < 3 {
		t.Errorf("the table went through these numbers of pages only: %v", seen)
	}
}

// checkEach reads the table as a whole.
func checkEach(t *testing.T, m model, s *Static) {
	t.Helper()
	want := map[entry]int{}
	for hash, ords := range m {
		for _, o := range ords {
			want[entry{hash >> hashShift, o}]++
		}
	}
	var last entry
	n := 0
	if err := s.Each(func(hash uint64, ordinal uint32) bool {
		e := entry{hash >> hashShift, ordinal}
		if want[e] == 0 || n > 0 && compareEntries(last, e) >= 0 {
			t.Fatalf("entry %v after %v", e, last)
		}
		last = e
		n++
		return true
	}); err != nil || n != len(want) {
		t.Fatalf("%d entries, want %d; %v", n, len(want), err)
	}
}

// TestManyOfOneHash has a value that very many share: inserts stay cheap, and its page is long.
func TestManyOfOneHash(t *testing.T) {
	r := seeded(t)
	const many = 300_000
	hot := r.Uint64() >> 24 // in page 0, which the estimate looks at
	m, d := model{}, NewDelta()
	for i := range uint32(many) {
		d.Insert(hot, i)
		m[hot] = append(m[hot], i)
		if i%10 == 0 {
			hash := r.Uint64()
			if i%20 == 0 {
				hash = hot&^(1<<48-1) | hash&(1<<48-1) // the same page
			}
			d.Insert(hash, i)
			m[hash] = append(m[hash], i)
		}
	}
	check(t, r, m, nil, d)
	s, _ := merge(t, nil, d, nil)
	check(t, r, m, s, NewDelta())
	d = NewDelta()
	d.Insert(hot, many)
	m[hot] = append(m[hot], many)
	s, _ = merge(t, s, d, nil)
	check(t, r, m, s, NewDelta())
	if s.Pages() > 1024 {
		t.Errorf("%d pages: the long one was taken for typical", s.Pages())
	}
}

func TestBuild(t *testing.T) {
	r := seeded(t)
	hashes := make([]uint64, 20_000)
	for i := range hashes {
		hashes[i] = r.Uint64()
	}
	slices.Sort(hashes)
	m := model{}
	var d disk
	pages, err := Build(func(yield func(uint64, uint32) bool) {
		for i, hash := range hashes {
			m[hash] = []uint32{uint32(i), 5}
			if !yield(hash, uint32(i)) || !yield(hash, 5) {
				return
			}
		}
	}, 2*len(hashes), d.emit)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(pages, math.MaxInt64, d.load)
	if err != nil {
		t.Fatal(err)
	}
	check(t, r, m, s, NewDelta())

	descending := func(yield func(uint64, uint32) bool) { _ = yield(1<<40, 1) && yield(1<<30, 2) }
	if _, err := Build(descending, 2, func(int, []byte) error { return nil }); err == nil {
		t.Error("hashes that descend are accepted")
	}
	full := errors.New("disk full")
	if _, err := Merge(s, NewDelta(), nil, func(int, []byte) error { return full }); err != full {
		t.Error(err)
	}
}

func TestEmpty(t *testing.T) {
	s, _ := merge(t, nil, NewDelta(), nil)
	for _, s := range []*Static{nil, s} {
		if got, err := ofStatic(s, 7, nil); len(got) != 0 || err != nil {
			t.Error(got, err)
		}
		if s.evict(0); s.Pages() == 0 && s.ResidentBytes() != 0 {
			t.Error("an empty table has pages")
		}
	}
	for _, pages := range []int{-1, 0, 1, 128, 257, 1 << 25} {
		if _, err := Open(pages, 0, nil); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d pages: %v", pages, err)
		}
	}
}

// TestTogether looks hashes up together and one by one: known ones, many of one page, some
// twice, and others.
func TestTogether(t *testing.T) {
	r := seeded(t)
	known := hashes(r.Uint64(), 30_000)
	old, d := NewDelta(), NewDelta()
	for i, hash := range known {
		for range 1 + r.IntN(3)/2 {
			[]*Delta{old, d}[i&1].Insert(hash, r.Uint32())
		}
	}
	s, _ := merge(t, nil, old, nil)
	for range 200 {
		list := make([]uint64, r.IntN(3*abreast))
		for i := range list {
			list[i] = r.Uint64() >> (r.IntN(2) * 12)
			if r.IntN(3) > 0 {
				list[i] = known[r.IntN(len(known))]
			}
		}
		static, err := s.AppendCandidates(list, nil)
		if err != nil {
			t.Fatal(err)
		}
		delta := d.AppendCandidates(list, nil)
		for i, hash := range list {
			var ofHash [2][]Candidate
			if ofHash[0], err = s.AppendCandidates([]uint64{hash}, nil); err != nil {
				t.Fatal(err)
			}
			ofHash[1] = d.AppendCandidates([]uint64{hash}, nil)
			for k, all := range []*[]Candidate{&static, &delta} {
				for _, want := range ofHash[k] {
					if want.Of = uint32(i); len(*all) == 0 || (*all)[0] != want {
						t.Fatalf("hash %d of %d: %v, want %v first", i, len(list), *all, want)
					}
					*all = (*all)[1:]
				}
			}
		}
		if len(static)+len(delta) > 0 {
			t.Fatalf("%v and %v too many", static, delta)
		}
	}
}

// ofStatic and ofDelta look a single hash up.
func ofStatic(s *Static, hash uint64, dst []uint32) ([]uint32, error) {
	found, err := s.AppendCandidates([]uint64{hash}, nil)
	return ordinalsOf(found, dst), err
}

func ofDelta(d *Delta, hash uint64, dst []uint32) []uint32 {
	return ordinalsOf(d.AppendCandidates([]uint64{hash}, nil), dst)
}

func ordinalsOf(found []Candidate, dst []uint32) []uint32 {
	for _, c := range found {
		dst = append(dst, c.Ordinal)
	}
	return dst
}

// TestSearch compares with a walk, on uniform fingerprints and on heaps of equal ones.
func TestSearch(t *testing.T) {
	r := seeded(t)
	for range 3000 {
		fpBits := 16 + r.IntN(17)
		fps := make([]uint32, r.IntN(1500))
		few := 1 + r.IntN(5)
		for i := range fps {
			fps[i] = uint32(r.Uint64N(1 << fpBits))
			if i >= few && r.IntN(few) > 0 {
				fps[i] = fps[r.IntN(few)]
			}
		}
		slices.Sort(fps)
		for range 20 {
			fp := uint32(r.Uint64N(1 << fpBits))
			if len(fps) > 0 && r.IntN(2) == 0 {
				fp = fps[r.IntN(len(fps))]
			}
			want, _ := slices.BinarySearch(fps, fp)
			if got := guessOf(fps, fp, fpBits).search(fps, fp); got != want {
				t.Fatalf("search(%d) among %d = %d, want %d", fp, len(fps), got, want)
			}
		}
	}
}

// TestConcurrent has a writer and readers of a delta, and readers and an evicter of a table.
func TestConcurrent(t *testing.T) {
	const n = 20_000
	r := seeded(t)
	hashes := make([]uint64, n)
	d, frozen := NewDelta(), NewDelta()
	for i := range hashes {
		hashes[i] = r.Uint64()
		frozen.Insert(hashes[i], uint32(i))
	}
	s, _ := merge(t, nil, frozen, nil)
	var inserted, rounds atomic.Int64
	var wg sync.WaitGroup
	reader := func(seed uint64) {
		r := rand.New(rand.NewPCG(seed, 2))
		for inserted.Load() < n {
			upTo := int(inserted.Load())
			for range 100 {
				i := r.IntN(n)
				if got, err := ofStatic(s, hashes[i], nil); err != nil || !slices.Contains(got, uint32(i)) {
					t.Errorf("static: %d is not in %d, %v", i, got, err)
					return
				}
				if i < upTo && !slices.Contains(ofDelta(d, hashes[i], nil), uint32(i)) {
					t.Errorf("delta: %d is not found", i)
					return
				}
			}
			s.evict(s.ResidentBytes() / 2)
			rounds.Add(1)
		}
	}
	for seed := range uint64(3) {
		wg.Go(func() { reader(seed) })
	}
	for i, hash := range hashes {
		d.Insert(hash, uint32(i))
		inserted.Store(int64(i + 1))
		for before := rounds.Load(); i%500 == 0 && rounds.Load() < before+3 && !t.Failed(); {
			runtime.Gosched() // so that the readers meet every size of it
		}
	}
	wg.Wait()
	s.evict(0)
	if d.Len() != n || s.ResidentBytes() != 0 {
		t.Errorf("%d entries, %d bytes resident", d.Len(), s.ResidentBytes())
	}
}

// TestEvict prefers pages that were not used since it last looked.
func TestEvict(t *testing.T) {
	d := NewDelta()
	for i := range uint64(256) {
		d.Insert(i<<56, uint32(i))
	}
	s, _ := merge(t, nil, d, nil)
	look := func(i uint64) {
		if got, err := ofStatic(s, i<<56, nil); err != nil || !slices.Equal(got, []uint32{uint32(i)}) {
			t.Fatal(got, err)
		}
	}
	for i := range uint64(256) {
		look(i)
	}
	all := s.ResidentBytes()
	if s.evict(all - 1); s.ResidentBytes() != all-all/256 {
		t.Fatalf("%d of %d are resident", s.ResidentBytes(), all)
	}
	look(100)
	s.evict(all / 256)
	if s.pages[100].Load() == nil {
		t.Error("the page in use was evicted before those that are not")
	}
	s.budget = all / 8
	for i := range uint64(256) {
		if look(i); s.ResidentBytes() > s.budget {
			t.Fatalf("%d bytes are resident of a budget of %d", s.ResidentBytes(), s.budget)
		}
	}
	if s.ResidentBytes() < s.budget*9/10 {
		t.Fatalf("only %d bytes are resident of a budget of %d", s.ResidentBytes(), s.budget)
	}
	look(100)
}

// docPage returns the example page of doc.go, read from the file itself.
func docPage(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var page []byte
	for line := range strings.Lines(string(text)) {
		data, ok := strings.CutPrefix(line, "//\t")
		for _, word := range strings.Fields(data) {
			b, err := hex.DecodeString(word)
			if !ok || err != nil || len(word) != 2 || !strings.HasPrefix(data, "4b 4e") && page == nil {
				break
			}
			page = append(page, b...)
		}
	}
	return page
}

func TestGolden(t *testing.T) {
	page := docPage(t)
	hashes := []uint64{0x2a00000005ffffff, 0x2a00000005000000, 0x2a80000000000000}
	var d disk
	if _, err := Build(func(yield func(uint64, uint32) bool) {
		_ = yield(hashes[0], 7) && yield(hashes[1], 3) && yield(hashes[2], 1)
	}, 3, d.emit); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(d.pages[0x2a], page) {
		t.Fatalf("writer gives\n% x, doc.go says\n% x", d.pages[0x2a], page)
	}
	if words, err := decodePage(page, 8, 0x2a); err != nil || fmt.Sprint(words) != "[5 5 2147483648 3 7 1]" {
		t.Fatal(words, err)
	}
}

func TestHostile(t *testing.T) {
	page := docPage(t)
	newer := bytes.Clone(page)
	newer[4]++
	if _, err := decodePage(newer, 8, 0x2a); !errors.Is(err, ErrNewerFormat) {
		t.Error(err)
	}
	for n := range page {
		if _, err := decodePage(page[:n], 8, 0x2a); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	for bit := range 8 * len(page) {
		bad := bytes.Clone(page)
		bad[bit/8] ^= 1 << (bit % 8)
		if _, err := decodePage(bad, 8, 0x2a); err == nil {
			t.Errorf("bit %d flipped decodes", bit)
		}
	}
	bad := []struct {
		name             string
		pageBits, number int
		b                []byte
	}{
		{"another page", 8, 0x2b, page},
		{"another table", 9, 0x2a, page},
		{"nothing", 8, 0x2a, nil},
		{"descends", 8, 1, appendPage(nil, 8, 1, []entry{{2, 1}, {1, 1}})},
		{"twice", 8, 1, appendPage(nil, 8, 1, []entry{{2, 1}, {2, 1}})},
		{"too large", 9, 1, appendPage(nil, 9, 1, []entry{{1, 1}})},
	}
	last := &bad[len(bad)-1]
	last.b[headerSize+3] = 0x80
	sum := checksum(last.b)
	last.b[16], last.b[17], last.b[18], last.b[19] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
	for _, x := range bad {
		if _, err := decodePage(x.b, x.pageBits, x.number); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", x.name, err)
		}
	}
}

func FuzzDecodePage(f *testing.F) {
	f.Add(appendPage(nil, 8, 0x2a, []entry{{5, 3}, {5, 7}, {1 << 31, 1}}))
	f.Add(appendPage(nil, 8, 0x2a, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= headerSize {
			b = bytes.Clone(b)
			sum := checksum(b)
			b[16], b[17], b[18], b[19] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
		}
		words, err := decodePage(b, 8, 0x2a)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewerFormat) {
				t.Fatal(err)
			}
			return
		}
		n := len(words) / 2
		entries := make([]entry, n)
		for i := range entries {
			entries[i] = entry{uint64(words[i]), words[n+i]}
		}
		if !bytes.Equal(appendPage(nil, 8, 0x2a, entries), b) {
			t.Fatal("encoded again it differs")
		}
	})
}

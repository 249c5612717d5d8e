package base

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/query"
)

// IDs are the stored ids of events: by UTC day, each a few runs. It is immutable; what it
// has loaded lives in the cache. Safe for concurrent use.
//
// A run is ids in the order of their hashes, in pages by the first bits of the hash: as
// many bits as leave an average page at most 1,024 ids. A page is sealed and has, for each
// id, 16 bytes of hash and 6 of the hash of its event, big endian. If there are several
// pages, each has a filter beside it, sealed too, which tells most ids that are not in it.
//
// The manifest names all runs. It is sealed and says:
//
//	1 byte    version: 1
//	uvarint   folded: the position up to which the log's claims are in the runs
//	uvarint   the number that the next run gets
//	uvarint   number of runs; for each
//	  varint    day
//	  uvarint   its number
//	  uvarint   ids
//	  uvarint   bytes, keys included
//
// A filter is lines of 64 bytes, 10 bits for each id. Of the low half of an id's hash the
// first bits tell its line (half * lines / 2^64), and six times 9 bits from the last on
// which bit of the line is set.
//
// # Worked example
//
// Folded at 300, the next run is 3. Run 2 has one id of day 20,000, whose hash is 1, 2
// and whose event's is 3, in 45 bytes. The manifest:
//
//	01 01  the seal's version, the version
//	ac 02 03 01  folded, next, one run
//	c0 b8 02 02 01 2d  day, number, ids, bytes
//	8a 05 e5 83  CRC
//
// Its page 0:
//
//	01  the seal's version
//	00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 02  the hash of the id
//	00 00 00 00 00 03  of the event
//	b8 1e 08 96  CRC
type IDs struct {
	Folded uint64
	Next   uint64   // number of the next run
	Runs   []*IDRun // by day, then number
}

// IDRun is a stored run of ids.
type IDRun struct {
	ID    keys.Run
	IDs   uint64
	Bytes int64

	cache   *Cache
	bits    uint8
	pages   rowSlots
	filters rowSlots // none of a run of one page
}

const idsVersion = 1

func newIDRun(id keys.Run, ids uint64, cache *Cache) *IDRun {
	r := &IDRun{ID: id, IDs: ids, cache: cache, bits: pageBits(ids)}
	r.pages.n = 1 << r.bits
	if r.bits > 0 {
		r.filters.n = r.pages.n
	}
	return r
}

// Lookup looks for an id and returns what its event was.
func (x *IDs) Lookup(id effect.ID) (content uint64, ok bool, err error) {
	for at := x.before(id.Day); at < len(x.Runs) && x.Runs[at].ID.Day == id.Day; at++ {
		if content, ok, err = x.Runs[at].lookup(idKey{id.Hi, id.Lo}); ok || err != nil {
			return content, ok, err
		}
	}
	return 0, false, nil
}

// before returns how many runs are of days before one: they are the first.
func (x *IDs) before(day int32) int {
	at, _ := slices.BinarySearchFunc(x.Runs, day, func(r *IDRun, day int32) int { return cmp.Compare(r.ID.Day, day) })
	return at
}

// Expired reports whether there are ids of days before one.
func (x *IDs) Expired(day int32) bool { return x.before(day) > 0 }

func (r *IDRun) lookup(k idKey) (content uint64, ok bool, err error) {
	n := pageOf(k, r.bits)
	if r.filters.n > 0 {
		filter, err := r.row(r.filters.at(n), keys.Filter, n)
		if err != nil || !mayHold(filter, k) {
			return 0, false, err
		}
	}
	page, err := r.row(r.pages.at(n), keys.Page, n)
	if err != nil {
		return 0, false, err
	}
	content, ok = findID(page, k)
	return content, ok, nil
}

// row returns a page or a filter, from its slot if it is there.
func (r *IDRun) row(s *slot[[]byte], kind keys.Kind, n int) ([]byte, error) {
	if b := s.get(); b != nil {
		return *b, nil
	}
	b, err := r.read(kind, n)
	if err == nil {
		keep(r.cache, s, &b, int64(len(b))+64)
	}
	return b, err
}

func (r *IDRun) read(kind keys.Kind, n int) ([]byte, error) {
	b, err := r.cache.store.GetSealed(r.ID.Row(kind, uint32(n)))
	switch {
	case err != nil:
	case b == nil:
		err = query.Errorf(query.CodeCorrupt, "it is missing")
	case kind == keys.Filter:
		err = verifyFilter(b)
	default:
		err = verifyPage(b, r.bits, n)
	}
	if err != nil {
		return nil, kv.Damaged(fmt.Sprintf("page %d of the ids of events, run %d of day %d", n, r.ID.Number, r.ID.Day), err, nil, nil)
	}
	return b, nil
}

// Check verifies every page of a run, and that the filters derive from them.
func (r *IDRun) Check(ctx context.Context) error {
	ids := uint64(0)
	for n := range r.pages.n {
		if err := ctx.Err(); err != nil {
			return err
		}
		page, err := r.read(keys.Page, n)
		if err != nil {
			return err
		}
		filter := newFilter(len(page) / idEntry)
		before := idKey{}
		for i := range len(page) / idEntry {
			k, _ := idAt(page, i)
			if i > 0 && !before.less(k) {
				return query.Errorf(query.CodeCorrupt, "page %d: its ids do not ascend", n)
			}
			addToFilter(filter, k)
			before = k
		}
		ids += uint64(len(page) / idEntry)
		if r.filters.n == 0 {
			continue
		}
		stored, err := r.read(keys.Filter, n)
		if err != nil {
			return err
		}
		if !slices.Equal(stored, filter) {
			return query.Errorf(query.CodeCorrupt, "page %d: its filter is another one's", n)
		}
	}
	if ids != r.IDs {
		return query.Errorf(query.CodeCorrupt, "it has %d ids, its manifest says %d", ids, r.IDs)
	}
	return nil
}

// Pages returns how many pages the run has.
func (r *IDRun) Pages() int { return r.pages.n }

func (x *IDs) manifest() []byte {
	b := binary.AppendUvarint([]byte{idsVersion}, x.Folded)
	b = binary.AppendUvarint(b, x.Next)
	b = binary.AppendUvarint(b, uint64(len(x.Runs)))
	for _, r := range x.Runs {
		b = binary.AppendVarint(b, int64(r.ID.Day))
		for _, v := range []uint64{r.ID.Number, r.IDs, uint64(r.Bytes)} {
			b = binary.AppendUvarint(b, v)
		}
	}
	return kv.Seal(nil, b)
}

// maxRunIDs bounds what a manifest may claim: the slots of a run are made at once, when
// the first id is looked for. A larger run is not made: see maxMerged.
const maxRunIDs = 1 << 27

func readIDs(sealed []byte, cache *Cache) (*IDs, error) {
	const name = "manifest of the ids of events"
	r, err := kv.NewReader(sealed, idsVersion)
	if err != nil {
		return nil, kv.Damaged(name, err, nil, nil)
	}
	corrupt := query.Errorf(query.CodeCorrupt, "%s is damaged", name)
	x := &IDs{Folded: r.Uvarint(), Next: r.Uvarint()}
	for n := r.Uvarint(); n > 0 && !r.Bad; n-- {
		day, number, ids, size := r.Varint(), r.Uvarint(), r.Uvarint(), r.Uvarint()
		if r.Bad || day != int64(int32(day)) || number >= x.Next || ids > maxRunIDs || ids*idEntry > size {
			return nil, corrupt
		}
		run := newIDRun(keys.Run{Day: int32(day), Number: number}, ids, cache)
		if last := len(x.Runs) - 1; last >= 0 && compareRuns(x.Runs[last], run) >= 0 {
			return nil, corrupt
		}
		run.Bytes = int64(size)
		x.Runs = append(x.Runs, run)
	}
	if r.Bad || len(r.B) != 0 {
		return nil, corrupt
	}
	return x, nil
}

func compareRuns(a, b *IDRun) int {
	return cmp.Or(cmp.Compare(a.ID.Day, b.ID.Day), cmp.Compare(a.ID.Number, b.ID.Number))
}

// OpenIDs finds the stored ids of events.
func OpenIDs(store *kv.Store, cache *Cache) (*IDs, error) {
	sealed, err := store.Get(keys.RunManifest())
	if err != nil || sealed == nil {
		return &IDs{Next: 1}, err
	}
	return readIDs(sealed, cache)
}

// ForgetRuns takes runs that are gone out of the cache.
func (c *Cache) ForgetRuns(runs []*IDRun) {
	gone := map[any]bool{}
	for _, r := range runs {
		emptySlots(r.pages.all(), gone)
		emptySlots(r.filters.all(), gone)
	}
	c.remove(gone)
}

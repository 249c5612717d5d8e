package base

import (
	"cmp"
	"context"
	"maps"
	"math/bits"
	"runtime"
	"slices"

	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
)

// Limits of the merging of runs. A look-up asks each run of a day, a merge writes ids
// again: runs are merged when there are eight of about a size, so that an id is written
// once per power of eight, and no more when that holds up the folding for long.
const (
	mergeRuns = 8
	maxMerged = 1 << 21 // ids of a run that is merged with others
)

// IDJob is one fold of ids of events: what was claimed becomes runs, one for each day,
// runs that have become many are merged, and ids of days that are forgotten are dropped.
type IDJob struct {
	Old    *IDs
	Claims map[effect.ID]uint64 // nobody changes it any more
	Folded uint64               // the position the claims stand for
	First  int32                // days before are forgotten
}

// IDResult is what is stored now, and what became obsolete.
type IDResult struct {
	IDs     *IDs
	Gone    []*IDRun
	Written int64
}

type idFolder struct {
	store  *kv.Store
	cache  *Cache
	out    IDResult
	tables []*kv.Table
}

// FoldIDs makes claims durable outside the log. The caller has made sure that the log is
// synced up to job.Folded.
func FoldIDs(ctx context.Context, store *kv.Store, cache *Cache, job *IDJob) (IDResult, error) {
	gone := job.Old.before(job.First)
	f := &idFolder{store: store, cache: cache, out: IDResult{
		IDs:  &IDs{Folded: job.Folded, Next: job.Old.Next, Runs: slices.Clone(job.Old.Runs[gone:])},
		Gone: slices.Clone(job.Old.Runs[:gone])}}
	err := f.days(ctx, job)
	if err == nil {
		err = f.finish()
	}
	if err != nil {
		for _, t := range f.tables {
			err = joinDiscard(t, err)
		}
		return IDResult{}, err
	}
	return f.out, store.Ingest(ctx, f.tables...)
}

func (f *idFolder) days(ctx context.Context, job *IDJob) error {
	sorted := make([]effect.Claim, 0, len(job.Claims))
	for id, content := range job.Claims {
		if id.Day >= job.First {
			sorted = append(sorted, effect.Claim{ID: id, Content: content})
		}
		if len(sorted)&(idPage-1) == 0 {
			runtime.Gosched() // as a fold does
		}
	}
	sortClaims(sorted)
	for len(sorted) > 0 {
		n := 1
		for n < len(sorted) && sorted[n].Day == sorted[0].Day {
			n++
		}
		if err := f.day(ctx, sorted[:n]); err != nil {
			return err
		}
		sorted = sorted[n:]
	}
	return nil
}

// sortClaims sorts by day, then id. Ids are hashes: so many heaps as the first byte of
// them makes are of about a size, and between two of them others get their turn.
func sortClaims(claims []effect.Claim) {
	var ends [256]int
	for i := range claims {
		ends[claims[i].Hi>>56]++
	}
	for i := 1; i < len(ends); i++ {
		ends[i] += ends[i-1]
	}
	heaps := make([]effect.Claim, len(claims))
	at := ends
	for i := range claims {
		to := &at[claims[i].Hi>>56]
		*to--
		heaps[*to] = claims[i]
	}
	days := map[int32]int{}
	from := 0
	for _, to := range ends {
		slices.SortFunc(heaps[from:to], func(a, b effect.Claim) int {
			return cmp.Or(cmp.Compare(a.Hi, b.Hi), cmp.Compare(a.Lo, b.Lo))
		})
		from = to
		runtime.Gosched()
	}
	for i := range heaps {
		days[heaps[i].Day]++
	}
	n := 0
	for _, day := range slices.Sorted(maps.Keys(days)) {
		days[day], n = n, n+days[day]
	}
	for i := range heaps {
		at := days[heaps[i].Day]
		claims[at] = heaps[i]
		days[heaps[i].Day] = at + 1
	}
}

// day writes the claims of one day, with the runs that are merged with them.
func (f *idFolder) day(ctx context.Context, claims []effect.Claim) error {
	day, ids := claims[0].Day, uint64(len(claims))
	cursors := []*idCursor{{left: claims}}
	for {
		with := f.mergeWith(day, ids)
		if len(with) == 0 {
			break
		}
		for _, r := range with {
			ids += r.IDs
			cursors = append(cursors, &idCursor{run: r})
			f.out.Gone = append(f.out.Gone, r)
		}
		f.out.IDs.Runs = slices.DeleteFunc(f.out.IDs.Runs, func(r *IDRun) bool { return slices.Contains(with, r) })
	}
	run := newIDRun(keys.Run{Day: day, Number: f.out.IDs.Next}, ids, f.cache)
	f.out.IDs.Next++
	if err := f.write(ctx, run, cursors); err != nil {
		return err
	}
	at, _ := slices.BinarySearchFunc(f.out.IDs.Runs, run, compareRuns)
	f.out.IDs.Runs = slices.Insert(f.out.IDs.Runs, at, run)
	return nil
}

// mergeWith returns the runs of a day that are merged with so many new ids, if there are
// enough of them that are not larger.
func (f *idFolder) mergeWith(day int32, ids uint64) []*IDRun {
	var out []*IDRun
	for _, r := range f.out.IDs.Runs {
		if r.ID.Day == day && r.IDs < maxMerged && magnitude(r.IDs) <= magnitude(ids) {
			out = append(out, r)
		}
	}
	if len(out) < mergeRuns-1 {
		return nil
	}
	return out
}

// magnitude is the power of eight of a number of pages.
func magnitude(ids uint64) int { return bits.Len64(ids/idPage) / 3 }

// write writes a run into a table of its own.
func (f *idFolder) write(ctx context.Context, run *IDRun, cursors []*idCursor) error {
	t, err := f.store.NewTable()
	if err != nil {
		return err
	}
	f.tables = append(f.tables, t)
	w := &idWriter{run: run, table: t}
	for {
		first, err := least(ctx, cursors)
		if err != nil {
			return err
		}
		if first == nil {
			break
		}
		if err := w.add(&first.left[0]); err != nil {
			return err
		}
		first.left = first.left[1:]
	}
	if err := w.finish(); err != nil {
		return err
	}
	run.Bytes = t.Size()
	f.out.Written += t.Size()
	return nil
}

func (f *idFolder) finish() error {
	t, err := f.store.NewTable()
	if err != nil {
		return err
	}
	f.tables = append(f.tables, t)
	return t.Set(keys.RunManifest(), f.out.IDs.manifest())
}

// idWriter writes the pages of a run, then its filters: keys ascend.
type idWriter struct {
	run     *IDRun
	table   *kv.Table
	number  int    // of the page at hand
	page    []byte // its ids
	filters [][]byte
}

func (w *idWriter) add(c *effect.Claim) error {
	for n := pageOf(idKey{c.Hi, c.Lo}, w.run.bits); w.number < n; {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.page = appendID(w.page, c)
	return nil
}

func (w *idWriter) flush() error {
	runtime.Gosched()
	if w.run.filters.n > 0 {
		filter := newFilter(len(w.page) / idEntry)
		for i := range len(w.page) / idEntry {
			k, _ := idAt(w.page, i)
			addToFilter(filter, k)
		}
		w.filters = append(w.filters, filter)
	}
	err := w.table.Set(w.run.ID.Row(keys.Page, uint32(w.number)), kv.Seal(nil, w.page))
	w.number, w.page = w.number+1, w.page[:0]
	return err
}

func (w *idWriter) finish() error {
	for w.number < w.run.pages.n {
		if err := w.flush(); err != nil {
			return err
		}
	}
	for n, filter := range w.filters {
		if err := w.table.Set(w.run.ID.Row(keys.Filter, uint32(n)), kv.Seal(nil, filter)); err != nil {
			return err
		}
	}
	return nil
}

// idCursor reads ids in the order of their hashes: some at hand, then those of a run.
type idCursor struct {
	run  *IDRun // nil: there are no others
	page int    // the next one
	left []effect.Claim
}

// least returns the cursor with the least id, nil if there are no more.
func least(ctx context.Context, cursors []*idCursor) (*idCursor, error) {
	var out *idCursor
	for _, c := range cursors {
		if len(c.left) == 0 {
			if err := c.fill(ctx); err != nil {
				return nil, err
			}
		}
		if len(c.left) > 0 && (out == nil || idKey{c.left[0].Hi, c.left[0].Lo}.less(idKey{out.left[0].Hi, out.left[0].Lo})) {
			out = c
		}
	}
	return out, nil
}

// fill reads the next page that has any ids.
func (c *idCursor) fill(ctx context.Context) error {
	for c.run != nil && len(c.left) == 0 && c.page < c.run.pages.n {
		if err := ctx.Err(); err != nil {
			return err
		}
		page, err := c.run.read(keys.Page, c.page)
		if err != nil {
			return err
		}
		c.page++
		c.left = make([]effect.Claim, len(page)/idEntry)
		for i := range c.left {
			k, content := idAt(page, i)
			c.left[i] = effect.Claim{ID: effect.ID{Hi: k.hi, Lo: k.lo, Day: c.run.ID.Day}, Content: content}
		}
	}
	return nil
}

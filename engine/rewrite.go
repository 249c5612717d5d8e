package engine

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/keytable"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Some changes of the schema need stored values in another form: another storage is
// another column, and a number that becomes unique needs an index. Both are written
// straight into the base while the change is decided, and only the schema of its record
// names them: what a change that failed has written belongs to nobody, and is deleted at
// once or, after a crash, at the next opening. The writer does nothing else meanwhile.

// firstGeneration is that of what a schema change has written: the compactor's are higher.
const firstGeneration = 1

// reserve sets working memory aside. A replica takes it though there be none: what it decides
// must not depend on what is asked of it meanwhile.
func (d *decider) reserve(bytes int64, what string) (release func(), err error) {
	cache := d.w.db.cache
	if d.w.db.opt.Replica != nil {
		return cache.SetAside(bytes), nil
	}
	return cache.Reserve(bytes, what) //tidy:same of a store without replicas
}

// restore writes the values of a string attribute, as the batch found them, under the id
// that its new storage has given it: what the batch itself writes comes after it.
func (d *decider) restore(from, to *schema.Attribute) error {
	release, err := d.reserve(base.FoldMemory, "changing a storage")
	if err != nil {
		return err
	}
	defer release()
	folder := base.NewFolder(d.w.db.kv, d.w.db.cache)
	var units []*base.Unit
	d.built = append(d.built, keys.BaseOf(uint32(to.ID)))
	for shard := 0; shard*bitmap.ShardSize < int(d.w.reading.End); shard++ {
		job := &base.Job{ID: keys.Unit{Attr: uint32(to.ID), Shard: uint32(shard), Generation: firstGeneration},
			Class: effect.ClassOf(to), Folded: d.w.pos.Applied, Who: readKeyHashes(&d.w.reading, shard)}
		for chunk := shard * bitmap.ShardChunks; chunk < min((shard+1)*bitmap.ShardChunks, d.w.view().Chunks()); chunk++ {
			s, err := d.restored(from, to, chunk)
			if err != nil {
				return err
			}
			job.Settled = append(job.Settled, s)
		}
		job.What = what(&d.w.reading, to.ID) // now that the dictionary has all codes
		u, err := folder.Fold(d.ctx, job)
		if err != nil {
			return err
		}
		units = append(units, u)
	}
	d.w.reading.Units = cloned(d.w.reading.Units)
	d.w.reading.Units[to.ID] = units
	d.w.cursor.Reset(&d.w.reading)
	if !view.Indexed(to) {
		return nil
	}
	return d.buildIndex(to)
}

// restored returns the values of one chunk in their new form.
func (d *decider) restored(from, to *schema.Attribute, chunk int) (*head.Settled, error) {
	out := effect.Column{Attr: to.ID, Class: effect.ClassOf(to)}
	var ords []uint16
	err := d.eachText(from, chunk, func(ord uint32, text []byte) error {
		ords = append(ords, uint16(ord))
		if out.Class == effect.Bytes {
			out.AppendBytes(text)
			return nil
		}
		out.Codes = append(out.Codes, d.code(to.ID, text))
		if n := d.w.db.opt.limits.dictionary; d.w.dicts[to.ID].Len() > n {
			return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("attribute %q has more different values than a dictionary takes (%d)", to.Name, n), Hint: "leave it inline"}
		}
		return nil
	})
	if err != nil || len(ords) == 0 {
		return nil, err
	}
	return head.SettledOf(ords, &out), nil
}

// eachText calls f with the value of everybody in a chunk who has one: the text of a
// string, of any other kind the bytes that an index hashes.
func (d *decider) eachText(a *schema.Attribute, chunk int, f func(ord uint32, text []byte) error) error {
	if err := d.ctx.Err(); err != nil {
		return err
	}
	var words bitmap.Words
	who, err := d.w.cursor.Exists(a.ID, chunk, &words)
	if err != nil {
		return err
	}
	ords := who.AppendTo(nil)
	texts := make([][]byte, len(ords))
	switch effect.ClassOf(a) {
	case effect.Code:
		codes := make([]uint32, len(ords))
		err = d.w.cursor.GatherCodes(a.ID, chunk, ords, codes)
		for i, c := range codes {
			texts[i] = []byte(d.w.dicts[a.ID].String(c))
		}
	case effect.Bytes:
		err = d.w.cursor.GatherStrings(a.ID, chunk, ords, texts)
	default:
		ints := make([]int64, len(ords))
		err = d.w.cursor.GatherInts(a.ID, chunk, ords, ints, make([]bool, len(ords)))
		for i, n := range ints {
			texts[i] = view.IndexBytes(schema.IntValue(n))
		}
	}
	for i := 0; i < len(ords) && err == nil; i++ {
		err = f(uint32(chunk)<<bitmap.ChunkBits|uint32(ords[i]), texts[i])
	}
	return err
}

// hashed is who has a value, by its hash.
type hashed struct {
	hash uint64
	ord  uint32
}

// hashed returns the hashes of all values of an attribute.
func (d *decider) hashed(a *schema.Attribute) (out []hashed, release func(), err error) {
	release, err = d.reserve(16*int64(d.w.reading.End), "looking at all values of an attribute")
	if err != nil {
		return nil, nil, err
	}
	for chunk := range d.w.view().Chunks() {
		err := d.eachText(a, chunk, func(ord uint32, text []byte) error {
			out = append(out, hashed{view.Hash(d.w.seed, text), ord})
			return nil
		})
		if err != nil {
			release()
			return nil, nil, err
		}
	}
	return out, release, nil
}

// sharing counts the profiles whose value of an attribute somebody else has too.
func (d *decider) sharing(a *schema.Attribute) (n uint64, err error) {
	all, release, err := d.hashed(a)
	if err != nil {
		return 0, err
	}
	defer release()
	slices.SortFunc(all, func(x, y hashed) int { return cmp.Compare(x.hash, y.hash) })
	for from, to := 0, 0; from < len(all); from = to {
		for to = from + 1; to < len(all) && all[to].hash == all[from].hash; to++ {
		}
		if to == from+1 {
			continue
		}
		values := map[string]uint64{} // who has the same hash has the same value, but for chance
		for _, h := range all[from:to] {
			v, err := d.w.value(a, h.ord)
			if err != nil {
				return 0, err
			}
			values[v.String()]++
		}
		for _, same := range values { //tidy:same they are counted
			if same > 1 {
				n += same
			}
		}
	}
	return n, nil
}

// buildIndex makes the index of an attribute that has values and no index.
func (d *decider) buildIndex(a *schema.Attribute) error {
	all, release, err := d.hashed(a)
	if err != nil {
		return err
	}
	defer release()
	delta := keytable.NewDelta()
	for _, h := range all {
		delta.Insert(h.hash, h.ord)
	}
	t := keys.Table{Attr: uint32(a.ID), Generation: firstGeneration}
	d.built = append(d.built, t.Span())
	x, err := d.w.db.writeIndex(d.ctx, t, &view.Index{Frozen: delta}, d.w.pos.Applied, nil)
	if err != nil {
		return err
	}
	x.Delta = keytable.NewDelta()
	d.w.reading.Indexes = cloned(d.w.reading.Indexes)
	d.w.reading.Indexes[a.ID] = x
	d.w.cursor.Reset(&d.w.reading)
	return nil
}

// discard deletes what a batch that failed has written into the base. If it cannot be
// deleted the store fails: what lies there must not be found under an id given again.
func (d *decider) discard() {
	for _, span := range d.built {
		if err := d.w.db.kv.Excise(span); err != nil {
			d.w.fail(err, nil)
		}
	}
}

// rewrite brings stored values into the form that a change of the schema asks for. old is
// the attribute before it, indexed whether it had an index.
func (d *decider) rewrite(c schema.Change, old schema.Attribute, indexed bool) error {
	switch now := d.w.schema.Lookup(c.Name); {
	case !d.everWritten(old.ID):
		return nil
	case c.Op == schema.SetStorage:
		return d.restore(&old, now)
	case c.Op == schema.Narrow && view.Indexed(now) && !indexed:
		return d.buildIndex(now)
	}
	return nil
}

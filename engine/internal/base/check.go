package base

import (
	"bytes"
	"context"
	"fmt"

	"github.com/kantadb/kanta/engine/internal/digest"
	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/index/bitmap"
)

// Checked is what checking a unit found.
type Checked struct {
	Values   uint64 // stored rows read, each with its checksum
	Derived  uint64 // fragments, counts and sums recomputed
	Problems []string
}

// Check reads every row of a unit, and recomputes from the column blocks what derives
// from them: fragments, cardinalities, digests. The job names the unit as Old, with Who
// and What; its scratch is the folder's. Damage is a problem, not an error.
func (f *Folder) Check(ctx context.Context, job *Job) (c Checked, err error) {
	u := job.Old
	problem := func(format string, args ...any) {
		c.Problems = append(c.Problems, fmt.Sprintf("attribute %d, shard %d: %s", u.ID.Attr, u.ID.Shard, fmt.Sprintf(format, args...)))
	}
	held, err := f.derive(ctx, job, u.ID, nil)
	defer f.forget(held)
	if err != nil {
		problem("%v", err)
		return c, ctx.Err()
	}
	c.Derived = uint64(len(f.unit.Codes)) + 3
	if f.unit.Content != u.Content || f.unit.Replica != u.Replica {
		problem("the digest in the manifest is not that of the column")
	}
	if !bytes.Equal(f.unit.manifest(), u.manifest()) && f.unit.Content == u.Content && f.unit.Replica == u.Replica {
		problem("the counts in the manifest are not those of the column")
	}
	want := held.byKey()
	err = f.store.Scan(ctx, u.ID.Span(), func(k, v []byte) (bool, error) {
		c.Values++
		_, kind, row, ok := keys.ParseUnit(k)
		if kind == keys.Manifest {
			return true, nil // it was verified when the unit was opened
		}
		at := rowKey{kind, row}
		if stored, known := want[at]; !ok || !known {
			problem("a row of kind %d, number %d, does not belong there", kind, row)
		} else if !bytes.Equal(stored, v) {
			problem("%s", different(kind, row, stored, v))
		}
		delete(want, at)
		return true, nil
	})
	for at := range want {
		problem("the row of kind %d, number %d, is missing", at.kind, at.row)
	}
	return c, err
}

// derive makes the rows of a unit from its column blocks alone, and its sums; spill is that
// of the rows.
func (f *Folder) derive(ctx context.Context, job *Job, id keys.Unit, spill func() (*kv.Table, error)) (*heldRows, error) {
	u := job.Old
	f.job = &Job{ID: id, Class: u.Class, Old: u, Folded: u.Folded, Who: job.Who, What: job.What}
	f.unit = &Unit{ID: id, Class: u.Class, Folded: u.Folded, Covered: u.Covered}
	f.n = int(u.Covered)
	held := &heldRows{data: f.buf[:0], unit: f.unit, spill: spill}
	f.held = held
	f.anew = true
	if err := f.rows(ctx); err != nil {
		return held, err
	}
	return held, f.sum()
}

// Rebuild writes a generation of a unit in which all that derives from the column blocks is
// made of these anew: fragments, counts, digests. The job names the unit as Old, with Who and
// What, and as ID the new generation, which is ingested and durable.
func (f *Folder) Rebuild(ctx context.Context, job *Job) (*Unit, error) {
	held, err := f.derive(ctx, job, job.ID, f.store.NewTable)
	return f.finish(ctx, held, err)
}

type rowKey struct {
	kind keys.Kind
	row  uint32
}

func (h *heldRows) byKey() map[rowKey][]byte {
	out := make(map[rowKey][]byte, len(h.rows))
	start := 0
	for _, r := range h.rows {
		out[rowKey{r.kind, r.row}] = h.data[start:r.end]
		start = r.end
	}
	return out
}

// different says how a stored row differs from the recomputed one.
func different(kind keys.Kind, row uint32, want, got []byte) string {
	if kind == keys.Block {
		return fmt.Sprintf("column block %d is not in its only form", row)
	}
	name := fmt.Sprintf("the fragment of code %d", row)
	if kind == keys.Exists {
		name = "the fragment of who has a value"
	}
	a, err := bitmap.DecodeFragment(got)
	if err != nil {
		return fmt.Sprintf("%s: %v", name, err)
	}
	if b, err := bitmap.DecodeFragment(want); err == nil && a.Total() != b.Total() {
		return fmt.Sprintf("%s has %d profiles, the column has %d", name, a.Total(), b.Total())
	}
	return name + " has other profiles than the column"
}

// sum computes the digests of the loaded column from nothing.
func (f *Folder) sum() error {
	all := make([]uint32, 0, BlockSize)
	base := uint64(f.unit.ID.Shard) << bitmap.ShardBits
	for at := 0; at < f.n; at += BlockSize {
		all = all[:0]
		for i := at; i < min(at+BlockSize, f.n); i++ {
			if f.has(i) {
				all = append(all, uint32(i))
			}
		}
		f.who = resize(f.who, len(all))
		if err := f.job.Who(all, f.who); err != nil {
			return err
		}
		b, err := f.job.Old.block(at / BlockSize)
		if err != nil {
			return err
		}
		for k, o := range all {
			f.each(b, int(o), int(o)-at, func(c, r uint64) {
				f.unit.Content.Add(digest.Fact(f.who[k], c))
				f.unit.Replica.Add(digest.Fact(base|uint64(o), r))
			})
		}
	}
	return nil
}

// each calls add with the hashes of the values of one ordinal.
func (f *Folder) each(b *block, ord, at int, add func(c, r uint64)) {
	switch f.unit.Class {
	case effect.Bytes:
		v, _ := b.strings.At(at)
		h := digest.Text(v)
		add(h, h)
	case effect.Set:
		f.setBlock = b.sets.AppendTo(at, f.setBlock[:0])
		for _, code := range f.setBlock {
			add(f.job.What(code), uint64(code))
		}
	default:
		add(f.hashes(f.ints[ord]))
	}
}

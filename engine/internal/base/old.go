package base

import (
	"bytes"
	"context"

	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
)

// oldBlocks are the blocks of the generation that a fold replaces, read in order, once:
// one by one through the cache each would be looked for by itself, and take the place of
// what questions read.
type oldBlocks struct {
	unit *Unit // nil: there is none
	rows *kv.Rows
	i    int    // of the next block
	raw  []byte // the bytes of the last one, valid until the next
}

func (o *oldBlocks) open(ctx context.Context, store *kv.Store, u *Unit) (err error) {
	*o = oldBlocks{unit: u}
	if u == nil {
		return nil
	}
	o.rows, err = store.Rows(ctx, keys.Span{Start: u.ID.Row(keys.Block, 0), End: u.ID.Span().End})
	return err
}

func (o *oldBlocks) close() error {
	if o.rows == nil {
		return nil
	}
	return o.rows.Close()
}

// next returns the next block, nil behind the last one.
func (o *oldBlocks) next() (*block, error) {
	if o.unit == nil || o.i >= len(o.unit.blocks) {
		return nil, nil
	}
	k, v, ok, err := o.rows.Next()
	if err == nil && (!ok || !bytes.Equal(k, o.unit.ID.Row(keys.Block, uint32(o.i)))) {
		err = errMissing
	}
	b := &block{}
	if err == nil {
		err = b.decode(o.unit.Class, v)
	}
	if err != nil {
		return nil, o.unit.damagedBlock(err)
	}
	o.i++
	o.raw = v
	return b, nil
}

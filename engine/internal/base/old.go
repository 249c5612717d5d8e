package base

import (
	"bytes"
	"context"
	"errors"

	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
)

// oldRows are the blocks and fragments of the generation that a fold replaces, each kind
// read in order, once: one by one through the cache each would be looked for by itself,
// and take the place of what questions read.
type oldRows struct {
	unit      *Unit // nil: there is none
	blocks    *kv.Rows
	fragments *kv.Rows
	i, j      int    // of the next block, of the next code
	raw       []byte // the bytes of the last block, valid until the next
}

func (o *oldRows) open(ctx context.Context, store *kv.Store, u *Unit) (err error) {
	*o = oldRows{unit: u}
	if u == nil {
		return nil
	}
	if o.blocks, err = store.Rows(ctx, keys.Span{Start: u.ID.Row(keys.Block, 0), End: u.ID.Span().End}); err != nil {
		return err
	}
	o.fragments, err = store.Rows(ctx, keys.Span{Start: u.ID.Row(keys.Fragment, 0), End: u.ID.Row(keys.Exists, 0)})
	if err != nil {
		return errors.Join(err, o.blocks.Close())
	}
	return nil
}

func (o *oldRows) close() error {
	if o.unit == nil {
		return nil
	}
	return errors.Join(o.blocks.Close(), o.fragments.Close())
}

// block returns the next block, nil behind the last one.
func (o *oldRows) block() (*block, error) {
	if o.unit == nil || o.i >= len(o.unit.blocks) {
		return nil, nil
	}
	v, err := o.next(o.blocks, keys.Block, uint32(o.i))
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

// fragment returns the fragment of a code, nil if nobody had it. Codes ascend, and all that
// somebody had are asked for.
func (o *oldRows) fragment(code uint32) ([]byte, error) {
	if o.j >= len(o.unit.Codes) || o.unit.Codes[o.j] != code {
		return nil, nil
	}
	o.j++
	v, err := o.next(o.fragments, keys.Fragment, code)
	if err != nil {
		return nil, o.unit.damagedFragment(err)
	}
	return v, nil
}

// next returns the value of the next row, which must be the one that is due.
func (o *oldRows) next(rows *kv.Rows, kind keys.Kind, row uint32) ([]byte, error) {
	k, v, ok, err := rows.Next()
	if err == nil && (!ok || !bytes.Equal(k, o.unit.ID.Row(kind, row))) {
		err = errMissing
	}
	return v, err
}

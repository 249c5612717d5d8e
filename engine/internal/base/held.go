package base

import (
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
)

// spillFrom is how many bytes of rows are held before the blocks among them are written to
// a table: most units have less and are one table; one of long texts may have gigabytes.
const spillFrom = 16 << 20

// heldRows are a unit's rows in memory until its manifest, which is the first row and known
// last, can be written. Blocks are made first and are the last rows, so many of them can be
// written to a table of their own before.
type heldRows struct {
	data  []byte
	rows  []heldRow
	unit  *Unit
	spill func() (*kv.Table, error) // makes the table for blocks; nil: all rows are held

	blocks *kv.Table // has the first blocks; nil: all rows are held
}

type heldRow struct {
	kind keys.Kind
	row  uint32
	end  int
}

func (h *heldRows) add(kind keys.Kind, row uint32, encode func(dst []byte) ([]byte, error)) (size int64, err error) {
	data, err := encode(h.data)
	if err != nil {
		return 0, err
	}
	size = h.put(kind, row, data)
	if kind == keys.Block && len(h.data) > spillFrom && h.spill != nil {
		err = h.spillBlocks()
	}
	return size, err
}

// put adds a row whose bytes stand behind those of the others in data, and returns its size.
func (h *heldRows) put(kind keys.Kind, row uint32, data []byte) (size int64) {
	size = int64(len(data) - len(h.data))
	h.data, h.rows = data, append(h.rows, heldRow{kind, row, len(data)})
	return size
}

// spillBlocks writes the rows, which are blocks, to the table for blocks.
func (h *heldRows) spillBlocks() (err error) {
	if h.blocks == nil {
		if h.blocks, err = h.spill(); err != nil {
			return err
		}
	}
	err = h.set(h.blocks, keys.Block)
	h.data, h.rows = h.data[:0], h.rows[:0]
	return err
}

// set writes the rows of one kind to a table.
func (h *heldRows) set(t *kv.Table, kind keys.Kind) error {
	start := 0
	for _, r := range h.rows {
		if r.kind == kind {
			if err := t.Set(h.unit.ID.Row(kind, r.row), h.data[start:r.end]); err != nil {
				return err
			}
		}
		start = r.end
	}
	return nil
}

// write writes what is left and returns all tables, to be ingested. If something fails, or
// has failed, there are none.
func (h *heldRows) write(store *kv.Store, failed error) (tables []*kv.Table, err error) {
	if h.blocks != nil {
		tables = append(tables, h.blocks)
	}
	if err = failed; err == nil {
		err = h.rest(store, &tables)
	}
	if err == nil {
		return tables, nil
	}
	for _, t := range tables {
		err = joinDiscard(t, err)
	}
	return nil, err
}

// rest writes the manifest and the rows that are held.
func (h *heldRows) rest(store *kv.Store, tables *[]*kv.Table) error {
	t, err := store.NewTable()
	if err != nil {
		return err
	}
	*tables = append(*tables, t)
	blocks := h.blocks
	if blocks == nil {
		blocks = t
	}
	err = t.Set(h.unit.ID.Row(keys.Manifest, 0), h.unit.manifest())
	for _, kind := range []keys.Kind{keys.Fragment, keys.Exists} {
		if err == nil {
			err = h.set(t, kind)
		}
	}
	if err == nil {
		err = h.set(blocks, keys.Block)
	}
	return err
}

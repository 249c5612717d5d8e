package timeline

import "slices"

// Check reads all rows of a part and reports, as an [ErrCorrupt], the first thing that a
// [Builder] would have written otherwise. Readers check less: that they stay in bounds. It
// returns what a builder says of the part's days.
func Check(source Source) ([]PartDay, error) {
	p := source.Part
	for i := range p.rows {
		row, err := source.Row(i)
		if err != nil {
			return nil, err
		}
		if err := p.Verify(i, row); err != nil {
			return nil, err
		}
	}
	again, err := Merge(p.id, []Source{source}, MergeOptions{})
	if err != nil {
		return nil, corrupt("%v", err)
	}
	q, err := Open(again.Header)
	if err != nil {
		return nil, err
	}
	if p.n != q.n || p.starts != q.starts {
		return nil, corrupt("events by chunk")
	}
	written := InMemory(q, again.Rows)
	for column := range ownColumns + len(p.properties) {
		for block := range p.blocks {
			if err := sameAs(&source, &written, column, block); err != nil {
				return nil, err
			}
		}
	}
	return again.Days, nil
}

// sameAs compares a column of a block in two parts.
func sameAs(a, b *Source, column, block int) error {
	x, y := Block{Source: *a, Index: block, mem: &scratch{}}, Block{Source: *b, Index: block, mem: &scratch{}}
	p, left, err := x.piece(column)
	if err != nil {
		return err
	}
	q, right, err := y.piece(column)
	if err != nil {
		return err
	}
	at := *q
	at.row, at.at = p.row, p.at
	if at != *p || !slices.Equal(left[:p.size], right[:q.size]) {
		return corrupt("column %d of block %d is not as it is written", column, block)
	}
	return nil
}

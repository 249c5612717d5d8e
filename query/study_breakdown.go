package query

import (
	"context"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// ValueCounts counts the people of the study by the values of a field, as [BreakdownOf] does:
// by count descending, then by value; of a set by element. Who has none is the row of the
// absent value. The answer counts all people.
func (s *Study) ValueCounts(ctx context.Context, by Field) ([]BreakdownRow, Count, error) {
	c, free, t, err := countValues(ctx, s.view, s.who, by, "", s.Options)
	if err != nil {
		return nil, Count{}, err
	}
	defer free()
	rows, err := c.rows(s.view)
	return rows, Count{t.yes, t.answer()}, err
}

// Codes calls f with the codes of a bool or a string attribute of some people, some of them
// at a time, in order. Who they are ascends. schema.NoCode is none.
func (c *StudyChunk) Codes(ctx context.Context, attr schema.AttrID, who []uint16, f func(codes []uint32)) error {
	for from := 0; from < len(who); from += batchSize {
		part := who[from:min(from+batchSize, len(who))]
		codes := c.w.gather.codesFor(len(part))
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.w.cur.GatherCodes(attr, c.Number, part, codes); err != nil {
			return err
		}
		f(codes)
	}
	return nil
}

// Sets calls f with the codes of the elements that some people have of a set, some of them at
// a time, as Codes does.
func (c *StudyChunk) Sets(ctx context.Context, attr schema.AttrID, who []uint16, f func(sets *Sets)) error {
	sets := &c.counts.sets
	for from := 0; from < len(who); from += batchSize {
		if err := ctx.Err(); err != nil {
			return err
		}
		sets.Ends, sets.Codes = sets.Ends[:0], sets.Codes[:0]
		if err := c.w.cur.GatherSets(attr, c.Number, who[from:min(from+batchSize, len(who))], sets); err != nil {
			return err
		}
		f(sets)
	}
	return nil
}

// Who returns the people of a set in ascending order, until the chunk is asked again.
func (c *StudyChunk) Who(of bitmap.Set) []uint16 {
	c.who = of.AppendTo(c.who[:0])
	return c.who
}

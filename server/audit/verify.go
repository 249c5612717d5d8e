package audit

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/kantadb/kanta/query"
)

// VerifyOptions shape [Store.Verify]. nil and the zero value are good.
type VerifyOptions struct {
	// Noted is a head that was noted before, of which Number and Hash are compared. Number 0: none.
	Noted Head
	// Progress is called after each segment.
	Progress func(Progress)
}

// Progress is how far [Store.Verify] is.
type Progress struct {
	Segments, Of int    // read, of so many
	Records      uint64 // read
}

// Verify reads all records and checks their chain from the beginning, and that what is missing
// there was removed by retention, which a record says. It returns the head, which is to be noted elsewhere.
//
// The error of damage is query.CodeCorrupt and names the file and the record. It is query.CodeInvalid for a noted head that has
// been removed since.
func (s *Store) Verify(ctx context.Context, o *VerifyOptions) (Head, error) {
	if o == nil {
		o = &VerifyOptions{}
	}
	s.reading.RLock()
	defer s.reading.RUnlock()
	segments, durable := s.state()
	c := &checking{s: s, noted: o.Noted, bounds: map[uint64][sha256.Size]byte{}, first: segments[0].first}
	for i := range segments {
		if err := c.segment(ctx, segments, i, durable.at); err != nil {
			return Head{}, s.d.failed("verify", err)
		}
		if o.Progress != nil {
			o.Progress(Progress{Segments: i + 1, Of: len(segments), Records: c.records})
		}
	}
	if err := c.end(); err != nil {
		return Head{}, err
	}
	return Head{First: c.first, Number: c.number, Hash: c.hash, Behind: s.behind}, nil
}

// checking is a walk along the chain.
type checking struct {
	s       *Store
	noted   Head
	first   uint64
	bounds  map[uint64][sha256.Size]byte // hashes of the records before segments
	removed bool                         // a record says that those before first were removed
	records uint64
	number  uint64 // of the last record
	hash    [sha256.Size]byte
}

func (c *checking) segment(ctx context.Context, segments []segment, i int, end int64) error {
	g := segments[i]
	damaged := func(what string) error { return c.s.d.damaged(segmentName(g.first), 0, 0, what) }
	if i == 0 {
		c.number, c.hash = g.first-1, g.before
	}
	if g.first != c.number+1 {
		return damaged(fmt.Sprintf("it begins with record %d, and the one before ends with %d", g.first, c.number))
	}
	if g.before != c.hash || g.first == 1 && g.before != [sha256.Size]byte{} {
		return damaged("its hash does not follow from the segment before")
	}
	c.bounds[g.first-1] = g.before
	if err := c.compare(); err != nil {
		return err
	}
	return c.s.each(ctx, segments, i, end, func(l *scanner, r *Record) error {
		c.records++
		c.number, c.hash = l.number, l.hash
		if err := c.compare(); err != nil {
			return err
		}
		if r.Removed.Number+1 >= c.first && r.Removed.Number > 0 {
			if hash, ok := c.bounds[r.Removed.Number]; !ok || hash != r.Removed.Hash {
				return c.s.d.damaged(l.name, l.number, l.at, "it says that others were removed than are")
			}
			c.removed = true
		}
		return nil
	})
}

// compare compares the record that was reached with the noted head.
func (c *checking) compare() error {
	if c.noted.Number == 0 || c.number != c.noted.Number || c.hash == c.noted.Hash {
		return nil
	}
	return c.s.d.damaged("*"+segmentSuffix, 0, 0, fmt.Sprintf("record %d is another one than was noted: it, or one before it, was changed", c.number))
}

func (c *checking) end() error {
	switch {
	case c.first > 1 && !c.removed:
		return c.s.d.damaged(segmentName(c.first), 0, 0, fmt.Sprintf("the %d records before it are gone, and no record says that they were removed", c.first-1))
	case c.noted.Number > c.number:
		return c.s.d.damaged("*"+segmentSuffix, 0, 0, fmt.Sprintf("record %d was noted, and the last one is %d: the end is missing", c.noted.Number, c.number))
	case c.noted.Number > 0 && c.noted.Number < c.first-1:
		return query.Errorf(query.CodeInvalid, "record %d was noted, and has been removed since: the first is %d", c.noted.Number, c.first)
	}
	return nil
}

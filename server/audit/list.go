package audit

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/kantadb/kanta/query"
)

// Filter says which records are listed: those that fit all that is said.
type Filter struct {
	From, To time.Time // half open: from From on, before To; zero: no bound
	Caller   string    // the id or the name of a caller
	Call     string
	Outcome  Outcome
	Key      string // of a person, in clear: their records, and those whose expression has it as a literal
}

// MaxList is how many records a list has at most: some 4 MiB at worst.
const MaxList = 1000

// everyRecord is how many records are read between two looks whether the caller still wants them.
const everyRecord = 256

// fits reports whether a record is one of those.
func (f *Filter) fits(r *Record, key Hash) bool {
	switch {
	case !f.From.IsZero() && r.Time.Before(f.From),
		!f.To.IsZero() && !r.Time.Before(f.To),
		f.Caller != "" && f.Caller != r.Who.ID && f.Caller != r.Who.Name,
		f.Call != "" && f.Call != r.Call,
		f.Outcome != 0 && f.Outcome != r.Outcome:
		return false
	}
	return f.Key == "" || slices.Contains(r.Keys, key) || strings.Contains(r.What, "#"+key.String())
}

// List returns the records behind number after that fit, in their order, at most limit of them,
// which is 1 to [MaxList], or 0 for that. Fewer than that are all there are; for more, ask again
// with the number of the last one. Records that are being written are not there yet.
func (s *Store) List(ctx context.Context, f *Filter, after uint64, limit int) (list []Record, err error) {
	if limit < 0 || limit > MaxList {
		return nil, query.Errorf(query.CodeInvalid, "a list of %d audit records: 1 to %d, or 0 for as many", limit, MaxList)
	}
	if f == nil {
		f = &Filter{}
	}
	limit = cmp.Or(limit, MaxList)
	var key Hash
	if f.Key != "" {
		key = s.Hash(f.Key)
	}
	s.reading.RLock()
	defer s.reading.RUnlock()
	segments, durable := s.state()
	for i, g := range segments {
		if i+1 < len(segments) {
			if next := segments[i+1]; next.first-1 <= after || next.until.Before(f.From) {
				continue
			}
		}
		if !f.To.IsZero() && !g.made.Before(f.To) {
			break
		}
		err := s.each(ctx, segments, i, durable.at, func(_ *scanner, r *Record) error {
			if r.Number > after && f.fits(r, key) {
				list = append(list, *r)
			}
			if len(list) == limit {
				return errEnough
			}
			return nil
		})
		switch {
		case errors.Is(err, errEnough):
			return list, nil
		case err != nil:
			return nil, s.d.failed("list", err)
		}
	}
	return list, nil
}

// errEnough ends a walk.
var errEnough = errors.New("enough")

// state returns what can be read: the segments, and the end of the last one.
func (s *Store) state() ([]segment, place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.segments), s.durable
}

// each calls do for the records of a segment; end bounds the last one.
func (s *Store) each(ctx context.Context, segments []segment, i int, end int64, do func(l *scanner, r *Record) error) (err error) {
	if i < len(segments)-1 {
		end = -1
	}
	l, err := s.d.open(segments[i].first, end)
	if err != nil {
		if errors.Is(err, errTorn) {
			err = s.d.damaged(segmentName(segments[i].first), 0, 0, err.Error())
		}
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	if l.header.store != s.id || l.header.before != segments[i].before {
		return s.d.damaged(l.name, 0, 0, "it is another one than when the store was opened")
	}
	for n := 0; ; n++ {
		if n%everyRecord == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		r, err := l.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return l.damage(err)
		}
		if err := do(l, &r); err != nil {
			return err
		}
	}
}

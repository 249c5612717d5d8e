package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/kantadb/kanta/query"
)

// Answer is what an asking returned.
type Answer struct {
	Count, Unknown uint64
	Bytes          uint64       // looked at; 0 where the store does not tell
	Rows           []ValueCount // of a breakdown
	Other          uint64       // of a breakdown: people beyond Rows
	OtherValues    uint64       // and how many values those have
	Keys           []byte       // of members, as a file of them would be
	Lines          []string     // of an analysis, sorted
}

// Asker asks a store about an instant.
type Asker struct {
	Store Store
	At    time.Time // zero: [Now]
}

func (a Asker) options() query.Options {
	if a.At.IsZero() {
		return query.Options{Now: Now()}
	}
	return query.Options{Now: a.At}
}

// Count asks how many people satisfy a condition.
func (a Asker) Count(ctx context.Context, text string) (Answer, error) {
	o := a.options()
	n, err := a.Store.Count(ctx, text, &o)
	return Answer{Count: n.Count, Unknown: n.Unknown, Bytes: n.BytesRead}, err
}

// Breakdown asks the same by the question's attribute.
func (a Asker) Breakdown(ctx context.Context, q Question) (Answer, error) {
	b, err := a.Store.Breakdown(ctx, q.Text, q.Attribute, &query.BreakdownOptions{Options: a.options(), Top: q.Top})
	if err != nil {
		return Answer{}, err
	}
	out := Answer{Count: b.People, Unknown: b.Unknown, Bytes: b.BytesRead, Other: b.Other, OtherValues: b.OtherValues}
	for _, row := range b.Rows {
		out.Rows = append(out.Rows, ValueCount{row.Value.Str(), row.Count})
	}
	return out, nil
}

// IDs asks who satisfies a condition and goes through their ordinals.
func (a Asker) IDs(ctx context.Context, text string) (Answer, error) {
	o := a.options()
	b, err := a.Store.Bitmap(ctx, text, &o)
	if err != nil {
		return Answer{}, err
	}
	n := uint64(0)
	ids := make([]uint32, 4096)
	for it := b.Ordinals.ManyIterator(); ; {
		got := it.NextMany(ids)
		if got == 0 {
			return Answer{Count: n}, nil
		}
		n += uint64(got)
	}
}

// Keys asks who satisfies a condition and writes their keys out, in order of arrival.
func (a Asker) Keys(ctx context.Context, text string) (Answer, error) {
	m, err := a.Store.Members(ctx, text, &query.MembersOptions{Options: a.options()})
	if err != nil {
		return Answer{}, err
	}
	out := Answer{Unknown: m.Unknown}
	for row, err := range m.Rows {
		if err != nil {
			return Answer{}, err
		}
		out.Keys = append(append(out.Keys, row.Key...), '\n')
		out.Count++
	}
	if out.Count != m.Total {
		return Answer{}, fmt.Errorf("%d keys of %d members", out.Count, m.Total)
	}
	out.Bytes = m.BytesRead + uint64(len(out.Keys))
	return out, nil
}

// Profile reads all that is known of a profile but its events; it counts the segments it
// is in.
func (a Asker) Profile(ctx context.Context, key string) (Answer, error) {
	p, err := a.Store.Profile(ctx, key, &query.ProfileOptions{Options: a.options(), Events: -1})
	return Answer{Count: uint64(len(p.Segments)), Bytes: p.BytesRead}, err
}

// Analysis asks an analysis; it counts its lines.
func (a Asker) Analysis(ctx context.Context, q AnalysisQuestion) (Answer, error) {
	o := a.options()
	r, err := a.Store.Analyze(ctx, q.Analysis, q.Who, q.Args, &o)
	if err != nil {
		return Answer{}, err
	}
	lines, err := q.Lines(r)
	return Answer{Count: uint64(len(lines)), Unknown: r.Unknown, Bytes: r.BytesRead, Lines: lines}, err
}

// RecentEvents is how many events of a profile Q16 asks for.
const RecentEvents = 100

// Recent reads all that is known of a profile and its last events; it counts these.
func (a Asker) Recent(ctx context.Context, key string) (Answer, error) {
	p, err := a.Store.Profile(ctx, key, &query.ProfileOptions{Options: a.options(), Events: RecentEvents})
	return Answer{Count: uint64(len(p.Events)), Bytes: p.BytesRead}, err
}

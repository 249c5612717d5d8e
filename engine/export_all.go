package engine

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/kantadb/kanta/engine/internal/canary"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/engine/portable"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// ExportAll writes everything that another store could be made of, as package
// engine/portable says, of one state; create is called for each section, and what it
// returns is closed before the next. Memory is bounded, and writes go on meanwhile. What is
// written slowly holds old data alive, at most for [Options.SnapshotMaxAge]: then the export
// fails with [query.CodeSnapshotGone].
func (db *DB) ExportAll(ctx context.Context, create func(section string) (io.WriteCloser, error), o *query.ExportOptions) (query.Exported, error) {
	n, err := db.snapshot(ctx)
	if err != nil {
		return query.Exported{}, err
	}
	defer n.Close()
	if o == nil {
		o = &query.ExportOptions{}
	}
	now := n.db.now(nil)
	h := portable.Header{Store: db.kv.ID, Position: n.s.pos.String(), Exported: schema.TimestampValue(now.UnixMilli()).String()}
	w, err := portable.NewWriter(create, h, n.s.Schema)
	if err != nil {
		return query.Exported{}, err
	}
	x := &exporter{n: n, w: w, o: o}
	err = x.run(ctx)
	if err != nil {
		_ = w.Close() // the first error tells
		return query.Exported{}, err
	}
	d, err := x.digests(ctx)
	if err != nil {
		_ = w.Close()
		return query.Exported{}, err
	}
	m, err := w.Finish(d.Content)
	out := query.Exported{Position: n.s.pos, Content: d.Content, Lines: map[string]uint64{}}
	for name, s := range m.Sections {
		out.Lines[name] = s.Lines
	}
	return out, err
}

// exporter is one export of everything.
type exporter struct {
	n    *snapshot
	w    *portable.Writer
	o    *query.ExportOptions
	done uint64
}

func (x *exporter) run(ctx context.Context) error {
	for _, step := range []struct {
		section string
		write   func(context.Context) error
	}{{"history", x.history}, {"incomplete", x.incomplete}, {"profiles", x.profiles}, {"lists", x.lists}, {"events", x.events}, {"names", x.names}} {
		if err := x.w.Section(step.section); err != nil {
			return err
		}
		if err := step.write(ctx); err != nil {
			return fmt.Errorf("export %s: %w", step.section, err)
		}
	}
	if !x.o.Quarantine {
		return nil
	}
	return x.quarantine(ctx)
}

func (x *exporter) progress(what string, rows uint64) {
	x.done += rows
	if x.o.Progress != nil {
		x.o.Progress(x.done, what)
	}
}

// members calls f with the members of an expression and the values of all attributes, or of none.
func (x *exporter) members(ctx context.Context, expr string, attributes []string, f func(m *query.Member) error) error {
	list, err := x.n.Members(ctx, expr, &query.MembersOptions{Attributes: attributes})
	if err != nil {
		return err
	}
	for m, err := range list.Rows {
		if err == nil {
			err = f(&m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (x *exporter) profiles(ctx context.Context) error {
	attributes := x.n.s.Schema.Attributes
	names := make([]string, len(attributes))
	for i := range attributes {
		names[i] = attributes[i].Name
	}
	return x.members(ctx, "true", names, func(m *query.Member) error {
		x.progress("profiles", 1)
		if canary.Is("export") { // a value is left out
			m.Values[0] = schema.Value{}
		}
		return x.w.Profile(m.Key, attributes, m.Values)
	})
}

// incomplete writes who was made by an event and lacks what a new person must have.
func (x *exporter) incomplete(ctx context.Context) error {
	var lacks []string
	for i := range x.n.s.Schema.Attributes {
		if a := &x.n.s.Schema.Attributes[i]; a.Required {
			lacks = append(lacks, fmt.Sprintf("!has(p[%s])", strconv.Quote(a.Name)))
		}
	}
	if len(lacks) == 0 {
		return nil
	}
	return x.members(ctx, strings.Join(lacks, " || "), nil, func(m *query.Member) error { return x.w.Incomplete(m.Key) })
}

func (x *exporter) lists(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(x.n.s.lists)) {
		keys, note, written := make([]string, 0, portable.ListPart), x.n.s.lists[name].note, false
		flush := func() error {
			err := x.w.List(name, note, keys)
			keys, note, written = keys[:0], "", true
			return err
		}
		err := x.members(ctx, "in_list("+strconv.Quote(name)+")", nil, func(m *query.Member) error {
			if keys = append(keys, m.Key); len(keys) < portable.ListPart {
				return nil
			}
			return flush()
		})
		if err == nil && (len(keys) > 0 || !written) {
			err = flush()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// events writes the events of everybody, chunk by chunk.
func (x *exporter) events(ctx context.Context) error {
	s := x.n.s.Schema
	for chunk := range (view.View{S: &x.n.s.State}).Chunks() {
		for i := range s.Events {
			e := &s.Events[i]
			err := x.acts(ctx, e, chunk, func(key []byte, b *query.EventBlock, k int) error {
				return x.w.Event(key, e, b.Times[k], func(p int) (schema.Value, error) {
					return b.Columns[p].Value(view.View{S: &x.n.s.State}, &e.Properties[p], k)
				})
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// history writes the changes of attributes.
func (x *exporter) history(ctx context.Context) error {
	s := x.n.s.Schema
	for i := range s.Attributes {
		a := &s.Attributes[i]
		e := a.ChangeType()
		if e == nil {
			continue
		}
		for chunk := range (view.View{S: &x.n.s.State}).Chunks() {
			err := x.acts(ctx, e, chunk, func(key []byte, b *query.EventBlock, k int) error {
				before, err := b.Columns[1].Value(view.View{S: &x.n.s.State}, &e.Properties[1], k)
				if err != nil {
					return err
				}
				return x.w.Change(string(key), a, b.Times[k], b.Columns[0].Ints[k], before)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// acts calls f with the events of one type in one chunk, and whose they are.
func (x *exporter) acts(ctx context.Context, e *schema.Event, chunk int, f func(key []byte, b *query.EventBlock, k int) error) error {
	release, err := x.n.use()
	if err != nil {
		return err
	}
	defer release()
	c, keys := view.View{S: &x.n.s.State}.Counted("the export"), view.View{S: &x.n.s.State}.NewCursor()
	defer c.Close()
	defer keys.Close()
	scan := &query.EventScan{Event: e.ID, From: math.MinInt64, To: math.MaxInt64, Times: true}
	for i := range e.Properties {
		scan.Properties = append(scan.Properties, e.Properties[i].ID)
	}
	var texts [][]byte
	return c.Events(scan, chunk, nil, func(b *query.EventBlock) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := x.n.gone(); err != nil {
			return err
		}
		defer keys.Release()
		who := slices.Compact(slices.Sorted(slices.Values(b.Ords)))
		texts = slices.Grow(texts[:0], len(who))[:len(who)]
		if err := keys.GatherStrings(schema.KeyAttr, chunk, who, texts); err != nil {
			return err
		}
		for k, ord := range b.Ords {
			at, _ := slices.BinarySearch(who, ord)
			if texts[at] == nil {
				return query.Errorf(query.CodeCorrupt, "profile %d has no key", uint32(chunk)<<bitmap.ChunkBits|uint32(ord))
			}
			if err := f(texts[at], b, k); err != nil {
				return err
			}
		}
		x.progress("events", uint64(len(b.Ords)))
		return nil
	})
}

// names writes segments and definitions. Lists are written with who is in them, computed
// attributes stand in the schema.
func (x *exporter) names(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(x.n.s.segments)) {
		s := x.n.s.segments[name]
		if err := x.w.Segment(&query.SavedSegment{Name: name, Text: s.text, Shared: s.shared}); err != nil {
			return err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(x.n.s.definitions)) {
		d := x.n.s.definitions[key]
		if err := x.w.Definition(&query.SavedDefinition{Analysis: d.Analysis, Name: d.Name, Who: d.Who, Arguments: d.Arguments}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// quarantine writes the rows that did not fit, as of the state.
func (x *exporter) quarantine(ctx context.Context) error {
	if err := x.w.Section("quarantine"); err != nil {
		return err
	}
	for after := uint64(0); ; {
		rows, err := x.n.db.Quarantine(ctx, after, 0)
		if err != nil || len(rows) == 0 {
			return err
		}
		for i := range rows {
			if after = rows[i].Seq; after >= x.n.s.badRows.next {
				return nil
			}
			if err := x.w.Quarantined(&rows[i]); err != nil {
				return err
			}
		}
	}
}

// digests are those of the state.
func (x *exporter) digests(ctx context.Context) (query.Digests, error) {
	release, err := x.n.use()
	if err != nil {
		return query.Digests{}, err
	}
	defer release()
	return x.n.db.digestsOf(ctx, x.n.s)
}

package engine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/record"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/engine/portable"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// personFormat is the number in the first member of what Export writes.
const personFormat = 1

// Export writes everything that is held about the person with a key, as one JSON object;
// values are as in package engine/portable. It fails with [query.CodeUnknownName], before it
// has written anything, if nobody has the key. Memory is bounded however much there is. The
// members, in order:
//
//	kanta_person  1, the format
//	key, store, position, now
//	first_seen, last_seen  the times of the first and the last event; not there without events
//	attributes    by name
//	computed      by name: what the schema's expressions come to now
//	definitions   by name, such as rfm("orders").segment: what saved analyses say now
//	lists         the lists the person is in, with the note where each comes from
//	segments      the saved segments the person is in now
//	events        the newest first: time, event, properties
//	changes       of attributes with history, the newest first: time, attribute, from, to
//	quarantine    rows that did not fit and name the person, by the key or the value of a unique
//	              attribute, as a word of its own: they may be about others as well
//	writes        where the data came from, as far as it is known: of the records that are still in
//	              the log those that name the key, with source, run, sequence and, of rows of
//	              files, name and line. What has been folded into the base is not known to have
//	              come from anywhere
func (db *DB) Export(ctx context.Context, key string, w io.Writer) error {
	n, err := db.snapshot(ctx)
	if err != nil {
		return err
	}
	defer n.Close()
	p, err := n.Profile(ctx, key, &query.ProfileOptions{Lifetime: true, Lent: true, Events: -1})
	if err != nil {
		return err
	}
	x := &personExporter{n: n, p: &p, w: bufio.NewWriter(w)}
	for _, write := range []func(context.Context) error{x.profile, x.events, x.changes, x.quarantine, x.writes} {
		if err := write(ctx); err != nil {
			return fmt.Errorf("export of %q: %w", key, err)
		}
	}
	x.text("}\n")
	return x.w.Flush()
}

// personExporter writes one person. Errors of the writer stay in it until it is flushed.
type personExporter struct {
	n   *snapshot
	p   *query.Profile
	w   *bufio.Writer
	buf []byte
}

func (x *personExporter) text(s string) { _, _ = x.w.WriteString(s) }

// member begins a member of the object.
func (x *personExporter) member(name string) {
	if name != "kanta_person" {
		x.text(",\n")
	}
	x.name(name)
}

func (x *personExporter) name(name string) {
	x.buf = append(portable.AppendString(x.buf[:0], name), ':')
	_, _ = x.w.Write(x.buf)
}

func (x *personExporter) string(s string) {
	x.buf = portable.AppendString(x.buf[:0], s)
	_, _ = x.w.Write(x.buf)
}

// pairs writes members with texts: names and texts by turns, those without a text left out.
func (x *personExporter) pairs(pairs ...string) {
	first := true
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			continue
		}
		if !first {
			x.text(",")
		}
		first = false
		x.name(pairs[i])
		x.string(pairs[i+1])
	}
}

// values writes an object of values.
func (x *personExporter) values(values []query.AttributeValue) {
	x.text("{")
	for i := range values {
		if i > 0 {
			x.text(",")
		}
		x.name(values[i].Name)
		x.buf = portable.AppendValue(x.buf[:0], values[i].Value)
		_, _ = x.w.Write(x.buf)
	}
	x.text("}")
}

// next parts the elements of an array.
func (x *personExporter) next(first *bool) {
	if !*first {
		x.text(",")
	}
	*first = false
	x.text("\n ")
}

func (x *personExporter) profile(ctx context.Context) error {
	p := x.p
	x.text("{")
	x.member("kanta_person")
	x.text(fmt.Sprint(personFormat))
	for _, m := range [][2]string{{"key", p.Key}, {"store", x.n.db.kv.ID}, {"position", p.Position.String()}, {"now", moment(p.Now)}} {
		x.member(m[0])
		x.string(m[1])
	}
	var first, last time.Time
	for _, l := range p.Lifetime {
		if first.IsZero() || l.First.Before(first) {
			first = l.First
		}
		if l.Last.After(last) {
			last = l.Last
		}
	}
	if len(p.Lifetime) > 0 {
		x.member("first_seen")
		x.string(moment(first))
		x.member("last_seen")
		x.string(moment(last))
	}
	x.member("attributes")
	x.values(p.Values)
	x.member("computed")
	x.values(p.Computed)
	x.member("definitions")
	x.values(p.Lent)
	x.member("lists")
	x.text("[")
	for i, name := range p.Lists {
		if i > 0 {
			x.text(",")
		}
		x.text("{")
		x.pairs("name", name, "note", x.n.s.lists[name].note)
		x.text("}")
	}
	x.text("]")
	x.member("segments")
	x.text("[")
	for i, name := range p.Segments {
		if i > 0 {
			x.text(",")
		}
		x.string(name)
	}
	x.text("]")
	return ctx.Err()
}

func moment(t time.Time) string { return schema.TimestampValue(t.UnixMilli()).String() }

// exportPage is how many events are in memory at a time, if the budget has room for them;
// else fewer, but exportLeast.
const (
	exportPage  = 1000
	exportLeast = 10
)

// timeline calls f with all events of some types, or all changes of some attributes, be
// their time ahead of the clock.
func (x *personExporter) timeline(ctx context.Context, events []*schema.Event, changed []*schema.Attribute, f func(e *query.TimelineEvent)) error {
	if len(events)+len(changed) == 0 {
		return nil
	}
	o := &query.TimelineOptions{Limit: exportPage}
	for {
		release, err := x.n.use()
		if err != nil {
			return err
		}
		t, err := query.TimelineOf(ctx, view.View{S: &x.n.s.State}, x.p.Ordinal, events, changed, time.UnixMilli(schema.MaxTimestamp), o)
		release()
		if errors.Is(err, &query.Error{Code: query.CodeBudget}) && o.Limit > exportLeast {
			o.Limit = max(o.Limit/2, exportLeast)
			continue
		}
		if err != nil {
			return err
		}
		for i := range t.Events {
			f(&t.Events[i])
		}
		if o.After = t.Next; o.After == "" {
			return nil
		}
	}
}

func (x *personExporter) events(ctx context.Context) error {
	x.member("events")
	x.text("[")
	all, _, err := x.n.listed(nil)
	if err != nil {
		return err
	}
	first := true
	err = x.timeline(ctx, all, nil, func(e *query.TimelineEvent) {
		x.next(&first)
		x.text("{")
		x.pairs("time", moment(e.Time), "event", e.Event)
		x.text(",")
		x.name("properties")
		x.values(e.Properties)
		x.text("}")
	})
	x.text("]")
	return err
}

func (x *personExporter) changes(ctx context.Context) error {
	x.member("changes")
	x.text("[")
	_, changed, err := x.n.listed(nil)
	if err != nil {
		return err
	}
	first := true
	err = x.timeline(ctx, nil, changed, func(e *query.TimelineEvent) {
		x.next(&first)
		x.text("{")
		x.pairs("time", moment(e.Time), "attribute", e.Event)
		for _, side := range []query.AttributeValue{{Name: "from", Value: e.Change.From}, {Name: "to", Value: e.Change.To}} {
			if !side.Value.IsAbsent() {
				x.text(",")
				x.name(side.Name)
				x.buf = portable.AppendValue(x.buf[:0], side.Value)
				_, _ = x.w.Write(x.buf)
			}
		}
		x.text("}")
	})
	x.text("]")
	return err
}

// quarantine writes the rows that name the person.
func (x *personExporter) quarantine(ctx context.Context) error {
	words := []string{x.p.Key}
	for _, v := range x.p.Values {
		if a := x.n.s.Schema.Lookup(v.Name); a != nil && a.Unique {
			words = append(words, v.Value.String())
		}
	}
	x.member("quarantine")
	x.text("[")
	first := true
	for after := uint64(0); ; {
		rows, err := x.n.db.Quarantine(ctx, after, exportPage)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			break
		}
		for i := range rows {
			r := &rows[i]
			after = r.Seq
			if !hasWord(r.Raw, words) && !hasWord(r.Detail, words) {
				continue
			}
			x.next(&first)
			x.text("{")
			x.pairs("received", moment(r.Received), "source", r.Source, "line", fmt.Sprint(r.Line), "reason", r.Reason, "detail", r.Detail, "raw", r.Raw)
			x.text("}")
		}
	}
	x.text("]")
	return nil
}

// hasWord reports whether one of some words stands in a text, and not as a part of a longer one.
func hasWord(text string, words []string) bool {
	inWord := func(r rune) bool {
		return r == '_' || r == '-' || r == '@' || r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r))
	}
	for _, word := range words {
		for rest, before := text, rune(' '); word != ""; {
			i := strings.Index(rest, word)
			if i < 0 {
				break
			}
			if i > 0 {
				before, _ = utf8.DecodeLastRuneInString(rest[:i])
			}
			after, _ := utf8.DecodeRuneInString(rest[i+len(word):])
			if !inWord(before) && !inWord(after) {
				return true
			}
			_, size := utf8.DecodeRuneInString(rest[i:])
			before, _ = utf8.DecodeRuneInString(rest[i:])
			rest = rest[i+size:]
		}
	}
	return false
}

// writes looks through the log for the records that name the key.
func (x *personExporter) writes(ctx context.Context) error {
	release, err := x.n.use()
	if err != nil {
		return err
	}
	defer release()
	x.member("writes")
	x.text("[")
	var dec batch.Decoder
	first := true
	see := func(at uint64, v []byte) (bool, error) {
		r, err := record.Decode(v)
		if err != nil {
			return false, fmt.Errorf("log record %d: %w", at, err)
		}
		b, err := dec.Decode(r.Batch)
		if err != nil {
			return false, fmt.Errorf("log record %d: %w", at, err)
		}
		for i := range b.Ops {
			x.write(b, i, at, r.Received, &first)
		}
		return true, nil
	}
	err = x.n.db.eachRecord(ctx, x.n.s.pos.Applied, see)
	x.text("]")
	return err
}

// eachRecord calls f for the records up to one that are in the store: those that are only
// kept for backups, which are older, then the log's.
func (db *DB) eachRecord(ctx context.Context, last uint64, f func(at uint64, v []byte) (more bool, err error)) (err error) {
	log, err := db.kv.Rows(ctx, keys.Records(0, last+1)) // first: what it has stays while the others are read
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	k, v, ok, err := log.Next()
	first := last + 1
	if ok {
		first, _ = keys.ParseNumber(k)
	}
	if err == nil {
		err = db.kv.Scan(ctx, keys.KeptRecords(0, first), func(k, v []byte) (bool, error) {
			at, _ := keys.ParseKept(k)
			return f(at, v)
		})
	}
	for more := true; ok && err == nil && more; {
		at, _ := keys.ParseNumber(k)
		if more, err = f(at, v); err == nil && more {
			k, v, ok, err = log.Next()
		}
	}
	return err
}

// write writes one op of a record, if it names the key.
func (x *personExporter) write(b *batch.Decoded, i int, at uint64, received int64, first *bool) {
	op := &b.Ops[i]
	named, what := op.Keys, "delete"
	switch {
	case op.Block != nil:
		named, what = op.Block.Keys, "upsert"
	case op.Events != nil:
		named, what = op.Events.Keys, "events"
	case op.Name != "":
		what = "list " + op.Name
	}
	for row := range named.Len() {
		if !bytes.Equal(named.At(row), []byte(x.p.Key)) {
			continue
		}
		x.next(first)
		x.text("{")
		p := query.Position{Epoch: x.n.s.pos.Epoch, Applied: at}
		x.pairs("position", p.String(), "received", schema.TimestampValue(received).String(), "what", what)
		if b.Source != "" {
			x.text(",")
			x.pairs("source", b.Source, "run", fmt.Sprint(b.Run), "sequence", fmt.Sprint(b.Sequence))
		}
		if i > 0 && b.Ops[i-1].Code == batch.OpOrigin {
			x.text(",")
			x.pairs("file", b.Ops[i-1].Name, "line", fmt.Sprint(b.Ops[i-1].Line(row)))
		}
		x.text("}")
	}
}

package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/erasure"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/record"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
)

// maxWhere bounds the files that a receipt names.
const maxWhere = 100

// look looks through all files of the store for what was removed. What others have too, or
// what a saved text says, is left out: of that nobody can tell whose it is.
func (p *purge) look(ctx context.Context) error {
	secret := &p.db.writer.ledger.secret
	l := &looker{p: p, shared: map[erasure.Trace]bool{}}
	l.finder = erasure.NewFinder(secret, append(slices.Clone(p.traces), p.state.Traces...))
	all := l.finder.Len()
	if err := l.living(ctx); err != nil {
		return err
	}
	l.leaveOut(secret)
	if err := l.files(ctx); err != nil {
		return err
	}
	for p.receipt.Hits > 0 { // texts of events are many, and seldom shared; and somebody may have written one of the others meanwhile
		if err := errors.Join(l.living(ctx), l.events(ctx), l.later(ctx)); err != nil {
			return err
		}
		if !l.leaveOut(secret) {
			break
		}
		if err := l.files(ctx); err != nil {
			return err
		}
	}
	p.receipt.Values, p.receipt.Shared = uint64(l.finder.Len()), uint64(all-l.finder.Len())
	return nil
}

type looker struct {
	p      *purge
	finder *erasure.Finder
	shared map[erasure.Trace]bool
}

// note takes note of the values in what somebody has.
func (l *looker) note(b []byte) {
	l.finder.Find(b, func(i, _ int) bool {
		l.shared[l.finder.Trace(i)] = true
		return true
	})
}

// leaveOut looks no longer for what others have; false if that is nothing that was looked for.
func (l *looker) leaveOut(secret *erasure.Secret) bool {
	var left []erasure.Trace
	for i := range l.finder.Len() {
		if t := l.finder.Trace(i); !l.shared[t] {
			left = append(left, t)
		}
	}
	less := len(left) < l.finder.Len()
	l.finder = erasure.NewFinder(secret, left)
	return less
}

// living looks through the keys, the inline strings and the dictionaries, through what was
// saved and the quarantine. A string of a dictionary is somebody's: else it was blanked.
func (l *looker) living(ctx context.Context) error {
	s := l.p.db.acquire()
	defer s.era.release()
	for _, d := range s.Dicts {
		for _, text := range d.Strings() {
			l.note([]byte(text))
		}
	}
	for name, x := range s.segments {
		l.note([]byte(name + "\n" + x.text))
	}
	for name, x := range s.lists {
		l.note([]byte(name + "\n" + x.note))
	}
	for call := range maps.Keys(s.definitions) {
		l.note([]byte(call))
		l.note(s.definitions[call].AppendArguments(nil))
	}
	for name, x := range s.documents.all {
		l.note(append([]byte(name+"\n"), x.value...))
	}
	l.note(schema.AppendSchema(nil, s.Schema))
	// Rows of erased people are gone from the quarantine: what is there is others', or came later.
	if err := l.p.db.kv.Scan(ctx, keys.Quarantined(0), func(k, v []byte) (bool, error) {
		l.note(v)
		return true, nil
	}); err != nil {
		return err
	}
	inline := []schema.AttrID{schema.KeyAttr}
	for i := range s.Schema.Attributes {
		if s.Schema.Attributes[i].Inline() {
			inline = append(inline, s.Schema.Attributes[i].ID)
		}
	}
	v := view.View{S: &s.State}
	c := v.NewCursor()
	defer c.Close()
	var buf bitmap.Words
	for chunk := range v.Chunks() {
		if err := ctx.Err(); err != nil {
			return err
		}
		live, err := c.Exists(schema.KeyAttr, chunk, &buf)
		if err != nil {
			return err
		}
		ords := live.AppendTo(nil)
		texts := make([][]byte, len(ords))
		for _, id := range inline {
			if err := c.GatherStrings(id, chunk, ords, texts); err != nil {
				return err
			}
			for _, text := range texts {
				l.note(text)
			}
		}
	}
	return nil
}

// events looks through the inline strings of events.
func (l *looker) events(ctx context.Context) error {
	s := l.p.db.acquire()
	defer s.era.release()
	for _, units := range s.Acts {
		for _, u := range units {
			for i := 0; u != nil && i < len(u.Parts); i++ {
				source, err := u.Parts[i].Source()
				if err == nil {
					err = l.part(ctx, source)
				}
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// later looks through what was written after what is purged, also what its writers have
// written over since, so that nobody has it: the log has it still. Rows of the erased are not
// others'; a record that has one is left to the purge that is pending for it.
func (l *looker) later(ctx context.Context) error {
	db, newest := l.p.db, l.p.newest
	erased := map[uint64]bool{}
	if err := db.kv.Scan(ctx, keys.AllPending(), func(k, _ []byte) (bool, error) {
		at, _ := keys.ParsePurge(k)
		erased[at] = true
		return true, nil
	}); err != nil {
		return err
	}
	for _, span := range []keys.Span{keys.Records(newest+1, math.MaxUint64), keys.KeptRecords(newest+1, math.MaxUint64)} {
		if err := db.kv.Scan(ctx, span, func(k, v []byte) (bool, error) {
			if at := binary.BigEndian.Uint64(k[len(k)-8:]); erased[at] {
				return true, nil
			}
			rec, err := record.Decode(v)
			if err != nil {
				return false, err
			}
			l.note(v)
			payload, err := batch.Payload(rec.Batch)
			l.note(payload)
			return err == nil, err
		}); err != nil {
			return err
		}
	}
	return nil
}

func (l *looker) part(ctx context.Context, source timeline.Source) error {
	b := timeline.BlockOf(source, 0)
	for _, property := range source.Part.Properties() {
		for i := 0; property.Class == timeline.Text && i < source.Part.Blocks(); i++ {
			b.Move(source, i)
			texts, err := b.Texts(property.ID)
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return err
			}
			for k := range b.To {
				if text, ok := texts.At(k); ok {
					l.note(text)
				}
			}
		}
	}
	return nil
}

// files looks through the files.
func (l *looker) files(ctx context.Context) (err error) {
	r := &l.p.receipt
	r.Hits, r.Where = 0, nil
	count := func(file string, b []byte) {
		l.finder.Find(b, func(int, int) bool {
			if r.Hits++; len(r.Where) < maxWhere && !slices.Contains(r.Where, file) {
				r.Where = append(r.Where, file)
			}
			return true
		})
	}
	last := ""
	r.Files, r.Bytes, err = l.p.db.kv.Contents(ctx, erasure.Overlap, func(file string, key, b []byte) error {
		if file != last {
			last = file
			l.p.progress("looking through " + file)
		}
		count(file, b)
		if key == nil {
			return nil
		}
		count(file, key)
		if keys.IsRecord(key) { // what it has of a batch is compressed
			rec, err := record.Decode(b)
			if err != nil {
				return nil // a tombstone
			}
			payload, err := batch.Payload(rec.Batch)
			if err != nil {
				return err
			}
			count(file, payload)
		}
		return nil
	})
	return err
}

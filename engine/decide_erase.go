package engine

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/canary"
	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/erasure"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// maxRefusedTraces bounds the keys of refused rows that the purge looks for, per batch: a
// few show whether the log was purged.
const maxRefusedTraces = 100

// ledger is the writer's: who is erased. What one entry takes, some 150 bytes, is kept for
// good, for each person who was ever erased.
type ledger struct {
	secret  erasure.Secret
	entries map[erasure.Hash]erasure.Entry
	hints   map[uint32]bool // of their keys
}

func (l *ledger) set(name erasure.Hash, e erasure.Entry) {
	l.entries[name] = e
	l.hints[e.Hint] = true
}

// erasing is what a batch does to the ledger, and what it leaves to the purge.
type erasing struct {
	entries     map[erasure.Hash]erasure.Entry
	pending     erasure.Pending
	hints       map[uint32]bool // of the keys of entries
	keys        map[string]bool // that it erases
	quarantined []uint64        // rows of the quarantine that go
}

// refuses reports whether a row is that of somebody who was erased, and counts it then. Of
// an event it is asked with its time.
func (d *decider) refuses(key []byte, time int64) bool {
	if len(d.w.ledger.entries) == 0 && len(d.out.erasing.entries) == 0 {
		return false
	}
	l := &d.w.ledger
	if hint := l.secret.KeyHint(key); !l.hints[hint] && !d.out.erasing.hints[hint] {
		return false
	}
	e, ok := d.entry(l.secret.Name(key))
	if !ok || !e.Refuses(time) {
		return false
	}
	p := &d.out.erasing.pending
	if p.Refused++; p.Refused <= maxRefusedTraces {
		p.Traces = append(p.Traces, d.w.ledger.secret.Traces(key)...)
	}
	return true
}

func (d *decider) entry(name erasure.Hash) (e erasure.Entry, ok bool) {
	if e, ok = d.out.erasing.entries[name]; !ok {
		e, ok = d.w.ledger.entries[name]
	}
	return e, ok
}

func (d *decider) setEntry(name erasure.Hash, e erasure.Entry) {
	x := &d.out.erasing
	if x.entries == nil {
		x.entries, x.hints, x.keys = map[erasure.Hash]erasure.Entry{}, map[uint32]bool{}, map[string]bool{}
	}
	x.entries[name], x.hints[e.Hint] = e, true
}

// refusedKeys marks the rows of an op that are those of erased people. It comes first, so
// that no other reason quarantines what they contain. times is nil but of events.
func (d *decider) refusedKeys(keys batch.Strings, times []int64, fail []batch.Reason, detail map[int]string) {
	time := int64(math.MaxInt64)
	for row := range fail {
		if times != nil {
			time = times[row]
		}
		if d.refuses(keys.At(row), time) {
			fail[row] = batch.ReasonErased
			delete(detail, row)
		}
	}
}

// namesErased reports whether a row that could not be typed has the key of somebody erased
// in one of its cells: what stands between commas, quotes and the like.
func (d *decider) namesErased(raw string) bool {
	if len(d.w.ledger.entries) == 0 && len(d.out.erasing.entries) == 0 {
		return false
	}
	return slices.ContainsFunc(strings.FieldsFunc(raw, func(r rune) bool { return strings.ContainsRune(",;:|\t\r\n\"'{}[]", r) }), func(cell string) bool {
		return d.refuses([]byte(strings.TrimSpace(cell)), math.MaxInt64)
	})
}

// refusedKey rejects row i of an op that is keys if it is that of somebody erased.
func (d *decider) refusedKey(op *batch.Op, i int) bool {
	if !d.refuses(op.Keys.At(i), math.MaxInt64) {
		return false
	}
	d.reject(op.FirstRow+i, batch.ReasonErased, "", nil)
	return true
}

// erase deletes profiles and notes in the ledger that their keys are erased. Who is not
// known, or is erased already, is noted too.
func (d *decider) erase(op *batch.Op) error {
	who, err := d.lookUp(op.Keys)
	if err != nil {
		return err
	}
	var ords []uint32
	p := &d.out.erasing.pending
	p.Received = d.received
	for i := range op.Keys.Len() {
		key := op.Keys.At(i)
		name := d.w.ledger.secret.Name(key)
		former, err := d.w.cursor.Former(who.hashes[i], key)
		if err != nil {
			return err
		}
		p.Ordinals = append(p.Ordinals, former...)
		p.Names = append(p.Names, name)
		p.Traces = append(p.Traces, d.w.ledger.secret.Traces(key)...)
		if ord, known := d.resolve(who, i); known {
			if err := d.trace(ord); err != nil {
				return err
			}
			p.Ordinals, ords = append(p.Ordinals, ord), append(ords, ord)
			d.deleted(who.hashes[i], string(key), ord)
		}
		d.setEntry(name, erasure.Entry{Hint: d.w.ledger.secret.KeyHint(key), Erased: d.received, Position: d.w.nextPosition(), Reference: op.Text})
		d.out.erasing.keys[string(key)] = true
		d.out.result.Accepted++
	}
	slices.Sort(p.Ordinals)
	p.Ordinals = slices.Compact(p.Ordinals)
	d.remove(ords)
	return nil
}

// readmit lets people return. Who is not erased is as wanted already.
func (d *decider) readmit(op *batch.Op) {
	for i := range op.Keys.Len() {
		name := d.w.ledger.secret.Name(op.Keys.At(i))
		e, ok := d.entry(name)
		if !ok || e.Readmitted != 0 {
			d.out.result.Duplicates++
			continue
		}
		e.Readmitted = d.received
		d.setEntry(name, e)
		d.out.result.Accepted++
	}
}

// trace keeps the traces of the values that tell a person from others, as they were before
// the batch and as the batch has written them.
func (d *decider) trace(ord uint32) error {
	if ord < d.w.reading.End {
		for i := range d.w.schema.Attributes {
			a := &d.w.schema.Attributes[i]
			v, err := d.w.value(a, ord)
			if err == nil {
				err = d.traceValue(a, v)
			}
			if err != nil {
				return err
			}
		}
		if err := d.traceEvents(ord); err != nil {
			return err
		}
	}
	for i := range d.out.outcome.Blocks {
		d.traceBlock(&d.out.outcome.Blocks[i], ord)
	}
	for i := range d.out.outcome.Acts {
		d.traceBlock(&d.out.outcome.Acts[i].Block, ord)
	}
	return nil
}

// traceValue keeps the traces of a value of an attribute, unless others have it too: then
// it says nothing about the person.
func (d *decider) traceValue(a *schema.Attribute, v schema.Value) error {
	var texts []string
	switch {
	case v.IsAbsent():
	case a.Kind == schema.Set:
		texts = v.Elements()
	case a.Kind == schema.String:
		texts = append(texts, v.Str())
	case a.Kind == schema.Int:
		texts = append(texts, strconv.FormatInt(v.Ordered(), 10))
	}
	for _, text := range texts {
		if len(text) < erasure.MinTrace {
			continue
		}
		shared, err := d.shared(a, text)
		if err != nil {
			return err
		}
		if !shared {
			d.traceText([]byte(text))
		}
	}
	return nil
}

func (d *decider) traceText(text []byte) {
	p := &d.out.erasing.pending
	p.Traces = append(p.Traces, d.w.ledger.secret.Traces(text)...)
}

// shared reports whether more than one living profile has a string. Of numbers it is not
// asked: those of as many digits are numbers of accounts and telephones.
func (d *decider) shared(a *schema.Attribute, text string) (bool, error) {
	switch {
	case a.Inline():
		ords, err := d.w.cursor.Find(d.ctx, a.ID, []byte(text))
		return len(ords) > 1, err
	case !a.Coded():
		return false, nil
	}
	code, ok := d.w.dicts[a.ID].Code(text)
	if !ok {
		return false, nil
	}
	var buf bitmap.Words
	v, n := d.w.view(), 0
	for chunk := range v.Chunks() {
		set, err := d.w.cursor.Row(a.ID, code, chunk, &buf)
		if err != nil {
			return false, err
		}
		if n += set.Count(); n > 1 {
			return true, nil
		}
	}
	return false, nil
}

// traceEvents keeps the traces of inline strings of a person's events: those in dictionaries
// are mostly words that many events have.
func (d *decider) traceEvents(ord uint32) error {
	one := bitmap.Set{Form: bitmap.Sparse, Array: []uint16{uint16(ord)}}
	v := d.w.view()
	for i := range d.w.schema.Events {
		e := &d.w.schema.Events[i]
		scan := &query.EventScan{Event: e.ID, From: math.MinInt64, To: math.MaxInt64}
		for k := range e.Properties {
			if e.Properties[k].Inline() {
				scan.Properties = append(scan.Properties, e.Properties[k].ID)
			}
		}
		if len(scan.Properties) == 0 {
			continue
		}
		slices.Sort(scan.Properties)
		err := d.w.cursor.Events(scan, int(ord>>bitmap.ChunkBits), &one, func(b *query.EventBlock) error {
			for k, id := range scan.Properties {
				for row := range b.Ords {
					text, err := b.Columns[k].Value(v, e.ByID(id), row)
					if err != nil {
						return err
					}
					if !text.IsAbsent() {
						d.traceText([]byte(text.Str()))
					}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// traceBlock keeps the traces of the inline strings that the batch has written of a person.
func (d *decider) traceBlock(b *effect.Block, ord uint32) {
	for j := range b.Columns {
		c := &b.Columns[j]
		for k := 0; c.Class == effect.Bytes && k < c.Len(); k++ {
			if b.Ords[c.Row(k)] == ord && !c.IsAbsent(k) {
				d.traceText(c.Bytes(k))
			}
		}
	}
}

// eraseQuarantine finds the rows of the quarantine that hold a value of somebody whom the
// batch erases. Everything of the batches before is stored: see writer.take.
func (d *decider) eraseQuarantine() error {
	if canary.Is("erase") { // a place is not searched
		return nil
	}
	x := &d.out.erasing
	if len(x.pending.Names) == 0 {
		return nil
	}
	f := erasure.NewFinder(&d.w.ledger.secret, x.pending.Traces)
	d.out.bad = slices.DeleteFunc(d.out.bad, func(r badRow) bool {
		of := x.holds(f, r.Detail, r.Raw)
		if of {
			x.pending.Quarantined++
		}
		return of
	})
	return d.w.db.kv.Scan(d.ctx, keys.Quarantined(d.w.badRows.first), func(k, v []byte) (bool, error) {
		seq, _ := keys.ParseNumber(k)
		b, err := kv.Unseal(v)
		if err != nil {
			return false, err
		}
		row, _, err := readQuarantined(seq, b)
		if err == nil && x.holds(f, row.Detail, row.Raw) {
			x.pending.Quarantined++
			x.quarantined = append(x.quarantined, seq)
		}
		return err == nil, err
	})
}

// holds reports whether a quarantined row is of somebody whom the batch erases: it holds one
// of their values, or names their key, be it short, as rows that were typed do.
func (x *erasing) holds(f *erasure.Finder, detail, raw string) bool {
	if f.Any([]byte(raw)) || f.Any([]byte(detail)) {
		return true
	}
	for at := strings.IndexByte(detail, '"'); at >= 0; {
		quoted, err := strconv.QuotedPrefix(detail[at:])
		if err != nil {
			break
		}
		if text, err := strconv.Unquote(quoted); err == nil && x.keys[text] {
			return true
		}
		detail = detail[at+len(quoted):]
		at = strings.IndexByte(detail, '"')
	}
	key, ok := strings.CutPrefix(raw, "key=")
	if !ok {
		key, ok = strings.CutPrefix(raw, "profile=")
	}
	for end := 0; ok && end <= len(key); end++ { // a key may have spaces
		if (end == len(key) || key[end] == ' ') && x.keys[key[:end]] {
			return true
		}
	}
	return false
}

// persistErasing writes what a batch does to the ledger, and what it leaves to the purge.
func (w *writer) persistErasing(x *erasing, kb *kv.Batch) {
	for name, e := range x.entries { //tidy:same each has a key of its own
		kb.Set(keys.Erased(name), e.Append())
		w.ledger.set(name, e)
		w.told++
	}
	for _, seq := range x.quarantined {
		kb.Delete(keys.Quarantine(seq))
	}
	if len(x.entries)+len(x.quarantined) > 0 {
		w.group.takes = true
	}
	if x.pending.Empty() {
		return
	}
	x.pending.Received = w.received
	kb.Set(keys.Pending(w.pos.Applied), x.pending.Append())
	if len(x.pending.Names) > 0 {
		w.repeats.forgetRejected()
	}
}

// erases reports whether a batch erases somebody.
func erases(b *batch.Decoded) bool {
	return slices.ContainsFunc(b.Ops, func(op batch.Op) bool { return op.Code == batch.OpErase })
}

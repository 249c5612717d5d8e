package engine

import (
	"context"
	"slices"

	"github.com/kantadb/kanta/engine/internal/canary"
	"github.com/kantadb/kanta/engine/internal/erasure"
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
)

// removeStrings blanks the strings of dictionaries that nobody has any more: of attributes
// all of them, for an erased person may have had others before, of events those that the
// events of erased people had. Batches go on meanwhile: what one of them uses is not blanked.
func (p *purge) removeStrings(ctx context.Context) error {
	if len(p.ords) == 0 || canary.Is("purge") { // a place is left out
		return nil
	}
	w := p.db.writer
	if err := p.db.inWriter(ctx, func() error { w.used = map[erasure.Code]bool{}; return nil }); err != nil {
		return err
	}
	unheld, err := p.unheld(ctx)
	done := p.db.inWriter(context.WithoutCancel(ctx), func() error {
		used := w.used
		w.used = nil
		if err != nil {
			return err
		}
		return p.blank(unheld, used)
	})
	return done
}

// inWriter has the writer do something when all that was decided is published.
func (db *DB) inWriter(ctx context.Context, do func() error) error {
	var failed error
	r := &request{ctx: ctx, done: make(chan struct{}), task: func() { failed = do() }}
	if err := db.send(r); err != nil {
		return err
	}
	if r.err != nil {
		return r.err
	}
	return failed
}

// blank blanks strings, but those that were used meanwhile. It is the writer's.
func (p *purge) blank(unheld map[schema.AttrID][]uint32, used map[erasure.Code]bool) error {
	w, state := p.db.writer, *p.state
	kb := p.db.kv.NewBatch()
	defer kb.Close()
	for id, codes := range unheld {
		d := w.dicts[id]
		codes = slices.DeleteFunc(codes, func(c uint32) bool { return d == nil || used[erasure.Code{Attr: uint32(id), Code: c}] })
		unheld[id] = codes
		for _, c := range codes {
			text := []byte(d.String(c))
			state.Traces = append(state.Traces, w.ledger.secret.Traces(text)...)
			kb.Set(keys.Dict(uint32(id), c), kv.Seal(nil, d.Stored(text)))
			state.Strings++
		}
	}
	if state.Strings == p.state.Strings {
		return nil
	}
	*p.state = state
	if err := p.store(kb); err != nil {
		return err
	}
	for id, codes := range unheld {
		if len(codes) > 0 {
			w.dicts[id].Blank(codes)
		}
	}
	return nil
}

// unheld returns the codes that nobody has.
func (p *purge) unheld(ctx context.Context) (map[schema.AttrID][]uint32, error) {
	s := p.db.acquire()
	defer s.era.release()
	out := map[schema.AttrID][]uint32{}
	for i := range s.Schema.Attributes {
		a := &s.Schema.Attributes[i]
		if !a.Coded() || a.Kind == schema.Bool {
			continue
		}
		h := newHeld(s, a.ID)
		for code := range s.Dicts[a.ID].Len() {
			h.ask(uint32(code))
		}
		if err := h.attribute(a); err != nil {
			return nil, err
		}
		if a.History {
			if err := h.events(ctx, a.ChangeType().ID); err != nil {
				return nil, err
			}
		}
		out[a.ID] = h.nobodys()
	}
	for e := range s.Schema.Stored() {
		for i := range e.Properties {
			id := e.Properties[i].ID
			if s.Schema.ByID(id) != nil || s.Dicts[id] == nil {
				continue
			}
			h := newHeld(s, id)
			for _, c := range p.state.Codes {
				if c.Attr == uint32(id) {
					h.ask(c.Code)
				}
			}
			if err := h.events(ctx, e.ID); err != nil {
				return nil, err
			}
			out[id] = h.nobodys()
		}
	}
	return out, ctx.Err()
}

// held finds out which of some codes of a dictionary somebody has.
type held struct {
	s     *state
	id    schema.AttrID
	asked []bool // by code
	open  int    // how many are asked for and not found yet
}

func newHeld(s *state, id schema.AttrID) *held {
	return &held{s: s, id: id, asked: make([]bool, s.Dicts[id].Len())}
}

func (h *held) ask(code uint32) {
	if int(code) < len(h.asked) && !h.asked[code] && !h.s.Dicts[h.id].Blanked(code) {
		h.asked[code] = true
		h.open++
	}
}

func (h *held) found(code uint32) {
	if int(code) < len(h.asked) && h.asked[code] {
		h.asked[code] = false
		h.open--
	}
}

func (h *held) nobodys() (out []uint32) {
	for code, open := range h.asked {
		if open {
			out = append(out, uint32(code))
		}
	}
	return out
}

// attribute looks at the values of an attribute.
func (h *held) attribute(a *schema.Attribute) error {
	for _, u := range h.s.Units[a.ID] {
		if u != nil {
			for _, code := range u.Codes {
				h.found(code)
			}
		}
	}
	v := view.View{S: &h.s.State}
	c := v.NewCursor()
	defer c.Close()
	tiers := h.s.Tiers.Of(a.ID)
	var overlay head.Overlay
	var buf bitmap.Words
	for chunk := range v.Chunks() {
		if h.open == 0 {
			return nil
		}
		if !overlay.Load(&tiers, chunk) {
			continue
		}
		for _, code := range h.nobodys() {
			set, err := c.Row(a.ID, code, chunk, &buf)
			if err != nil {
				return err
			}
			if set.Count() > 0 {
				h.found(code)
			}
		}
	}
	return nil
}

// events looks at the values of a property of all events of a type, also of the dead.
func (h *held) events(ctx context.Context, event schema.EventID) error {
	for _, u := range h.s.Acts[event] {
		if u == nil {
			continue
		}
		for _, p := range u.Parts {
			if h.open == 0 {
				return nil
			}
			source, err := p.Source()
			if err == nil {
				err = h.part(ctx, source)
			}
			if err != nil {
				return err
			}
		}
	}
	for chunk := range (view.View{S: &h.s.State}).Chunks() {
		if err := h.s.Tiers.EachActs(event, chunk, func(a *head.Acts, n int, _ bool) error {
			c := a.Column(h.id)
			if c == nil || n == 0 {
				return nil
			}
			if len(c.Ends) > 0 {
				n = int(c.Ends[n-1])
			}
			for _, code := range c.Codes[:n] {
				h.found(code)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func (h *held) part(ctx context.Context, source timeline.Source) error {
	at := slices.IndexFunc(source.Part.Properties(), func(p timeline.Property) bool { return p.ID == h.id })
	if at < 0 {
		return nil
	}
	class := source.Part.Properties()[at].Class
	codes := make([]uint32, timeline.BlockSize)
	b := timeline.BlockOf(source, 0)
	for i := range source.Part.Blocks() {
		if err := ctx.Err(); err != nil || h.open == 0 {
			return err
		}
		b.Move(source, i)
		if class == timeline.Set {
			sets, err := b.Sets(h.id)
			if err != nil {
				return err
			}
			codes = codes[:0]
			for k := range b.To {
				codes = sets.AppendTo(k, codes)
			}
		} else {
			codes = slices.Grow(codes[:0], b.To)[:b.To]
			if err := b.Codes(h.id, codes); err != nil {
				return err
			}
		}
		for _, code := range codes {
			h.found(code)
		}
	}
	return nil
}

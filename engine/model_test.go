package engine_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// This file is the slow obvious engine: plain maps, one row after the other, nothing
// shared. The random test in model_run_test.go does the same to it and to a store.

// world is the state of a store.
type world struct {
	attrs    []worldAttr // in order of creation
	nextAttr int
	people   map[string]*human
	erased   map[string]bool // false: readmitted
	lists    map[string]bool
	segments map[string]*condition
	computed map[string]*condition
	applied  uint64
	repeats  map[[2]uint64]batch.Result // of the one source, by run and sequence
	written  map[int]bool               // attributes that the batch so far has written to
}

type worldAttr struct {
	id  int
	def schema.Attribute

	since uint64 // the record that turned its history on
}

type human struct {
	values map[int]schema.Value // by attribute id; sets are never empty
	lists  map[string]bool
	born   uint64 // the record that made it: who comes back under the key is somebody else
}

func newWorld() *world {
	return &world{people: map[string]*human{}, erased: map[string]bool{}, lists: map[string]bool{}, segments: map[string]*condition{}, computed: map[string]*condition{}, repeats: map[[2]uint64]batch.Result{}}
}

func (w *world) clone() *world {
	c := *w
	c.attrs = slices.Clone(w.attrs)
	c.people = make(map[string]*human, len(w.people))
	for k, h := range w.people {
		c.people[k] = &human{maps.Clone(h.values), maps.Clone(h.lists), h.born}
	}
	c.erased = maps.Clone(w.erased)
	c.lists, c.segments, c.computed, c.repeats = maps.Clone(w.lists), maps.Clone(w.segments), maps.Clone(w.computed), maps.Clone(w.repeats)
	return &c
}

func (w *world) attr(name string) *worldAttr {
	for i := range w.attrs {
		if w.attrs[i].def.Name == name {
			return &w.attrs[i]
		}
	}
	return nil
}

// step is one op of a batch.
type step struct {
	code   batch.OpCode
	name   string    // list or segment
	keys   []string  // delete, lists
	rows   []rowStep // upsert
	change schema.Change
	cond   *condition
}

type rowStep struct {
	key   string
	cells []cellStep
}

type cellStep struct {
	attr  string
	verb  batch.Verb
	value schema.Value
}

// add adds a cell. A value set directly after another one replaces it.
func (r *rowStep) add(c cellStep) {
	for i := len(r.cells) - 1; i >= 0 && c.verb == batch.VerbSet; i-- {
		if r.cells[i].attr == c.attr {
			if r.cells[i].verb == batch.VerbSet {
				r.cells[i] = c
				return
			}
			break
		}
	}
	r.cells = append(r.cells, c)
}

// String writes a step as a person would.
func (s step) String() string {
	switch s.code {
	case batch.OpUpsert:
		var out strings.Builder
		for _, r := range s.rows {
			fmt.Fprintf(&out, "\n  upsert %s:", r.key)
			for _, c := range r.cells {
				verb := [...]string{"", "set", "unset", "add", "remove", "increment", "expect"}[c.verb]
				fmt.Fprintf(&out, " %s %q %v %q;", verb, c.attr, c.value.Kind(), c.value)
			}
		}
		return out.String()
	case batch.OpDelete:
		return fmt.Sprintf("\n  delete %q", s.keys)
	case batch.OpErase:
		return fmt.Sprintf("\n  erase %q", s.keys)
	case batch.OpReadmit:
		return fmt.Sprintf("\n  readmit %q", s.keys)
	case batch.OpSchemaChange:
		return fmt.Sprintf("\n  %s %q to %q, %+v %s", s.change.Op, s.change.Name, s.change.To, s.change.Attribute, s.change.Text)
	case batch.OpSegmentSave:
		return fmt.Sprintf("\n  save %s: %s", s.name, s.cond.text)
	}
	return fmt.Sprintf("\n  op %d: %s %q", s.code, s.name, s.keys)
}

// encodeSteps writes the batch that the steps are.
func encodeSteps(b *batch.Builder, steps []step) {
	for _, s := range steps {
		switch s.code {
		case batch.OpUpsert:
			for _, r := range s.rows {
				row := b.Upsert(r.key)
				for _, c := range r.cells {
					c.encode(row)
				}
			}
		case batch.OpDelete:
			b.Delete(s.keys...)
		case batch.OpErase:
			b.Erase("T-1", s.keys...)
		case batch.OpReadmit:
			b.Readmit(s.keys...)
		case batch.OpSchemaChange:
			b.Change(s.change)
		case batch.OpSegmentSave:
			b.SaveSegment(s.name, s.cond.text)
		case batch.OpSegmentDrop:
			b.DropSegment(s.name)
		case batch.OpListPut:
			b.ListPut(s.name, s.keys...)
		case batch.OpListAdd:
			b.ListAdd(s.name, s.keys...)
		case batch.OpListRemove:
			b.ListRemove(s.name, s.keys...)
		case batch.OpListDrop:
			b.ListDrop(s.name)
		}
	}
}

func (c *cellStep) encode(row *batch.Row) {
	switch c.verb {
	case batch.VerbSet:
		row.Set(c.attr, c.value)
	case batch.VerbUnset:
		row.Unset(c.attr)
	case batch.VerbAdd:
		row.Add(c.attr, c.value.Elements()...)
	case batch.VerbRemove:
		row.Remove(c.attr, c.value.Elements()...)
	case batch.VerbIncrement:
		row.Increment(c.attr, c.value)
	default:
		row.Expect(c.attr, c.value)
	}
}

// apply does a batch to the world: the counters, and the code of the error if the whole
// batch is refused; then the world is to be thrown away.
func (w *world) apply(steps []step, strict bool) (batch.Result, query.Code) {
	var r batch.Result
	w.written = map[int]bool{}
	for i := range steps {
		s := &steps[i]
		var code query.Code
		switch s.code {
		case batch.OpUpsert:
			for j := range s.rows {
				w.upsert(&s.rows[j], &r)
			}
		case batch.OpDelete:
			for _, k := range s.keys {
				if !w.refuses(k, &r) {
					w.count(&r, w.people[k] != nil)
					w.delete(k)
				}
			}
		case batch.OpErase:
			for _, k := range s.keys {
				w.delete(k)
				w.erased[k] = true
				r.Accepted++
			}
		case batch.OpReadmit:
			for _, k := range s.keys {
				if w.erased[k] {
					w.erased[k] = false
					r.Accepted++
				} else {
					r.Duplicates++
				}
			}
		case batch.OpSchemaChange:
			code = w.change(s)
			if code == 0 && (i+1 == len(steps) || steps[i+1].code != s.code) {
				code = w.compiles(steps[:i+1])
			}
		case batch.OpSegmentSave, batch.OpSegmentDrop:
			code = w.segment(s)
		default:
			code = w.list(s, &r)
		}
		if code != 0 {
			return r, code
		}
	}
	r.Received = r.Accepted + r.Quarantined + r.Refused + r.Duplicates
	if strict && r.Accepted+r.Duplicates != r.Received {
		return r, query.CodeRefused
	}
	w.applied++
	r.Position = query.Position{Epoch: 1, Applied: w.applied}
	return r, 0
}

// refuses counts a row of somebody who was erased.
func (w *world) refuses(key string, r *batch.Result) bool {
	if w.erased[key] {
		r.Refused++
	}
	return w.erased[key]
}

// delete also writes the absence of every attribute.
func (w *world) delete(key string) {
	if w.people[key] == nil {
		return
	}
	for i := range w.attrs {
		w.written[w.attrs[i].id] = true
	}
	delete(w.people, key)
}

func (w *world) count(r *batch.Result, ok bool) {
	if ok {
		r.Accepted++
	} else {
		r.Quarantined++
	}
}

// upsert does one row: all of it or nothing.
func (w *world) upsert(row *rowStep, r *batch.Result) {
	if w.refuses(row.key, r) {
		return
	}
	for _, c := range row.cells { // what needs no state
		a := w.attr(c.attr)
		if a == nil || !c.fits(&a.def) {
			r.Quarantined++
			return
		}
	}
	old := w.people[row.key]
	h := &human{values: map[int]schema.Value{}, lists: map[string]bool{}, born: w.applied + 1}
	if old != nil {
		h.values, h.lists, h.born = maps.Clone(old.values), old.lists, old.born
	} else if !w.hasRequired(row) {
		r.Quarantined++
		return
	}
	for _, c := range row.cells { // what it expects is of the profile before the row
		a := w.attr(c.attr)
		if _, expected := c.next(&a.def, h.values[a.id]); !expected {
			r.Refused++
			return
		}
	}
	for _, c := range row.cells {
		a := w.attr(c.attr)
		v, _ := c.next(&a.def, h.values[a.id])
		switch {
		case c.verb == batch.VerbExpect:
			continue
		case !inBounds(&a.def, v, c.verb) || a.def.Unique && w.holds(a.id, v, old):
			r.Quarantined++
			return
		}
		if v.IsAbsent() || v.Kind() == schema.Set && len(v.Elements()) == 0 {
			delete(h.values, a.id)
		} else {
			h.values[a.id] = v
		}
	}
	for _, c := range row.cells {
		if c.verb != batch.VerbExpect {
			w.written[w.attr(c.attr).id] = true
		}
	}
	w.people[row.key] = h
	r.Accepted++
	if old == nil {
		r.Created++
	}
}

// fits is what can be told of a cell without the state.
func (c *cellStep) fits(a *schema.Attribute) bool {
	if c.value.IsAbsent() {
		return true
	}
	if c.value.Kind() != a.Kind || c.value.Scale() != a.Scale || c.verb == batch.VerbIncrement && (a.Coded() || a.Inline()) {
		return false
	}
	return c.verb != batch.VerbSet && c.verb != batch.VerbAdd || inBounds(a, c.value, c.verb)
}

// inBounds reports whether an attribute admits a value. What a row expects is not stored.
func inBounds(a *schema.Attribute, v schema.Value, verb batch.Verb) bool {
	if v.IsAbsent() || verb == batch.VerbExpect || verb == batch.VerbRemove {
		return true
	}
	if v.Kind() == schema.Float && math.IsInf(v.Float(), 0) && verb == batch.VerbIncrement {
		return false
	}
	if !a.Min.IsAbsent() && v.Ordered() < a.Min.Ordered() || !a.Max.IsAbsent() && v.Ordered() > a.Max.Ordered() {
		return false
	}
	return len(a.Allowed) == 0 || slices.ContainsFunc(a.Allowed, v.Equal)
}

func (w *world) hasRequired(row *rowStep) bool {
	for i := range w.attrs {
		a := &w.attrs[i].def
		if a.Required && !slices.ContainsFunc(row.cells, func(c cellStep) bool {
			return c.attr == a.Name && (c.verb == batch.VerbSet || c.verb == batch.VerbIncrement)
		}) {
			return false
		}
	}
	return true
}

// holds reports whether somebody else has a value.
func (w *world) holds(attr int, v schema.Value, self *human) bool {
	if v.IsAbsent() {
		return false
	}
	for _, h := range w.people {
		if h != self && h.values[attr].Equal(v) {
			return true
		}
	}
	return false
}

// next is what a cell makes of a value; false if it expected another one. An increment
// that overflows yields an infinity, which nothing admits; ints do not get that far here.
func (c *cellStep) next(a *schema.Attribute, old schema.Value) (v schema.Value, expected bool) {
	if a.Kind == schema.Set && old.IsAbsent() {
		old = schema.SetValue()
	}
	switch c.verb {
	case batch.VerbUnset:
		return schema.Value{}, true
	case batch.VerbAdd:
		return schema.SetValue(append(slices.Clone(old.Elements()), c.value.Elements()...)...), true
	case batch.VerbRemove:
		left := slices.DeleteFunc(slices.Clone(old.Elements()), func(e string) bool { return slices.Contains(c.value.Elements(), e) })
		return schema.SetValue(left...), true
	case batch.VerbIncrement:
		if a.Kind == schema.Float {
			sum := c.value.Float()
			if !old.IsAbsent() {
				sum += old.Float()
			}
			return schema.FloatValue(sum), true
		}
		return schema.FromOrdered(a.Kind, a.Scale, old.Ordered()+c.value.Ordered()), true
	case batch.VerbExpect:
		if c.value.IsAbsent() && old.Kind() == schema.Set {
			return old, len(old.Elements()) == 0
		}
		return old, old.Equal(c.value)
	}
	return c.value, true
}

// change does a schema change. Whether expressions break is looked at behind a row of them.
func (w *world) change(s *step) query.Code {
	c := &s.change
	if c.Op >= schema.AddComputed {
		was := w.computed[c.Name]
		if (was == nil) != (c.Op == schema.AddComputed) || c.Op == schema.SetComputed && was.text == c.Text {
			return query.CodeConflict
		}
		w.computed[c.Name] = s.cond
		if c.Op == schema.DropComputed {
			delete(w.computed, c.Name)
		}
		return 0
	}
	if c.Op == schema.AddAttribute {
		if w.attr(c.Name) != nil {
			return query.CodeConflict
		}
		w.attrs = append(w.attrs, worldAttr{id: w.nextAttr, def: c.Attribute})
		w.nextAttr++
		return 0
	}
	a := w.attr(c.Name)
	switch {
	case a == nil, c.Op == schema.Rename && w.attr(c.To) != nil:
		return query.CodeConflict
	}
	switch c.Op {
	case schema.Rename:
		a.def.Name = c.To
	case schema.Deprecate:
		if a.def.Deprecated {
			return query.CodeConflict
		}
		a.def.Deprecated = true
	case schema.SetStorage:
		if a.def.Storage == c.Attribute.Storage || a.def.Unique || a.def.History || w.written[a.id] {
			return query.CodeConflict
		}
		moved := *a
		moved.def.Storage = c.Attribute.Storage
		w.attrs = append(slices.DeleteFunc(w.attrs, func(x worldAttr) bool { return x.id == a.id }), moved)
	case schema.Narrow:
		if c.Attribute.Unique && !a.def.Unique && w.written[a.id] {
			return query.CodeConflict
		}
		seen := map[string]bool{}
		for _, h := range w.people {
			v := h.values[a.id]
			if c.Attribute.Unique && !a.def.Unique && !v.IsAbsent() && seen[v.String()] {
				return query.CodeConflict
			}
			seen[v.String()] = true
			if !inBounds(&c.Attribute, h.values[a.id], batch.VerbSet) {
				return query.CodeConflict
			}
		}
		a.redefine(c.Attribute, w.applied+1)
	case schema.Widen:
		a.redefine(c.Attribute, w.applied+1)
	case schema.Drop:
		for _, h := range w.people {
			delete(h.values, a.id)
		}
		w.attrs = slices.DeleteFunc(w.attrs, func(x worldAttr) bool { return x.id == a.id })
	}
	return 0
}

func (a *worldAttr) redefine(def schema.Attribute, at uint64) {
	if def.History && !a.def.History {
		a.since = at
	}
	a.def = def
}

// compiles looks at all expressions behind a row of schema changes, the last of steps.
func (w *world) compiles(steps []step) query.Code {
	for i := len(steps) - 1; i >= 0 && steps[i].code == batch.OpSchemaChange; i-- {
		name := steps[i].change.Name
		if c := w.computed[name]; c != nil && steps[i].change.Op >= schema.AddComputed && !w.valid(c, 9) {
			return codeAny
		}
	}
	if w.uses(func(c *condition) bool { return !w.valid(c, 9) }) {
		return query.CodeConflict
	}
	return 0
}

// valid reports whether what an expression names is there and leads nowhere in more steps
// than there are names: else it is in a circle.
func (w *world) valid(c *condition, steps int) bool {
	if steps == 0 {
		return false
	}
	for id, name := range c.attrs {
		if a := w.attr(name); a == nil || a.id != id {
			return false
		}
	}
	for name := range c.lists {
		if !w.lists[name] {
			return false
		}
	}
	for name := range c.segments {
		if x := w.segments[name]; x == nil || !w.valid(x, steps-1) {
			return false
		}
	}
	for name := range c.computed {
		if x := w.computed[name]; x == nil || !w.valid(x, steps-1) {
			return false
		}
	}
	return true
}

// uses reports whether a saved segment or a computed attribute uses something.
func (w *world) uses(what func(*condition) bool) bool {
	for _, of := range []map[string]*condition{w.segments, w.computed} {
		for _, s := range of {
			if what(s) {
				return true
			}
		}
	}
	return false
}

func (w *world) segment(s *step) query.Code {
	if s.code == batch.OpSegmentDrop {
		switch {
		case w.segments[s.name] == nil:
			return query.CodeUnknownName
		case w.uses(func(c *condition) bool { return c.segments[s.name] }):
			return query.CodeConflict
		}
		delete(w.segments, s.name)
		return 0
	}
	for _, name := range s.cond.attrs {
		if w.attr(name) == nil {
			return query.CodeUnknownName
		}
	}
	for name := range s.cond.lists {
		if !w.lists[name] {
			return query.CodeUnknownName
		}
	}
	for name := range s.cond.segments {
		if name != s.name && w.segments[name] == nil {
			return query.CodeUnknownName
		}
		if w.reaches(w.segments[name], name, s.name) {
			return codeAny
		}
	}
	for name := range s.cond.computed {
		if w.computed[name] == nil {
			return query.CodeUnknownName
		}
		if w.reaches(w.computed[name], "", s.name) {
			return codeAny
		}
	}
	w.segments[s.name] = s.cond
	return 0
}

// codeAny stands for whatever code the compiler gives, such as that of a circle.
const codeAny query.Code = 1 << 15

// reaches reports whether an expression leads to a segment; self is its own name, if it is one.
func (w *world) reaches(from *condition, self, to string) bool {
	if self == to {
		return true
	}
	for name := range from.segments {
		if w.reaches(w.segments[name], name, to) {
			return true
		}
	}
	for name := range from.computed {
		if w.reaches(w.computed[name], "", to) {
			return true
		}
	}
	return false
}

func (w *world) list(s *step, r *batch.Result) query.Code {
	if s.code == batch.OpListDrop {
		switch {
		case !w.lists[s.name]:
			return query.CodeUnknownName
		case w.uses(func(c *condition) bool { return c.lists[s.name] }):
			return query.CodeConflict
		}
	}
	if s.code == batch.OpListRemove && !w.lists[s.name] {
		return query.CodeUnknownName
	}
	if s.code == batch.OpListDrop || s.code == batch.OpListPut {
		for _, h := range w.people {
			delete(h.lists, s.name)
		}
	}
	w.lists[s.name] = true
	if s.code == batch.OpListDrop {
		delete(w.lists, s.name)
	}
	for _, k := range s.keys {
		if w.refuses(k, r) {
			continue
		}
		h := w.people[k]
		w.count(r, h != nil)
		switch {
		case h == nil:
		case s.code == batch.OpListRemove:
			delete(h.lists, s.name)
		default:
			h.lists[s.name] = true
		}
	}
	return 0
}

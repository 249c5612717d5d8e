package engine_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/kantadb/kanta/index/schema"
)

// truth is one of Kleene's three values.
type truth int

const (
	no truth = iota
	maybe
	yes
)

// value is what a computed attribute has that is t.
func (t truth) value() schema.Value {
	if t == maybe {
		return schema.Value{}
	}
	return schema.BoolValue(t == yes)
}

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// condition is an expression with what it means for the model.
type condition struct {
	text     string
	attrs    map[int]string // with the names that the text has for them
	lists    map[string]bool
	segments map[string]bool
	computed map[string]bool
	eval     func(w *world, h *human) truth
}

func newCondition(text string, eval func(w *world, h *human) truth) *condition {
	return &condition{text, map[int]string{}, map[string]bool{}, map[string]bool{}, map[string]bool{}, eval}
}

// literal writes a value as the language does.
func literal(v schema.Value) string {
	switch v.Kind() {
	case schema.String:
		return fmt.Sprintf("%q", v.Str())
	case schema.Date:
		return fmt.Sprintf("date(%q)", v)
	case schema.Timestamp:
		return fmt.Sprintf("timestamp(%q)", v)
	case schema.Float:
		if s := v.String(); !strings.ContainsAny(s, ".e") {
			return s + ".0"
		}
	}
	return v.String()
}

// randomCondition makes an expression over what there is, of at most some depth.
func randomCondition(r *rand.Rand, w *world, depth int) *condition {
	if depth > 0 && r.IntN(3) > 0 {
		return randomLogic(r, w, depth)
	}
	switch k := r.IntN(12); {
	case k == 0 && len(w.lists) > 0:
		name := pick(r, slices.Sorted(maps.Keys(w.lists)))
		c := newCondition(fmt.Sprintf("in_list(%q)", name), func(_ *world, h *human) truth { return truthOf(h.lists[name]) })
		c.lists[name] = true
		return c
	case k == 1 && len(w.segments) > 0:
		name := pick(r, slices.Sorted(maps.Keys(w.segments)))
		c := newCondition(fmt.Sprintf("in_segment(%q)", name), func(w *world, h *human) truth { return w.segments[name].eval(w, h) })
		c.segments[name] = true
		return c
	case k < 4 && len(w.computed) > 0:
		name := pick(r, slices.Sorted(maps.Keys(w.computed)))
		c := newCondition(fmt.Sprintf("p[%q]", name), func(w *world, h *human) truth { return w.computed[name].eval(w, h) })
		if r.IntN(4) == 0 {
			c = newCondition(fmt.Sprintf("has(p[%q])", name), func(w *world, h *human) truth { return truthOf(w.computed[name].eval(w, h) != maybe) })
		}
		c.computed[name] = true
		return c
	case len(w.attrs) == 0:
		return newCondition("1 == 1", func(*world, *human) truth { return yes })
	}
	a := pick(r, w.attrs)
	c := leafCondition(r, &a)
	c.attrs[a.id] = a.def.Name
	return c
}

func randomLogic(r *rand.Rand, w *world, depth int) *condition {
	x := randomCondition(r, w, depth-1)
	if r.IntN(4) == 0 {
		c := *x
		c.text = "!(" + x.text + ")"
		c.eval = func(w *world, h *human) truth { return yes - x.eval(w, h) }
		return &c
	}
	y := randomCondition(r, w, depth-1)
	op, eval := "&&", func(w *world, h *human) truth { return min(x.eval(w, h), y.eval(w, h)) }
	if r.IntN(2) == 0 {
		op, eval = "||", func(w *world, h *human) truth { return max(x.eval(w, h), y.eval(w, h)) }
	}
	c := newCondition("("+x.text+") "+op+" ("+y.text+")", eval)
	for _, of := range []*condition{x, y} {
		maps.Copy(c.attrs, of.attrs)
		maps.Copy(c.lists, of.lists)
		maps.Copy(c.segments, of.segments)
		maps.Copy(c.computed, of.computed)
	}
	return c
}

// leafCondition tests one attribute.
func leafCondition(r *rand.Rand, a *worldAttr) *condition {
	name := fmt.Sprintf("p[%q]", a.def.Name)
	id := a.id
	switch {
	case r.IntN(6) == 0:
		return newCondition("has("+name+")", func(_ *world, h *human) truth { return truthOf(!h.values[id].IsAbsent()) })
	case a.def.Kind == schema.Set:
		e := pick(r, elementPool)
		return newCondition(fmt.Sprintf("%q in %s", e, name), func(_ *world, h *human) truth {
			return truthOf(slices.Contains(h.values[id].Elements(), e))
		})
	case a.def.Kind == schema.String && r.IntN(3) == 0:
		prefix := randomValue(r, &a.def).Str()
		prefix = prefix[:len(prefix)/2]
		return newCondition(fmt.Sprintf("%s.startsWith(%q)", name, prefix), known(id, func(v schema.Value) bool {
			return strings.HasPrefix(v.Str(), prefix)
		}))
	case a.def.Kind.Ordered() && a.def.Kind != schema.Bool && r.IntN(2) == 0:
		limit := randomValue(r, &a.def)
		return newCondition(fmt.Sprintf("%s >= %s", name, literal(limit)), known(id, func(v schema.Value) bool {
			return v.Ordered() >= limit.Ordered()
		}))
	}
	x, y := randomValue(r, &a.def), randomValue(r, &a.def)
	if r.IntN(2) == 0 {
		return newCondition(fmt.Sprintf("%s == %s", name, literal(x)), known(id, x.Equal))
	}
	return newCondition(fmt.Sprintf("%s in [%s, %s]", name, literal(x), literal(y)), known(id, func(v schema.Value) bool { return v.Equal(x) || v.Equal(y) }))
}

// known is unknown for who has no value.
func known(attr int, test func(v schema.Value) bool) func(*world, *human) truth {
	return func(_ *world, h *human) truth {
		v := h.values[attr]
		if v.IsAbsent() {
			return maybe
		}
		return truthOf(test(v))
	}
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// elementPool is what sets hold.
//
//tidy:constant
var elementPool = strings.Fields("wine jazz tea chess go opera sushi yoga ski sail")

// randomValue draws from few enough values that people share them, and from so many
// that dictionaries have more than a page.
func randomValue(r *rand.Rand, a *schema.Attribute) schema.Value {
	if len(a.Allowed) > 0 && r.IntN(20) > 0 {
		return pick(r, a.Allowed)
	}
	n := int64(r.IntN(12)) - 2
	if a.Unique || r.IntN(3) == 0 {
		n = int64(r.IntN(400)) - 20
	}
	switch a.Kind {
	case schema.Bool:
		return schema.BoolValue(n%2 == 0)
	case schema.Int:
		return schema.IntValue(n)
	case schema.Float:
		return schema.FloatValue(float64(n) * 1.25)
	case schema.Decimal:
		return schema.DecimalValue(n*25, a.Scale)
	case schema.Date:
		return schema.DateValue(19000 + n)
	case schema.Timestamp:
		return schema.TimestampValue(1_700_000_000_000 + n*3_600_000)
	case schema.Set:
		var elements []string
		for range r.IntN(4) {
			elements = append(elements, pick(r, elementPool))
		}
		return schema.SetValue(elements...)
	}
	return schema.StringValue(fmt.Sprintf("value-%d", n))
}

package query

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// Person is one living profile with its values, against which any number of trees can
// be evaluated: "which of a thousand segments is this customer in". It is for one
// goroutine. Its answers are those of the evaluator over chunks; a test compares them.
type Person struct {
	view    View
	env     Env
	ordinal uint32
	values  []personValue // by ascending attribute; absent ones are left out
	none    schema.Value
	lists   []uint32
	work    *worker // nil until it is needed
	read    uint64  // bytes looked at
}

type personValue struct {
	attr  schema.AttrID
	value schema.Value
}

// NewPerson makes a Person of what [ProfileOf] returned for an ordinal.
func NewPerson(view View, p *Profile, lists []uint32, env Env) *Person {
	one := &Person{view: view, env: env, ordinal: p.Ordinal, lists: lists, values: make([]personValue, 0, len(p.Values)+1)}
	one.values = append(one.values, personValue{schema.KeyAttr, schema.StringValue(p.Key)})
	rest := p.Values // in the schema's order
	for i := range view.Schema().Attributes {
		if a := &view.Schema().Attributes[i]; len(rest) > 0 && rest[0].Name == a.Name {
			one.values = append(one.values, personValue{a.ID, rest[0].Value})
			rest = rest[1:]
		}
	}
	slices.SortFunc(one.values, func(a, b personValue) int { return cmp.Compare(a.attr, b.attr) })
	return one
}

// Learn adds what analyses lend of the person, which the view must have.
func (p *Person) Learn(lent []schema.AttrID) error {
	cur := p.view.Cursor()
	defer cur.Close()
	for _, id := range lent {
		at, known := slices.BinarySearchFunc(p.values, id, func(v personValue, id schema.AttrID) int { return cmp.Compare(v.attr, id) })
		a := p.view.Schema().ByID(id)
		if known || a == nil {
			continue
		}
		var v [1]schema.Value
		r := valueReader{view: p.view, attr: *a}
		if err := r.read(cur, int(p.ordinal>>bitmap.ChunkBits), []uint16{uint16(p.ordinal)}, v[:], 1); err != nil {
			return err
		}
		p.values = slices.Insert(p.values, at, personValue{id, v[0]})
	}
	return nil
}

// value returns the value of an attribute, which is absent if there is none.
func (p *Person) value(id schema.AttrID) *schema.Value {
	lo, hi := 0, len(p.values) // the first that is not before id
	for lo < hi {
		if mid := (lo + hi) / 2; p.values[mid].attr < id {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(p.values) || p.values[lo].attr != id {
		return &p.none
	}
	return &p.values[lo].value
}

// Move asks from now on about another instant. The values stay those of the view.
func (p *Person) Move(now time.Time) {
	p.env.Now = now
	if p.work != nil {
		p.work.env = p.env
	}
}

// BytesRead is how many stored or cached bytes have been looked at so far.
func (p *Person) BytesRead() uint64 { return p.read }

// Is evaluates a tree.
func (p *Person) Is(ctx context.Context, n Node) (Truth, error) {
	switch n := n.(type) {
	case *Const:
		return n.Value, nil
	case *And:
		return p.all(ctx, n.Of, False)
	case *Or:
		return p.all(ctx, n.Of, True)
	case *Not:
		t, err := p.Is(ctx, n.Of)
		return negated(t), err
	case *Segment:
		return p.Is(ctx, n.Of)
	case *If:
		switch t, err := p.Is(ctx, n.Cond); {
		case err != nil || t == Unknown:
			return Unknown, err
		case t == True:
			return p.Is(ctx, n.Then)
		}
		return p.Is(ctx, n.Else)
	case *Compare, *Any, *Sequence, *OneIs, *AverageIs:
		return p.evaluate(ctx, n)
	case *Residual:
		if len(n.Events) > 0 {
			return p.evaluate(ctx, n)
		}
		values := make([]schema.Value, len(n.Attrs))
		for i, a := range n.Attrs {
			values[i] = p.Value(a)
		}
		t, failed := n.Eval(values, nil, p.env)
		if failed {
			t = Unknown
		}
		return t, nil
	}
	return p.test(n)
}

func negated(t Truth) Truth {
	switch t {
	case True:
		return False
	case False:
		return True
	}
	return Unknown
}

// all is "and" where one False decides, "or" where one True does.
func (p *Person) all(ctx context.Context, of []Node, decides Truth) (Truth, error) {
	out := negated(decides)
	for _, n := range of {
		t, err := p.Is(ctx, n)
		if err != nil || t == decides {
			return t, err
		}
		if t == Unknown {
			out = Unknown
		}
	}
	return out, nil
}

// Value returns the value of an attribute, the zero Value if it is absent; a set is never
// absent. That of schema.ListsAttr is the names of the lists.
func (p *Person) Value(id schema.AttrID) schema.Value {
	if id == schema.ListsAttr {
		var in []string
		for _, code := range p.lists {
			if name, ok := p.view.Text(id, code); ok {
				in = append(in, name)
			}
		}
		return schema.SetValue(in...)
	}
	v := p.value(id)
	if v.IsAbsent() {
		if a := p.view.Schema().ByID(id); a != nil && a.Kind == schema.Set {
			return schema.SetValue()
		}
	}
	return *v
}

func truth(b bool) Truth {
	if b {
		return True
	}
	return False
}

func (p *Person) test(n Node) (Truth, error) {
	switch n := n.(type) {
	case *InList:
		return truth(slices.Contains(p.lists, n.Code)), nil
	case *Has:
		v := p.value(n.Attr)
		return truth(!v.IsAbsent() && (v.Kind() != schema.Set || len(v.Elements()) > 0)), nil
	case *SetHas:
		return truth(hasElements(p.value(n.Attr).Elements(), n)), nil
	case *In:
		v := p.value(n.Attr)
		if v.IsAbsent() {
			return Unknown, nil
		}
		for i := range n.Values {
			if v.Equal(n.Values[i]) {
				return True, nil
			}
		}
		return False, nil
	case *Range:
		v := p.value(n.Attr)
		if v.IsAbsent() {
			return Unknown, nil
		}
		return truth(n.Lo <= v.Ordered() && v.Ordered() <= n.Hi), nil
	case *Match:
		v := p.value(n.Attr)
		if v.IsAbsent() {
			return Unknown, nil
		}
		return matchText(n, v.Str())
	}
	return Unknown, Errorf(CodeInternal, "no test of one profile for %T", n)
}

// hasElements reports whether sorted elements have any, or all, of a test's values.
func hasElements(elements []string, n *SetHas) bool {
	for _, v := range n.Values {
		if _, ok := slices.BinarySearch(elements, v); ok != n.All {
			return !n.All
		}
	}
	return n.All
}

func matchText(n *Match, s string) (Truth, error) {
	switch n.Op {
	case StartsWith:
		return truth(strings.HasPrefix(s, n.Text)), nil
	case EndsWith:
		return truth(strings.HasSuffix(s, n.Text)), nil
	case Contains:
		return truth(strings.Contains(s, n.Text)), nil
	case Less:
		return truth(s < n.Text), nil
	case LessEqual:
		return truth(s <= n.Text), nil
	case Greater:
		return truth(s > n.Text), nil
	case GreaterEqual:
		return truth(s >= n.Text), nil
	}
	re, err := regexp.Compile(n.Text)
	if err != nil {
		return Unknown, Errorf(CodeSyntax, "regular expression: %w", err)
	}
	return truth(re.MatchString(s)), nil
}

// evaluate has arithmetic and events done where they are defined: by the evaluator, for
// this one profile.
func (p *Person) evaluate(ctx context.Context, n Node) (Truth, error) {
	v, err := p.Judge(ctx, n)
	return v.Truth, err
}

// Judge evaluates a tree by the evaluator that counts, all of it, and tells an error from
// what is merely unknown. The worker's buffers serve all trees.
func (p *Person) Judge(ctx context.Context, n Node) (Verdict, error) {
	prepared, err := Prepare(ctx, n, p.view)
	if err != nil {
		return Verdict{}, err
	}
	w, within, err := p.begin(len(prepared.ops))
	defer p.end()
	if err != nil {
		return Verdict{}, err
	}
	if w.found, err = prepared.lookUp(ctx, p.view); err != nil {
		return Verdict{}, err
	}
	r, err := w.eval(ctx, prepared.root, within)
	ord := uint16(p.ordinal)
	switch {
	case err != nil:
		return Verdict{}, err
	case r.yes.Contains(ord):
		return Verdict{Truth: True}, nil
	case !r.exact && r.maybe.Contains(ord):
		return Verdict{Truth: Unknown, Failed: r.fail.Contains(ord)}, nil
	}
	return Verdict{}, nil
}

// begin makes the worker ready for an expression of some nodes; within is the profile.
func (p *Person) begin(nodes int) (w *worker, within *bitmap.Set, err error) {
	if p.work == nil {
		p.work = &worker{view: p.view, env: p.env}
	}
	w = p.work
	w.cur, w.stats = p.view.Cursor(), make([]nodeStats, nodes)
	return w, &bitmap.Set{Form: bitmap.Sparse, Array: []uint16{uint16(p.ordinal)}}, w.begin(int(p.ordinal >> bitmap.ChunkBits))
}

func (p *Person) end() {
	p.read += p.work.cur.BytesRead()
	p.work.forget()
}

// Work works out a formula.
func (p *Person) Work(ctx context.Context, f *Formula) (schema.Value, error) {
	one := *f
	one.Plan = nil // of one person the interpreter tells as soon
	r, err := newFieldReader(ctx, p.view, &Field{Formula: &one})
	if err != nil {
		return schema.Value{}, err
	}
	w, _, err := p.begin(0)
	defer p.end()
	if err != nil {
		return schema.Value{}, err
	}
	var v [1]schema.Value
	err = r.read(ctx, w, []uint16{uint16(p.ordinal)}, v[:], 1)
	return v[0], err
}

// forget ends the worker's cursor and drops what belongs to one expression.
func (w *worker) forget() {
	w.cur.Close()
	clear(w.inputs)
	if w.events != nil {
		clear(w.events.lists)
		clear(w.events.folds)
	}
}

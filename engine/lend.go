package engine

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// maxLendings bounds the instants for which a snapshot keeps what analyses lend, 4 bytes a
// person and definition: a question that compares two instants asks both again and again.
const maxLendings = 4

// lendings are what analyses lend to a snapshot's questions, by their instant.
type lendings struct {
	mu  sync.Mutex
	all []*lending // the last asked comes last
}

// lending is what is lent to the questions of one instant. Nothing of it can be stale: the
// snapshot stands still, and another instant has another one.
type lending struct {
	now   int64
	past  bool        // attributes with history are read as they were
	of    *view.State // without what is lent
	state *view.State
	mu    sync.Mutex // of loans and columns
	loans map[string]*loan
	free  []func()
	gone  bool // nobody will ask for it again
}

// loan is what one definition lends.
type loan struct {
	turn    chan struct{} // holds one: who works it out
	done    bool
	current []string // what it read of the past as it is now
}

// lending returns what is lent to questions about an instant, and the state that they read.
func (n *snapshot) lending(s *view.State, now int64, past bool) (*lending, *view.State) {
	n.lendings.mu.Lock()
	defer n.lendings.mu.Unlock()
	all := &n.lendings.all
	for i, l := range *all {
		if l.now == now && l.past == past {
			*all = append(slices.Delete(*all, i, i+1), l)
			if l.of != s { // the past that it was made of has been forgotten
				l.read(s, l.state.Lent)
			}
			return l, l.state
		}
	}
	if len(*all) == maxLendings {
		(*all)[0].forget()
		*all = slices.Delete(*all, 0, 1)
	}
	l := &lending{now: now, past: past, loans: map[string]*loan{}}
	l.read(s, new(view.Lent))
	*all = append(*all, l)
	return l, l.state
}

// read makes a state the one that is read, with what is lent.
func (l *lending) read(s *view.State, lent *view.Lent) {
	state := *s
	state.Lent = lent
	l.of, l.state = s, &state
}

func (l *lendings) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range l.all {
		one.forget()
	}
	l.all = nil
}

// forget gives the memory back to the budget; who still reads it keeps it alive.
func (l *lending) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, free := range l.free {
		free()
	}
	l.free, l.gone = nil, true
}

// loan returns the loan of a definition, held by the caller until it gives the turn back.
func (l *lending) loan(ctx context.Context, key string) (*loan, error) {
	l.mu.Lock()
	one := l.loans[key]
	if one == nil {
		one = &loan{turn: make(chan struct{}, 1)}
		l.loans[key] = one
	}
	l.mu.Unlock()
	select {
	case one.turn <- struct{}{}:
		return one, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// reading is what a question reads: a state at an instant, and what analyses lend to it.
type reading struct {
	n       *snapshot
	o       *query.Options // as they were asked with
	options query.Options  // with the instant and how many work
	memory  *base.Quota    // what it may take, with all that it has worked out
	view    view.View
	lending *lending // nil: no definition is saved
	current []string // names of what was read of the past as it is now
	lent    []query.LentCost
	within  []string // definitions that are being worked out by it
	outer   *reading // for which it reads; nil: it is that of a question
}

// read begins to read for a question.
func (n *snapshot) read(o *query.Options) *reading { return n.readAt(o, n.db.now(o)) }

// readAt is read at an instant that has been told.
func (n *snapshot) readAt(o *query.Options, now time.Time) *reading {
	r := &reading{n: n, o: o}
	if o != nil {
		r.options = *o
	}
	r.memory = n.db.cache.Question(r.options.Memory)
	if r.options.Parallelism == 0 {
		r.options.Parallelism = n.db.opt.Parallelism
	}
	r.options.Now = now
	r.view = n.view(o)
	r.view.Memory = r.memory
	if len(n.s.Schema.Lent) > 0 {
		r.lending, r.view.S = n.lending(r.view.S, r.options.Now.UnixMilli(), r.view.S.Past != nil)
	}
	return r
}

func (r *reading) env() query.Env { return query.Env{Now: r.options.Now} }

// at reads for the same question at another instant.
func (r *reading) at(now time.Time) *reading {
	o := r.options
	o.Now = now
	at := r.n.read(&o)
	at.within, at.outer = r.within, r
	at.takeFrom(r.memory)
	return at
}

// takeFrom makes it part of another question, as far as memory is concerned.
func (r *reading) takeFrom(memory *base.Quota) { r.memory, r.view.Memory = memory, memory }

// uses sees to it that what analyses lend is there, as far as something reads it, and notes
// what else it reads of the past as it is now.
func (r *reading) uses(ctx context.Context, used query.Uses) error {
	r.note(r.n.current(r.o, used))
	for _, id := range used.Attributes {
		by := r.view.S.Schema.LentBy(id)
		if by == nil {
			continue
		}
		if by.Analysis == schema.LentSegment {
			if err := r.lendSegment(ctx, by); err != nil {
				return err
			}
			continue
		}
		key := by.String()
		if slices.Contains(r.within, key) {
			return query.Errorf(query.CodeInternal, "%s needs itself", key)
		}
		if err := r.lend(ctx, r.n.s.definitions[key], key); err != nil {
			return err
		}
	}
	return nil
}

// usesOf is uses of what is asked about one person, who learns what is lent.
func (r *reading) usesOf(ctx context.Context, who *query.Person, used query.Uses) error {
	if r.lending == nil {
		return nil
	}
	var lent []schema.AttrID
	for _, id := range used.Attributes {
		if id >= schema.FirstLent {
			lent = append(lent, id)
		}
	}
	used.Attributes, used.Lists = lent, nil // of the rest the caller tells
	if err := r.uses(ctx, used); err != nil {
		return err
	}
	return who.Learn(lent)
}

// lentTo returns what all definitions say of a person.
func (n *snapshot) lentTo(ctx context.Context, r *reading, who *query.Person) (out []query.AttributeValue, err error) {
	for i := range n.s.Schema.Lent {
		if n.s.Schema.Lent[i].Analysis == schema.LentSegment {
			continue // it is among the segments
		}
		for _, f := range n.s.Schema.Lent[i].Fields {
			if err := r.usesOf(ctx, who, query.Uses{Attributes: []schema.AttrID{f.ID}}); err != nil {
				return nil, err
			}
			if v := who.Value(f.ID); !v.IsAbsent() {
				out = append(out, query.AttributeValue{Name: f.Name, Value: v})
			}
		}
	}
	return out, nil
}

// note adds names of what is read as it is now.
func (r *reading) note(names []string) {
	for ; r != nil; r = r.outer {
		r.current = union(r.current, names)
	}
}

// union returns the names that are in either, in order.
func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// lend works out what a definition lends, if nobody has.
func (r *reading) lend(ctx context.Context, d *definition, key string) error {
	one, err := r.lending.loan(ctx, key)
	if err != nil {
		return err
	}
	defer func() { <-one.turn }()
	if !one.done {
		inner := &reading{n: r.n, o: r.o, options: r.options, memory: r.memory, view: r.view, lending: r.lending, within: append(slices.Clip(r.within), key), outer: r}
		if err := inner.workOut(ctx, d); err != nil {
			return err
		}
		one.done, one.current = true, inner.current
	}
	r.note(one.current)
	return nil
}

// workOut runs a definition's analysis and adds its columns. The memory of the run is given
// back at its end, that of the columns with the lending.
func (r *reading) workOut(ctx context.Context, d *definition) (err error) {
	start := time.Now()
	kept, err := r.memory.Reserve(int64(len(d.lent.Fields)*r.view.Chunks())*query.LentBytes, d.lent.String())
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			kept()
		}
	}()
	working, err := r.memory.Reserve(r.n.workingMemory(r.options.Parallelism), d.lent.String())
	if err != nil {
		return err
	}
	defer working()
	expr, err := r.n.plans.compile(everybody(d.Who), r.n.s, r.env())
	if err != nil {
		return err
	}
	if err := r.uses(ctx, query.UsesOf(expr.Root)); err != nil {
		return err
	}
	p, err := query.Prepare(ctx, expr.Root, r.view)
	if err != nil {
		return err
	}
	s, free := r.study(ctx, p, d.Who, d.lent.String())
	defer free()
	columns, to, err := r.columns(d)
	if err != nil {
		return err
	}
	answer, err := d.by.Lend(ctx, s, d.args, to)
	if err != nil {
		return err
	}
	r.lending.add(r.view.S.Lent, columns, kept)
	cost := query.LentCost{Name: d.lent.String(), People: to[0].People(), BytesRead: answer.BytesRead, Elapsed: time.Since(start)}
	for o := r.outer; o != nil; o = o.outer {
		o.lent = append(o.lent, cost)
	}
	return nil
}

// columns makes the columns of a definition, of nobody, in the order of its fields too.
func (r *reading) columns(d *definition) (map[schema.AttrID]*query.LentValues, []*query.LentValues, error) {
	fields, err := d.by.Fields(d.args)
	if err != nil {
		return nil, nil, err
	}
	lent := r.view.S.Schema.LookupLent(d.Analysis, d.Name)
	columns, all := map[schema.AttrID]*query.LentValues{}, make([]*query.LentValues, len(fields))
	for i := range fields {
		all[i] = query.NewLentValues(&fields[i], r.view.Chunks())
		columns[lent.Fields[i].ID] = all[i]
	}
	return columns, all, nil
}

// add adds columns, whose memory goes with the lending.
func (l *lending) add(to *view.Lent, columns map[schema.AttrID]*query.LentValues, free func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	to.Add(columns)
	if l.gone {
		free()
	} else {
		l.free = append(l.free, free)
	}
}

// study makes a study of the people of an expression, p is that prepared; what names it in
// errors. Call free when what it keeps may go.
func (r *reading) study(ctx context.Context, p *query.Prepared, who, what string) (s *query.Study, free func()) {
	s = query.NewStudy(ctx, r.view, p, r.compiler(ctx, who), r.options)
	var kept []func()
	s.Reserve = func(bytes int64) error {
		f, err := r.memory.Reserve(bytes, what)
		if err == nil {
			kept = append(kept, f)
		}
		return err
	}
	return s, func() {
		for _, f := range slices.Backward(kept) {
			f()
		}
	}
}

// compiler returns what reads the texts of an analysis.
func (r *reading) compiler(ctx context.Context, who string) *studyCompiler {
	return &studyCompiler{compiler: r.n.plans.compiler, cat: r.n.s.catalog(), env: r.env(), who: everybody(who),
		reads: func(used query.Uses) error { return r.uses(ctx, used) },
		at: func(now time.Time) (query.StudyCompiler, query.View) {
			at := r.at(now)
			return at.compiler(ctx, who), at.view
		}}
}

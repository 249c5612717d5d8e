package engine

import (
	"context"
	"slices"
	"time"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/analysis"
)

// Analyze runs an analysis of package query/analysis over the people of an expression; "" is
// everybody.
func (db *DB) Analyze(ctx context.Context, name, who string, args query.Arguments, o *query.Options) (query.Report, error) {
	return with(ctx, db, func(n *snapshot) (query.Report, error) { return n.Analyze(ctx, name, who, args, o) })
}

// AnalysisMembers lists the people of a cell of a report, as [DB.Members] does those of an
// expression.
func (db *DB) AnalysisMembers(ctx context.Context, name, who string, args query.Arguments, cell string, o *query.MembersOptions) (query.Members, error) {
	return db.listing(ctx, func(n *snapshot) (query.Members, error) { return n.AnalysisMembers(ctx, name, who, args, cell, o) })
}

// Analyze runs an analysis.
func (n *snapshot) Analyze(ctx context.Context, name, who string, args query.Arguments, o *query.Options) (query.Report, error) {
	q, release, err := n.askWho(ctx, who, o)
	if err != nil {
		return query.Report{}, err
	}
	defer release()
	r, _, free, err := n.analyze(ctx, q, &studyCompiler{n: n, q: q, o: o, who: who}, name, args, "")
	defer free()
	q.fill(&r.Answer)
	return r, err
}

// AnalysisMembers lists the people of a cell.
func (n *snapshot) AnalysisMembers(ctx context.Context, name, who string, args query.Arguments, cell string, o *query.MembersOptions) (query.Members, error) {
	if o == nil {
		o = &query.MembersOptions{}
	}
	if cell == "" {
		return query.Members{}, query.Errorf(query.CodeInvalid, "the people of which cell?")
	}
	q, release, err := n.askWho(ctx, who, &o.Options)
	if err != nil {
		return query.Members{}, err
	}
	defer release()
	r, study, free, err := n.analyze(ctx, q, &studyCompiler{n: n, q: q, o: &o.Options, who: who}, name, args, cell)
	defer free()
	if err != nil {
		return query.Members{}, err
	}
	return n.list(q, o, func(fields []query.Field, order *query.Field, o query.MembersOptions) (query.Members, error) {
		return study.MembersOf(ctx, r.Answer, fields, order, o, n.use)
	})
}

func (n *snapshot) askWho(ctx context.Context, who string, o *query.Options) (*question, func(), error) {
	return n.ask(ctx, everybody(who), o)
}

func everybody(who string) string {
	if who == "" {
		return "true"
	}
	return who
}

// analyze runs an analysis for a question, and returns what frees the memory that it keeps.
func (n *snapshot) analyze(ctx context.Context, q *question, c *studyCompiler, name string, args query.Arguments, cell string) (query.Report, *query.Study, func(), error) {
	var kept []func()
	free := func() {
		for _, f := range slices.Backward(kept) {
			f()
		}
	}
	a, err := analysis.Lookup(name)
	if err == nil {
		args, err = analysis.Check(a, args)
	}
	if err != nil {
		return query.Report{}, nil, free, err
	}
	c.env.Now = q.options.Now
	s := query.NewStudy(ctx, q.view, q.p, c, q.options)
	s.Reserve = func(bytes int64) error {
		f, err := n.db.cache.Reserve(bytes, "the "+name)
		if err == nil {
			kept = append(kept, f)
		}
		return err
	}
	if cell != "" {
		s.Collect(cell)
	}
	r, err := a.Run(ctx, s, args)
	return r, s, free, err
}

// studyCompiler reads the texts of an analysis at a question's now, and notes what they read
// as it is now.
type studyCompiler struct {
	n   *snapshot
	q   *question
	o   *query.Options // as they were asked with
	who string
	env query.Env
}

// List implements [query.StudyCompiler].
func (c *studyCompiler) List(text string) (*query.Events, error) {
	return c.n.db.compiler.List(text, c.n.s.catalog(), c.env)
}

// Node implements [query.StudyCompiler].
func (c *studyCompiler) Node(text string) (query.Node, error) {
	e, err := c.n.db.compile(text, c.n.s, c.env)
	if err != nil {
		return nil, err
	}
	c.q.alsoCurrent(c.n.current(c.o, query.UsesOf(e.Root)))
	return e.Root, nil
}

// Field implements [query.StudyCompiler].
func (c *studyCompiler) Field(text string) (query.Field, error) {
	f, err := c.field(text)
	if err == nil {
		c.q.alsoCurrent(c.n.current(c.o, query.UsesOfFields(f)))
	}
	return f, err
}

func (c *studyCompiler) field(text string) (query.Field, error) {
	if c.n.s.Schema.Lookup(text) != nil || c.n.s.Schema.LookupComputed(text) != nil {
		return c.n.field(text, c.env)
	}
	v, err := c.n.db.compiler.Value(&schema.Computed{Name: text, Text: text}, c.n.s.catalog(), c.env)
	if err != nil {
		return query.Field{}, err
	}
	return query.Computed(v.Attribute, &v.Formula), nil
}

// Fold implements [query.StudyCompiler].
func (c *studyCompiler) Fold(list, of string) (*query.Fold, error) {
	return c.n.db.compiler.Fold(list, of, c.n.s.catalog(), c.env)
}

// Who implements [query.StudyCompiler].
func (c *studyCompiler) Who() (query.Node, error) { return c.Node(everybody(c.who)) }

// At implements [query.StudyCompiler].
func (c *studyCompiler) At(now time.Time) (query.StudyCompiler, query.View) {
	at := *c
	o := c.q.options
	o.Now = now
	at.o, at.env.Now = &o, now
	return &at, c.n.view(&o)
}

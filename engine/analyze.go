package engine

import (
	"context"

	"golang.org/x/text/unicode/norm"

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
	if err := n.showsTables(); err != nil {
		return query.Report{}, err
	}
	q, release, err := n.askWho(ctx, who, o)
	if err != nil {
		return query.Report{}, err
	}
	defer release()
	r, _, free, err := n.analyze(ctx, q, who, name, args, "")
	defer free()
	q.fill(&r.Answer)
	return r, err
}

// AnalysisMembers lists the people of a cell.
func (n *snapshot) AnalysisMembers(ctx context.Context, name, who string, args query.Arguments, cell string, o *query.MembersOptions) (query.Members, error) {
	if o == nil {
		o = &query.MembersOptions{}
	}
	if err := n.showsPeople(); err != nil {
		return query.Members{}, err
	}
	if cell == "" {
		return query.Members{}, query.Errorf(query.CodeInvalid, "the people of which cell?")
	}
	q, release, err := n.askWho(ctx, who, &o.Options)
	if err != nil {
		return query.Members{}, err
	}
	defer release()
	r, study, free, err := n.analyze(ctx, q, who, name, args, cell)
	defer free()
	if err != nil {
		return query.Members{}, err
	}
	return n.list(ctx, q, o, func(fields []query.Field, order *query.Field, o query.MembersOptions) (query.Members, error) {
		return study.MembersOf(ctx, n.shown(q.view), r.Answer, fields, order, o, n.use)
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
func (n *snapshot) analyze(ctx context.Context, q *question, who, name string, args query.Arguments, cell string) (query.Report, *query.Study, func(), error) {
	a, err := analysis.Lookup(name)
	if err == nil {
		args, err = analysis.Check(a, args)
	}
	if err != nil {
		return query.Report{}, nil, func() {}, err
	}
	s, free := q.study(ctx, q.p, who, "the "+name)
	if cell != "" {
		s.Collect(norm.NFC.String(cell))
	}
	r, err := a.Run(ctx, s, args)
	return r, s, free, err
}

package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/analysis"
	"github.com/kantadb/kanta/query/syntax"
)

// maxDefinitions bounds the saved analyses: the texts of all are compiled at each change of
// the schema, a segment or a list, a millisecond each.
const maxDefinitions = 200

// definition is a saved analysis. Its name in expressions, rfm("orders"), is its key in maps.
type definition struct {
	batch.Definition
	saved query.Position
	lent  schema.Lent     // what it lends
	args  query.Arguments // with defaults
	by    *query.Lender
}

// newDefinition looks at what can be told without a store.
func newDefinition(of *batch.Definition, saved query.Position) (*definition, error) {
	a, err := analysis.Lookup(of.Analysis)
	if err != nil {
		return nil, err
	}
	if a.Lends == nil {
		return nil, query.Errorf(query.CodeInvalid, "the analysis %s says nothing of single people that an expression could name", a.Name)
	}
	d := &definition{Definition: *of, saved: saved, by: a.Lends, lent: schema.Lent{Analysis: of.Analysis, Name: of.Name}}
	if d.args, err = analysis.Check(a, of.Arguments); err != nil {
		return nil, err
	}
	fields, err := d.by.Fields(d.args)
	if err != nil {
		return nil, err
	}
	for _, f := range fields {
		one := schema.LentField{Field: f.Field, Attribute: schema.Attribute{Kind: schema.Int}}
		if f.Texts != nil {
			one.Kind, one.Storage = schema.String, schema.StorageDictionary
		}
		d.lent.Fields = append(d.lent.Fields, one)
	}
	return d, nil
}

// lentBy returns what definitions lend.
func lentBy(all map[string]*definition) (out []schema.Lent) {
	for _, key := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[key].lent)
	}
	return out
}

// reads compiles all texts of a definition over a catalog, as a run of it does, and returns
// what they read of people.
func (d *definition) reads(ctx context.Context, compiler *syntax.Compiler, v query.View, cat *catalog, env query.Env) (used query.Uses, err error) {
	err = d.compile(ctx, v, &studyCompiler{compiler: compiler, cat: cat, env: env, who: everybody(d.Who), reads: func(u query.Uses) error {
		used.Attributes, used.Lists = append(used.Attributes, u.Attributes...), append(used.Lists, u.Lists...)
		return nil
	}})
	return used, err
}

// touched is reads of everything that a policy can hide.
func (d *definition) touched(ctx context.Context, compiler *syntax.Compiler, v query.View, cat *catalog, env query.Env) (all syntax.Touched, err error) {
	err = d.compile(ctx, v, &studyCompiler{compiler: compiler, cat: cat, env: env, who: everybody(d.Who), reads: func(query.Uses) error { return nil }, touches: all.Add})
	return all, err
}

// compile compiles all texts.
func (d *definition) compile(ctx context.Context, v query.View, c *studyCompiler) error {
	c.at = func(now time.Time) (query.StudyCompiler, query.View) {
		at := *c
		at.env.Now = now
		return &at, v
	}
	if _, err := c.Who(); err != nil {
		return err
	}
	return d.by.Check(query.NewStudy(ctx, v, nil, c, query.Options{Now: c.env.Now}), d.args)
}

// Definitions lists the saved analyses, by analysis and name.
func (db *DB) Definitions(ctx context.Context) ([]query.SavedDefinition, error) {
	return with(ctx, db, func(n *snapshot) ([]query.SavedDefinition, error) { return n.Definitions(ctx) })
}

// Definitions lists the saved analyses, by analysis and name.
func (n *snapshot) Definitions(ctx context.Context) ([]query.SavedDefinition, error) {
	release, err := n.use()
	if err != nil {
		return nil, err
	}
	defer release()
	users, err := n.definitionUsers(ctx)
	if err != nil {
		return nil, err
	}
	var out []query.SavedDefinition
	for _, key := range slices.Sorted(maps.Keys(n.s.definitions)) {
		d := n.s.definitions[key]
		e := query.SavedDefinition{Analysis: d.Analysis, Name: d.Name, Who: d.Who, Arguments: d.Arguments, Saved: d.saved, UsedBy: users[key]}
		for _, f := range n.s.Schema.LookupLent(d.Analysis, d.Name).Fields {
			e.Fields = append(e.Fields, f.Name)
		}
		out = append(out, e)
	}
	return out, nil
}

// definitionUsers tells what names each definition, be it through segments and computed
// attributes.
func (n *snapshot) definitionUsers(ctx context.Context) (users map[string][]string, err error) {
	users = map[string][]string{}
	if len(n.s.definitions) == 0 {
		return users, nil
	}
	add := func(what string, used query.Uses) {
		for _, id := range used.Attributes {
			if by := n.s.Schema.LentBy(id); by != nil && !slices.Contains(users[by.String()], what) {
				users[by.String()] = append(users[by.String()], what)
			}
		}
	}
	env := query.Env{Now: n.db.now(nil)}
	for _, key := range slices.Sorted(maps.Keys(n.s.definitions)) {
		used, err := n.s.definitions[key].reads(ctx, n.plans.compiler, view.View{S: &n.s.State}, n.s.catalog(), env)
		if err != nil {
			return nil, fmt.Errorf("definition %s: %w", key, err)
		}
		add("definition "+key, used)
	}
	computed, err := n.plans.compileComputed(n.s, env)
	if err != nil {
		return nil, err
	}
	for _, c := range computed {
		add(fmt.Sprintf("computed attribute %q", c.Attribute.Name), query.UsesOfFields(query.Field{Formula: &c.Formula}))
	}
	segments, err := n.plans.compileSegments(n.s, env)
	if err != nil {
		return nil, err
	}
	for _, s := range segments.list {
		add(fmt.Sprintf("segment %q", s.name), s.expr.Reads())
	}
	return users, nil
}

// isLent reports whether the name of a column is an expression of what an analysis lends.
func (n *snapshot) isLent(name string) bool {
	call, _, ok := strings.Cut(name, "(")
	return ok && n.s.Schema.Lookup(name) == nil && n.s.Schema.LookupComputed(name) == nil && slices.Contains(lenders(), call)
}

// lenders are the analyses that lend to expressions.
func lenders() (names []string) {
	for _, a := range analysis.All {
		if a.Lends != nil {
			names = append(names, a.Name)
		}
	}
	return names
}

func appendDefinition(dst []byte, d *definition) []byte {
	return d.AppendArguments(appendPosition(dst, d.saved))
}

// readDefinition is the inverse of appendDefinition.
func readDefinition(analysis, name string, b []byte) (*definition, error) {
	r := kv.Reader{B: b}
	saved := takePosition(&r)
	if err := damaged(&r, "a definition"); err != nil {
		return nil, err
	}
	of := &batch.Definition{Analysis: analysis, Name: name}
	if err := of.ReadArguments(r.B); err != nil {
		return nil, err
	}
	d, err := newDefinition(of, saved)
	if err != nil { // it was taken when it was saved
		return nil, &query.Error{Code: query.CodeNewerFormat, Message: fmt.Sprintf("%s(%q) is not known to this version: %v", analysis, name, err), Err: err}
	}
	return d, nil
}

func (d *decider) saveDefinition(op *batch.Op) error {
	def, err := newDefinition(op.Definition, d.w.nextPosition())
	if err != nil {
		return fmt.Errorf("%s definition %q: %w", op.Definition.Analysis, op.Definition.Name, err)
	}
	key := def.lent.String()
	if d.w.definitions[key] == nil && len(d.w.definitions) >= maxDefinitions {
		return query.Errorf(query.CodeLimit, "there are %d definitions of analyses, the most there can be", maxDefinitions)
	}
	d.setDefinition(definitionChange{definition: def})
	cat := &catalog{d.w.schema, d.w.segments, d.w.lists}
	if _, err := def.reads(d.ctx, d.w.db.compiler, d.w.view(), cat, d.env()); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if what, err := d.broken(cat); err != nil { // whoever uses it must still compile
		return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("with this definition the %s would not compile: %v", what, err), Err: err}
	}
	return nil
}

func (d *decider) dropDefinition(op *batch.Op) error {
	gone := schema.Lent{Analysis: op.Definition.Analysis, Name: op.Definition.Name}
	def := d.w.definitions[gone.String()]
	if def == nil {
		return query.Errorf(query.CodeUnknownName, "there is no %s definition %q", gone.Analysis, gone.Name)
	}
	d.setDefinition(definitionChange{def, true})
	return d.stillUsed(gone.Analysis+" definition", gone.Name)
}

// definitionChange is what a batch does to a definition.
type definitionChange struct {
	*definition
	dropped bool
}

// setDefinition changes a definition, and what the schema has of all.
func (d *decider) setDefinition(c definitionChange) {
	d.w.definitions = cloned(d.w.definitions)
	if d.out.meta.definitions == nil {
		d.out.meta.definitions = map[string]definitionChange{}
	}
	key := c.lent.String()
	d.out.meta.definitions[key] = c
	if c.dropped {
		delete(d.w.definitions, key)
	} else {
		d.w.definitions[key] = c.definition
	}
	d.w.adopt(d.w.schema)
}

// brokenDefinition finds a definition that does not compile with a catalog, or that is
// worked out by what it lends itself.
func (d *decider) brokenDefinition(cat *catalog) (what string, err error) {
	lends := map[string][]string{} // by whom each definition is read
	keys := slices.Sorted(maps.Keys(d.w.definitions))
	for _, key := range keys {
		used, err := d.w.definitions[key].reads(d.ctx, d.w.db.compiler, d.w.view(), cat, d.env())
		if err != nil {
			return "definition " + key, err
		}
		for _, id := range used.Attributes {
			if by := cat.schema.LentBy(id); by != nil {
				lends[key] = append(lends[key], by.String())
			}
		}
	}
	return circle(keys, lends)
}

// circle finds a definition that leads back to itself.
func circle(keys []string, to map[string][]string) (key string, err error) {
	known := map[string]bool{} // that it leads to no circle
	var visit func(way []string) error
	visit = func(way []string) error {
		last := way[len(way)-1]
		if at := slices.Index(way, last); at < len(way)-1 {
			return query.Errorf(query.CodeConflict, "definitions need each other in a circle: %s", strings.Join(way[at:], " -> "))
		}
		for _, next := range to[last] {
			if known[next] {
				continue
			}
			if err := visit(append(slices.Clip(way), next)); err != nil {
				return err
			}
		}
		known[last] = true
		return nil
	}
	for _, key := range keys {
		if err := visit([]string{key}); err != nil {
			return "definition " + key, err
		}
	}
	return "", nil
}

var _ query.StudyCompiler = (*studyCompiler)(nil)

// studyCompiler reads the texts of an analysis over a catalog at an instant.
type studyCompiler struct {
	compiler *syntax.Compiler
	cat      *catalog
	env      query.Env
	who      string // of whom the analysis is
	at       func(now time.Time) (query.StudyCompiler, query.View)
	reads    func(query.Uses) error // is told what each text reads of people
	touches  func(syntax.Touched)   // is told all that each text reads; nil: nobody wants to know
}

// List implements [query.StudyCompiler]. What has a plan reads no attributes.
func (c *studyCompiler) List(text string) (*query.Events, error) {
	if err := c.touch(text + ".any()"); err != nil {
		return nil, err
	}
	return c.compiler.List(text, c.cat, c.env)
}

// Node implements [query.StudyCompiler].
func (c *studyCompiler) Node(text string) (query.Node, error) {
	e, err := c.compiler.Compile(text, c.cat, c.env)
	if err != nil {
		return nil, err
	}
	if c.touches != nil {
		c.touches(e.Touched())
	}
	return e.Root, c.reads(e.Reads())
}

// touch tells what a text of any kind reads, if somebody wants to know.
func (c *studyCompiler) touch(text string) error {
	if c.touches == nil {
		return nil
	}
	v, err := c.compiler.Value(&schema.Computed{Name: text, Text: text}, c.cat, c.env)
	if err == nil {
		c.touches(v.Touched)
	}
	return err
}

// Field implements [query.StudyCompiler].
func (c *studyCompiler) Field(text string) (query.Field, error) {
	f, err := c.field(text)
	if err != nil {
		return f, err
	}
	return f, c.reads(query.UsesOfFields(f))
}

func (c *studyCompiler) field(text string) (query.Field, error) {
	if a := c.cat.schema.Lookup(text); a != nil {
		if c.touches != nil {
			c.touches(syntax.Touched{Attributes: []schema.AttrID{a.ID}})
		}
		return query.Field{Attribute: *a}, nil
	}
	x := c.cat.schema.LookupComputed(text)
	if x == nil {
		x = &schema.Computed{Name: text, Text: text}
	}
	v, err := c.compiler.Value(x, c.cat, c.env)
	if err != nil {
		return query.Field{}, err
	}
	if c.touches != nil {
		c.touches(v.Touched)
	}
	return fieldOf(c.cat.schema, v), nil
}

// fieldOf makes a field of a computed value; one that an analysis lends is read as an
// attribute is.
func fieldOf(s *schema.Schema, v *syntax.Value) query.Field {
	if v.Plan != nil {
		id := v.Plan.Attr
		if c, ok := v.Plan.Of.(*query.Column); ok {
			id = c.Attr
		}
		if id >= schema.FirstLent {
			return query.Field{Attribute: *s.ByID(id)}
		}
	}
	return query.Computed(v.Attribute, &v.Formula)
}

// Who implements [query.StudyCompiler].
func (c *studyCompiler) Who() (query.Node, error) { return c.Node(c.who) }

// At implements [query.StudyCompiler].
func (c *studyCompiler) At(now time.Time) (query.StudyCompiler, query.View) { return c.at(now) }

// Fold implements [query.StudyCompiler].
func (c *studyCompiler) Fold(list, of string) (*query.Fold, error) {
	if err := c.touch(list + ".sum(e, " + of + ")"); err != nil {
		return nil, err
	}
	return c.compiler.Fold(list, of, c.cat, c.env)
}

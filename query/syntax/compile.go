package syntax

import (
	"cmp"
	"fmt"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/checker"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Catalog is what names in an expression are looked up in. It must not change while
// Compile runs; a [schema.Schema] never does.
type Catalog interface {
	Schema() *schema.Schema
	Segment(name string) (text string, ok bool)
	List(name string) (code uint32, ok bool)
	SegmentNames() []string
	ListNames() []string
}

// Uses are the saved segments, lists and computed attributes that a text itself names, in
// the order of first use; what these name in turn is not among them.
type Uses struct {
	Segments, Lists, Computed []string
}

// Expr is a compiled expression: what a text means over one schema at one instant. It
// is immutable and safe for concurrent use.
type Expr struct {
	Text     string
	Root     query.Node
	Uses     Uses
	ReadsNow bool // now, today or events are read, also by a segment: Root holds for one Env only

	env      *environment
	src      *source
	checked  *ast.AST
	verbs    map[int64]*verb // what is said of events, by node
	segments map[string]*Expr
	names    map[int64][]string // the computed attributes that a node comes from, by node, the outermost first
	nodes    int                // of the tree, of segments and computed attributes, as often as they are named

	interpreted *interpreted
}

// interpreted is an expression as CEL's interpreter runs it, at any instant.
type interpreted struct {
	once sync.Once
	prog cel.Program
	err  error
}

// Compiler compiles texts. It keeps what depends on the schema alone, which takes
// longer than a compilation, for the schema seen last. It is safe for concurrent use;
// one per store is enough.
type Compiler struct {
	base *base
	err  error
	env  atomic.Pointer[environment]
}

// NewCompiler returns a compiler. Lenders are the analyses that lend to expressions, such as
// rfm; what they lend stands in the schema.
func NewCompiler(lenders ...string) *Compiler {
	b, err := newBase(lenders...)
	return &Compiler{base: b, err: err}
}

// Compile compiles a text with a compiler of its own; see [Compiler.Compile].
func Compile(text string, cat Catalog, env query.Env) (*Expr, error) {
	return NewCompiler().Compile(text, cat, env)
}

// Compile turns a text into a checked tree. env.Now is what now and today mean in
// Root. Every error is a [*query.Error] with one of the codes Syntax, UnknownName,
// Type, Limit, Conflict (segments or computed attributes that name each other in a circle)
// or Internal.
func (c *Compiler) Compile(text string, cat Catalog, env query.Env) (*Expr, error) {
	e, err := c.environment(cat.Schema())
	if err != nil {
		return nil, query.Errorf(query.CodeInternal, "expression environment: %w", err)
	}
	return c.compilation(e, cat, env).text(text)
}

func (c *Compiler) compilation(e *environment, cat Catalog, env query.Env) *compilation {
	return &compilation{base: c.base, env: e, cat: cat, now: env, done: map[string]*Expr{}, formulas: map[string]parsed{}}
}

func (c *Compiler) environment(s *schema.Schema) (*environment, error) {
	if c.err != nil {
		return nil, c.err
	}
	if e := c.env.Load(); e != nil && e.schema == s {
		return e, nil
	}
	e, err := newEnvironment(c.base, s)
	if err == nil {
		c.env.Store(e)
	}
	return e, err
}

// compilation is one call of Compile: the text and every segment it leads to.
type compilation struct {
	base  *base
	env   *environment
	cat   Catalog
	now   query.Env
	done  map[string]*Expr
	stack []reference // whose texts are being compiled

	formulas map[string]parsed // of computed attributes, by name
}

// text compiles what has to be true or false.
func (c *compilation) text(text string) (*Expr, error) {
	e, err := c.check(text, func(l *elaborator, root ast.Expr) ast.Expr {
		root, _ = l.expression(root)
		return root
	})
	if err != nil {
		return nil, err
	}
	if t := e.kind(); t != cel.BoolType {
		return nil, &query.Error{Code: query.CodeType, Message: fmt.Sprintf("the expression is of type %s, not true or false", typeName(t)),
			Hint: "compare it with something", Source: text, Span: e.src.span(e.checked.SourceInfo(), e.checked.Expr())}
	}
	if err := e.plan(c.cat, c.base.zones, c.now); err != nil {
		return nil, err
	}
	return e, nil
}

// plan makes the tree.
func (e *Expr) plan(cat Catalog, zones *zones, now query.Env) error {
	w := &walker{expr: e, cat: cat, zones: zones, now: now}
	w.windows()
	root := w.node(e.checked.Expr())
	if w.err != nil {
		return w.err
	}
	e.Root = simplify(root)
	return nil
}

// At returns what a compiled text means at another instant, over the same catalog: as
// Compile does, but without parsing and checking it again.
func (c *Compiler) At(e *Expr, cat Catalog, env query.Env) (*Expr, error) {
	return c.at(e, cat, env, map[*Expr]*Expr{})
}

func (c *Compiler) at(e *Expr, cat Catalog, env query.Env, done map[*Expr]*Expr) (*Expr, error) {
	if out := done[e]; out != nil || !e.ReadsNow {
		return cmp.Or(out, e), nil
	}
	out := *e
	out.verbs = make(map[int64]*verb, len(e.verbs))
	for id, v := range e.verbs {
		v := *v
		v.fixed = false
		out.verbs[id] = &v
	}
	out.segments = make(map[string]*Expr, len(e.segments))
	for name, s := range e.segments {
		var err error
		if out.segments[name], err = c.at(s, cat, env, done); err != nil {
			return nil, err
		}
	}
	done[e] = &out
	if err := out.plan(cat, c.base.zones, env); err != nil {
		return nil, err
	}
	return &out, nil
}

// kind returns the type of the whole expression.
func (e *Expr) kind() *cel.Type { return e.checked.GetType(e.checked.Expr().ID()) }

// notUTF8 returns where a text is not UTF-8, -1 if nowhere.
func notUTF8(text string) int {
	if utf8.ValidString(text) {
		return -1
	}
	for i, r := range text {
		if _, n := utf8.DecodeRuneInString(text[i:]); r == utf8.RuneError && n == 1 {
			return i
		}
	}
	return -1
}

// check makes the checked tree of a text; elaborate is given its parsed one.
func (c *compilation) check(text string, elaborate func(l *elaborator, root ast.Expr) ast.Expr) (*Expr, error) {
	if len(text) > MaxTextBytes {
		return nil, &query.Error{Code: query.CodeLimit, Hint: "put long lists of values into a named list (in_list)",
			Message: fmt.Sprintf("an expression has at most %d bytes, this one has %d", MaxTextBytes, len(text))}
	}
	if at := notUTF8(text); at >= 0 { // the parser would take another character for it, and find who has that
		return nil, &query.Error{Code: query.CodeSyntax, Message: fmt.Sprintf("the expression is not UTF-8: byte %d is %#02x", at+1, text[at]),
			Hint: "texts are stored in UTF-8 only", Source: text, Span: query.Span{Start: at, End: at + 1}}
	}
	p, err := c.parse(text)
	if err != nil {
		return nil, err
	}
	e := &Expr{Text: text, env: c.env, src: p.src, segments: map[string]*Expr{}, names: map[int64][]string{}, nodes: countNodes(p.tree.Expr()), interpreted: &interpreted{}}
	if err := e.checkNodes(reference{}, query.Span{Start: 0, End: len(text)}); err != nil {
		return nil, err
	}
	info := p.tree.SourceInfo()
	l := &elaborator{of: c, expr: e, fac: ast.NewExprFactory(), ast: info, src: p.src, sch: c.env.schema, cat: c.cat, zones: c.base.zones,
		next: ast.MaxID(p.tree), verbs: map[int64]*verb{}, times: map[int64]kind{}}
	root := elaborate(l, p.tree.Expr())
	if l.err != nil {
		return nil, l.err
	}
	checked, errs := checker.Check(ast.NewAST(root, info), common.NewTextSource(text), c.env.checker)
	if len(errs.GetErrors()) > 0 {
		return nil, typeError(p.src, checked, errs)
	}
	e.checked, e.Uses, e.ReadsNow, e.verbs = checked, l.uses, l.now, l.verbs
	return e, nil
}

// checkNodes refuses what has become too large; r is what was named last, if anything.
func (e *Expr) checkNodes(r reference, at query.Span) error {
	if e.nodes <= MaxNodes {
		return nil
	}
	with := ""
	if r.name != "" {
		with = " with " + r.String()
	}
	return &query.Error{Code: query.CodeLimit, Message: fmt.Sprintf("an expression has at most %d parts, segments and computed attributes included; this one has %d%s", MaxNodes, e.nodes, with),
		Hint: "put values into a named list (in_list)", Source: e.Text, Span: at}
}

func countNodes(e ast.Expr) int {
	n := 0
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(ast.Expr) { n++ }))
	return n
}

// inline compiles a segment that an expression names and adds it to the expression.
func (l *elaborator) inline(name string, at query.Span) {
	r := reference{name: name}
	s, err := l.of.segment(r)
	if err == nil {
		l.expr.segments[name] = s
		l.now = l.now || s.ReadsNow
		l.expr.nodes += s.nodes
		l.limit(r, at)
		return
	}
	l.refuse(r, err, at)
}

// limit checks the size after r has been added to it.
func (l *elaborator) limit(r reference, at query.Span) {
	if err := l.expr.checkNodes(r, at); err != nil && l.err == nil {
		l.err = err
	}
}

func segmentName(call ast.Expr) string {
	return fmt.Sprint(call.AsCall().Args()[1].AsLiteral().Value())
}

func (c *compilation) segment(r reference) (*Expr, error) {
	if e := c.done[r.name]; e != nil {
		return e, nil
	}
	if err := c.enter(r); err != nil {
		return nil, err
	}
	defer c.leave()
	text, ok := c.cat.Segment(r.name)
	if !ok {
		return nil, query.Errorf(query.CodeUnknownName, "there is no segment %q", r.name)
	}
	e, err := c.text(text)
	if err == nil {
		c.done[r.name] = e
	}
	return e, err
}

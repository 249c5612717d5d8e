package syntax

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

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

// Uses are the saved segments and lists that a text itself names, in the order of
// first use; what a segment names in turn is not among them.
type Uses struct {
	Segments, Lists []string
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
	nodes    int // of the tree and of all segments, as often as they are named

	once    sync.Once
	prog    cel.Program
	progErr error
}

// Compiler compiles texts. It keeps what depends on the schema alone, which takes
// longer than a compilation, for the schema seen last. It is safe for concurrent use;
// one per store is enough.
type Compiler struct {
	base *base
	err  error
	env  atomic.Pointer[environment]
}

// NewCompiler returns a compiler.
func NewCompiler() *Compiler {
	b, err := newBase()
	return &Compiler{base: b, err: err}
}

// Compile compiles a text with a compiler of its own; see [Compiler.Compile].
func Compile(text string, cat Catalog, env query.Env) (*Expr, error) {
	return NewCompiler().Compile(text, cat, env)
}

// Compile turns a text into a checked tree. env.Now is what now and today mean in
// Root. Every error is a [*query.Error] with one of the codes Syntax, UnknownName,
// Type, Limit, Conflict (segments that name each other in a circle) or Internal.
func (c *Compiler) Compile(text string, cat Catalog, env query.Env) (*Expr, error) {
	e, err := c.environment(cat.Schema())
	if err != nil {
		return nil, query.Errorf(query.CodeInternal, "expression environment: %w", err)
	}
	return (&compilation{base: c.base, env: e, cat: cat, now: env, done: map[string]*Expr{}}).text(text)
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
	stack []string // the segments being compiled
}

func (c *compilation) text(text string) (*Expr, error) {
	if len(text) > MaxTextBytes {
		return nil, &query.Error{Code: query.CodeLimit, Hint: "put long lists of values into a named list (in_list)",
			Message: fmt.Sprintf("an expression has at most %d bytes, this one has %d", MaxTextBytes, len(text))}
	}
	src := newSource(text)
	if strings.TrimSpace(text) == "" {
		return nil, &query.Error{Code: query.CodeSyntax, Message: "the expression is empty", Hint: "true is everybody", Source: text}
	}
	cs := common.NewTextSource(text)
	parsed, errs := c.base.parser.Parse(cs)
	if len(errs.GetErrors()) > 0 {
		return nil, syntaxError(src, errs)
	}
	e := &Expr{Text: text, env: c.env, src: src, segments: map[string]*Expr{}, nodes: countNodes(parsed.Expr())}
	if err := e.checkNodes(query.Span{Start: 0, End: len(text)}); err != nil {
		return nil, err
	}
	info := parsed.SourceInfo()
	l := &elaborator{fac: ast.NewExprFactory(), ast: info, src: src, sch: c.env.schema, cat: c.cat, zones: c.base.zones,
		next: ast.MaxID(parsed), verbs: map[int64]*verb{}, times: map[int64]kind{}}
	root, _ := l.expr(parsed.Expr())
	if l.err != nil {
		return nil, l.err
	}
	checked, errs := checker.Check(ast.NewAST(root, info), cs, c.env.checker)
	if len(errs.GetErrors()) > 0 {
		return nil, typeError(src, checked, errs)
	}
	if t := checked.GetType(checked.Expr().ID()); t != cel.BoolType {
		return nil, &query.Error{Code: query.CodeType, Message: fmt.Sprintf("the expression is of type %s, not true or false", typeName(t)),
			Hint: "compare it with something", Source: text, Span: src.span(info, checked.Expr())}
	}
	e.checked, e.Uses, e.ReadsNow, e.verbs = checked, l.uses, l.now, l.verbs
	if err := c.segments(e); err != nil {
		return nil, err
	}
	w := &walker{expr: e, cat: c.cat, zones: c.base.zones, now: c.now}
	w.windows()
	root2 := w.node(checked.Expr())
	if w.err != nil {
		return nil, w.err
	}
	e.Root = simplify(root2)
	return e, nil
}

func (e *Expr) checkNodes(at query.Span) error {
	if e.nodes <= MaxNodes {
		return nil
	}
	return &query.Error{Code: query.CodeLimit, Message: fmt.Sprintf("an expression has at most %d parts, segments included; this one has %d", MaxNodes, e.nodes),
		Hint: "put values into a named list (in_list)", Source: e.Text, Span: at}
}

func countNodes(e ast.Expr) int {
	n := 0
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(ast.Expr) { n++ }))
	return n
}

// segments compiles the segments that an expression names.
func (c *compilation) segments(e *Expr) error {
	var calls []ast.Expr
	ast.PreOrderVisit(e.checked.Expr(), ast.NewExprVisitor(func(n ast.Expr) {
		if n.Kind() == ast.CallKind && n.AsCall().FunctionName() == fnSegment {
			calls = append(calls, n)
		}
	}))
	for _, n := range calls {
		name := segmentName(n)
		at := e.src.span(e.checked.SourceInfo(), n)
		s, err := c.segment(name)
		if err != nil {
			return inSegment(name, err, e.Text, at)
		}
		e.segments[name] = s
		e.ReadsNow = e.ReadsNow || s.ReadsNow
		e.nodes += s.nodes
		if err := e.checkNodes(at); err != nil {
			return err
		}
	}
	return nil
}

func segmentName(call ast.Expr) string {
	return fmt.Sprint(call.AsCall().Args()[1].AsLiteral().Value())
}

func (c *compilation) segment(name string) (*Expr, error) {
	if e := c.done[name]; e != nil {
		return e, nil
	}
	if i := slices.Index(c.stack, name); i >= 0 {
		circle := append(slices.Clone(c.stack[i:]), name)
		return nil, query.Errorf(query.CodeConflict, "segments name each other in a circle: %s", strings.Join(circle, " -> "))
	}
	if len(c.stack) >= MaxSegmentDepth {
		return nil, query.Errorf(query.CodeLimit, "segments name segments more than %d deep", MaxSegmentDepth)
	}
	text, ok := c.cat.Segment(name)
	if !ok {
		return nil, query.Errorf(query.CodeUnknownName, "there is no segment %q", name)
	}
	c.stack = append(c.stack, name)
	e, err := c.text(text)
	c.stack = c.stack[:len(c.stack)-1]
	if err == nil {
		c.done[name] = e
	}
	return e, err
}

// inSegment moves an error of a segment's text to where the segment is named.
func inSegment(name string, err error, text string, at query.Span) error {
	var q *query.Error
	if !errors.As(err, &q) {
		return err
	}
	out := *q
	out.Source, out.Span = text, at
	if q.Source != "" {
		line, col := q.Place()
		out.Message = fmt.Sprintf("in segment %q, %d:%d: %s", name, line, col, q.Message)
	}
	return &out
}

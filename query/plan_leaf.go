package query

import (
	"bytes"
	"regexp"
	"slices"

	"github.com/kantadb/kanta/index/schema"
)

const (
	// maxRows is up to how many rows of codes are united per chunk. Beyond, one pass over
	// the column of codes (costGather) is cheaper than so many rows (costRow each).
	maxRows = 128

	// maxRanges is up to how many ranges are read one by one. Beyond, one range around
	// them all is read and the values of its profiles are looked up.
	maxRanges = 4

	// maxCounted is how many codes are counted for an estimate; the rest are assumed alike.
	maxCounted = 1024
)

func (b *planner) buildLeaf(n Node) (*op, error) {
	switch n := n.(type) {
	case *Has:
		a, err := b.attribute(n.Attr, n.Span)
		if err != nil {
			return nil, err
		}
		return &op{node: n, span: n.Span, method: "presence", share: b.present(a.ID), cost: costRow, attr: a.ID,
			leaf: hasLeaf{a.ID}}, nil
	case *In:
		return b.in(n)
	case *Range:
		return b.between(n)
	case *Match:
		return b.match(n)
	case *SetHas:
		return b.setHas(n)
	case *InList:
		codes := []uint32{n.Code}
		return &op{node: n, span: n.Span, method: "rows", share: b.rowsShare(schema.ListsAttr, codes), cost: costRow,
			attr: schema.ListsAttr, leaf: &rowsLeaf{schema.ListsAttr, codes}}, nil
	case *Compare:
		return b.compare(n)
	case *Residual:
		return b.residual(n)
	}
	return nil, Errorf(CodeInternal, "no plan for a node of type %T", n)
}

// attribute looks an attribute up; the error has the place in the text.
func (b *planner) attribute(id schema.AttrID, at Span) (schema.Attribute, error) {
	a, err := attribute(b.p.schema, id)
	if err != nil {
		err := err.(*Error)
		err.Span = at
		return a, err
	}
	return a, nil
}

func typeError(at Span, what string, a schema.Attribute) *Error {
	e := Errorf(CodeType, "%s does not fit %q, which is a %s", what, a.Name, a.Kind)
	e.Span = at
	return e
}

// present returns the part of the living that has a value.
func (b *planner) present(attr schema.AttrID) float64 {
	n, _ := b.view.ExistsCount(attr)
	return b.part(n)
}

func (b *planner) part(n uint64) float64 {
	if b.p.living == 0 {
		return 0
	}
	return min(1, float64(n)/float64(b.p.living))
}

// nullable reports whether some living profile may have no value of a scalar attribute.
func (b *planner) nullable(attr schema.AttrID) bool {
	if attr == schema.KeyAttr {
		return false
	}
	n, exact := b.view.ExistsCount(attr)
	return !exact || !b.p.isExact || n != b.p.living
}

func (b *planner) rowsShare(attr schema.AttrID, codes []uint32) float64 {
	sum := uint64(0)
	counted := min(len(codes), maxCounted)
	for _, c := range codes[:counted] {
		n, _ := b.view.RowCount(attr, c)
		sum += n
	}
	if counted < len(codes) {
		sum = sum / uint64(counted) * uint64(len(codes))
	}
	return b.part(sum)
}

func (b *planner) in(n *In) (*op, error) {
	a, err := b.attribute(n.Attr, n.Span)
	if err != nil {
		return nil, err
	}
	for _, v := range n.Values {
		if v.Kind() != a.Kind || v.Scale() != a.Scale {
			return nil, typeError(n.Span, "a "+v.Kind().String(), a)
		}
	}
	switch {
	case a.Kind == schema.Set:
		return nil, typeError(n.Span, "an equality", a)
	case a.Inline() && b.events != nil:
		return b.inTexts(n, a), nil
	case a.Inline():
		return b.inInline(n, a), nil
	case a.Coded():
		return b.codes(n, n.Span, a, b.codesOf(a, n.Values)), nil
	}
	points := make([]int64, len(n.Values))
	for i, v := range n.Values {
		points[i] = v.Ordered()
	}
	slices.Sort(points)
	points = slices.Compact(points)
	o := b.ranges(n, n.Span, a, rangesOf(points))
	o.share = min(o.share, float64(len(points))*0.01)
	return o, nil
}

// inInline plans equality with inline strings: the value index finds the few there are.
func (b *planner) inInline(n *In, a schema.Attribute) *op {
	f := find{attr: a.ID}
	for _, v := range n.Values {
		f.texts = append(f.texts, v.Str())
	}
	b.p.finds = append(b.p.finds, f)
	return &op{node: n, span: n.Span, method: "find", share: b.part(uint64(len(n.Values))), cost: costRow,
		attr: a.ID, nullable: b.nullable(a.ID), leaf: findLeaf{len(b.p.finds) - 1}}
}

// inTexts plans equality with inline strings of events, of which there is no value index.
func (b *planner) inTexts(n *In, a schema.Attribute) *op {
	wanted := make(map[string]bool, len(n.Values))
	for _, v := range n.Values {
		wanted[v.Str()] = true
	}
	return &op{node: n, span: n.Span, method: "text of each", share: shareMatch, cost: costStrings, narrow: true, attr: a.ID,
		nullable: b.nullable(a.ID), leaf: &textLeaf{a.ID, func(s []byte) bool { return wanted[string(s)] }}}
}

// codesOf returns the sorted codes of values of a coded scalar attribute; strings that
// nobody ever had have none.
func (b *planner) codesOf(a schema.Attribute, values []schema.Value) []uint32 {
	var codes []uint32
	for _, v := range values {
		if a.Kind == schema.Bool {
			codes = append(codes, uint32(v.Ordered()))
		} else if c, ok := b.view.Code(a.ID, v.Str()); ok {
			codes = append(codes, c)
		}
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// codes plans "the scalar attribute has one of these codes", which ascend.
func (b *planner) codes(n Node, at Span, a schema.Attribute, codes []uint32) *op {
	o := &op{node: n, span: at, attr: a.ID, nullable: b.nullable(a.ID), share: b.rowsShare(a.ID, codes)}
	if len(codes) <= maxRows {
		o.method, o.cost, o.leaf = "rows", costRow*float64(max(1, len(codes))), &rowsLeaf{a.ID, codes}
		return o
	}
	wanted := make([]uint64, codes[len(codes)-1]/64+1)
	for _, c := range codes {
		wanted[c/64] |= 1 << (c % 64)
	}
	o.method, o.cost, o.narrow, o.leaf = "codes column", costGather, true, &codesLeaf{a.ID, wanted}
	return o
}

func (b *planner) between(n *Range) (*op, error) {
	a, err := b.attribute(n.Attr, n.Span)
	if err != nil {
		return nil, err
	}
	if !a.Kind.Ordered() {
		return nil, typeError(n.Span, "a range", a)
	}
	if a.Kind == schema.Bool {
		var codes []uint32
		for c := range int64(2) {
			if n.Lo <= c && c <= n.Hi {
				codes = append(codes, uint32(c))
			}
		}
		return b.codes(n, n.Span, a, codes), nil
	}
	if n.Lo > n.Hi {
		return b.ranges(n, n.Span, a, nil), nil
	}
	return b.ranges(n, n.Span, a, []span64{{n.Lo, n.Hi}}), nil
}

// span64 is a closed interval of ordered forms.
type span64 struct{ lo, hi int64 }

// rangesOf joins sorted, distinct points that are neighbours.
func rangesOf(points []int64) []span64 {
	var out []span64
	for _, x := range points {
		if k := len(out) - 1; k >= 0 && out[k].hi+1 == x {
			out[k].hi = x
			continue
		}
		out = append(out, span64{x, x})
	}
	return out
}

// ranges plans "the ordered attribute lies in one of these", which ascend and are apart.
func (b *planner) ranges(n Node, at Span, a schema.Attribute, in []span64) *op {
	o := &op{node: n, span: at, method: "range", narrow: true, attr: a.ID, nullable: b.nullable(a.ID)}
	switch {
	case len(in) == 0:
		o.narrow, o.leaf = false, &rowsLeaf{attr: a.ID}
	case len(in) <= maxRanges:
		o.share, o.cost, o.leaf = b.present(a.ID)*shareRange, costRange*float64(len(in)), &rangesLeaf{a.ID, in}
	default:
		o.method = "range, then values"
		o.share, o.cost, o.leaf = b.present(a.ID)*shareRange, costRange+costGather/2, &pointsLeaf{a.ID, in}
	}
	return o
}

// testsBetween is after how many strings of a dictionary a test looks at the context: a
// regular expression takes a microsecond or more for each.
const testsBetween = 1024

func (b *planner) match(n *Match) (*op, error) {
	a, err := b.attribute(n.Attr, n.Span)
	if err != nil {
		return nil, err
	}
	if a.Kind != schema.String {
		return nil, typeError(n.Span, "a test of text", a)
	}
	test, err := matcher(n)
	if err != nil {
		return nil, err
	}
	if a.Inline() {
		return &op{node: n, span: n.Span, method: "text of each profile", share: b.present(a.ID) * shareMatch,
			cost: costStrings, narrow: true, attr: a.ID, nullable: b.nullable(a.ID), leaf: &textLeaf{a.ID, test}}, nil
	}
	var codes []uint32
	var text []byte
	b.view.Codes(a.ID, func(code uint32, s string) bool {
		text = append(text[:0], s...)
		if test(text) {
			codes = append(codes, code)
		}
		return code%testsBetween != 0 || b.ctx.Err() == nil
	})
	if err := b.ctx.Err(); err != nil {
		return nil, err
	}
	o := b.codes(n, n.Span, a, codes)
	o.method = "dictionary, then " + o.method
	return o, nil
}

// matcher returns the test of a Match. It is safe for concurrent use.
func matcher(n *Match) (func(s []byte) bool, error) {
	text := []byte(n.Text)
	switch n.Op {
	case StartsWith:
		return func(s []byte) bool { return bytes.HasPrefix(s, text) }, nil
	case EndsWith:
		return func(s []byte) bool { return bytes.HasSuffix(s, text) }, nil
	case Contains:
		return func(s []byte) bool { return bytes.Contains(s, text) }, nil
	case Less:
		return func(s []byte) bool { return bytes.Compare(s, text) < 0 }, nil
	case LessEqual:
		return func(s []byte) bool { return bytes.Compare(s, text) <= 0 }, nil
	case Greater:
		return func(s []byte) bool { return bytes.Compare(s, text) > 0 }, nil
	case GreaterEqual:
		return func(s []byte) bool { return bytes.Compare(s, text) >= 0 }, nil
	case Matches:
		re, err := regexp.Compile(n.Text)
		if err != nil {
			e := Errorf(CodeSyntax, "the regular expression %q: %w", n.Text, err)
			e.Span = n.Span
			return nil, e
		}
		return re.Match, nil
	}
	return nil, Errorf(CodeInternal, "no test of text has the number %d", n.Op)
}

func (b *planner) setHas(n *SetHas) (*op, error) {
	a, err := b.attribute(n.Attr, n.Span)
	if err != nil {
		return nil, err
	}
	if a.Kind != schema.Set {
		return nil, typeError(n.Span, "a test of elements", a)
	}
	if len(n.Values) == 0 {
		return b.build(&Const{truthOf(n.All)})
	}
	o := &op{node: n, span: n.Span, method: "rows", attr: a.ID}
	var codes []uint32
	missing := false
	for _, s := range n.Values {
		c, ok := b.view.Code(a.ID, s)
		if ok {
			codes = append(codes, c)
		}
		missing = missing || !ok
	}
	slices.Sort(codes)
	codes = slices.Compact(codes)
	o.cost = costRow * float64(max(1, len(codes)))
	switch {
	case n.All && missing:
		o.leaf = &rowsLeaf{attr: a.ID}
	case n.All && len(codes) > 1:
		o.leaf = &allRowsLeaf{a.ID, codes}
		o.share = 1
		for _, c := range codes {
			o.share *= b.rowsShare(a.ID, []uint32{c})
		}
	default:
		o.leaf, o.share = &rowsLeaf{a.ID, codes}, b.rowsShare(a.ID, codes)
	}
	return o, nil
}

func truthOf(b bool) Truth {
	if b {
		return True
	}
	return False
}

func (b *planner) residual(n *Residual) (*op, error) {
	if n.Eval == nil {
		return nil, Errorf(CodeInternal, "a residual without a function")
	}
	in, err := b.inputs(n.Attrs, n.Events, n.Span)
	if err != nil {
		return nil, err
	}
	return &op{node: n, span: n.Span, method: "per profile", share: shareResidual, cost: costResidual, narrow: true, inner: &residualOp{in, n.Eval}}, nil
}

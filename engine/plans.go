package engine

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/syntax"
)

// planCache compiles texts and keeps what comes of them, never answers. Compiling costs some
// hundred microseconds, a simple count ten. What reads now is planned for each instant. The
// states that it is used with differ in nothing that texts depend on where names is the same.
type planCache struct {
	compiler *syntax.Compiler
	mu       sync.Mutex
	texts    map[string]compiled
	segments *segmentPlans // of the state with the names below
	names    uint64
	computed []*syntax.Value // of the state with the names below, in the schema's order
	schema   uint64
}

// segmentPlans are all saved segments, by name, each with its number in the forest, which
// has no tree of those that read now.
type segmentPlans struct {
	list   []segmentPlan
	forest *query.Forest
}

type segmentPlan struct {
	name string
	expr *syntax.Expr
}

type compiled struct {
	names uint64 // of the state it was compiled for
	expr  *syntax.Expr
}

// maxPlans bounds the cache: a page of a console asks some dozens.
const maxPlans = 1024

// maxPlanText is the longest text that is kept.
const maxPlanText = 4 << 10

// compileSegments returns all saved segments.
func (p *planCache) compileSegments(s *state, env query.Env) (*segmentPlans, error) {
	p.mu.Lock()
	plans, names := p.segments, p.names
	p.mu.Unlock()
	if plans != nil && names == s.names {
		return plans, nil
	}
	plans = &segmentPlans{list: make([]segmentPlan, 0, len(s.segments))}
	trees := make([]query.Node, 0, len(s.segments))
	for _, name := range slices.Sorted(maps.Keys(s.segments)) {
		expr, err := p.compiler.Compile(s.segments[name].text, s.catalog(), env)
		if err != nil {
			return nil, fmt.Errorf("segment %q: %w", name, err)
		}
		plans.list = append(plans.list, segmentPlan{name, expr})
		tree := expr.Root
		if expr.ReadsNow {
			tree = nil
		}
		trees = append(trees, tree)
	}
	plans.forest = query.NewForest(trees)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.segments, p.names = plans, s.names
	return plans, nil
}

// compileComputed returns the computed attributes. Nothing of them depends on env but
// whether they compile, which was looked at when they were defined.
func (p *planCache) compileComputed(s *state, env query.Env) ([]*syntax.Value, error) {
	p.mu.Lock()
	values, names := p.computed, p.schema
	p.mu.Unlock()
	if values != nil && names == s.names {
		return values, nil
	}
	values = make([]*syntax.Value, 0, len(s.Schema.Computed))
	for i := range s.Schema.Computed {
		x := &s.Schema.Computed[i]
		v, err := p.compiler.Value(x, s.catalog(), env)
		if err != nil {
			return nil, fmt.Errorf("computed attribute %q: %w", x.Name, err)
		}
		values = append(values, v)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.computed, p.schema = values, s.names
	return values, nil
}

// compile returns the tree of a text at an instant.
func (p *planCache) compile(text string, s *state, env query.Env) (*syntax.Expr, error) {
	p.mu.Lock()
	c, ok := p.texts[text]
	p.mu.Unlock()
	if ok && c.names == s.names {
		return p.compiler.At(c.expr, s.catalog(), env)
	}
	expr, err := p.compiler.Compile(text, s.catalog(), env)
	if err != nil || len(text) > maxPlanText {
		return expr, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.texts == nil || len(p.texts) >= maxPlans {
		p.texts = map[string]compiled{}
	}
	p.texts[text] = compiled{s.names, expr}
	return expr, nil
}

package engine

import (
	"sync"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/syntax"
)

// planCache keeps compiled texts, never answers. Compiling costs some hundred
// microseconds, a simple count ten.
type planCache struct {
	mu    sync.Mutex
	texts map[string]compiled
}

type compiled struct {
	names uint64 // of the state it was compiled for
	expr  *syntax.Expr
}

// maxPlans bounds the cache: a page of a console asks some dozens.
const maxPlans = 1024

// maxPlanText is the longest text that is kept.
const maxPlanText = 4 << 10

// compile returns the tree of a text.
func (db *DB) compile(text string, s *state, env query.Env) (*syntax.Expr, error) {
	db.plans.mu.Lock()
	c, ok := db.plans.texts[text]
	db.plans.mu.Unlock()
	if ok && c.names == s.names {
		return c.expr, nil
	}
	expr, err := db.compiler.Compile(text, s.catalog(), env)
	if err != nil || expr.ReadsNow || len(text) > maxPlanText {
		return expr, err
	}
	db.plans.mu.Lock()
	defer db.plans.mu.Unlock()
	if db.plans.texts == nil || len(db.plans.texts) >= maxPlans {
		db.plans.texts = map[string]compiled{}
	}
	db.plans.texts[text] = compiled{s.names, expr}
	return expr, nil
}

package server

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/analysis"
	"github.com/kantadb/kanta/query/syntax"
)

// defaultSlow is from when on a call is slow: a person waits, and notices.
const defaultSlow = time.Second

// planEvery is how often the plan of a slow question is made: that is to ask it once more, and a
// server on which all are slow has better things to do.
const planEvery = 10 * time.Second

// planTime bounds that.
const planTime = time.Minute

// planner makes plans of slow questions, one at a time.
type planner struct {
	mu   sync.Mutex
	last time.Time
	busy bool
}

// begin reports whether a plan may be made now.
func (p *planner) begin(every time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy || !p.last.IsZero() && time.Since(p.last) < every {
		return false
	}
	p.busy = true
	return true
}

func (p *planner) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy, p.last = false, time.Now()
}

// tellSlow writes that a call was slow: what was asked, without its values, how long that took
// without the time it waited for its turn and its client, and what was read. Now and then the
// question is asked once more for its plan.
func (w *watch) tellSlow(c *call, n *noted, worked time.Duration) {
	w.figures.slow(c)
	a := n.asked
	of := append(c.logged(), slog.Duration("took", worked), slog.Duration("waited", n.waited))
	if n.position != "" {
		of = append(of, slog.String("position", plain(n.position)), slog.Uint64("bytes_read", n.read))
	}
	known := w.names(c)
	if a.analysis != "" && known(a.analysis) {
		of = append(of, slog.String("analysis", a.analysis))
	}
	if a.expression == "" {
		w.log.call(slog.LevelWarn, "a slow call", of...)
		return
	}
	of = append(of, slog.String("expression", plain(syntax.Shape(a.expression, known, nil))))
	if !w.plan(c, &a, known, of) {
		w.log.call(slog.LevelWarn, "a slow call", of...)
	}
}

// plan makes the plan of a question in the background, if it may, and writes the record with it.
func (w *watch) plan(c *call, a *asked, known func(string) bool, of []slog.Attr) bool {
	if !c.s.gate.pauses(c) || !w.log.log.Enabled(context.Background(), slog.LevelWarn) || !w.plans.begin(c.s.limits.planEvery) {
		return false
	}
	turn, ok := c.s.gate.lanes[laneLong].Try("", 1)
	if !ok || c.s.enter() != nil {
		if ok {
			turn.Leave()
		}
		w.plans.end()
		return false
	}
	go func() {
		defer c.s.leave()
		defer w.plans.end()
		defer turn.Leave()
		ctx, cancel := context.WithTimeout(c.s.stop, planTime)
		defer cancel()
		p, err := c.s.planOf(ctx, c, a)
		if err == nil {
			of = append(of, slog.String("plan", plain(planText(&p.Root, a.expression, known))))
		}
		w.log.call(slog.LevelWarn, "a slow call", of...)
	}()
	return true
}

// planOf asks a question once more for its caller, of the state as it is now.
func (s *Server) planOf(ctx context.Context, c *call, a *asked) (p query.Plan, err error) {
	defer func() {
		if v := recover(); v != nil { // this goroutine is not one that is guarded
			err = caught(v)
		}
	}()
	n, err := c.db.SnapshotWith(ctx, &query.SnapshotOptions{Policy: c.policy()})
	if err != nil {
		return p, err
	}
	defer n.Close() // it holds nothing but memory
	return n.Plan(ctx, a.expression, nil)
}

// planText writes a plan in one line: each node as the part of the expression that it stands for,
// without values, and how it is read.
func planText(n *query.PlanNode, expression string, known func(string) bool) string {
	var b strings.Builder
	var write func(n *query.PlanNode)
	write = func(n *query.PlanNode) {
		b.WriteString(n.Method)
		if at := n.Span; len(n.Of) == 0 && at.Start >= 0 && at.Start < at.End && at.End <= len(expression) {
			b.WriteString("{" + syntax.Shape(expression[at.Start:at.End], known, nil) + "}")
		}
		b.WriteString(" chunks=" + strconv.FormatUint(n.Chunks, 10) + " skipped=" + strconv.FormatUint(n.Skipped, 10) + " bytes=" + strconv.FormatUint(n.Bytes, 10))
		for i := range n.Of {
			b.WriteString([...]string{" (", ", "}[min(i, 1)])
			write(&n.Of[i])
		}
		if len(n.Of) > 0 {
			b.WriteString(")")
		}
	}
	write(n)
	return b.String()
}

// names tells the names that may be told: those of the schema, which an operator has made, and
// of the analyses. Others are what somebody has typed.
func (w *watch) names(c *call) func(name string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s, err := c.db.Schema(ctx)
	if err != nil {
		return func(string) bool { return false }
	}
	known := schemaNames(s)
	return func(name string) bool { return known[name] }
}

func schemaNames(s *schema.Schema) map[string]bool {
	known := make(map[string]bool)
	for i := range s.Attributes {
		known[s.Attributes[i].Name] = true
	}
	for i := range s.Events {
		known[s.Events[i].Name] = true
		for j := range s.Events[i].Properties {
			known[s.Events[i].Properties[j].Name] = true
		}
	}
	for i := range s.Computed {
		known[s.Computed[i].Name] = true
	}
	for _, a := range analysis.All {
		known[a.Name] = true
	}
	return known
}

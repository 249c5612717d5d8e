package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/kantadb/kanta/query"
)

// soakAskers share the asking.
const soakAskers = 4

// soakAsker asks.
type soakAsker struct {
	s      *soak
	random *rand.Rand
	asked  uint64
}

func (s *soak) newAsker(n uint64) *soakAsker {
	return &soakAsker{s: s, random: rand.New(rand.NewPCG(s.Data.Seed, 2000+n))}
}

// at asks about the present of the day that is lived.
func (s *soak) at() Asker { return Asker{Store: s.store, At: s.clock()} }

// ask asks one of the questions of the workload, with other constants each time.
func (q *soakAsker) ask(ctx context.Context) error {
	q.asked++
	i := q.random.Uint64()
	a, g := q.s.at(), q.s.g
	var err error
	start := time.Now()
	switch q.asked % 12 {
	case 0, 6:
		analyses := g.AnalysisQuestions(i)
		of := analyses[q.random.IntN(len(analyses))]
		start = time.Now()
		_, err = a.Analysis(ctx, of)
	case 1, 4, 7, 10:
		questions := g.EventQuestions(i)
		of := questions[q.random.IntN(len(questions))]
		start = time.Now()
		_, err = a.Count(ctx, of.Text)
	case 2:
		_, err = a.Breakdown(ctx, Question{Condition: g.Mix(i &^ 1), Attribute: "city", Top: Q6Top})
	case 3:
		_, err = a.IDs(ctx, g.Mix(i|1).Text)
	case 5:
		_, err = a.Count(ctx, fmt.Sprintf(`in_segment(%q) && !in_list("list-0-0")`, segmentName(q.random.IntN(savedSegments))))
	case 8:
		_, err = a.Count(ctx, []Condition{conditionQ1(), conditionQ4(), conditionQ5()}[q.random.IntN(3)].Text)
	default:
		_, err = a.Count(ctx, g.Mix(i).Text)
	}
	if err == nil {
		q.s.took(soakQuestion, start)
	}
	return err
}

// savedSegments are saved before the day begins, and stay.
const savedSegments = 100

// view looks at a profile, which may have been deleted.
func (q *soakAsker) view(ctx context.Context) error {
	start := time.Now()
	_, err := q.s.at().Recent(ctx, q.s.g.AnyKey(q.random.Uint64()))
	if isCode(err, query.CodeUnknownName) {
		err = nil
	}
	if err == nil {
		q.s.took(soakView, start)
	}
	return err
}

// giveUp asks something that takes long and goes away.
func (q *soakAsker) giveUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(q.random.Int64N(int64(3*time.Millisecond))))
	defer cancel()
	analyses := q.s.g.AnalysisQuestions(q.random.Uint64())
	_, err := q.s.at().Analysis(ctx, analyses[q.random.IntN(len(analyses))])
	if errors.Is(err, context.DeadlineExceeded) {
		q.s.givenUp.Add(1)
		return nil
	}
	return err
}

// refused asks what no store should answer.
func (q *soakAsker) refused(ctx context.Context) error {
	a := q.s.at()
	o := a.options()
	var err error
	what := q.random.IntN(5)
	switch what {
	case 0:
		_, err = a.Count(ctx, strings.Repeat("age > 1 && ", 9999)+"age > 1")
	case 1:
		_, err = a.Count(ctx, strings.Repeat("(", 4000)+"age > 1"+strings.Repeat(")", 4000))
	case 2:
		_, err = a.Count(ctx, "age in ["+strings.Repeat("1,", 2999)+"1]")
	case 3:
		_, err = q.s.store.Analyze(ctx, "basket", "", query.Arguments{"event": {"view_item"}, "item": {"item_id"}, "size": {"6"}}, &o)
	default:
		_, err = q.s.store.Analyze(ctx, "path", "", query.Arguments{"after": {"app_open"}, "steps": {"11"}}, &o)
	}
	e := (*query.Error)(nil)
	if !errors.As(err, &e) || e.Code == query.CodeInternal || ctx.Err() != nil {
		return fmt.Errorf("question %d of those that must be refused: %w", what, err)
	}
	return nil
}

// export writes out all that is held about somebody.
func (q *soakAsker) export(ctx context.Context) error {
	var n sink
	err := q.s.store.Export(ctx, q.s.g.AnyKey(q.random.Uint64()), &n)
	if isCode(err, query.CodeUnknownName) {
		return nil
	}
	if err == nil && n < 2 {
		err = fmt.Errorf("an export of %d bytes", n)
	}
	return err
}

// sink counts the bytes that it is given.
type sink int64

func (n *sink) Write(p []byte) (int, error) {
	*n += sink(len(p))
	return len(p), nil
}

func isCode(err error, code query.Code) bool { return errors.Is(err, &query.Error{Code: code}) }

// heldSnapshots is how many snapshots are open at any time.
const heldSnapshots = 3

// soakHolder holds snapshots.
type soakHolder struct {
	*soakAsker
	held []heldSnapshot
}

// heldSnapshot is an open snapshot with what it has answered.
type heldSnapshot struct {
	query.Snapshot
	text string
	at   query.Options
	was  query.Count
}

// hold opens a snapshot; one that has been held long enough must answer as it did, and is closed.
func (h *soakHolder) hold(ctx context.Context) error {
	if len(h.held) == heldSnapshots {
		if err := h.release(ctx); err != nil {
			return err
		}
	}
	n, err := h.s.store.Snapshot(ctx)
	if err != nil {
		return err
	}
	i := h.random.Uint64()
	text := h.s.g.Mix(i).Text + " || " + h.s.g.EventQuestions(i)[1].Text
	now := heldSnapshot{Snapshot: n, text: text, at: query.Options{Now: h.s.clock()}}
	h.held = append(h.held, now)
	h.held[len(h.held)-1].was, err = n.Count(ctx, text, &now.at)
	return err
}

// release asks the oldest snapshot again and closes it.
func (h *soakHolder) release(ctx context.Context) error {
	n := h.held[0]
	h.held = h.held[1:]
	again, err := n.Count(ctx, n.text, &n.at)
	if err == nil && (again.Count != n.was.Count || again.Unknown != n.was.Unknown || again.Position != n.was.Position) {
		err = fmt.Errorf("a snapshot of %s had %d people and %d unknown, and then at %s %d and %d", n.was.Position, n.was.Count, n.was.Unknown, again.Position, again.Count, again.Unknown)
	}
	return errors.Join(err, n.Close())
}

// releaseAll releases all: a purge that is under way waits for it.
func (h *soakHolder) releaseAll(ctx context.Context) (err error) {
	for len(h.held) > 0 {
		err = errors.Join(err, h.release(ctx))
	}
	return err
}

// backup makes a backup, most of which the target has from the one before.
func (s *soak) backup(ctx context.Context) error {
	r, err := s.store.Backup(ctx, s.Target, nil)
	if err != nil {
		return err
	}
	s.backups.add(&r)
	if s.Prune == nil {
		return nil
	}
	return s.Prune(ctx)
}

package server

import (
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"runtime"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/syntax"
	"github.com/kantadb/kanta/server/access"
	"github.com/kantadb/kanta/server/internal/admission"
	"github.com/kantadb/kanta/server/internal/message"
)

// The lanes of a server.
type lane uint8

const (
	laneUrgent lane = iota // one person: somebody waits on the telephone
	laneShort              // questions that are answered soon
	laneLong               // questions that take long
	laneUpkeep             // what an operator has done: check, backup, everything out
	laneIngest             // what is written; its places are bytes
	lanes
	noLane // what costs nothing
)

// String returns a word for metrics.
func (l lane) String() string {
	return [...]string{"urgent", "short", "long", "upkeep", "ingest"}[l]
}

// gateLimits bound what a server does at a time. They are fixed, as limits are.
type gateLimits struct {
	lanes    [lanes]admission.Limits
	longFrom time.Duration // a question that took so long when it was last asked is a long one
	costs    int           // questions that are remembered: some 100 bytes each
}

// defaultGate is for a machine of so many processors. A question uses all of them by itself, so
// more at a time answers none of them sooner, and makes whoever is to be refused wait for a processor; one more
// keeps them busy while another waits for memory or disk.
func defaultGate(processors int) gateLimits {
	short := int64(max(3, processors+1))
	long := int64(max(2, processors))
	return gateLimits{lanes: [lanes]admission.Limits{
		// A look at one person costs less than a millisecond: whoever is there passes, and only a flood waits.
		laneUrgent: {Places: 64, Share: 48, Waiting: 256, Patience: 2 * time.Second},
		// Somebody looks at a screen. Beyond a second or two he is served better by an error that
		// comes at once than by an answer that comes late. Each ends soon, so to take turns is share enough.
		laneShort: {Places: short, Waiting: 1024, Patience: 2 * time.Second},
		// Who asks what takes seconds waits some for it. One place is left for another's.
		laneLong: {Places: long, Share: long - 1, Waiting: 64, Patience: 5 * time.Second},
		// They take minutes, so there is no use in waiting, and each is heavy on the disk.
		laneUpkeep: {Places: 4, Share: 3},
		// Bytes as they came, which are up to eight times as many when they are decoded. A program
		// that loads can be held back, and one call that writes waits as long as for a slow disk.
		laneIngest: {Places: 64 << 20, Share: 48 << 20, Waiting: 256, Patience: 5 * time.Second},
	}, longFrom: 200 * time.Millisecond, costs: 4096}
}

// leastWritten is what a call counts that writes little: what it holds beside the bytes, and a
// goroutine that waits for the disk.
const leastWritten = 128 << 10

// calls is how many calls the lanes hold at most, in places and waiting.
func (l *gateLimits) calls() (n int64) {
	for i, of := range l.lanes {
		places := of.Places
		if lane(i) == laneIngest {
			places /= leastWritten
		}
		n += places + int64(of.Waiting)
	}
	return n
}

// gate lets calls in by what they are and by what such a question cost before. What is urgent
// has places of its own and passes; long questions have few, so that short ones have the rest.
type gate struct {
	limits gateLimits
	lanes  [lanes]*admission.Lane
	costs  *admission.Costs
	seed   maphash.Seed // of the process: nobody can make two shapes that are alike
}

func newGate(l gateLimits) *gate {
	g := &gate{limits: l, costs: admission.NewCosts(l.costs), seed: maphash.MakeSeed()}
	for i := range g.lanes {
		g.lanes[i] = admission.New(l.lanes[i])
	}
	return g
}

// processors is how many a server's questions share.
func processors() int { return runtime.GOMAXPROCS(0) }

// shape is a number for all questions that differ in values only; it is not 0.
func (g *gate) shape(name string, a *asked) uint64 {
	var h maphash.Hash
	h.SetSeed(g.seed)
	for _, part := range [...]string{name, a.analysis, a.attribute, syntax.Shape(a.expression, func(string) bool { return true }, nil)} {
		_, _ = h.WriteString(part) // it never fails
		_ = h.WriteByte(0)         // as above
	}
	return cmp.Or(h.Sum64(), 1)
}

// lane says where a call goes, by the table and by what the same took before.
func (g *gate) lane(c *call) lane {
	switch c.rule.Load {
	case access.Urgent:
		return laneUrgent
	case access.Ingest:
		return laneIngest
	case access.Question, access.Long:
		if c.rule.Needs&(access.Numbers|access.Lists|access.Person) == 0 {
			return laneUpkeep
		}
		took, known := g.costs.Of(c.seen.asked.shape)
		if known && took >= g.limits.longFrom || !known && c.rule.Load == access.Long {
			return laneLong
		}
		return laneShort
	}
	return noLane
}

// letIn waits for the call's turn. A stream of batches takes one for each batch.
func (g *gate) letIn(ctx context.Context, c *call, m proto.Message) error {
	l := g.lane(c)
	if l == noLane || c.name == "Ingest" {
		return nil
	}
	places := int64(1)
	if l == laneIngest {
		places = int64(max(leastWritten, proto.Size(m)))
	}
	c.waits(true)
	began := time.Now()
	turn, err := g.lanes[l].Enter(ctx, c.identity(), places)
	c.waits(false)
	if err != nil {
		return c.s.refused(l, err)
	}
	c.seen.mu.Lock()
	defer c.seen.mu.Unlock()
	c.seen.turn, c.seen.waited = turn, time.Since(began)
	return nil
}

func (c *call) waits(yes bool) {
	c.seen.mu.Lock()
	defer c.seen.mu.Unlock()
	c.seen.waiting = yes
}

// pauses reports whether a call does nothing while it sends.
func (g *gate) pauses(c *call) bool {
	return c.rule.Needs&(access.Numbers|access.Lists|access.Person) != 0
}

// learn remembers what a question took.
func (g *gate) learn(c *call, shape uint64, took time.Duration, err error) {
	if c.rule.Load != access.Question && c.rule.Load != access.Long {
		return
	}
	if err == nil || errors.Is(err, context.DeadlineExceeded) { // then it would have taken longer still
		g.costs.Learn(shape, took)
	}
}

// refused makes of what a lane says what a client is told.
func (s *Server) refused(l lane, err error) error {
	var r *admission.Refused
	if !errors.As(err, &r) {
		return err
	}
	s.watch.figures.refused(l, r.Reason)
	s.watch.log.refused(l)
	what := map[lane]string{laneUpkeep: "as much is being looked after as can be at a time", laneIngest: "more is being written than there is room for"}[l]
	return message.Undone(&query.Error{Code: query.CodeUnavailable, Message: "the server is busy: " + cmp.Or(what, "more is asked than it can answer"),
		Hint: "try again after " + r.After.Round(time.Millisecond).String(), RetryAfter: r.After})
}

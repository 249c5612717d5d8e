package server

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/syntax"
	"github.com/kantadb/kanta/server/internal/message"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

// longestShown is how much of an expression is shown of a call under way.
const longestShown = 2000

// Running lists the calls under way but for itself.
func (v *service) Running(ctx context.Context, _ *pb.RunningRequest) (*pb.RunningResponse, error) {
	self := callOf(ctx)
	known := func(string) bool { return true }
	if !self.seesAll() {
		known = v.s.watch.names(self)
	}
	out := &pb.RunningResponse{}
	for _, c := range v.s.watch.calls() {
		if c == self || !c.known {
			continue
		}
		out.Calls = append(out.Calls, c.shown(self.seesAll(), known))
	}
	return out, nil
}

// shown describes a call for who looks after the server: whoever does not see all people sees
// no values of others' expressions.
func (c *call) shown(all bool, known func(string) bool) *pb.RunningCall {
	name, role, address := c.whom()
	c.seen.mu.Lock()
	a, waiting := c.seen.asked, c.seen.waiting
	c.seen.mu.Unlock()
	what := a.expression
	if !all {
		what = syntax.Shape(what, known, nil)
	}
	if a.analysis != "" && (all || known(a.analysis)) {
		what = a.analysis + ": " + what
	}
	if len(what) > longestShown {
		what = what[:longestShown] + "..."
	}
	return &pb.RunningCall{Id: strconv.FormatUint(c.id, 10), Call: c.name, CallerName: message.OfText(name), Role: message.OfText(role), Address: address,
		Began: timestamppb.New(c.began), Elapsed: durationpb.New(time.Since(c.began)), What: message.OfText(what), Waiting: waiting}
}

// CancelRunning ends a call under way. It ends soon and not at once; one that has ended already
// is not found.
func (v *service) CancelRunning(ctx context.Context, req *pb.CancelRunningRequest) (*pb.CancelRunningResponse, error) {
	id, err := strconv.ParseUint(req.GetId(), 10, 64)
	if err != nil {
		return nil, &query.Error{Code: query.CodeInvalid, Message: fmt.Sprintf("%.40q is no number of a call", req.GetId()), Hint: "kanta running lists them"}
	}
	w := v.s.watch
	w.mu.Lock()
	c := w.running[id]
	w.mu.Unlock()
	if c == nil || c == callOf(ctx) {
		return &pb.CancelRunningResponse{}, nil
	}
	c.seen.mu.Lock()
	c.seen.ended = true
	c.seen.mu.Unlock()
	c.cancel()
	return &pb.CancelRunningResponse{Found: true}, nil
}

// seesAll reports whether the caller may see everything of everybody.
func (c *call) seesAll() bool { return c.policy() == nil }

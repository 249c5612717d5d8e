package server

import (
	"context"
	"strings"
	"time"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/access"
	"github.com/kantadb/kanta/server/internal/proto/kanta/v1/kantav1connect"
)

// call is a call under way, through whichever door it came. What is done about every call is
// done where it begins and where it ends.
type call struct {
	s      *Server
	id     uint64 // of this process
	name   string // as in the table: "Count"
	rule   access.Call
	known  bool  // it has a row there; health and reflection have none, and tell nothing of the store
	peer   *peer // nil: who embeds the server
	began  time.Time
	cancel context.CancelFunc
	quit   func() bool // forgets to cancel when the server stops
}

type callKey struct{}

// callOf returns the call that a context is of.
func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// begin begins a call: it is refused while the server stops. procedure is that of the service, or
// the name of a door in the table. Whoever begins a call ends it.
func (s *Server) begin(ctx context.Context, procedure string) (context.Context, *call, error) {
	if err := s.enter(); err != nil {
		return ctx, nil, err
	}
	name, ours := strings.CutPrefix(procedure, "/"+kantav1connect.KantaServiceName+"/")
	c := &call{s: s, id: s.lastCall.Add(1), name: name, peer: peerOf(ctx), began: time.Now()}
	if c.rule, c.known = access.Calls[name]; ours && !c.known {
		s.leave()
		return ctx, nil, query.Errorf(query.CodeDenied, "nobody may call %s: it is in no table", name)
	}
	ctx, c.cancel = context.WithCancel(ctx)
	c.quit = context.AfterFunc(s.stop, c.cancel)
	return context.WithValue(ctx, callKey{}, c), c, nil
}

// end ends a call, however it went.
func (c *call) end(error) {
	c.quit()
	c.cancel()
	c.s.leave()
}

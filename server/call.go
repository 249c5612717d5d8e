package server

import (
	"context"
	"strings"
	"time"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/server/access"
	"github.com/kantadb/kanta/server/internal/proto/kanta/v1/kantav1connect"
)

// call is a call under way, through whichever door it came. What is done about every call is
// done where it begins and where it ends.
type call struct {
	s      *Server
	db     *engine.DB // the store that it is about; nil: there is none, and the call is not of the table
	id     uint64     // of this process
	name   string     // as in the table: "Count"
	rule   access.Call
	known  bool           // it has a row there; health and reflection have none, and tell nothing of the store
	peer   *peer          // nil: who embeds the server
	caller *access.Caller // who that is; nil if he is not known, and of what tells nothing
	began  time.Time
	audit  *recording // nil: none
	cancel context.CancelFunc
	quit   func() bool // forgets to cancel when the server stops
	seen   seen        // for who looks after the server
}

type callKey struct{}

// callOf returns the call that a context is of.
func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// begin begins a call: it is refused while the server stops, and to whom it is not allowed. procedure is that of the service, or
// the name of a door in the table. Whoever begins a call ends it.
func (s *Server) begin(ctx context.Context, procedure string) (context.Context, *call, error) {
	if err := s.enter(); err != nil {
		return ctx, nil, err
	}
	name := strings.TrimPrefix(procedure, "/"+kantav1connect.KantaServiceName+"/")
	c := &call{s: s, db: s.store.db(), id: s.lastCall.Add(1), name: name, peer: peerOf(ctx), began: time.Now()}
	c.rule, c.known = access.Calls[name]
	c.audit = s.recorder.begun(c)
	ctx, c.cancel = context.WithCancel(context.WithValue(ctx, callKey{}, c))
	c.quit = context.AfterFunc(s.stop, c.cancel)
	c.seen.door = doorOf(ctx)
	if err := c.admit(ctx, procedure); err != nil {
		err = c.audit.ended(ctx, err)
		c.end(err)
		return ctx, nil, err
	}
	s.watch.begun(c)
	return ctx, c, nil
}

// end ends a call, however it went.
func (c *call) end(err error) {
	c.s.watch.ended(c, err)
	c.quit()
	c.cancel()
	c.s.leave()
}

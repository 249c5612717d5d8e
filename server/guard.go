package server

import (
	"context"
	"errors"

	"connectrpc.com/connect/v2"

	"github.com/kantadb/kanta/server/access"
	"github.com/kantadb/kanta/server/internal/message"
)

// guard surrounds every call: it begins and ends it, has it recorded, makes errors what clients are told, and of
// a panic an error without its text.
func (s *Server) guard(next connect.ServerFunc) connect.ServerFunc {
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) (err error) {
		ctx, c, err := s.begin(ctx, spec.Procedure)
		if err != nil {
			return s.told(spec.Procedure, err)
		}
		defer func() {
			if p := recover(); p != nil {
				err = caught(p)
			}
			err = s.moved(c.outcome(err))
			err = c.audit.ended(ctx, err)
			c.end(err)
			if err != nil {
				err = s.told(spec.Procedure, err)
			}
		}()
		return next(ctx, spec, &watched{c.audit.stream(ctx, spec, &observed{stream, ctx, c, spec.StreamType&connect.StreamTypeServer != 0}), ctx, c, c.rule.Audit == access.Change && spec.StreamType == connect.StreamTypeUnary})
	}
}

// told returns what a client is told of an error.
func (s *Server) told(call string, err error) error {
	var c *connect.Error
	if errors.As(err, &c) { // of the transport: it knows
		return err
	}
	out, internal := message.OfError(err)
	if internal && s.opt.Hooks.Failed != nil {
		s.opt.Hooks.Failed(call, err)
	}
	return out
}

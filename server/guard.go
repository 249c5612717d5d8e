package server

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect/v2"

	"github.com/kantadb/kanta/server/internal/message"
)

// guard surrounds every call: it refuses calls while the server stops, ends them when it gives
// up waiting, makes errors what clients are told, and of a panic an error without its text.
func (s *Server) guard(next connect.ServerFunc) connect.ServerFunc {
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) (err error) {
		if err := s.enter(); err != nil {
			return s.told(spec, err)
		}
		defer s.leave()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.stop, cancel)()
		defer func() {
			if p := recover(); p != nil {
				err = s.told(spec, fmt.Errorf("panic: %v", p))
			}
		}()
		if err := next(ctx, spec, stream); err != nil {
			return s.told(spec, err)
		}
		return nil
	}
}

// told returns what a client is told of an error.
func (s *Server) told(spec connect.Spec, err error) error {
	var c *connect.Error
	if errors.As(err, &c) { // of the transport: it knows
		return err
	}
	out, internal := message.OfError(err)
	if internal && s.opt.Hooks.Failed != nil {
		s.opt.Hooks.Failed(spec.Procedure, err)
	}
	return out
}

package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"connectrpc.com/connect/v2"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/access"
)

// tellsNothing are procedures of services that tell nothing of the store: whether there is a
// server, and what calls it has.
//
//tidy:constant
var tellsNothing = []string{"/grpc.health.v1.", "/grpc.reflection."}

// admit says who calls, and whether he may. What is in no table nobody may call, and where there is no store
// only the embedding program asks, for the state of the cluster.
func (c *call) admit(ctx context.Context, procedure string) (err error) {
	if !c.known {
		if slices.ContainsFunc(tellsNothing, func(service string) bool { return strings.HasPrefix(procedure, service) }) {
			return nil
		}
		return query.Errorf(query.CodeDenied, "nobody may call %.100q: it is in no table", c.name)
	}
	if c.db == nil && (c.name != "ClusterStatus" || c.peer != nil) { // who calls stands in the store
		return noStore()
	}
	if c.caller, err = c.s.identify(ctx, c.peer); err != nil {
		return err
	}
	if err := c.caller.Role.May(c.rule.Needs); err != nil {
		return err
	}
	if c.rule.Needs&(access.Numbers|access.Lists|access.Person) != 0 {
		return c.s.register.Ask(c.caller)
	}
	return nil
}

// identify says who a peer is. A key that is shown is what counts, so who shows a wrong one
// hears of it; then a certificate; then that he is on the machine.
func (s *Server) identify(ctx context.Context, p *peer) (*access.Caller, error) {
	switch {
	case p == nil:
		return s.register.Owner(), nil
	case p.caller != nil || p.refused != nil:
		return p.caller, p.refused
	case p.key != "":
		return s.register.ByKey(ctx, p.address, p.key)
	case p.certificate != nil:
		return s.register.ByCertificate(ctx, p.certificate)
	}
	return s.register.Anybody(ctx, !p.tls && p.near())
}

// still reports whether the caller may go on: who makes one long call is looked at as who makes
// many short ones.
func (c *call) still(ctx context.Context) error {
	if c.caller == nil {
		return nil // of a call that tells nothing
	}
	return c.s.register.Still(ctx, c.caller)
}

// writing returns the context in which the caller writes: what he saves is his.
func (c *call) writing(ctx context.Context) context.Context {
	return engine.WithAuthor(ctx, c.caller.Author())
}

// policy is what the caller may see; nil is everything.
func (c *call) policy() *query.Policy { return c.caller.Role.Policy }

// watched is the stream of a call: whoever is not known any more gets nothing more, and is
// heard no more.
type watched struct {
	connect.ServerStream
	ctx context.Context //nolint:containedctx // the call's
	c   *call

	always bool // what has been done is told even if it was to revoke the caller's own key
}

// Receive implements [connect.ServerStream].
func (w *watched) Receive(msg any) error {
	if err := w.ServerStream.Receive(msg); err != nil {
		return err
	}
	return w.c.still(w.ctx)
}

// Send implements [connect.ServerStream].
func (w *watched) Send(msg any) error {
	if !w.always {
		if err := w.c.still(w.ctx); err != nil {
			return err
		}
	}
	return w.ServerStream.Send(msg)
}

// mayApply reports what the caller may not do of a batch: it is refused whole.
func (v *service) mayApply(ctx context.Context, b batch.Batch) error {
	role := callOf(ctx).caller.Role
	if role.Rights&access.AnyOp == access.AnyOp {
		return nil
	}
	kinds, err := batch.Kinds(b)
	if err != nil {
		return err
	}
	needs := access.Right(0)
	for _, kind := range kinds {
		right, ok := access.Ops[kind]
		if !ok {
			return query.Errorf(query.CodeDenied, "nobody may apply an op %d: it is in no table", kind)
		}
		needs |= right
	}
	if len(kinds) == 0 {
		needs = access.Write // it is remembered of its source
	}
	if err := role.May(needs); err != nil {
		return err
	}
	if role.Policy != nil { // of what a batch may do only segments, lists and definitions are left
		return v.mayDefine(ctx, b)
	}
	return nil
}

// unfit is what callers are told when their role does not fit the store any more: what is wrong
// names what is hidden from them.
func (s *Server) unfit(c *call, err error) error {
	var e *query.Error
	if !errors.As(err, &e) || !slices.Contains([]query.Code{query.CodeSyntax, query.CodeUnknownName, query.CodeType, query.CodeInvalid, query.CodeLimit}, e.Code) {
		return err
	}
	if s.opt.Hooks.Failed != nil {
		s.opt.Hooks.Failed(c.name, fmt.Errorf("the role %q does not fit the store: %w", c.caller.Role.Name, err))
	}
	return &query.Error{Code: query.CodeDenied, Message: fmt.Sprintf("the role %q does not fit the store any more", c.caller.Role.Name),
		Hint: "whoever keeps the roles changes it: kanta role save says what is wrong"}
}

package server

import (
	"cmp"
	"context"
	"errors"
	"io"
	"sync"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/admission"
	"github.com/kantadb/kanta/server/internal/message"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
	"github.com/kantadb/kanta/server/internal/proto/kanta/v1/kantav1connect"
)

// Apply applies a batch.
func (v *service) Apply(ctx context.Context, req *pb.ApplyRequest) (*pb.ApplyResponse, error) {
	b := batch.Batch(req.GetBatch())
	if err := cmp.Or(v.s.leads(), v.mayApply(ctx, b)); err != nil {
		return nil, err
	}
	r, err := v.db(ctx).Apply(callOf(ctx).writing(ctx), b)
	err = blurred(ctx, err)
	return &pb.ApplyResponse{Result: message.OfResult(&r)}, err
}

// DryRun decides a batch and changes nothing.
func (v *service) DryRun(ctx context.Context, req *pb.DryRunRequest) (*pb.DryRunResponse, error) {
	b := batch.Batch(req.GetBatch())
	if err := v.mayApply(ctx, b); err != nil {
		return nil, err
	}
	r, err := v.db(ctx).DryRun(callOf(ctx).writing(ctx), b)
	err = blurred(ctx, err)
	return &pb.DryRunResponse{Result: message.OfResult(&r)}, err
}

// Ingest applies batches. What is under way is bounded: nothing more is received until the
// oldest is decided, so that whoever sends too fast is held up by the transport. When the
// stream breaks, what has been received is decided all the same. When the server stops, nothing
// more is taken, and what has no answer has not been done; the same when this member of a cluster leads
// no more, which an outcome says.
func (v *service) Ingest(ctx context.Context, stream kantav1connect.KantaServiceIngestServerStream) error {
	if err := v.s.leads(); err != nil {
		return err
	}
	credit := v.s.limits.inFlight
	if err := stream.Send(&pb.IngestResponse{Outcome: &pb.IngestResponse_Credit{Credit: uint32(credit)}}); err != nil {
		return err
	}
	in := &intake{v: v, stream: stream, waits: make(chan func() (batch.Result, error), credit)}
	received := make(chan error, 1)
	go func() { received <- in.run(ctx) }()
	answered, gone, deposed := make(chan error, 1), make(chan struct{}), make(chan error, 1)
	go func() { answered <- v.answer(ctx, in.waits, stream, gone, deposed) }()
	var err error
	select {
	case err = <-received:
	case <-v.s.draining:
		err = stopping()
	case err = <-deposed:
	case <-gone: // whoever is told no outcome, as his key has ended meanwhile, would wait for it
	}
	in.close()
	return cmp.Or(err, <-answered)
}

// intake receives the batches of a stream.
type intake struct {
	v      *service
	stream kantav1connect.KantaServiceIngestServerStream
	waits  chan func() (batch.Result, error)

	mu     sync.Mutex
	closed bool
}

// run receives until the stream ends. It may still run when the call has ended, until the
// transport tells it; then it submits nothing.
func (i *intake) run(ctx context.Context) error {
	for {
		req, err := i.stream.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		turn, err := i.v.s.gate.lanes[laneIngest].Wait(ctx, callOf(ctx).identity(), int64(max(1, len(req.GetBatch()))))
		if err != nil {
			return err
		}
		if !i.submit(ctx, req.GetBatch(), turn) {
			return nil
		}
	}
}

// submit gives a batch its place. close waits for it: what is submitted is answered.
func (i *intake) submit(ctx context.Context, b batch.Batch, turn *admission.Turn) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		turn.Leave()
		return false
	}
	err := cmp.Or(i.v.s.leads(), i.v.mayApply(ctx, b))
	var wait func() (batch.Result, error)
	if err == nil {
		wait, err = i.v.db(ctx).Submit(callOf(ctx).writing(ctx), b)
	}
	if err != nil {
		err = callOf(ctx).audit.denied(ctx, &pb.IngestRequest{Batch: b}, err)
		wait = func() (batch.Result, error) { return batch.Result{}, err }
	}
	i.waits <- func() (batch.Result, error) {
		defer turn.Leave()
		return wait()
	}
	return true
}

func (i *intake) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closed = true
	close(i.waits)
}

// answer sends the outcomes in order. When nobody takes them it closes gone, and waits for them
// nevertheless. The first that says that another member leads goes to deposed too.
func (v *service) answer(ctx context.Context, waits <-chan func() (batch.Result, error), stream kantav1connect.KantaServiceIngestServerStream, gone chan<- struct{}, deposed chan<- error) error {
	var broken error
	for wait := range waits {
		r, err := wait()
		err = v.s.moved(err)
		v.s.watch.figures.batch(err)
		err = blurred(ctx, err)
		out := &pb.IngestResponse{Outcome: &pb.IngestResponse_Result{Result: message.OfResult(&r)}}
		if err != nil {
			detail, internal := message.ErrorDetail(err)
			if internal && v.s.opt.Hooks.Failed != nil {
				v.s.opt.Hooks.Failed(kantav1connect.KantaServiceIngestProcedure, err)
			}
			out.Outcome = &pb.IngestResponse_Error{Error: detail}
			if errors.Is(err, &query.Error{Code: query.CodeNotLeader}) {
				select {
				case deposed <- err:
				default:
				}
			}
		}
		if broken == nil {
			if broken = stream.Send(out); broken != nil {
				close(gone)
			}
		}
	}
	return broken
}

// Erase erases people.
func (v *service) Erase(ctx context.Context, req *pb.EraseRequest) (*pb.EraseResponse, error) {
	if n := len(req.GetKeys()); n > v.s.limits.keys {
		return nil, query.Errorf(query.CodeLimit, "%d keys: at most %d at a time", n, v.s.limits.keys)
	}
	e, err := v.db(ctx).Erase(ctx, req.GetReference(), req.GetKeys()...)
	return &pb.EraseResponse{Position: message.OfPosition(e.Position), People: e.People, Named: e.Named}, err
}

// Readmit lets people return who were erased.
func (v *service) Readmit(ctx context.Context, req *pb.ReadmitRequest) (*pb.ReadmitResponse, error) {
	r, err := v.db(ctx).Readmit(ctx, req.GetKeys()...)
	return &pb.ReadmitResponse{Result: message.OfResult(&r)}, err
}

package client

import (
	"context"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/message"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

// keysAtOnce is how many people one call erases: they stand in one message.
const keysAtOnce = 1000

// identified reports whether the store knows a batch when it comes again.
func identified(b batch.Batch) bool {
	d, err := batch.Decode(b)
	return err == nil && d.Source != ""
}

// Apply applies a batch. When it returns without an error the outcome is durable and in every
// answer that starts afterwards. See the package comment for when it is tried again.
func (c *Client) Apply(ctx context.Context, b batch.Batch) (batch.Result, error) {
	out, err := write(ctx, c, func() bool { return identified(b) }, func(ctx context.Context, r *message.Reader) (batch.Result, error) {
		m, err := c.rpc.Apply(ctx, &pb.ApplyRequest{Batch: b})
		return r.Result(m.GetResult()), err
	})
	c.See(out.Position)
	return out, err
}

// DryRun decides a batch as Apply would and changes nothing.
func (c *Client) DryRun(ctx context.Context, b batch.Batch) (batch.Result, error) {
	return read(ctx, c, func(ctx context.Context, r *message.Reader) (batch.Result, error) {
		m, err := c.rpc.DryRun(ctx, &pb.DryRunRequest{Batch: b})
		return r.Result(m.GetResult()), err
	})
}

// Erase erases people, as the engine does. Many keys are several calls, of which each is atomic.
func (c *Client) Erase(ctx context.Context, reference string, keys ...string) (query.Erasure, error) {
	var out query.Erasure
	named := map[string]bool{}
	for from := 0; from < len(keys) || from == 0; from += keysAtOnce {
		some := keys[from:min(from+keysAtOnce, len(keys))]
		e, err := write(ctx, c, never, func(ctx context.Context, r *message.Reader) (query.Erasure, error) {
			m, err := c.rpc.Erase(ctx, &pb.EraseRequest{Reference: reference, Keys: some})
			return query.Erasure{Position: r.Position(m.GetPosition()), People: m.GetPeople(), Named: m.GetNamed()}, err
		})
		if err != nil {
			return out, err
		}
		out.Position, out.People = e.Position, out.People+e.People
		for _, name := range e.Named {
			if !named[name] {
				named[name], out.Named = true, append(out.Named, name)
			}
		}
		c.See(e.Position)
	}
	return out, nil
}

// Readmit lets people return who were erased.
func (c *Client) Readmit(ctx context.Context, keys ...string) (batch.Result, error) {
	out, err := write(ctx, c, never, func(ctx context.Context, r *message.Reader) (batch.Result, error) {
		m, err := c.rpc.Readmit(ctx, &pb.ReadmitRequest{Keys: keys})
		return r.Result(m.GetResult()), err
	})
	c.See(out.Position)
	return out, err
}

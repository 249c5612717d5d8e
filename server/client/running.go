package client

import (
	"context"
	"time"

	"github.com/kantadb/kanta/server/internal/message"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

// Running is a call that is under way at a server.
type Running struct {
	ID      string // for [Client.CancelRunning]
	Call    string // "Count"
	Caller  string // the name of his key or certificate; "": he has none
	Role    string
	Address string
	Began   time.Time
	Elapsed time.Duration
	What    string // the expression, or what else says most; its values only for who may see everybody
	Waiting bool   // for its turn
}

// Running lists the calls that are under way at the server, but for this one, the oldest first.
func (c *Client) Running(ctx context.Context) ([]Running, error) {
	return read(ctx, c, func(ctx context.Context, r *message.Reader) ([]Running, error) {
		m, err := c.rpc.Running(ctx, &pb.RunningRequest{})
		if err != nil {
			return nil, err
		}
		var out []Running
		for _, k := range m.GetCalls() {
			out = append(out, Running{ID: k.GetId(), Call: k.GetCall(), Caller: k.GetCallerName(), Role: k.GetRole(), Address: k.GetAddress(),
				Began: r.Time(k.GetBegan()), Elapsed: r.Duration(k.GetElapsed()), What: k.GetWhat(), Waiting: k.GetWaiting()})
		}
		return out, nil
	})
}

// CancelRunning ends a call that is under way at the server, soon and not at once; whoever made
// it is told. It reports false if there is no such call any more.
func (c *Client) CancelRunning(ctx context.Context, id string) (bool, error) {
	return read(ctx, c, func(ctx context.Context, _ *message.Reader) (bool, error) {
		m, err := c.rpc.CancelRunning(ctx, &pb.CancelRunningRequest{Id: id})
		return m.GetFound(), err
	})
}

package client

import (
	"context"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/message"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

// ClusterStatus asks a member what it knows of its cluster: the first that is there of those that were named. It
// fails with [query.CodeInvalid] at a server that is in none.
func (c *Client) ClusterStatus(ctx context.Context) (query.ClusterStatus, error) {
	return read(ctx, c, func(ctx context.Context, r *message.Reader) (query.ClusterStatus, error) {
		m, err := c.rpc.ClusterStatus(ctx, &pb.ClusterStatusRequest{})
		if err != nil {
			return query.ClusterStatus{}, err
		}
		return r.ClusterStatus(m), nil
	})
}

// ClusterJoin has the leader take a member in, which needs not be there yet, and returns the id of the cluster. The
// member gets a vote when it has caught up. To call it twice is as calling it once.
func (c *Client) ClusterJoin(ctx context.Context, m query.ClusterRecruit) (cluster string, err error) {
	return write(ctx, c, always, func(ctx context.Context, _ *message.Reader) (string, error) {
		out, err := c.rpc.ClusterJoin(ctx, &pb.ClusterJoinRequest{Id: m.ID, Address: m.Address, RaftAddress: m.RaftAddress, Incarnation: m.Incarnation})
		return out.GetCluster(), err
	})
}

// ClusterRemove has the leader end a membership. To call it twice is as calling it once.
func (c *Client) ClusterRemove(ctx context.Context, id string) error {
	_, err := write(ctx, c, always, func(ctx context.Context, _ *message.Reader) (*pb.ClusterRemoveResponse, error) {
		return c.rpc.ClusterRemove(ctx, &pb.ClusterRemoveRequest{Id: id})
	})
	return err
}

// ClusterTransfer has another member lead: id, or with "" whichever has most.
func (c *Client) ClusterTransfer(ctx context.Context, id string) error {
	_, err := write(ctx, c, never, func(ctx context.Context, _ *message.Reader) (*pb.ClusterTransferResponse, error) {
		return c.rpc.ClusterTransfer(ctx, &pb.ClusterTransferRequest{Id: id})
	})
	return err
}

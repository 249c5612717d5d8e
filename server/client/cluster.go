package client

import (
	"context"
	"fmt"
	"time"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/message"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

// statusTime bounds how long one member more is waited for that may know more of its cluster.
const statusTime = 5 * time.Second

// ClusterStatus asks for the state of the cluster: the leader, if it is known and can be reached, for only that one
// knows how far the others are ([query.ClusterStatus.Node] says who has answered); else a member that knows who leads,
// or any, those first that were named first. It fails with [query.CodeInvalid] at a server that is in none.
func (c *Client) ClusterStatus(ctx context.Context) (query.ClusterStatus, error) {
	best, from, err := c.clusterStatus(ctx)
	if err != nil || c.nodes == nil {
		return best, err
	}
	asked := []*node{from}
	for best.Leader != best.Node { // or best knows of none: it may be cut off
		to := c.nodes.knows(leaderAddress(&best), asked)
		if to == nil {
			break
		}
		asked = append(asked, to)
		inner, cancel := context.WithTimeout(pinned(ctx, to), statusTime)
		s, _, err := c.clusterStatus(inner)
		cancel()
		if err == nil && s.Cluster == best.Cluster && s.Leader != "" && (best.Leader == "" || s.Leader == s.Node) {
			best = s
		}
	}
	return best, nil
}

// leaderAddress returns where clients reach the member that leads, "" if that is not known.
func leaderAddress(s *query.ClusterStatus) string {
	for i := range s.Members {
		if m := &s.Members[i]; m.ID == s.Leader {
			return m.Address
		}
	}
	return ""
}

// clusterStatus asks one member, which it returns.
func (c *Client) clusterStatus(ctx context.Context) (s query.ClusterStatus, from *node, err error) {
	s, err = read(ctx, c, func(ctx context.Context, r *message.Reader) (query.ClusterStatus, error) {
		m, err := c.rpc.ClusterStatus(ctx, &pb.ClusterStatusRequest{})
		from = attemptOf(ctx).used
		if err != nil {
			return query.ClusterStatus{}, err
		}
		return r.ClusterStatus(m), nil
	})
	return s, from, err
}

// ClusterJoin has the leader take a member in, which needs not be there yet, and returns the id of the cluster. The
// member gets a vote when it has caught up. To call it twice is as calling it once.
func (c *Client) ClusterJoin(ctx context.Context, m query.ClusterRecruit) (cluster string, err error) {
	return write(ctx, c, always, func(ctx context.Context, _ *message.Reader) (string, error) {
		out, err := c.rpc.ClusterJoin(ctx, &pb.ClusterJoinRequest{Id: m.ID, Address: m.Address, RaftAddress: m.RaftAddress, Incarnation: m.Incarnation, ReadOnly: m.ReadOnly,
			LowestVersion: m.LowestVersion, NewestVersion: m.NewestVersion})
		if err == nil && out.GetReadOnly() != m.ReadOnly {
			err = own(&query.Error{Code: query.CodeNewerFormat, Message: fmt.Sprintf("the leader knows no members without a vote, and has taken in %s as one that gets it", m.ID),
				Hint: "remove it (kanta cluster remove), and have all members run this version first"})
		}
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

// ClusterUpgrade has the leader raise the cluster version to the newest that all members know, and to newer ones as soon
// as all know them; with hold it stays as it is until this is called again. It returns the one in force. If only some
// members know a newer one it fails with [query.CodeConflict], which says who does not. To call it twice is as calling it once.
func (c *Client) ClusterUpgrade(ctx context.Context, hold bool) (query.ClusterVersion, error) {
	return write(ctx, c, always, func(ctx context.Context, _ *message.Reader) (query.ClusterVersion, error) {
		out, err := c.rpc.ClusterUpgrade(ctx, &pb.ClusterUpgradeRequest{Hold: hold})
		return message.ClusterVersion(out.GetVersion()), err
	})
}

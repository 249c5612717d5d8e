package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/client"
	"github.com/kantadb/kanta/server/internal/replica"
)

// InitOptions say what cluster is begun.
type InitOptions struct {
	Cluster     string // its name: lower case letters, digits and hyphens, as in the certificates of its members
	ID          string // the name of its first member, alike
	Address     string // HOST:PORT where clients will reach it
	RaftAddress string // HOST:PORT where the other members will
	From        string // the directory of a store that becomes the cluster's, and is moved; "": an empty one
	// Engine opens that store. nil: as engine.Open does.
	Engine *engine.Options
}

// Init makes the directory of the first member of a cluster, which must not be there or be empty. What else is to be
// a member joins it. Errors have the codes Invalid, Conflict (there is something already), InUse (From is open) and IO.
func Init(dir string, o *InitOptions) error {
	return replica.Init(config(dir, o.Engine), replica.InitOptions{Cluster: o.Cluster, ID: o.ID, RaftAddress: o.RaftAddress, ClientAddress: o.Address, From: o.From})
}

func config(dir string, o *engine.Options) replica.Config {
	c := replica.Config{Dir: dir}
	if o != nil {
		c.Engine = *o
	}
	return c
}

// JoinOptions say who joins a cluster.
type JoinOptions struct {
	ID          string // its name: lower case letters, digits and hyphens, as in its certificate
	Address     string // HOST:PORT where clients will reach it
	RaftAddress string // HOST:PORT where the other members will
	// ReadOnly takes it in for good without a vote: it answers questions, such as analyses that the others are to be
	// spared, counts in no majority, and never leads.
	ReadOnly bool
}

// Join has the leader of a cluster take a member in, and makes its directory, which must not be there or be
// empty. Opened, the member is sent the store. at asks any member, whoever leads is found. The name may be one that was
// a member's before, who is not there any more: this one comes in its place, and has its vote when it has caught up.
// It fails with [query.CodeConflict] if there is such a member and answers, if one has an address of it, or if this program does
// not know the cluster version.
func Join(ctx context.Context, dir string, at *client.Client, o *JoinOptions) (Identity, error) {
	if err := errors.Join(replica.CheckName("the member", o.ID), replica.CheckAddress("for members,", o.RaftAddress), replica.CheckAddress("for clients,", o.Address)); err != nil {
		return Identity{}, err
	}
	if err := replica.PrepareJoin(replica.Config{Dir: dir}); err != nil { // before the cluster counts on it
		return Identity{}, err
	}
	incarnation, err := replica.NewIncarnation()
	if err != nil {
		return Identity{}, query.Errorf(query.CodeIO, "join a cluster: %w", err)
	}
	info, err := at.Ping(ctx)
	if err != nil {
		return Identity{}, err
	}
	lowest, newest := engine.KnownVersions()
	name, err := at.ClusterJoin(ctx, query.ClusterRecruit{ID: o.ID, Address: o.Address, RaftAddress: o.RaftAddress, Incarnation: incarnation, ReadOnly: o.ReadOnly,
		LowestVersion: lowest.Number, NewestVersion: newest.Number})
	if err != nil {
		return Identity{}, err
	}
	out := replica.Identity{Cluster: name, Store: info.Store, ID: o.ID, Incarnation: incarnation, Raft: o.RaftAddress, Client: o.Address}
	if err := replica.InitJoin(replica.Config{Dir: dir}, out); err != nil {
		return Identity{}, err
	}
	return identityOf(out), nil
}

// RecoverOptions say where a cluster begins anew.
type RecoverOptions struct {
	Into string // the directory of its first member, which must not be there or be empty
	// WithoutLog takes the store as it is, where the log cannot be opened any more: what the store had not
	// applied is lost.
	WithoutLog           bool
	Address, RaftAddress string // of the new member; "": those of the old one
	// Engine opens the store. nil: as engine.Open does.
	Engine *engine.Options
}

// Recovered says what a cluster that was recovered begins with.
type Recovered struct {
	Identity Identity
	Position query.Position // of a new epoch: positions of the old cluster are refused
	Received time.Time      // when the last record that it has was received
	// Entries of the log were applied only now. Nobody knows whether a majority ever had them: some may never have
	// been acknowledged.
	Entries uint64
}

// Recover begins a cluster anew with what one member has, where a majority is lost for good. The member must not
// run; its directory stays as it is. What others have acknowledged and never reached it is lost, so take the one
// that has most, and run none of the old cluster again: they join with new directories.
func Recover(ctx context.Context, dir string, o *RecoverOptions) (Recovered, error) {
	r, err := replica.Recover(ctx, config(dir, o.Engine), replica.RecoverOptions{Into: o.Into, WithoutLog: o.WithoutLog, RaftAddress: o.RaftAddress, ClientAddress: o.Address})
	return Recovered{Identity: identityOf(r.Member), Position: r.Position, Received: r.Received, Entries: r.Entries}, err
}

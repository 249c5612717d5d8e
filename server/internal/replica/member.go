package replica

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
)

// memberPrefix is what the names of the documents begin with that say who the members are.
const memberPrefix = clusterPrefix + "member/"

// clusterPrefix is what the names of the documents begin with that are the cluster's own.
const clusterPrefix = "cluster/"

// memberDocument is the value of such a document, as JSON. Raft's own configuration knows the
// members' names and addresses too, but not where their clients reach them.
type memberDocument struct {
	Raft        string `json:"raft"`
	Client      string `json:"client"`
	Incarnation string `json:"incarnation"`
	ReadOnly    bool   `json:"read_only,omitempty"`      // it never votes
	Lowest      uint64 `json:"lowest_version,omitempty"` // of the cluster versions that it knows; not there: it knows the first
	Newest      uint64 `json:"newest_version,omitempty"`
}

func (m *memberDocument) span() span { return spanOf(m.Lowest, m.Newest) }

// putMember makes the batch that says who a member is and what it knows, and drops documents that are there.
func putMember(id *Identity, readOnly bool, knows span, gone ...string) (batch.Batch, error) {
	value, err := json.Marshal(memberDocument{Raft: id.Raft, Client: id.Client, Incarnation: id.Incarnation, ReadOnly: readOnly, Lowest: knows.lowest, Newest: knows.newest})
	if err != nil {
		return nil, err
	}
	b := batch.New()
	b.PutDocument(memberPrefix+id.ID, value)
	for _, name := range gone {
		b.DropDocument(name)
	}
	return b.Encode()
}

// member returns what is known of a member.
func (n *Node) member(ctx context.Context, id string) (m memberDocument, err error) {
	db := n.db.Load()
	if db == nil {
		return m, errNoStore()
	}
	d, err := db.Document(ctx, memberPrefix+id)
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(d.Value, &m)
}

// documents returns what is known of all members, by their names.
func documents(ctx context.Context, db *engine.DB) (map[string]memberDocument, error) {
	if db == nil {
		return nil, nil
	}
	all, err := db.Documents(ctx, memberPrefix)
	if err != nil {
		return nil, err
	}
	out := make(map[string]memberDocument, len(all))
	for _, d := range all {
		var m memberDocument
		if json.Unmarshal(d.Value, &m) == nil { // somebody may have written anything there
			out[strings.TrimPrefix(d.Name, memberPrefix)] = m
		}
	}
	return out, nil
}

// Join takes a member in, which has no vote until it has caught up, or never, if it is to be
// read-only. It may be asked again. Who
// has the name of a member comes in its place: a node that was wiped has another incarnation,
// so nobody takes it for the one that has voted. As long as that one answers it is refused, and
// so is who has an address of another member, and whose build does not know the cluster version:
// [query.CodeConflict]. It fails with [query.CodeNotLeader] where another leads.
func (n *Node) Join(ctx context.Context, r query.ClusterRecruit) error {
	id := &Identity{Cluster: n.id.Cluster, Store: n.id.Store, ID: r.ID, Incarnation: r.Incarnation, Raft: r.RaftAddress, Client: r.Address}
	if err := id.check(); err != nil {
		return err
	}
	if err := n.change(ctx); err != nil {
		return err
	}
	defer n.members.release()
	knows := spanOf(r.LowestVersion, r.NewestVersion)
	if err := n.mayJoin(id.ID, knows); err != nil {
		return err
	}
	servers := n.servers()
	if err := n.admissible(ctx, id, servers); err != nil {
		return err
	}
	for _, s := range servers {
		if name, _ := memberOf(s.ID); name == id.ID && s.ID != id.server() {
			if err := n.await(ctx, n.raft.RemoveServer(s.ID, 0, enqueueTimeout)); err != nil {
				return err
			}
		}
	}
	if err := n.document(ctx, id, r.ReadOnly, knows); err != nil {
		return err
	}
	for _, s := range servers {
		switch {
		case s.ID != id.server():
		case s.Address == raft.ServerAddress(id.Raft):
			return nil
		case isVoter(s):
			return n.await(ctx, n.raft.AddVoter(id.server(), raft.ServerAddress(id.Raft), 0, enqueueTimeout))
		}
	}
	return n.await(ctx, n.raft.AddNonvoter(id.server(), raft.ServerAddress(id.Raft), 0, enqueueTimeout))
}

// admissible reports why a member cannot be taken in. Nothing has been changed then: who is in its
// place is a member still.
func (n *Node) admissible(ctx context.Context, id *Identity, servers []raft.Server) error {
	known, err := documents(ctx, n.db.Load())
	if err != nil {
		return err
	}
	for _, s := range servers {
		name, _ := memberOf(s.ID)
		switch {
		case name != id.ID:
			for _, address := range []string{string(s.Address), known[name].Client} {
				if address == id.Raft || address == id.Client {
					return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("the member %s has the address %s already", name, address),
						Hint: "give the new member an address of its own, or remove that one first"}
				}
			}
		case s.ID == id.server():
		case name == n.id.ID || n.answers(s.ID):
			return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("there is a member %s, and it answers", id.ID), Hint: "take another name, or stop and remove that one first"}
		}
	}
	return nil
}

// membership is held while the members are changed.
type membership struct {
	held    chan struct{}   // full while it is
	last    <-chan struct{} // closed when the change before has been answered; nil: there is none
	silence silence         // of members, as who leads has seen it
	belongs belonging
}

func (m *membership) release() { <-m.held }

// change begins a change of the members, or a transfer: it returns with n.members held, unless with an error. Raft
// may still have a change whose caller has gone: this one must not be decided by what was before that.
func (n *Node) change(ctx context.Context) error {
	select {
	case n.members.held <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-n.stopped:
		return stopped(n.failure())
	}
	err := n.undisturbed(ctx)
	if err != nil {
		n.members.release()
	}
	return err
}

// undisturbed waits until this member leads and Raft has answered the change before.
func (n *Node) undisturbed(ctx context.Context) error {
	if n.members.last != nil {
		select {
		case <-n.members.last:
		case <-ctx.Done():
			return ctx.Err()
		case <-n.stopped:
			return stopped(n.failure())
		}
	}
	_, err := n.leading(ctx)
	return err
}

// document writes who a member is, and what it knows.
func (n *Node) document(ctx context.Context, id *Identity, readOnly bool, knows span) error {
	db := n.db.Load()
	if db == nil {
		return errNoStore()
	}
	var gone []string
	if _, err := db.Document(ctx, removedPrefix+id.ID); err == nil {
		gone = append(gone, removedPrefix+id.ID)
	}
	b, err := putMember(id, readOnly, knows, gone...)
	if err == nil {
		_, err = db.Apply(ctx, b)
	}
	return err
}

// Remove ends a membership. The member that leads is not removed: it hands over first; nor is
// one that is there, where most of those that are left would not be: both are
// [query.CodeConflict]. It fails with [query.CodeUnknownName] if there is no such member, and
// with [query.CodeNotLeader] where another leads.
func (n *Node) Remove(ctx context.Context, id string) error {
	if err := n.change(ctx); err != nil {
		return err
	}
	defer n.members.release()
	if err := n.removable(id); err != nil {
		return err
	}
	found := false
	for _, s := range n.servers() {
		if name, _ := memberOf(s.ID); name == id {
			found = true
			f := n.raft.RemoveServer(s.ID, 0, enqueueTimeout)
			if err := n.await(ctx, f); err != nil {
				return err
			}
			n.farewell(s, f.Index())
		}
	}
	if err := n.forgetMember(ctx, id, nil); !found || !errors.Is(err, &query.Error{Code: query.CodeUnknownName}) {
		return err
	}
	return nil
}

// removable reports why a member cannot be removed without ending the cluster.
func (n *Node) removable(id string) error {
	voters, healthy, votes := 0, 0, false
	for _, s := range n.servers() {
		if !isVoter(s) {
			continue
		}
		there := n.isThere(s.ID)
		if voters++; there {
			healthy++
		}
		if name, _ := memberOf(s.ID); name == id && there {
			votes = true
		}
	}
	switch {
	case id == n.id.ID && voters == 1:
		return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("the member %s is the only one that votes", id),
			Hint: "a cluster has one member at least: have another one join first, or stop this one and delete its directory, which ends the cluster"}
	case id == n.id.ID:
		return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("the member %s leads", id), Hint: "have another one lead first: kanta cluster transfer"}
	case votes && healthy-1 <= (voters-1)/2:
		return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("without the member %s only %d of %d that vote would be there, so nothing could be written any more", id, healthy-1, voters-1),
			Hint: "remove those first that do not answer: kanta cluster status"}
	}
	return nil
}

// Transfer has another member lead, "" whichever has most of the log, and returns when this
// one does no more. Whoever writes meanwhile is refused and asks the other.
func (n *Node) Transfer(ctx context.Context, id string) error {
	if err := n.change(ctx); err != nil {
		return err
	}
	defer n.members.release()
	if id == "" {
		id = n.successor() // which has room; where nobody has, Raft chooses
	}
	if id == "" {
		if !slices.ContainsFunc(n.servers(), func(s raft.Server) bool { return s.ID != n.id.server() && isVoter(s) && n.answers(s.ID) }) {
			return &query.Error{Code: query.CodeConflict, Message: "there is no other member that votes and answers", Hint: "kanta cluster status says who there is"}
		}
		return n.await(ctx, n.raft.LeadershipTransfer())
	}
	for _, s := range n.servers() {
		if name, _ := memberOf(s.ID); name != id {
			continue
		}
		switch {
		case s.ID == n.id.server():
			return nil
		case n.readOnly(ctx, s):
			return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("the member %s is read-only, and never leads", id), Hint: "name one that votes: kanta cluster status"}
		case !isVoter(s):
			return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("the member %s has no vote yet", id), Hint: "wait until it has caught up: kanta cluster status"}
		case !n.answers(s.ID):
			return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("the member %s does not answer", id), Hint: "name one that is there: kanta cluster status"}
		}
		return n.await(ctx, n.raft.LeadershipTransferToServer(s.ID, s.Address))
	}
	return query.Errorf(query.CodeUnknownName, "there is no member %q", id)
}

// servers are the members as Raft knows them, the last change included.
func (n *Node) servers() []raft.Server {
	return n.raft.GetConfiguration().Configuration().Servers // it has no error, and does not wait
}

// answers reports whether a member has answered this one, which leads, lately.
func (n *Node) answers(id raft.ServerID) bool {
	at := n.wire.contact(id).at
	return !at.IsZero() && time.Since(at) < 2*n.cfg.Timing.Heartbeat
}

// await waits for a change that Raft was asked for. n.members is held.
func (n *Node) await(ctx context.Context, f raft.Future) error {
	done, answered := make(chan error, 1), make(chan struct{})
	n.members.last = answered
	go func() {
		done <- f.Error()
		close(answered)
	}()
	select {
	case err := <-done:
		return n.changed(err)
	case <-ctx.Done():
		return ctx.Err()
	case <-n.stopped:
		return stopped(n.failure())
	}
}

// changed returns what a caller is told of an answer of Raft to a change of the membership.
func (n *Node) changed(err error) error {
	if known := n.proposed(err); err == nil || !isUnknown(known) {
		return known
	}
	return &query.Error{Code: query.CodeUnavailable, Message: "what became of the change is not known: " + err.Error(), Hint: "look at kanta cluster status, and ask again", Err: err}
}

// promoteEvery is how often a leader looks whether somebody may vote by now, or is dead.
const promoteEvery = 500 * time.Millisecond

// caughtUpBy is how many entries a member may be behind to get its vote: less than what is
// written in the time of a message.
const caughtUpBy = 256

// promote gives those a vote who have caught up, and removes the dead, as long as ctx lasts.
func (n *Node) promote(ctx context.Context) {
	n.members.silence.reset()
	t := time.NewTicker(promoteEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		servers := n.servers()
		for _, s := range servers {
			if n.mayVote(ctx, s) {
				n.giveVote(ctx, s.ID)
			}
		}
		n.bury(ctx)
		n.wire.forget(func(id raft.ServerID) bool { return has(servers, id) })
	}
}

// mayVote reports whether a member has no vote, may have one, and has caught up.
func (n *Node) mayVote(ctx context.Context, s raft.Server) bool {
	return !isVoter(s) && n.answers(s.ID) && n.wire.contact(s.ID).log+caughtUpBy >= n.raft.CommitIndex() && !n.readOnly(ctx, s)
}

// readOnly reports whether a member is never to vote: its document says so, or cannot be read. It was written before
// the member was taken in, so a leader has it that has committed something in its term.
func (n *Node) readOnly(ctx context.Context, s raft.Server) bool {
	name, incarnation := memberOf(s.ID)
	m, err := n.member(ctx, name)
	return !isVoter(s) && (err != nil || m.ReadOnly || m.Incarnation != incarnation)
}

// giveVote gives a member a vote, if it still is one when its turn comes: to Raft that is the same as taking in
// who was just removed.
func (n *Node) giveVote(ctx context.Context, id raft.ServerID) {
	if n.change(ctx) != nil {
		return // it leads no more
	}
	defer n.members.release()
	for _, s := range n.servers() {
		if s.ID != id || !n.mayVote(ctx, s) {
			continue
		}
		if err := n.await(ctx, n.raft.AddVoter(s.ID, s.Address, 0, enqueueTimeout)); err != nil {
			n.cfg.Log.Warn("a member that has caught up gets no vote yet", "member", s.ID, "error", err)
		} else {
			n.cfg.Log.Info("a member has caught up and votes", "member", s.ID)
		}
	}
}

func has(servers []raft.Server, id raft.ServerID) bool {
	for _, s := range servers {
		if s.ID == id {
			return true
		}
	}
	return false
}

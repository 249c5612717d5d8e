package replica

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
)

// minVoters is how many members with a vote are left when one is removed that nobody has asked to remove: of three
// one more may be lost, of two none.
const minVoters = 3

// dispensable reports whether one of those who vote may be removed without being asked, if it is not there: enough
// are left, and most of these are there.
func dispensable(voters, healthy int) bool {
	left := voters - 1
	return left >= minVoters && healthy > left/2
}

// silence is for how long members were not heard of by who leads, as far as it looked: a process that was stopped, or
// a machine that slept, has looked once in all that time. Its methods are safe for concurrent use.
type silence struct {
	mu     sync.Mutex
	looked time.Time
	of     map[raft.ServerID]time.Duration
}

// reset forgets all: another leadership begins, and others may have been heard meanwhile.
func (s *silence) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looked, s.of = time.Time{}, map[raft.ServerID]time.Duration{}
}

// look takes note at an instant of who answers.
func (s *silence) look(now time.Time, servers []raft.Server, answers func(id raft.ServerID) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	passed := min(now.Sub(s.looked), 2*promoteEvery)
	if s.looked.IsZero() {
		passed = 0
	}
	next := make(map[raft.ServerID]time.Duration, len(servers))
	for _, server := range servers {
		if !answers(server.ID) {
			next[server.ID] = s.of[server.ID] + passed
		}
	}
	s.looked, s.of = now, next
}

// long returns for how long a member was not heard of.
func (s *silence) long(id raft.ServerID) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[id]
}

// bury looks who is not heard of, and removes whoever is dead and can be spared.
func (n *Node) bury(ctx context.Context) {
	servers := n.servers()
	n.members.silence.look(time.Now(), servers, n.isThere)
	if dead, ok := n.dead(servers); ok {
		if err := n.removeDead(ctx, dead.ID); err != nil && ctx.Err() == nil {
			n.cfg.Log.Warn("a member that is not heard of cannot be removed yet", "member", dead.ID, "error", err)
		}
	}
}

// isThere reports whether a member answers this one, which leads, or is this one.
func (n *Node) isThere(id raft.ServerID) bool { return id == n.id.server() || n.answers(id) }

// dead returns the member that was not heard of for longest, if that is too long and it may be removed: a vote that
// nobody casts makes the loss of the next member worse. Who has no vote is in nobody's way.
func (n *Node) dead(servers []raft.Server) (dead raft.Server, ok bool) {
	if n.cfg.RemoveDead < 0 {
		return dead, false
	}
	voters, healthy := 0, 0
	var longest time.Duration
	for _, s := range servers {
		if !isVoter(s) {
			continue
		}
		voters++
		if n.isThere(s.ID) {
			healthy++
		} else if silent := n.members.silence.long(s.ID); silent >= n.cfg.RemoveDead && silent > longest {
			dead, longest = s, silent
		}
	}
	return dead, longest > 0 && dispensable(voters, healthy)
}

// removeDead removes a member that is dead, if it still is when its turn comes.
func (n *Node) removeDead(ctx context.Context, id raft.ServerID) error {
	if n.change(ctx) != nil {
		return nil // it leads no more
	}
	defer n.members.release()
	s, ok := n.dead(n.servers())
	if !ok || s.ID != id {
		return nil
	}
	name, incarnation := memberOf(s.ID)
	r := query.ClusterRemoval{ID: name, At: time.Now().UTC().Truncate(time.Second), Silent: n.members.silence.long(s.ID).Truncate(time.Second)}
	if err := n.cfg.Removing(ctx, r); err != nil {
		return fmt.Errorf("it cannot be told: %w", err)
	}
	if err := n.await(ctx, n.raft.RemoveServer(s.ID, 0, enqueueTimeout)); err != nil {
		return err
	}
	n.cfg.Log.Warn("a member was removed that was not heard of", "member", s.ID, "silent", r.Silent, "hint", "kanta cluster join takes it in again, with a new directory")
	note, err := json.Marshal(removalDocument{Incarnation: incarnation, At: r.At, SilentSeconds: int64(r.Silent / time.Second)})
	if err != nil {
		return err
	}
	return n.forgetMember(ctx, name, note)
}

// removedPrefix is what the names of the documents begin with that say who was removed without being asked.
const removedPrefix = clusterPrefix + "removed/"

// removalDocument is the value of such a document, as JSON.
type removalDocument struct {
	Incarnation   string    `json:"incarnation"`
	At            time.Time `json:"at"`
	SilentSeconds int64     `json:"silent_seconds"`
}

// removals returns who was removed without being asked, by name.
func removals(ctx context.Context, db *engine.DB) (out []query.ClusterRemoval, err error) {
	if db == nil {
		return nil, nil
	}
	all, err := db.Documents(ctx, removedPrefix)
	if err != nil {
		return nil, err
	}
	for _, d := range all {
		var r removalDocument
		if json.Unmarshal(d.Value, &r) == nil { // somebody may have written anything there
			out = append(out, query.ClusterRemoval{ID: strings.TrimPrefix(d.Name, removedPrefix), At: r.At, Silent: time.Duration(r.SilentSeconds) * time.Second})
		}
	}
	slices.SortFunc(out, func(a, b query.ClusterRemoval) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

// forgetMember drops what the store has of a member, and writes why, if that is not nil. It fails with
// [query.CodeUnknownName] if there is nothing.
func (n *Node) forgetMember(ctx context.Context, name string, why []byte) error {
	db := n.db.Load()
	if db == nil {
		return errNoStore()
	}
	b := batch.New()
	found := why != nil
	for _, prefix := range []string{memberPrefix, removedPrefix} {
		switch _, err := db.Document(ctx, prefix+name); {
		case err == nil:
			b.DropDocument(prefix + name)
			found = true
		case !errors.Is(err, &query.Error{Code: query.CodeUnknownName}):
			return err
		}
	}
	if !found {
		return query.Errorf(query.CodeUnknownName, "there is no member %q", name)
	}
	if why != nil {
		b.PutDocument(removedPrefix+name, why)
	}
	raw, err := b.Encode()
	if err == nil {
		_, err = db.Apply(ctx, raw)
	}
	return err
}

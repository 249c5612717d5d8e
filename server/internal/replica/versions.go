package replica

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
)

// span is the cluster versions that a member knows: both of them and all in between.
type span struct{ lowest, newest uint64 }

// spanOf reads what is said of a member. Zeros are of a build that says nothing: it knows the first.
func spanOf(lowest, newest uint64) span { return span{max(lowest, 1), max(newest, 1)} }

// ownSpan is what this program knows.
func ownSpan() span {
	lowest, newest := engine.KnownVersions()
	return span{lowest.Number, newest.Number}
}

func (s span) has(number uint64) bool { return s.lowest <= number && number <= s.newest }

func (s span) String() string {
	if s.lowest == s.newest {
		return fmt.Sprintf("version %d only", s.lowest)
	}
	return fmt.Sprintf("the versions %d to %d", s.lowest, s.newest)
}

// spanVersion is what a span begins with: no name of Raft's for a member does.
const (
	spanVersion = 1
	spanSize    = 1 + 8 + 8
)

func (s span) encode() []byte {
	b := append(make([]byte, 0, spanSize), spanVersion)
	b = binary.LittleEndian.AppendUint64(b, s.lowest)
	return binary.LittleEndian.AppendUint64(b, s.newest)
}

// decodeSpan reads what stands where Raft has the name of who answers. Whoever says nothing there, or says it
// otherwise, counts as one who knows the first version: nothing is raised for him.
func decodeSpan(b []byte) span {
	if len(b) != spanSize || b[0] != spanVersion {
		return spanOf(0, 0)
	}
	s := span{binary.LittleEndian.Uint64(b[1:]), binary.LittleEndian.Uint64(b[9:])}
	if s.lowest == 0 || s.lowest > s.newest {
		return spanOf(0, 0)
	}
	return s
}

// span is what this member says of itself.
func (n *Node) span() span {
	if n.cfg.knows != (span{}) {
		return n.cfg.knows
	}
	return ownSpan()
}

// holdName is the document that keeps the version as it is; its value says nothing.
const holdName = "cluster/hold"

// versionsEvery is how often a leader looks who knows what: an upgrade of the last member is noticed by then.
const versionsEvery = time.Second

// keepVersions writes down what members know, and raises the version when all know a newer one, as long as ctx lasts.
func (n *Node) keepVersions(ctx context.Context) {
	t := time.NewTicker(versionsEvery)
	defer t.Stop()
	told := false // of what cannot be done
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		err := n.renew(ctx)
		if err == nil && !n.held() {
			_, err = n.raise(ctx, false)
		}
		if err != nil && !told && ctx.Err() == nil && n.IsLeader() {
			n.cfg.Log.Warn("what the members know cannot be noted, or the cluster version not be raised yet", "error", err)
		}
		told = err != nil
	}
}

// knownBy returns what a member has said that it knows, false if it has not answered lately.
func (n *Node) knownBy(s raft.Server) (span, bool) {
	if s.ID == n.id.server() {
		return n.span(), true
	}
	c := n.wire.contact(s.ID)
	return c.span, n.answers(s.ID) && c.span != span{}
}

// renew has the documents of members say what they know since they were started with another build.
func (n *Node) renew(ctx context.Context) error {
	known, err := documents(ctx, n.db.Load())
	if err != nil {
		return err
	}
	for _, s := range n.servers() {
		says, heard := n.knownBy(s)
		id, incarnation := memberOf(s.ID)
		if d, ok := known[id]; !heard || !ok || d.Incarnation != incarnation || d.span() == says {
			continue
		}
		if err := n.renewOne(ctx, s.ID, says); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) renewOne(ctx context.Context, server raft.ServerID, says span) error {
	if err := n.change(ctx); err != nil {
		return err
	}
	defer n.members.release()
	id, incarnation := memberOf(server)
	d, err := n.member(ctx, id)
	if err != nil || d.Incarnation != incarnation { // it was removed, or came back as another
		return ctx.Err()
	}
	return n.document(ctx, &Identity{ID: id, Incarnation: incarnation, Raft: d.Raft, Client: d.Client}, d.ReadOnly, says)
}

// held reports whether the version is to stay as it is.
func (n *Node) held() bool {
	db := n.db.Load()
	if db == nil {
		return true
	}
	_, err := db.Document(context.Background(), holdName)
	return !errors.Is(err, &query.Error{Code: query.CodeUnknownName})
}

// reachable returns the newest version that all members know, and, if some know a newer one, who keeps the others from it.
// For who does not answer nobody knows what it is started with, so nothing is raised without it: it returns the one that
// there is.
func (n *Node) reachable(now uint64) (to uint64, missing []string) {
	all := map[string]span{} // zero: it does not answer
	for _, s := range n.servers() {
		id, _ := memberOf(s.ID)
		all[id] = span{}
		if says, ok := n.knownBy(s); ok {
			all[id] = says
		}
	}
	return reachable(now, all)
}

func reachable(now uint64, all map[string]span) (to uint64, missing []string) {
	newest := uint64(0)
	to = math.MaxUint64
	for _, s := range all {
		newest, to = max(newest, s.newest), min(to, s.newest)
	}
	for _, s := range all {
		if !s.has(to) {
			to = now
		}
	}
	if to = max(to, now); newest <= to {
		return to, nil
	}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		switch s := all[id]; {
		case s == span{}:
			missing = append(missing, id+" does not answer")
		case s.newest < newest || s.lowest > now:
			missing = append(missing, fmt.Sprintf("%s knows %s", id, s))
		}
	}
	return to, missing
}

// raise raises the version to the newest that all members know, if that is a newer one, and returns the one in force.
// A member that joins is not taken in meanwhile.
func (n *Node) raise(ctx context.Context, asked bool) (v query.ClusterVersion, err error) {
	db := n.db.Load()
	if db == nil {
		return v, errNoStore()
	}
	v = db.ClusterVersion()
	if to, _ := n.reachable(v.Number); to <= v.Number && !asked {
		return v, nil
	}
	if err := n.change(ctx); err != nil {
		return v, err
	}
	defer n.members.release()
	v = db.ClusterVersion()
	if !asked && n.held() { // meanwhile
		return v, nil
	}
	to, missing := n.reachable(v.Number)
	switch {
	case to > v.Number:
		if err := db.RaiseVersion(ctx, to); err != nil {
			return v, err
		}
		v = db.ClusterVersion()
		n.cfg.Log.Info("all members know a newer cluster version, which is in force from now on", "version", v.Number, "zones", v.Zones)
	case len(missing) > 0:
		return v, &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("the cluster stays at version %s: %s", v, strings.Join(missing, ", ")),
			Hint: "start these members with the newer build, or remove them; the version rises by itself then"}
	}
	return v, nil
}

// Upgrade has the cluster go by the newest version that all members know, and by newer ones as soon as all know them; or,
// with hold, stay at the one that it has until this is asked for again. It returns the version in force. It fails
// with [query.CodeConflict], and says so, if only some members know a newer one, and with [query.CodeNotLeader] where another leads.
func (n *Node) Upgrade(ctx context.Context, hold bool) (query.ClusterVersion, error) {
	if _, err := n.leading(ctx); err != nil {
		return query.ClusterVersion{}, err
	}
	db := n.db.Load()
	if db == nil {
		return query.ClusterVersion{}, errNoStore()
	}
	if err := n.hold(ctx, db, hold); err != nil {
		return query.ClusterVersion{}, err
	}
	if hold {
		return db.ClusterVersion(), nil
	}
	return n.raise(ctx, true)
}

// hold notes whether the version is to stay as it is; nothing is raised meanwhile.
func (n *Node) hold(ctx context.Context, db *engine.DB, hold bool) error {
	if err := n.change(ctx); err != nil {
		return err
	}
	defer n.members.release()
	if n.held() == hold {
		return nil
	}
	b := batch.New()
	if hold {
		b.PutDocument(holdName, []byte("{}"))
	} else {
		b.DropDocument(holdName)
	}
	raw, err := b.Encode()
	if err == nil {
		_, err = db.Apply(ctx, raw)
	}
	return err
}

// mayJoin refuses a member whose build does not know the version in force.
func (n *Node) mayJoin(id string, knows span) error {
	db := n.db.Load()
	if db == nil {
		return errNoStore()
	}
	if v := db.ClusterVersion(); !knows.has(v.Number) {
		return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("the cluster decides by version %s; the build of %s knows %s", v, id, knows),
			Hint: "use the build of Kanta that the other members run"}
	}
	return nil
}

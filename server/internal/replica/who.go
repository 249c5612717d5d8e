package replica

import (
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// NodeAt returns the name of the member at an address for members, "" if this one knows of none. It does not
// wait.
func (n *Node) NodeAt(address string) string {
	if !n.running.Load() {
		return ""
	}
	for _, s := range n.servers() {
		if s.Address == raft.ServerAddress(address) {
			name, _ := memberOf(s.ID)
			return name
		}
	}
	return ""
}

// Allows reports whether a node of some name may be heard. Who leads knows who the members are, and hears
// nobody else. Who does not lead may have been away while the members changed, and would never learn of it if it
// did not hear the leader that they have now: it hears every node of the cluster. It does not wait.
func (n *Node) Allows(name string) bool {
	if !n.running.Load() || !n.IsLeader() {
		return true
	}
	for _, s := range n.servers() {
		if member, _ := memberOf(s.ID); member == name {
			return true
		}
	}
	return false
}

// IdentityAt is [ReadIdentity] on the machine's file system.
func IdentityAt(dir string) (*Identity, error) { return ReadIdentity(vfs.Default, dir) }

// RaftLogger is what a transport of Raft's logs with.
func RaftLogger(log *slog.Logger) hclog.Logger { return raftLogger(log) }

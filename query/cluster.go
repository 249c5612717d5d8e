package query

import (
	"fmt"
	"time"
)

// ClusterVersion is by which rules the members of a cluster decide what is written: all by the same, whatever
// they were built from. It only rises.
type ClusterVersion struct {
	Number uint64 // 1: the first
	Zones  string // the release of the time zones that it goes with, such as 2025c
}

// String returns "2 (time zones 2025c)".
func (v ClusterVersion) String() string { return fmt.Sprintf("%d (time zones %s)", v.Number, v.Zones) }

// ClusterStatus is what a member of a cluster knows of it.
type ClusterStatus struct {
	Cluster       string // its id
	Node          string // the id of the member that says so
	Leader        string // of the one that leads; "": none that this one knows
	Term          uint64
	LeaderSince   time.Time // since when that one leads, as far as this one knows; zero: it does not
	LeaderChanges uint64    // that this one has seen since it was started
	// Staleness is how long ago this one had, certainly, all that was acknowledged then: at the leader
	// some hundred milliseconds, and more if it was stopped or is cut off. Negative: nobody knows.
	Staleness time.Duration
	// Purge is up to where every member is to have purged what its files hold of people who were erased; zero: nobody
	// has asked for that.
	Purge Position
	// Version is the one in force, as far as this one has got; zero: it has no store yet. VersionHeld: it stays as
	// it is, also when all members know a newer one.
	Version     ClusterVersion
	VersionHeld bool
	Members     []ClusterMember // by id
	// Removed are those who were removed because nobody heard of them, by id, as far as they have not joined again.
	Removed []ClusterRemoval
}

// ClusterRemoval is a member that the leader has removed because it was not heard of.
type ClusterRemoval struct {
	ID     string
	At     time.Time
	Silent time.Duration // for how long it was not heard of
}

// ClusterMember is one member of a cluster, as another one knows it.
type ClusterMember struct {
	ID          string
	Address     string // for clients, HOST:PORT
	RaftAddress string // for the other members
	Voter       bool   // it counts in majorities
	ReadOnly    bool   // it never will: it answers questions only
	Self        bool   // it is the one that says so
	// LastContact is how long ago the leader has heard of it, of a follower that says so itself, how long ago
	// that has heard of the leader. Negative: it is not known, which of other members only the leader does.
	LastContact time.Duration
	// LowestVersion to NewestVersion are the cluster versions that its build knows; 0: that is not known.
	LowestVersion, NewestVersion uint64
	Position                     Position // what it has applied; zero: that is not known
	Lag                          uint64   // entries of the log that the leader had then and it had not; if LastContact is negative it says nothing
	// SnapshotBytes of SnapshotTotal have been sent to it of a snapshot; 0: it is sent none.
	SnapshotBytes, SnapshotTotal uint64
	// Purged is up to where it has done that, in its store, its snapshots and its log; zero: it has not, or nobody knows.
	Purged  Position
	Problem string // what is wrong with it; "": nothing that is known
}

// ClusterRecruit is a node that asks to be taken into a cluster.
type ClusterRecruit struct {
	ID          string // which no member has, or a member that was wiped
	Address     string // for clients, HOST:PORT
	RaftAddress string // for the other members, HOST:PORT
	// Incarnation is a random number in hexadecimal digits that was made with the node's directory.
	// A node that was wiped has another one, and does not vote as who it was.
	Incarnation string
	ReadOnly    bool // it is to have no vote, ever
	// LowestVersion to NewestVersion are the cluster versions that its build knows. 0: the first only.
	LowestVersion, NewestVersion uint64
}

// NotLeader is the error of a member that does not lead, of a call that has done nothing. leader is
// the address for clients of the one that does, "" if nobody knows.
func NotLeader(leader string) *Error {
	e := &Error{Code: CodeNotLeader, Message: "this member of the cluster does not lead, and no other is known to", Hint: "try again soon: the others choose one"}
	if leader != "" {
		e.Leader, e.Message, e.Hint = leader, "another member of the cluster leads", "ask at "+leader
	}
	return e
}

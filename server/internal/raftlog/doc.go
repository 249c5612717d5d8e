// Package raftlog keeps what a node of a cluster must not forget: the entries of its Raft
// log, and for whom it has voted. A [Log] is raft's LogStore, StableStore and
// CommitTrackingLogStore, on a small Pebble of its own.
//
// It does four things that the usual stores do not. Every entry has a checksum, which is
// verified when it is read. A log that has lost something that was acknowledged is noticed
// when it is opened ([ErrLost]), so that the node does not vote with it. It does what raft
// leaves undone when a snapshot is installed over a log that goes on behind it (issue 697).
// And what was deleted can be had out of the files ([Log.Purge]).
//
// # Files
//
// A directory with two entries: db, the Pebble store, and MARK, which says what it must
// have. It is made beside its place and renamed, after Pebble was opened twice: the first
// log that Pebble writes is in a form of which a damaged one cannot be told from a short one.
//
// # Keys, all numbers big-endian
//
//	'e' index(8)   an entry
//	's'            the state
//	'v'            what raft calls stable: term and vote
//
// # An entry, version 1, numbers little-endian
//
//	version(1) type(1) term(8) seconds(8) nanoseconds(4) previous(4) length(4) extensions data sum(4)
//
// The time is that of raft's AppendedAt, since 1970. length is that of the extensions.
// previous is the sum of the entry before, 0 if there was none; so an entry vouches for all
// before it. sum is the CRC32C of the index (8 bytes, big-endian) and all before the sum:
// an entry in the wrong place is not one. Entry 2 of term 1, a command with the data "hi",
// appended at second 1, nanosecond 2, behind an entry whose sum is 0x04030201:
//
//	01 00 0100000000000000 0100000000000000 02000000 01020304 00000000 6869 1579b46d
//
// # The state, version 1
//
//	version(1) id(16) base index(8) base term(8) edge index(8) edge term(8) last(8) commit(8) sum(4)
//
// It is written with whatever changes it. The entries are those from base+1 to last, without
// a gap. base is what the first one stands on, the end of a snapshot or of what was deleted;
// its term is 0 if it is not known. edge is the last entry there was when all were deleted,
// 0: it may become the base. commit is what raft had staged. The state of an empty log with
// the id 000102...0f:
//
//	01 000102030405060708090a0b0c0d0e0f 48 zeros 4d7da008
//
// # The stable values, version 1
//
//	version(1) sequence(8) count(2) { length(2) key length(2) value } sum(4)
//
// in the order of the keys. sequence grows with each change. Sequence 2, one value, "k" = "v":
//
//	01 0200000000000000 0100 0100 6b 0100 76 ad846cd8
//
// # MARK, version 1
//
// Three slots of 4,096 bytes, as a disk writes no less. A slot is
//
//	"KNTL"(4) version(1) slot(1) 0(2) sequence(8) id(16) base(8) last(8) sum of last(4) stable sequence(8) stable sum(4) sum(4)
//
// and zeros. The one with the highest sequence holds, of those whose sum is right and whose
// slot number is their place. The log must have a base and a last entry that are at least as
// high; if it has the entry that is last in the mark, that one has the sum of the mark; the stable
// values are at least of that sequence, and have that sum if they are of it. Slot 1 with sequence
// 7, the id 000102...0f, base 1, last 2 with the sum 3, stable sequence 4 with the sum 5:
//
//	4b4e544c 01 01 0000 0700000000000000 000102030405060708090a0b0c0d0e0f 0100000000000000 0200000000000000 03000000 0400000000000000 05000000 ffb388ef
//
// The mark is written after each append, when Pebble has synced it, and not synced itself:
// whoever is killed loses none. In the background it is synced at most ten times a second, so
// after a power cut it is at most so much older; only then what was lost of a tenth of a
// second is not noticed, if the disk has damaged it besides. A slot that was synced is not
// written again before another one was. Where a mark would stand in the way of what is
// lawful (a tail is deleted that raft has found to be wrong) it is lowered and synced before.
// Term and vote are rare: with them the mark is synced before they count. Syncing it with
// every append was refused: it is a second sync in the way of every write.
//
// # Issue 697 of raft
//
// When a follower has installed a snapshot, raft (1.8.0) compacts the log and leaves the rest
// as it is, also entries behind the snapshot that contradict it: the tail of a leader that
// was deposed. Then the leader goes on at snapshot+1, the follower finds another term at the
// snapshot's index, or nothing, and refuses; the leader goes back until it has no entries,
// sends the snapshot again, and so on for ever. If the store says that it is monotonic, the
// entries are deleted, but raft goes on believing in the old last one and panics when it
// looks for it. What this package does:
//
//   - [Log.Installed] is told of a snapshot, when it is durable and before raft goes on. It
//     does what the protocol demands (figure 13, steps 6 and 7): if the entry at its end is
//     there with its term, the log is kept; else all of it is deleted at once, durably, and
//     the snapshot's end becomes the base.
//   - GetLog of the base answers with its term, so that the leader's entries fit on behind
//     it, also when it is not raft's last one. (Not of index 1: there a leader begins
//     without asking for what is before, and would send it.)
//   - Raft in memory still believes in the old tail. GetLog answers for that with entries of
//     term 0, which no leader has: so raft finds the first one to differ, deletes all of
//     them, which changes nothing here, and appends. From then on it is right.
//   - Such stand-ins have a type of their own ([StandIn]). StoreLogs refuses them, and raft
//     panics before it would apply one: they cannot become part of anybody's log.
//   - IsMonotonic is false. An append that leaves a gap deletes what is before the gap: only
//     behind a snapshot there is one.
//
// A snapshot that is older than what the state machine has must be refused where it comes in:
// raft would go back to it, and look for entries that are gone.
//
// # Votes
//
// Raft stores a vote in two steps, term, then candidate. Killed in between it would wake up
// with a vote in the new term for the candidate of the last one, and grant it again without
// looking at its log. So storing the term of a vote removes the candidate, in one write.
package raftlog

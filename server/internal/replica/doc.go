// Package replica is a member of a cluster: a store that is written through a log which a
// majority of the members must have before anything is acknowledged. It joins hashicorp/raft
// with the engine's side of replication, with the log in package raftlog, and with the
// snapshots in package snapshots.
//
// # The directory of a member
//
//	NODE         whose directory it is
//	store/       the store
//	raft/        the log, and what the member has promised: package raftlog
//	snapshots/   the newest snapshot: package snapshots
//	DIVERGED     if it is there: the store differs from a majority's, and is not opened
//	PURGED       if it is there: up to where the member has purged
//
// NODE is the last to be made, so a directory with one is whole. store/ is missing until the
// first snapshot has come; the others never are, and a member that misses one must join anew.
//
// # NODE, version 1
//
// Lines of text, in this order, each "key value" and a newline; sum is the CRC-32C of all
// before, in 8 hexadecimal digits:
//
//	kanta node 1
//	cluster shop
//	store 000102030405060708090a0b0c0d0e0f
//	id n1
//	incarnation 0123456789abcdef
//	raft 10.0.0.1:7701
//	client 10.0.0.1:7700
//	sum add96a35
//
// Raft calls the member ID.INCARNATION. The incarnation is drawn when the directory is made, so
// a directory that is made anew under an old name is another server to Raft: it has never
// voted, nobody counts on what the old one has acknowledged, and it gets a vote only when it
// has caught up. The leader takes a member in, and takes the old one out, before the new
// directory is made ([Node.Join], then [InitJoin]).
//
// Who the members are for their clients stands in documents of the store, cluster/member/ID,
// as JSON: {"raft": "HOST:PORT", "client": "HOST:PORT", "incarnation": "...", "lowest_version": 1,
// "newest_version": 2}, and "read_only": true of one that never votes. The versions are the cluster versions that its
// build knows; without them it knows the first. It is written before Raft takes the member in.
//
// # PURGED, version 1
//
// Text like NODE. The store, the snapshots and the log of the member have nothing any more of people who were erased up to
// a position. What is no such file says nothing, and the member purges again:
//
//	kanta purged 1
//	position 1.3
//	sum 622f0a3f
//
// # The log
//
// A command of Raft's log is an entry for the store (package engine), or has no data, and is a
// control entry in its extensions. Numbers are little-endian, the last four bytes the CRC-32C
// of all before:
//
//	version(1) kind(1) sum(4)                             mark (1) and term (3)
//	version(1) 2 mark(8) voters(1) n(1) n votes sum(4)    verdict
//	length(1) member epoch(8) applied(8) chain(16) replica(16)    a vote: what a member has found
//
// Version is 1. A term entry is the first of each leader: once it is committed, so is all that
// was before it, and every later entry is one that the state machine is given (Raft does not
// give it what it adds itself). A mark has every member compute the digests of its store as it
// is there, and say so to the leader. The verdict is what those who vote have found, in the five
// seconds that the leader waits, and how many vote. If more than half of those have found the
// same, whoever has found something else, be it the leader, stops, leaves DIVERGED in its
// directory, and has to join anew. If they differ and no majority has the same, nobody knows who
// is right: every member says so in its status, and goes on. A mark at index 258, and a verdict of
// two of three that have position 1.3, chain 00..0f, digest 10..1f:
//
//	01 01 a66ca810
//	01 02 0201000000000000 03 02 13 6e312e30313233343536373839616263646566 0100000000000000 0300000000000000 000102030405060708090a0b0c0d0e0f 101112131415161718191a1b1c1d1e1f 13 6e322e30313233343536373839616263646566 0100000000000000 0300000000000000 000102030405060708090a0b0c0d0e0f 101112131415161718191a1b1c1d1e1f 715d5238
//
// # What members say beside Raft's messages
//
// The leader's address stands twice in a request of Raft's to append entries, in a header and in
// a field of an older version that nobody reads (Leader). What is not sent in a pipeline, as every
// heartbeat, has 33 bytes there, a word; and where an answer's header would have an address (Addr) it has
// 17 or 73, 16 more of who has purged, and one more of who has something to say of itself. Who finds anything else there takes
// it for nothing. Numbers as above; version is 1.
//
//	version(1) boot(8) echo(8) commit(8) age(8)                                    word
//	version(1) boot(8) at(8)                                                       answer
//	version(1) boot(8) at(8) mark(8) epoch(8) applied(8) chain(16) replica(16)     answer of who has found something
//	... epoch(8) applied(8)                                                        either, of who has purged up to there
//	... state(1)                                                                   any, of who has something to say of itself
//
// State 1 is that of a member whose disk is nearly full; others are not known, and the answer is not then.
// An answer has the instant of it by the clock of who answers, in nanoseconds since its start, which
// has the random number boot. The next word to it echoes the latest. So the receiver of a word knows
// since when it may have been on its way, however long it has waited in a buffer, and no clock is compared
// with another. commit is up to where the leader's log is committed, and age how many nanoseconds before the
// word it is certain to have known of everything that was acknowledged; commit 0: it does not know. A word that
// echoes 2 of boot 1, with commit 3 and age 4; the answer at 2 of boot 1; the same with the mark 258 as above; the first of who
// has purged up to 1.3; and the first of a member whose disk is nearly full:
//
//	01 0100000000000000 0200000000000000 0300000000000000 0400000000000000
//	01 0100000000000000 0200000000000000
//	01 0100000000000000 0200000000000000 0201000000000000 0100000000000000 0300000000000000 000102030405060708090a0b0c0d0e0f 101112131415161718191a1b1c1d1e1f
//	01 0100000000000000 0200000000000000 0100000000000000 0300000000000000
//	01 0100000000000000 0200000000000000 01
//
// In that answer the field where Raft has the name of who answers, and which nobody reads, has the cluster
// versions that the member knows, 17 bytes. Of who says nothing there the first version is known.
//
//	version(1) lowest(8) newest(8)
//
// A member that knows the versions 2 to 3:
//
//	01 0200000000000000 0300000000000000
//
// # The cluster version
//
// What comes of an entry may change from build to build, but all members must come to the same. So they go by a
// version, which an entry of the log raises (package engine), and which the store keeps: it is in every copy and snapshot.
// A build knows the versions from one to another, and each member tells the leader which. The leader writes
// that into the member's document, and raises the version when every member, with a vote or without, has just
// answered and knows a newer one; unless there is a document cluster/hold. It never goes back. A member that does not
// know the version stops at the entry that raises it, without having taken anything behind it, and is not started with a store
// that goes by it; who would join with such a build is refused. A cluster of builds that knew of no versions goes by the first.
//
// Taking in a member and raising the version exclude each other: both are done by the leader of a term, one after
// the other. A member that is started with an older build just after it has answered stops at the entry; the build that
// it had before serves it again.
//
// # Before a snapshot is sent
//
// The leader asks first what the member has of it: with a request to install a snapshot that is an offer (package
// snapshots), and has a word of 2 bytes where the leader's address stands again (Leader). Raft at the other end does not
// see it. The answer, which installs nothing, has version and map where its header would have an address; no map means
// that nothing is there. The request that follows has a word of 10 bytes if the stream leaves something out: how many
// bytes it has. Its Size is that of the whole stream nevertheless, because the time that a transport gives it goes by
// that, and what is not sent is read and verified at the other end. Who knows no offers takes one for a damaged
// snapshot of a newer version, says so, and is sent everything, and so is a member with whom it has just failed.
//
//	version(1) 1             an offer
//	version(1) 2 size(8)     a stream of so many bytes
//	version(1) map           an answer
//
// # What must hold, and why it does
//
//   - A write is acknowledged when it is committed and was applied here. Applying syncs
//     nothing: what a power cut takes from the store is in the log, which is cut only below a
//     snapshot that is durable. When a member starts and its store has less than its newest
//     snapshot, the snapshot is installed: Raft takes for applied what its newest snapshot
//     has, and what comes before it is not in the log any more.
//   - What the store has is skipped when it is given again, by the store, which keeps the index
//     in the same write as what became of the entry.
//   - The log begins behind a snapshot that stands for entry 2, which exists nowhere. So who
//     has nothing gets a snapshot and never begins at the beginning with another store.
//   - When anything fails that the next entry depends on (the log, the vote, the store), the
//     member stops: nothing more is applied or acknowledged, and Raft is shut down. Raft panics
//     there, which would end the program that embeds it: its goroutine is ended instead.
//   - Only what a leader's message brings, or shows to be the same, is committed by it. Raft (1.8.0)
//     would commit all of its own log up to the leader's commit index, also a tail that the
//     leader has not compared yet, if the leader has committed more while it made the message.
//   - A member that knows of no configuration does not vote. A snapshot that is older than what
//     the member has is not installed: the leader is told that the member has it.
//   - A linearizable read: the leader has committed something in its own term; the commit index
//     is read; a majority of those who vote answers, with success and in the same term, a message
//     that was sent after that; everything up to the index is applied; only then the store is looked
//     at. What Raft verifies (VerifyLeader) is not enough: it counts members without a vote, and answers
//     to what was sent before it was asked. No clock is believed.
//   - A member that does not lead hears every node of its cluster: it may have been away while
//     the members changed, and must hear the leader that they have now.
//   - A member was removed when the entry that says so is committed, and not before: it may be
//     the only one left that has what was acknowledged. Raft does not send who is removed more than that
//     entry, so the leader tells it that it is committed.
//
// # Who was away
//
// Raft (1.8.0) waits after each failure to send entries twice as long before it tries again, up to 10 s, and nothing ends
// that wait: who was away for half a minute gets nothing for as long again when it is back, and who joins and is started
// some time later neither. So the transport does not let Raft count: where a message fails and the member answers nothing
// else either, it goes on to send that message without its entries, every 50 ms, until there is an answer or this member
// leads no more. Heartbeats fail as before: by them Raft decides whether it still leads.
//
// # A leader's disk
//
// Raft (1.8.0) has a leader sync its own log before it sends anything, so a write waits for two disks one after the
// other, and whatever else the leader does waits as well. Here the leader's log returns before it is durable, and
// followers sync what they are sent meanwhile. Raft then counts the leader itself for what its disk may not have yet,
// which is made good where it matters:
//
//   - The store is given nothing, and so nobody is answered, before the disk of this member has it. Then a majority
//     has it that has synced it.
//   - Others are told of nothing that it is committed before this member's disk has it: they would apply what a power
//     cut here could still undo.
//   - Who has led hears the entries of another leader when its disk has all there is: else it would answer that it
//     has what its disk has not.
//   - Who the members are is synced before it is sent. A change follows another one when that is committed, which
//     Raft decides by itself.
//
// A power cut then takes from this member what nobody has applied and nobody was told of, as if it had never been
// appended. A vote does not depend on it: a tail that is lost makes a member refuse fewer candidates, never more.
//
// # A disk that is nearly full
//
// Pebble cannot go on where a write has failed, and a member whose log has failed has to be started
// anew. So a member looks how much its disks have left, and leaves enough for what it has begun. Three
// parties are refused, one after another: who writes, before the entry is in the log, at a leader that
// has no room or that knows as much of a majority (such a leader has another one lead that has room);
// the leader, by a member that takes no entries of others' but what a new leader needs; and Raft itself,
// which waits until what is committed has been applied. Each goes on when there is room, and none has
// to be started anew. A member that was away for longer than the log gets a snapshot, which it takes if that
// leaves as much. A disk that fails to write or to sync stops the member as before.
//
// # Erasure
//
// An erasure is an entry like any other; what the files of each member still have of who was erased it removes itself. When
// the leader's store has been purged, because somebody asked or the time had come, it says so in a document of the store,
// cluster/purge, as JSON: {"position": "1.3"}, of the last erasure that is purged. A member whose store says more than its
// file PURGED purges its store; makes a snapshot, and waits until older ones are gone, which may be on their way to another
// member; cuts the log behind the entry that it had applied last when it began, and has it written anew; and then notes it. So
// who was down hears of it when he is back, by the log or by a snapshot, and who is killed in the middle begins again. A
// snapshot that comes from the leader has what the leader's files had, who may not be done: then what was noted is forgotten.
//
// The log is cut only behind the erasure, so who lacks less is sent no snapshot; and later, if a member that answers needs
// what would be cut, by 15 minutes at most.
//
// # Issue 697 of raft
//
// A follower that installs a snapshot keeps entries of its log behind it that contradict it,
// and then livelocks or panics. Package raftlog puts that right, if it is told of each snapshot
// before Raft goes on; that is done in Restore, and at every start for a process that was
// killed in between.
//
// # RestoreCommittedLogs of raft
//
// It is not used, for with it (1.8.0) a member forgets who the members are. NewRaft looks for
// configurations only behind what it has restored from the log, so the one that stands before
// that is not seen: of three members one that is started anew knows of the configuration of its
// snapshot only, and if that had one member it elects itself. Besides it gives what it restores to
// a queue of 128 batches that nobody empties yet, so with more it waits for ever.
//
// # What a snapshot has, sent again
//
// When an answer is lost a leader sends entries again that the member has cut off since, behind
// a snapshot. Raft (1.8.0) looks for the entry before them, finds none and refuses, until the
// leader sends a snapshot, which may be older than the member's: for ever. The entries that a
// snapshot stands for are committed and so the same; they are left out before Raft sees the
// message, and if nothing else is in it the member answers that it has them.
//
// # A pipeline that is stuck
//
// Raft (1.8.0) sends entries into a pipeline by one goroutine and takes the answers by another,
// which ends at the first refusal. If the pipeline is full then, the first waits for ever: the
// member gets no entries any more, though it hears that there is a leader, and Raft cannot be
// shut down. So a message that waits for 5 s closes the pipeline, and so does the end.
//
// # A vote that is not known of
//
// A member of Raft (1.8.0) refuses its vote to who has none by the configuration that it knows.
// So if a member has got its vote, and the leader dies before another one has heard of that, these two
// elect nobody until the leader is back. Members get their vote one at a time, when they have
// caught up, and all hear of it within a message; who takes a member out for good waits until
// the status shows the others' votes.
//
// # Time
//
// Raft's clocks decide when there is an election, and nothing else. Raft (1.8.0) looks every one to two
// Heartbeats whether it has heard its leader, and who has not looked yet refuses his vote to who has; so a
// member has its Raft look when a Heartbeat of silence and a random part of a quarter of one have passed. How old what a member has may be is
// found with clocks too, each compared with itself only. When an entry was received
// is stamped by who proposed it. What a store shows without a write changes with one thing only:
// the horizon behind which events are past their retention, which is a day of the last record.
// So where a type of events has a retention the leader writes a tick in the first minute of a
// UTC day in which nothing was written yet. Else an idle leader writes nothing.
package replica

// Package snapshots keeps the snapshots of a replica: directories with the files of a store.
// Its [Store] is raft's SnapshotStore.
//
// A snapshot is made of a checkpoint, that is of hard links to the tables of the living store,
// and is installed by hard links, too: on the node itself nothing is copied but what a store
// changes in place. To another node it goes as a stream, in pieces that are verified as they
// come, into a directory that gets its name when all of it is there and durable.
//
// # What a snapshot stands for
//
// Raft names a snapshot by the index of the log entry that the state machine was given last,
// and then deletes the log up to it. A store knows the index of the entry that has changed it
// last ([Checkpoint]). That may be lower: an entry that raft keeps for itself, or one that
// every replica refuses, changes nothing and is not worth a write. It may be higher: raft
// gives a node that was started again entries that its store has already. Both are in META,
// and both are right:
//
//   - The checkpoint is made by the goroutine that applies, so every entry up to raft's index
//     was given to the store before. What the store says less are entries that changed nothing.
//     They would change nothing a second time either, because what an entry does depends on the
//     state before it, which they left as it was; so it does no harm that they are gone, and
//     none that they are not given again. Whoever installs the snapshot goes on after raft's index.
//   - What the store says more are entries that were committed. Raft gives them again, and the
//     store skips what it has. Committed entries are the same everywhere.
//
// So a checkpoint must have all up to raft's index, and no entry that is not committed; what
// number it says is its own matter. [Meta.HeldBy] is the rule for a node that is started.
//
// # Directory
//
//	TERM-INDEX-NUMBER/      a finished snapshot; NUMBER counts those made here
//	TERM-INDEX-NUMBER/META  what it is
//	TERM-INDEX-NUMBER/data  the files of the store
//	tmp/                    what is not finished
//
// A snapshot is made in tmp, with all files, directories and last META synced, and then moved
// by one rename. An older one is deleted after that. So the newest one is whole, and opening
// deletes the others, and all of tmp.
//
// One snapshot is kept, besides older ones while they are read. Raft sends no other one. At a
// start it would try an older one if the newest could not be installed, and go on from there
// although the log behind it may be gone; so a newest one that is damaged is an error at
// opening, and never replaced by an older one.
//
// # META, format 1
//
// Text, in exactly this form; numbers without leading zeros, servers as raft has them, ids and
// addresses quoted as in Go, files by name:
//
//	kanta snapshot
//	format 1
//	index 500
//	term 3
//	configuration-index 2
//	server voter "a1" "10.0.0.1:7701"
//	server nonvoter "b2" "10.0.0.2:7701"
//	applied-index 498
//	applied-term 3
//	position 1.300
//	chain ffeeddccbbaa99887766554433221100
//	file 3 49915e0d7d4b402e3017d010bc1c0e83cac6c797d6c16e66340fe3268693a6a1 KANTA
//	file 0 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 db/000012.sst
//	sha256 40d56e1b9ad59f8774157a4243ebe42ca366e118d3c106952aed994369b2669d
//
// Index, term and configuration are raft's; applied-index, applied-term, position and chain
// hash are the store's. A file has its length, the SHA-256 of its bytes, and its name with the
// directories it is in: letters, digits, dots, hyphens and underscores, no part beginning or
// ending with a dot, no two that differ by case only. Directories without files are not kept.
// The last line is the SHA-256 of all before it. A larger format is of a newer version.
//
// # Stream, version 1
//
// Numbers are little endian.
//
//	4  magic "KNTS"
//	1  version: 1
//	3  zero
//	4  length of META, at most 24 MiB
//	   META
//
// then of each file, in the order of META, pieces of 262,144 bytes, the last one shorter; a file
// of no bytes has none:
//
//	4  CRC-32C of the number of the file, from 0, in 4 bytes, of where the piece begins in it,
//	   in 8, and of the piece
//	   the piece
//
// and in the end
//
//	4  CRC-32C of all before
//	4  "KNTZ"
//
// Everything but the trailer follows from META, so a stream has no length of its own that
// could be wrong. A file has ended well when its SHA-256 is that of META. The example's stream is
// its header, META, the one piece, and the trailer:
//
//	4b 4e 54 53 01 00 00 00 c9 01 00 00  header
//	6a a6 97 69 61 6e 6e  the piece
//	74 18 a7 e2 4b 4e 54 5a  trailer
//
// # Stream without what is there, version 2
//
// Tables are never changed, so of a snapshot that a node is sent it may have most: it was made of
// one of the same node before. The sender offers META, the receiver answers with a map of what
// its own newest snapshot has, and the rest is sent. An offer is the header, with version 3, and META.
// A map has a bit for each file of META, the lowest of the first byte for the first file, and 0
// behind the last. A file is the same if length and SHA-256 are; its name says nothing, for
// stores of one history give the same number to different tables. Only tables and blobs that
// are not empty may be left out. A stream without them has the map behind META, and no pieces of
// them; the receiver links its own, after it has read them and they are what META says. If the
// example's table is "bob", and is left out, there is a header of version 2,
// then behind META the map, KANTA's piece, and the trailer:
//
//	4b 4e 54 53 02 00 00 00 c9 01 00 00  header
//	02  map
//	6a a6 97 69 61 6e 6e  the piece
//	1d a2 7a 73 4b 4e 54 5a  trailer
//
// # Who verifies
//
// The sender computes the checksum of every file while it reads it, and breaks off before the
// last piece if it is not that of META: a disk that has lost a bit does not give it to others.
// The receiver verifies each piece, each file, and all. Checksums are computed when a
// snapshot is made, but for tables that the snapshot before it has, too: so a table is read
// once in its life, and what becomes of it later is found. If it is found, another snapshot
// of the same store does not help: the node itself has to join again.
package snapshots

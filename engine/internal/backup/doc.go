// Package backup has the formats of a backup target, and what is done with them: send the
// files of a store, find a backup, fetch it, verify, prune. It knows nothing of what the
// files hold.
//
// # Target, format 1
//
//	kanta-backups               what this is, see below
//	backups/NAME.manifest       one backup
//	objects/AB/ABCD...          a piece of a file: the SHA-256 of its bytes in hexadecimal,
//	                            under the first two digits
//	under-way/TIME-WHAT-ID      somebody makes a backup (make) or prunes (prune)
//	ledger/ABCD...              a piece of the ledger of erased people, by the SHA-256 of its bytes
//	log/STORE/...               a piece of the log of a store: what was written between backups
//
// Files are cut into pieces of 8 MiB, the last one shorter. So nothing that is kept is large:
// it is sent in one request, whole or not at all, verified before a byte of it is used, and
// what was sent before an interruption is not sent again. A piece that two files or two
// backups have in common is kept once.
//
// A target belongs to one line of stores: a store, and what was restored from its backups.
//
//	kanta backups
//	format 1
//	id 32 hexadecimal digits
//	root 32 hexadecimal digits, the id of the line's first store
//	sha256 64 hexadecimal digits, of all before
//
// # Object, version 1
//
//	4 bytes   "KNTO"
//	1 byte    version: 1
//	1 byte    codec: 0 as it is, 1 zstd
//	4 bytes   length of the piece, little endian, at most 8 MiB
//	rest      the piece
//
// The name is the checksum, and the reader verifies it. An example, of the piece "ann":
//
//	4b 4e 54 4f 01 00 03 00 00 00  the header
//	61 6e 6e  the piece
//
// # Manifest, format 1
//
// Text, in exactly this form; digits of numbers without leading zeros, times in UTC:
//
//	kanta backup
//	format 1
//	store 00112233445566778899aabbccddeeff
//	root 00112233445566778899aabbccddeeff
//	store-format 1
//	position 1.500
//	chain 0102030405060708090a0b0c0d0e0f10
//	received 2026-11-22T19:48:02.123Z
//	content 101112131415161718191a1b1c1d1e1f
//	created 2026-11-22T19:48:05.000Z
//	parent -
//	file 3 000012.sst
//	49915e0d7d4b402e3017d010bc1c0e83cac6c797d6c16e66340fe3268693a6a1
//	file 0 marker.manifest.000001.MANIFEST-000004
//	sha256 4a6909fc69a7de5fda9e36cb14018a8b33752809b6f525feb3951f00010775f2
//
// Position, chain hash, time of the last record and content digest are the store's. Files are
// those of its folder db, by name, each with its length and the hashes of its pieces. The
// last line is the SHA-256 of all before it. The name of the backup is its time and position,
// 20261122T194805.000Z-1.500.
//
// # Ledger, format 1
//
// Who was erased, so that no restore brings them back: a piece is text in an object, one line
// for each person, with the name and the entry that the store's ledger has (package
// erasure), at most 10,000. The ledger of a target is that of all its pieces together; of two
// entries of one person the later one holds.
//
//	kanta ledger
//	format 1
//	root 00112233445566778899aabbccddeeff
//	ce766c104824a4b44505fefde7597c9d 01015c9f3cc580909282e733010900542d31378e3e25c5
//
// # Log, format 1
//
// What a restore applies to a backup to come to a later point: the records of a store's log,
// in the form of package record, all that there were. A piece is one object of at most 8 MiB
// with records that follow each other and were received on one UTC day. It begins with text:
//
//	kanta log
//	format 1
//	root 00112233445566778899aabbccddeeff
//	store 00112233445566778899aabbccddeeff
//	first 1.501
//	records 1
//	before 0102030405060708090a0b0c0d0e0f10
//	after 0c785ef67126507021cb65a66fc7cd38
//	broken -
//
// then an empty line, and each record behind its length in 4 bytes, little endian. Before and
// after are the chain hashes of the log before the first record and at the last one: a piece
// goes on where another one, or a backup, has this hash at this position. Broken says why
// what came before is perhaps not at the target, in a word (off, limit, room, purge, moved,
// epoch); - if it is. The name of a piece is
//
//	log/STORE/RECEIVED-RECEIVED-POSITION-POSITION-SHA256.END
//
// with times and positions of the first and the last record, the SHA-256 of the piece, and
// the end open, or day when it is sealed. Open pieces are small; when their day is over, and
// at the target, those that follow each other are put together. After a crash a record may
// be in an open piece and in a sealed one. The example, received at 1,780,000,000,000, is
//
//	log/00112233445566778899aabbccddeeff/20260528T202640.000Z-20260528T202640.000Z-1.501-1.501-NAME.open
package backup

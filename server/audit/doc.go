// Package audit is the store of a node's audit: what was changed, and which personal data was
// read, when and by whom. It is a directory of files that are only ever appended to; each record
// carries a hash over itself and the record before it. A record never holds a value, a literal or
// the key of a person, only keyed hashes of them.
//
//	store, err := audit.Open("/var/lib/kanta-audit", nil)
//	err = store.Append(ctx, audit.Record{Caller: "k1", Call: "Profile", Outcome: audit.Done, Keys: []audit.Hash{store.Hash(key)}})
//	// it is durable now
//	head, err := store.Verify(ctx, nil)
//
// This comment is the format's specification, version 1. TestGolden decodes its example. Numbers
// are little endian; a uvarint is that of Protocol Buffers.
//
// # Directory
//
//	LOCK                          held while the store is open for writing
//	secret                        one line: "kanta audit secret 1", 64 hexadecimal digits, their CRC32C in 8
//	audit-0000000000000001.seg    segments; the digits are the number of the first record
//
// The secret is written last when a store is made: a directory with segments and no secret was
// never used, or is damaged. It is made with mode 0600, and a store whose secret others may read
// is not opened. Whoever has it can find out by trial what was hashed, and nobody else.
//
// # Segment
//
//	header  magic "KANTAAUD" 8 | version u16 | zero 6 | store 16 | first u64 | made u64 | until u64 | before 32 | CRC32C u32 of all this
//	record  length u32 | CRC32C u32 of length and payload | payload | hash 32
//
// store is random and the same in all segments. first is the number of the segment's first
// record; records are numbered from 1 without gaps. made is when the segment was made, until the time of
// record first-1, in ms since 1970; before is the hash of record first-1. Before record 1 both are 0. The hash of a record is SHA-256 of the hash of
// the record before it and the payload, of at most 4,096 bytes. Only the last segment grows; it is
// sealed when the next one is made, on another day (UTC) or when it is large.
//
// # Payload
//
//	number u64 | group u64 | time u64, ms since 1970, never before that of the record before | outcome u8 | fields
//
// Records are written and synced in groups; group is the number of the first record of this one's:
// all before it were durable when this was written. An outcome is 1 asked, 2 done, 3 denied, 4
// failed, 5 kept by the store itself. A field is tag u8 | length u16 | bytes; tags ascend, and a field that would
// say nothing is left out.
//
//	 1  text     caller: the id of a key, or the name in a certificate
//	 2  text     what the caller is called
//	 3  text     role
//	 4  text     address, without the port
//	 5  text     call
//	 6  u16      code of the error
//	 7  text     what was asked: an expression whose literals are hashes, see Store.Shape
//	 8  names    of attributes, segments and lists: for each, length u8 | text
//	 9  uvarint  how many names more there were
//	10  hashes   of keys of people, 16 bytes each: HMAC-SHA256 with the secret, cut
//	11  uvarint  how many keys more there were
//	12  uvarint  count: of people, rows or ops
//	13  u64 u64  position of the store: epoch, applied
//	14  uvarint  how many calls like this one were not recorded since the last that was
//	15  removed  number u64 | hash 32 of the last record that retention has removed
//	16  uvarint  how many bytes were cut from the end when the store was opened after a crash
//
// # What is damage
//
// A crash may leave a part of the last group, which nobody was told is durable: when the store
// is opened, the last segment is cut behind its last whole record, and a record with field 16
// says so. A record that cannot be read while there is one of a later group, or in a
// sealed segment, is damage and an error. So is a first segment that does not begin with record 1,
// unless a record with field 15 says that those before were removed.
//
// The hashes show that something was changed afterwards, not that the end is missing, or that
// everything was written anew by somebody who may write the files: against that, note the head
// that Verify returns elsewhere, and give it to a later Verify.
//
// # Example
//
// A segment: its header, then two records of one group, each with a line for its frame and what
// all payloads begin with, one for each field, and one for its hash. The first says that "crm"
// looked at the person "ann" (the secret is 1, 2, 3 and zeros), the second that "bi" was denied
// country == "IT", as 300 times before.
//
//	4b414e5441415544 0100 000000000000 000102030405060708090a0b0c0d0e0f 0100000000000000 000a45a99c010000 0000000000000000 0000000000000000000000000000000000000000000000000000000000000000 6932fb94
//	6d000000 21c5a475 0100000000000000 0100000000000000 050a45a99c010000 02
//	01 0200 6b31
//	02 0300 63726d
//	03 0700 737570706f7274
//	04 0800 31302e302e302e37
//	05 0700 50726f66696c65
//	0a 1000 ba33341b4a4dacb8e9471ac5d352e725
//	0c 0100 01
//	0d 1000 01000000000000000900000000000000
//	ee0c50ef403672efae1376f4df91b71a3edcc849712509e943650484147585d4
//	71000000 cee16733 0200000000000000 0100000000000000 050a45a99c010000 03
//	01 0200 6b32
//	02 0200 6269
//	05 0700 4d656d62657273
//	06 0200 1600
//	07 2c00 636f756e747279203d3d20233434326264383736353634646364396465356336643236333838633833653036
//	08 0800 07636f756e747279
//	0e 0200 ac02
//	387386bbe8e05140fcd1dd6232c7e8952ddec15bfe60033f29661e8c38638281
package audit

// Package erasure holds what a store knows of people who were erased: no value of theirs,
// only hashes, under a key that is made of the store's id ([Secret]). So the ledger of a
// store says something about that store and its backups, which have the same id, and
// nothing about another one.
//
//	name of a person   SHA-256 of 0x0C, the 16 bytes of the id and the person's key; its first 16 bytes
//	blanked string     SHA-256 of 0x0F, the 16 bytes of the id and the string (package dict); its first 16 bytes
//	trace of a value   SHA-256 of 0x0D, the 16 bytes of the id and the value's first 64 bytes; its first 16 bytes
//
// A trace is what is left of a value until the purge has looked for it in all files: how
// many bytes of it are hashed, 8 to 64, two hints of 32 bits, and the hash. The first hint is
// the upper half of (n xor s) * 0x9e3779b97f4a7c15, n the first 8 bytes as a little-endian
// number and s the first 8 bytes of SHA-256 of 0x0E and the id; the second the same of the
// last 8 bytes and 3 times the 8 from (length - 8) / 2 on, added: most places of a file are no
// begin of a value, and that is told without a SHA-256 for each. Values of fewer than 8 bytes
// have no trace: they stand in many places by accident.
//
// An entry of the ledger has a hint too, so that not every key that is written costs a
// SHA-256: the upper half of XXH64 of the key, seeded with s, little endian.
//
// All values are sealed (package kv). Numbers are uvarints, times milliseconds since 1970.
//
//	ledger entry   1 byte version: 1, 4 bytes hint, erased at, epoch, applied, readmitted at (0: not), the reference
//	pending        what a record leaves to the purge: 1 byte version: 1, received at,
//	               n, n names of erased people; n, n ordinals they had, ascending, each less
//	               the one before; quarantined rows deleted; rows refused; n, n traces
//	trace          1 byte length, 4 bytes each of two hints, little endian, 16 bytes hash
//	state          of a purge under way: 1 byte version: 1, started at, up to which position
//	               records are purged, events, strings, n, n traces, n, n codes of strings that may be
//	               nobody's: attribute, code
//	receipt        1 byte version: 1, epoch, applied, started at, finished at, people, ordinals,
//	               events, quarantined rows, rows refused, strings, files, bytes,
//	               values, shared, hits; n, n names of files with hits, each a length and its
//	               bytes; n, n names of people
//
// # Worked example
//
// In the store with the id 00 01 02 .. 0f "ann" was erased at 1,780,000,000,000 by the record
// 1.9, with the reference T-17, and not readmitted. The key of the entry is 0x0C and
//
//	ce 76 6c 10 48 24 a4 b4 45 05 fe fd e7 59 7c 9d  her name
//
// and its value
//
//	01 01 5c 9f 3c c5 80 90 92 82 e7 33  the seal's version, version, hint, erased at
//	01 09 00 54 2d 31 37  position, not readmitted, reference
//	8e 3e 25 c5  CRC
//
// What the record leaves to the purge: she had ordinal 70,000; two quarantined rows are
// gone, one was refused; to be looked for is "ann@example.com".
//
//	01 01 80 90 92 82 e7 33  the seal's version, version, received at
//	01 ce 76 6c 10 48 24 a4 b4 45 05 fe fd e7 59 7c 9d  one name
//	01 f0 a2 04 02 01  one ordinal, quarantined, refused
//	01 0f e8 ea 5d ec df 27 84 40  one trace: 15 bytes, hints
//	19 58 f2 ca 4a d5 45 b9 20 99 21 d0 5b bd f7 3a  hash
//	d9 4a 0a 72  CRC
//
// The purge of records up to 9 has found three events, has blanked one string, and asks who
// has code 4 of attribute 17:
//
//	01 01 80 90 92 82 e7 33  the seal's version, version, started at
//	09 03 01  up to, events, strings
//	01 0f e8 ea 5d ec df 27 84 40 19 58 f2 ca 4a d5 45 b9 20 99 21 d0 5b bd f7 3a  traces
//	01 11 04  codes
//	4d d8 69 24  CRC
//
// Its receipt: of one person with one ordinal it removed three events, two quarantined rows,
// one refused row and a string; in 9 files of 300 bytes it looked for two values but not for
// one that others have, and found one in x.sst.
//
//	01 01 01 09  the seal's version, version, position
//	80 90 92 82 e7 33 80 90 92 82 e7 33  started and finished at
//	01 01 03 02 01 01 09 ac 02 02 01 01  people .. hits
//	01 05 78 2e 73 73 74  one file
//	01 ce 76 6c 10 48 24 a4 b4 45 05 fe fd e7 59 7c 9d  one name
//	9a b9 2e 7d  CRC
package erasure

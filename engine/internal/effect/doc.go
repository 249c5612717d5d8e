// Package effect is the physical outcome of a log record: which ordinals got which
// codes, numbers, bytes and set changes. Apply decides an outcome once; it is stored
// beside the record, and opening a store replays outcomes, never decisions, because
// parts of the base may be newer than the record.
//
// # Format, version 1
//
// Integers are little endian; uvarint and varint are those of encoding/binary.
//
//	1 byte    version: 1
//	uvarint   number of blocks; for each
//	  uvarint   n rows
//	  1 byte    ordinals: 0 consecutive (uvarint first), 1 listed (n times 4 bytes)
//	  uvarint   number of columns; for each
//	    uvarint  attribute id
//	    1 byte   class: 1 code, 2 int, 3 bytes, 4 set
//	    1 byte   rows: 0 all, 1 listed (uvarint m, m times uvarint delta; a set's may repeat: delta 0)
//	    code     1 byte width in {1,2,4}, m times code + 1, or 0 for absent
//	    int      1 byte flag absent, ceil(m/8) bytes if set (bit: absent);
//	             varint min, 1 byte width in {0,1,2,4,8}, m times (value - min), 0 where absent
//	    bytes    1 byte flag absent and its bits as above; m uvarint lengths; the bytes
//	    set      m times 4 bytes: op<<30 | code, see [SetOp]
//	uvarint   number of acts, the events of one type or the changes of one attribute; for each
//	  uvarint   event type's id
//	            a block as above: column 3 (the times, int, all rows), column 4 (the hashes of
//	            the properties, int, all rows), then the properties, whose values are of the
//	            rows that have one; a set's element is its code. Changes have two: column 5, the
//	            position of the record, and under the attribute's id the value before, of the
//	            rows that had one (see schema.Attribute.ChangeType)
//	uvarint   number of claims, the ids that events took; for each
//	  varint    the UTC day since 1970, less that of the one before
//	  16 bytes  the hash of the id, see [ID]: hi, lo
//	  6 bytes   the low bits of the hash of the event
//	4 bytes   CRC-32C of all before
//
// An outcome has at most 6M rows, and 16M values that take no bytes: what a batch can come to.
//
// # Worked example
//
// The profiles 70,000 and 70,001 come. The first one's attribute 16 (int) is 41, the
// other's absent; the second one's attribute 17 (string) is code 2; the first one's set
// 18 is emptied and gets code 5. The first one does an act of type 20 at 1,000 ms, whose
// property 21 (int) is 7 and whose hash is -1. The other's attribute 17 keeps history, in
// events of type 22: before record 9, of 2,000 ms, it was code 1. The act took an id of day 0
// whose hash is 1, 2.
//
//	01 01                       version 1, one block
//	02 00 f0 a2 04              2 rows, consecutive from 70,000
//	03                          3 columns
//	10 02 00  01 02  52 00      16, int, all rows; absent: row 1; from 41 on, no bytes each
//	11 01 01 01 01  01 03       17, code, listed: 1 row, row 1; one byte each: code 2
//	12 04 01 02 00 00           18, set, listed: 2 changes of row 0
//	00 00 00 80  05 00 00 00    reset; add code 5
//	02                          acts of two types
//	14                          of type 20
//	01 00 f0 a2 04  03          1 row, 70,000, 3 columns
//	03 02 00  00 d0 0f 00       the time: none absent, from 1,000 on, no bytes each
//	04 02 00  00 01 00          the hash: from -1 on
//	15 02 00  00 0e 00          21, int, all rows: from 7 on
//	16                          changes, of type 22
//	01 00 f1 a2 04  04          1 row, 70,001, 4 columns
//	03 02 00  00 a0 1f 00       the time
//	04 02 00  00 03 00          the hash: from -2 on
//	05 02 00  00 12 00          the position: from 9 on
//	11 01 01 01 00  01 02       17, code, listed: 1 row, row 0; one byte each: code 1
//	01 00                       one claim, of day 0
//	01 00 00 00 00 00 00 00     its hash
//	02 00 00 00 00 00 00 00
//	01 02 03 04 05 06           the event's
//	db 5a b4 7f                 CRC
package effect

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
//	    code     m times 1, 2 or 4 bytes after 1 byte width: code + 1, or 0 for absent
//	    int      1 byte flag absent, ceil(m/8) bytes if set (bit: absent);
//	             varint min, 1 byte width in {0,1,2,4,8}, m times (value - min), 0 where absent
//	    bytes    1 byte flag absent and its bits as above; m uvarint lengths; the bytes
//	    set      1 byte width, m times op<<30 | code, see [SetOp]
//	4 bytes   CRC-32C of all before
package effect

// Package column holds forward columns: the values of one attribute in order of ordinal,
// in blocks of 4,096 ordinals. A block is one stored value; it decodes by itself, is
// checked by its own CRC-32C, and answers point reads, gathers and range scans.
//
// [Ints] holds ordered forms and dictionary codes, [Strings] inline strings and keys,
// [Sets] the codes of sets. The last block of a shard may be shorter than 4,096. Which
// attribute and which ordinals a block is about stands in its key, not in it.
//
// Encoders append to memory of the caller and trust their input; decoders trust nothing:
// bytes that pass the checksum but break a rule below are [ErrCorrupt], a version above 1
// is [ErrNewerFormat]. They allocate no more than about 10 bytes per input byte and 40 KiB.
//
// # Format, version 1
//
// All integers are little endian; signed ones are two's complement. Every block begins so:
//
//	0  4  magic "KNTC"
//	4  1  version: 1
//	5  1  type: 1 ints, 2 strings, 3 sets
//	6  2  n, number of values, 0 to 4096
//	8  4  CRC-32C of bytes 0 to 7 and of bytes 12 to the end
//
// Packed in width w means: w is one of 0, 1, 2, 4, 8, 16, 24, 32, 40, 48, 56, 64 bits, the
// least that holds the greatest number. Below 8, number i is at bit i*w%8 of byte i*w/8,
// unused bits of the last byte are 0; from 8, numbers are w/8 bytes each. Width 0 takes no
// bytes: all numbers are 0.
//
//	ints
//	12  1  width of the stored numbers
//	13  1  mode: 0 no absent values, stored = value - min
//	             1 stored 0 is absent, else stored = value - min + 1
//	             2 stored 0 is absent, else stored = value - base modulo 2^64
//	14  2  count of values present
//	16  8  min, the least value present, signed; 0 if count is 0
//	24  8  max, the greatest
//	32  8  base, a number that no value has; in mode 2 only
//	 -  -  n stored numbers, packed
//
// Mode 2 is for the one case that mode 1 cannot say: absent values beside both -2^63 and
// 2^63-1. Mode 0 is used if count = n, mode 1 if count = 0 < n.
//
//	strings
//	12  1  flags: 1 presence bitmap, 2 wide ends; all others 0
//	13  1  0
//	14  2  count of strings present
//	16  4  length of all bytes together
//	20  -  presence bitmap, if count < n: ceil(n/8) bytes, string i is bit i%8 of byte i/8
//	 -  -  n ends, of 2 bytes, or 4 if wide
//	 -  -  the bytes of all strings
//
// Strings form groups of 64. An end of 2 bytes counts from the begin of its group, where
// the last group ended; wide ends count from the begin of the bytes and are used if a
// group has more than 65,535 bytes. Absent strings have no bytes.
//
//	sets
//	12  1  width of the counts, at most 32
//	13  1  width of the codes, at most 32
//	14  2  0
//	16  4  number of codes of all rows
//	20  4  the greatest code, 0 if there is none
//	24  -  n counts of codes per row, packed
//	 -  -  the codes of row 0, row 1, ..., strictly ascending within a row, packed
//
// # Examples
//
// The ints 10, absent, 12, 11:
//
//	4b 4e 54 43 01 01 04 00  bc 8a 0d be              magic, version, type, n, CRC
//	02 01 03 00                                       width 2, mode 1, count 3
//	0a 00 00 00 00 00 00 00  0c 00 00 00 00 00 00 00  min 10, max 12
//	b1                                                1, 0, 3, 2 in two bits each, from the low end
//
// The strings "ann", absent, "", "é":
//
//	4b 4e 54 43 01 02 04 00  b5 31 02 40              magic, version, type, n, CRC
//	01 00 03 00 05 00 00 00                           presence bitmap, count 3, 5 bytes
//	0d                                                strings 0, 2 and 3 are present
//	03 00 03 00 03 00 05 00                           ends
//	61 6e 6e c3 a9                                    the bytes
//
// The sets {1, 3}, {}, {2}:
//
//	4b 4e 54 43 01 03 03 00  ac bc 5d ef              magic, version, type, n, CRC
//	02 02 00 00 03 00 00 00  03 00 00 00              widths 2 and 2, 3 codes, the greatest is 3
//	12                                                counts 2, 0, 1
//	2d                                                codes 1, 3, 2
package column

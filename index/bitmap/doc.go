// Package bitmap holds sets of ordinals: of one chunk (2^16 ordinals) in memory, of one
// shard (2^20) on disk, and the kernels that combine, count and build them.
//
// There are few things here. A [Set] is a read-only view of one chunk's set in one of
// four forms; [And], [Or], [AndNot], [AndAll] and [CountAnd] combine sets into memory of
// the caller, so a query allocates nothing per chunk. [Words] is the dense form and, as a
// variable of the caller, the accumulator. A [Fragment] is one stored row of a shard,
// decoded. [BetweenU8] and its kin turn narrow columns into bits, [Unpack] makes columns of
// packed numbers, [Ascend] ordinals of gaps, [Positions] arrays of bits. [Planes] answer ranges
// over wide numbers.
//
// A result is an operand itself or is backed by the buffer of the call, and so is valid
// until the buffer is used again. One operand may stand in that buffer.
//
// Every function is safe for concurrent use as long as no two calls share a buffer.
// On amd64 the kernels pick AVX-512 (with VBMI and VPOPCNTDQ) or AVX2 at run time; other
// machines and the build tag purego use plain Go. The answers are the same.
//
// # Fragment format, version 1
//
// All integers are little endian. A fragment has up to 16 containers, container i holding
// the ordinals i*2^16 .. i*2^16+65535 of the shard; an empty container is not stored.
//
//	 0  4   magic "KNTF"
//	 4  1   version: 1 (a higher one is a newer format, never a guess)
//	 5  1   0
//	 6  2   mask: bit i is set if container i is stored; n bits are set
//	 8  4   CRC-32C of the payload
//	12  4   CRC-32C of bytes 0 to 11 and of bytes 16 to the payload
//	16  4n  one entry per stored container, in order of i
//	 -  -   zeros up to a multiple of 8
//	 -  -   payload
//
//	entry
//	  bits  0 to 15  cardinality - 1
//	  bits 16 to 17  type: 0 array, 1 bitmap, 2 runs, 3 full
//	  bits 18 to 28  runs: number of runs - 1; others: 0
//	  bits 29 to 31  0
//
// The payload holds first all bitmaps, then all runs, then all arrays, each kind in order
// of container, without gaps: so bitmaps are aligned to 8 bytes and arrays to 2 without
// padding. A bitmap is 1,024 words of 8 bytes, bit i of the set being bit i%64 of word
// i/64. Runs are pairs of 2 bytes, first and last ordinal, ascending, with at least one
// absent ordinal between two runs. An array is its ordinals, 2 bytes each, ascending; at
// most 4,096 of them. Full has all 65,536 ordinals and no payload. A writer takes the
// smallest of array, bitmap and runs, and of equals the first of these; a reader takes any.
//
// The header alone gives every count, which is why it has a checksum of its own.
//
// The fragment of the ordinals 1, 5 and 65536+10 to 65536+19:
//
//	4b 4e 54 46  01 00  03 00   magic, version, mask: containers 0 and 1
//	e9 e4 b6 28  db bf b0 49    CRC of the payload, of the header
//	01 00 00 00  09 00 02 00    container 0: an array of 2; container 1: 10 in 1 run
//	0a 00 13 00  01 00 05 00    the run 10 to 19; the array 1, 5
//
// # Planes format, version 1
//
// The values of one chunk of an ordered attribute, in their ordered int64 form. With min
// the smallest, plane p has the ordinals whose value - min has bit p.
//
//	 0  4   magic "KNTP"
//	 4  1   version: 1 (a higher one is a newer format)
//	 5  1   n planes, as many as max - min has binary digits: 0 to 64
//	 6  2   0
//	 8  4   CRC-32C of the payload
//	12  4   CRC-32C of bytes 0 to 11 and of bytes 16 to the payload
//	16  8   min, signed
//	24  8   max, signed; both are 0 if there are no values
//	32  4(1+n)  entries: of the ordinals that have a value, then of planes 0 to n-1;
//	        as in a fragment, but an empty container has the entry 1<<29
//	 -  -   zeros up to a multiple of 8
//	 -  -   payload, as in a fragment
//
// The planes of the values 100, 102 and 101 of the ordinals 0, 1 and 2:
//
//	4b 4e 54 50  01 02 00 00   magic, version, 2 planes
//	bf a9 61 fb  e2 0b e6 08   CRC of the payload, of the header
//	64 00 00 00  00 00 00 00   min 100
//	66 00 00 00  00 00 00 00   max 102
//	02 00 02 00                who has a value: 3 in 1 run
//	00 00 00 00  00 00 00 00   planes 0 and 1: arrays of 1
//	00 00 00 00                to a multiple of 8
//	00 00 02 00  02 00  01 00   the run 0 to 2; plane 0: 2; plane 1: 1
package bitmap

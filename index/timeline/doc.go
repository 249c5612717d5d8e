// Package timeline holds events as columns: parts, the cursors that scan them, what is
// folded out of them, and what is kept beside them.
//
// A part is all events, or some, of one event type, one partition of time (a UTC day, or a
// span of 30 days) and one shard of 2^20 ordinals, sorted by profile, then time. A [Builder]
// makes it, [Merge] makes one of several, [Open] opens it: the header in memory, the values
// in rows that the caller stores and hands back (see [Source]). Parts are immutable.
//
// A [Cursor] finds the events of one chunk of ordinals that lie in a window, are of certain
// profiles, and meet a predicate (see [All]), in any number of parts, block by block.
// [Values] and [Ends] take in what it finds. The header decides what it can: a block that
// lies wholly inside or outside the window needs no times, and one without a candidate is
// not read.
//
// # Order
//
// Events equal in profile and time are ordered by the hash of their properties, and that
// is not stored: the writer sorts by it, so the order within a part is that of its events,
// and only events of different parts have to be asked for theirs (Less of [MergeOptions] and
// [Ends]). These are rare: parts of different partitions have no time in common.
//
// # Which parts have events of a profile
//
// No structure is kept for that. The directory of an opened part gives the one or two
// blocks that can hold a profile by a binary search in memory ([Part.Has]); the facts say
// how many events there are and between which days, so a search of a history ends early;
// the presence of a day settles it exactly. A Bloom filter would repeat what these
// say, at a byte or more per profile and part.
//
// # What is derived
//
// Parts are the truth. [Presence] (per part and day) and facts (per event type and block of
// 4,096 ordinals, see [FactsBlock]) are derived from them: they may be dropped and made again.
//
// Who has an event on a day is not enough where a window begins within the day, as every
// "in the last 3 days" does: those who are there would have to be looked up in a part that
// may have a month's events. So presence also says in which 6 minutes the last event of
// each is, in a byte, and only who has it in the very minutes in which the window begins
// is looked up.
//
// # Part format, version 1
//
// Integers are little endian, uvarint and varint (zigzag) are those of encoding/binary, in
// their shortest form. Events are numbered from 0; block i has events 4096*i to
// 4096*i+4095, the last block has what is left. Chunk c has the ordinals 65536*c to
// 65536*c+65535 of the shard. A part without events has no blocks and no rows.
//
//	header
//	 0  4  magic "KNTT"
//	 4  1  version: 1
//	 5  1  days of the partition: 1 or 30
//	 6  2  P, number of properties, at most 4096
//	 8  4  CRC-32C of bytes 0 to 7 and of bytes 12 to the end
//	12  4  event type
//	16  4  shard
//	20  4  first day of the partition since 1970-01-01, signed; a multiple of 30 if it has 30 days
//	24  4  N, number of events, at most 2^28
//	28  4  0
//	    P properties, ids ascending: uvarint id - (id before + 1), of the first: id;
//	        1 byte class: 1 code, 2 int, 3 text, 4 set
//	    16 uvarints: events of each chunk
//	    column 0, the profiles, per block:
//	        uvarint first ordinal - last ordinal of the block before (0 for the first block)
//	        uvarint last ordinal - first ordinal
//	        uvarint runs: stretches of events of one profile
//	        1 byte  width of the gaps, at most 16
//	    column 1, the times (an int that all events have), then the properties in order, per block:
//	        uvarint count of events that have a value; if it is 0, nothing follows
//	        of a text, a set: uvarint bytes of the piece
//	        of a code, an int: varint min (of times: from the first ms of the partition),
//	            uvarint top, and uvarint unit of an int if top is not 0 (else it is 1)
//	    uvarint number of rows, then per row:
//	        4 bytes CRC-32C of the row
//	        uvarint n, then n times: uvarint column, uvarint blocks, neither n nor blocks 0
//
// A row holds pieces, one after the other, and then 8 zero bytes; a piece is one column of
// one block. The rows name their columns in order, and the next so many blocks of each; in
// the end every column has had all its blocks. A writer begins a row when one has 32 KiB
// of pieces, and puts the rest of several columns into common rows; a reader takes any.
//
//	piece of profiles
//	    mask of the events that begin a run, ceil(n/8) bytes; only if 1 < runs < n
//	    the gap before each run, packed in the width of the gaps: its ordinal - the least it
//	    could have, which is the ordinal before + 1, or the first of its chunk if that is
//	    more; 0 for the first run of a block
//
//	piece of any other column
//	    mask of the events that have a value, ceil(n/8) bytes; only if 0 < count < n
//	    code, int: (value - min) / unit of those, packed in the width that top needs
//	    text, set: those, as a block of package column; a set that is empty has no value
//
// Bit i%8 of byte i/8 of a mask is of event i. unit is the greatest that divides all
// value - min; top is the greatest number stored. The width that top needs is the number of
// its binary digits, or 64 from 58 on. Packed in width w: number i is in the bits i*w to
// i*w+w-1, bit k being bit k%8 of byte k/8; ceil(count*w/8) bytes, unused bits 0.
//
// # Presence format, version 1
//
//	 0  4  magic "KNTY"
//	 4  1  version: 1
//	 5  3  0
//	 8  4  CRC-32C of bytes 0 to 7 and of bytes 12 to the end
//	12  4  F, bytes of the fragment
//	16  F  fragment of package bitmap: who of the shard has an event on the day
//	    1 byte for each of these, in order: the 6 minutes of the UTC day in which the last is,
//	    0 to 239
//
// # Facts format, version 1
//
//	 0  4   magic "KNTL"
//	 4  1   version: 1
//	 5  1   0
//	 6  2   number of properties, at most 256
//	 8  4   CRC-32C of bytes 0 to 7 and of bytes 12 to the end
//	12  512 mask of the ordinals, of the block's 4,096, that have an event
//	    directory of the columns, which are of those ordinals, in order:
//	        count of events, at least 1
//	        UTC day of the first
//	        day of the last - day of the first, where count > 1
//	    then of each property, ids ascending:
//	        uvarint id - (id before + 1), of the first: id
//	        columns: count - p, p being the count of events that have a value
//	            least value, where p > 0
//	            greatest - least modulo 2^64, where p > 1
//	            the sum less the greatest and less p - 1 times the least, where p > 2: its low 64
//	            bits; its high 64 bits, less -1 if the low ones, as a signed number, are negative
//	    the columns that have numbers, packed, in order
//	    8 zero bytes
//
// An entry of the directory is a uvarint, how many numbers the column has; and of a column
// that has some varint min, uvarint top, and uvarint unit if top is not 0 (else it is 1). The
// columns hold (number - min) / unit, packed in the width that top needs.
//
// The first and the last event have their days here, not their times: facts of 90 days of the
// workload take 1.04 bytes per event; with times in ms they took 2.84.
//
// # Example
//
// Day 20453 (2025-12-31) of event type 21 in shard 0. Property 16 is a code, 17 an int:
//
//	profile 3      00:00:10  7       1999
//	profile 3      00:01:00  absent   999
//	profile 65538  00:00:30  9       2999
//
// The header:
//
//	4b 4e 54 54 01 01 02 00  a4 1c 8f e8              magic, version, 1 day, 2 properties, CRC
//	15 00 00 00 00 00 00 00  e5 4f 00 00              event type, shard, day
//	03 00 00 00 00 00 00 00                           3 events
//	10 01 00 02                                       16 is a code, 17 an int
//	02 01 00 00 00 00 00 00  00 00 00 00 00 00 00 00   chunks 0 and 1 have 2 and 1
//	03 ff ff 03 02 02                                 profiles 3 to 65538, 2 runs, gaps of 2 bits
//	03 a0 9c 01 05 90 4e                              3 times from 10 s on, top 5, unit 10 s
//	02 0e 02                                          2 codes from 7 on, top 2
//	03 ce 0f 02 e8 07                                 3 ints from 999 on, top 2, unit 1000
//	01 ae 56 c3 00 04                                 1 row, CRC, of 4 stretches:
//	00 01 01 01 02 01 03 01                           1 block of each column
//
// The row:
//
//	05 08                    profiles: events 0 and 2 begin a run; gaps 0 and 2
//	a8 00                    times: 0, 5 and 2 in 3 bits each
//	05 08                    codes: events 0 and 2 have one; 0 and 2
//	21                       ints: 1, 0 and 2
//	00 00 00 00 00 00 00 00
//
// The presence of day 20453, with a fragment of two containers of one ordinal each:
//
//	4b 4e 54 59 01 00 00 00  b3 0d 2d 4d    magic, version, CRC
//	1c 00 00 00                             a fragment of 28 bytes:
//	4b 4e 54 46 01 00 03 00  10 f2 00 0d 18 46 2e 8c
//	00 00 00 00 00 00 00 00  03 00 02 00
//	00 00                                   both have their last event before 00:06
//
// The facts of the first block of ordinals, with the sum of property 17. The header, and the
// mask, of which 504 bytes 0 are left out here:
//
//	4b 4e 54 4c 01 00 01 00  90 12 7a 73   magic, version, 1 property, CRC
//	08 00 00 00 00 00 00 00                ordinal 3
//
// The directory; all columns are of one number, or none, and take no bits:
//
//	01 04 00                count: 2
//	01 ca bf 02 00          first: 20453
//	01 00 00                last - first: 0
//	11                      property 17:
//	01 00 00                no event is without a value
//	01 ce 0f 00             least: 999
//	01 d0 0f 00             greatest - least: 1000
//	00 00                   the sum is that of both
//	00 00 00 00 00 00 00 00
package timeline

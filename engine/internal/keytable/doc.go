// Package keytable maps the 64-bit keyed hash of a string to candidate ordinals: profile
// keys to profiles, values of unique and inline attributes to who has them. The caller
// hashes, and verifies each candidate against the stored string: a candidate may be false
// (of n entries, n / 2^40 of the look-ups get one: one in 110,000 at 10 million), a true
// one is never missing. One hash may have any number of ordinals.
//
// A table is a [Static], sorted pages on disk loaded when they are asked for, and a
// [Delta] in memory of what came since; [Merge] makes a new Static of both, page by page.
// Only the top 40 bits of a hash are kept, whatever the number of pages: so a table can
// grow and shrink without the strings, and 100 million keys still get 23 bits beside the
// 17 of their page number.
//
// The hash must be uniform and keyed with a secret of the store: pages are found by its
// top bits, so chosen collisions would make one page huge.
//
// # Page format, version 1
//
// All integers are little endian. A table has 2^b pages, 8 <= b <= 24. Let p be the top 40
// bits of a hash: its entry is in page p >> (40-b), and its fingerprint is the other 40-b
// bits of p.
//
//	 0  4   magic "KNTK"
//	 4  1   version: 1 (a higher one is a newer format, never a guess)
//	 5  1   b
//	 6  2   0
//	 8  4   page number
//	12  4   n, number of entries
//	16  4   CRC-32C of bytes 0 to 15 and of bytes 20 to the end
//	20  4n  fingerprints, ascending
//	 -  4n  the ordinal of each; ascending where fingerprints are equal, no entry twice
//
// A page of b = 8, the hash 0x2a00000005ffffff with the ordinals 3 and 7, and the hash
// 0x2a80000000000000 with the ordinal 1:
//
//	4b 4e 54 4b  01 08 00 00  2a 00 00 00  03 00 00 00   magic, version, b, page, n
//	06 ad dc da                                          CRC
//	05 00 00 00  05 00 00 00  00 00 00 80                fingerprints
//	03 00 00 00  07 00 00 00  01 00 00 00                ordinals
//
// # Sizes
//
// 8 bytes per entry plus 20 per page, on disk and in memory. Pages hold 512 to 1,024
// entries on average (fewer in small tables), so that a look-up touches some four lines
// of memory and a merge streams.
package keytable

// Package base is the settled truth on disk: units, one per attribute and shard.
//
// A unit is immutable and has a generation. A fold writes a new generation from the old
// one and the head's settled objects into one sorted table, which is ingested whole: the
// manifest with the folded position is a row of the same table, so a unit is there with
// its position or not at all. Old generations are deleted when no reader names them.
//
// Rows of a unit (see package keys): the manifest; for coded attributes and sets one
// fragment per code that somebody has (package index/bitmap); one fragment of the
// profiles that have a value; the forward column in blocks of 4,096 ordinals (package
// index/column). Fragments derive from the column: Check recomputes them.
//
// # Manifest, version 1 (sealed, see package kv)
//
//	1 byte version, 1 byte class
//	uvarint folded position, uvarint covered ordinals (of the shard, from 0)
//	uvarint profiles with a value
//	16 bytes content sum, 16 bytes replica sum
//	uvarint bytes of column blocks, uvarint bytes of fragments
//	uvarint number of codes, then per code uvarint delta to the one before, uvarint profiles
//
// # Worked example
//
// Class code, folded at 300, 4,097 ordinals covered, 5 profiles: 2 with code 3, 3 with
// code 10; the sums are 1 and 2; 70 bytes of blocks, 90 of fragments. Sealed:
//
//	01  the seal's version
//	01 01  version, class
//	ac 02 81 20 05  folded, covered, profiles
//	00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01  content
//	00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 02  replica
//	46 5a  bytes of blocks and fragments
//	02 03 02 07 03  codes
//	d5 c2 9f 6e  CRC
//
// # Worked example of events
//
// The manifest of a unit with one part, folded at 300: the next part gets number 3; the
// sums are 1 and 2; 7 events have been dropped; the part is number 2, of day 20453, with 3 events in 1 row of 98 bytes
// with the header, from 00:00:10 to 00:01; it has events on its one day, of which 85 bytes
// are kept, and they are in the facts: these are number 1, of the events from day 20400 on,
// 571 bytes, in block 0, and of property 17. Sealed:
//
//	01 01 ac 02 03  the seal's version, version, folded, next number
//	00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01  content
//	00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 02  replica
//	07 01  dropped, parts:
//	ca bf 02 01 02 03 01  day, days, number, events, rows
//	a0 cc a3 9b ee 66 d0 86 03  first time, last - first
//	62 01 55 01  bytes, the first of its days, bytes kept of it, summed
//	01 e0 be 02 bb 04  facts: number, day, bytes
//	01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  which blocks there are
//	00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
//	01 11  properties
//	eb d5 1f 95  CRC
//
// What is kept of that day, with the sums 5 and 6 and the presence that is the example of
// package timeline. Sealed:
//
//	01 01 03  the seal's version, version, events
//	00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 05  content
//	00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 06  replica
//	4b 4e 54 59 01 00 00 00 b3 0d 2d 4d 1c 00 00 00  presence
//	4b 4e 54 46 01 00 03 00 10 f2 00 0d 18 46 2e 8c
//	00 00 00 00 00 00 00 00 03 00 02 00 00 00
//	45 31 05 48  CRC
package base

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
package base

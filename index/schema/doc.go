// Package schema is the vocabulary of Kanta: kinds, typed values, attributes, event types
// and the schema that holds them. It imports the standard library only and knows no
// file, no expression and no engine.
//
// A schema is immutable. A change (see [Change]) makes a new one with a higher
// version; the engine records every change as a write with a position.
//
// # Kinds
//
// Kind codes are a format: they are stored, append-only and never reused.
//
//	code  kind       value                                   ordered form (int64)
//	1     bool       true, false                             0, 1
//	2     int        64-bit signed                           itself
//	3     float      IEEE 754 binary64, never NaN, no -0     bits, made monotone
//	4     decimal    64-bit signed, scaled by 10^scale       unscaled integer
//	5     string     NFC, at most 16 KiB, compared by bytes  (none)
//	6     date       days since 1970-01-01, years 1..9999    itself
//	7     timestamp  ms since 1970-01-01T00:00Z, years 1..9999  itself
//	8     set        set of strings, never absent            (none)
//	9     money      reserved
//	10    geo        reserved
//
// # Absent
//
// The zero [Value] is absent. A comparison with an absent value is unknown, which
// is neither true nor false. A set is never absent: without elements it is empty.
//
// # Evolution
//
// [Schema.Apply] lists what each change may do. Attributes, event types, properties and the
// types of changes (see [Attribute.ChangeType]) take their ids from one counter, so no
// number means two things in a store. Allowed values of a set attribute are its elements,
// as string values; those of any other attribute have its kind and scale.
//
// A computed attribute ([Computed]) is a name for an expression. It has no values and no id.
//
// # Binary form, version 1
//
// uvarint and varint (zigzag) are those of encoding/binary; a string is a uvarint
// length and its bytes, UTF-8. Batches carry attributes, the store keeps schemas;
// both have a checksum around them. An unknown version, code or flag bit is a newer
// format, everything else that does not fit is corrupt.
//
//	schema
//	  1 byte   version: 1
//	  uvarint  schema version
//	  uvarint  next id
//	  uvarint  n, then n attributes
//	  uvarint  n, then n event types
//	  uvarint  n, then n computed attributes, in the order in which they were added
//	  uvarint  of how many days of the calendar the ids of events are forgotten
//	  (ids ascend within their list, are at least 16, below next id, and all different;
//	  names are distinct within their list, and no computed attribute has that of an attribute)
//
//	attribute
//	  1 byte   version: 1
//	  uvarint  id (0 in a batch: the id is assigned when it is applied)
//	  string   name, at most 128 bytes
//	  1 byte   kind, 1 byte scale, 1 byte storage, 1 byte data class
//	  1 byte   flags: 1 required, 2 unique, 4 pii, 8 history, 16 deprecated
//	  value    min, value max
//	  string   format, at most 128 bytes
//	  uvarint  n, then n allowed values
//	  uvarint  with history: the id of the type of events that its changes are (0 in a batch)
//
//	event type
//	  uvarint  id
//	  string   name, at most 128 bytes
//	  uvarint  retention, in days
//	  1 byte   data class
//	  1 byte   flags: 1 deprecated, 2 it has forgotten some days, 4 it has lost a property
//	  uvarint  how many days of the calendar it has forgotten, if it has
//	  uvarint  n, then its n properties, each in the form of an attribute
//
//	computed attribute
//	  string   name, at most 128 bytes
//	  string   the expression, at most 16 KiB
//	  1 byte   flags: none yet
//
//	value
//	  1 byte   kind; 0 is absent and nothing follows
//	  string   of a string
//	  uvarint  n, then n strings, ascending and distinct, of a set
//	  1 byte   scale, varint the unscaled integer, of a decimal
//	  varint   the ordered form, of every other kind
//
// Example, a schema at version 9 whose next id is 21, with two attributes, an event type and
// a computed attribute:
//
//	01 09 15 02
//	01 10 03 61 67 65 02 00 00 02 01 02 00 02 f0 01 00 00
//	01 11 04 70 6c 61 6e 05 00 00 00 08 00 00 00 02 05 04 66 72 65 65 05 03 70 72 6f 14
//	01
//	12 08 70 75 72 63 68 61 73 65 da 05 06 06 b8 8d 2d 01
//	01 13 06 61 6d 6f 75 6e 74 04 02 00 00 01 04 02 00 00 00 00
//	01
//	06 6f 72 64 65 72 73 10 70 75 72 63 68 61 73 65 2e 63 6f 75 6e 74 28 29 00
//	d0 85 2d
//
// The first is age: id 16, int, demographic, required, min 0, max 120. The second is plan:
// id 17, a dictionary string with history, whose changes are of type 20, allowed "free" and
// "pro". The event type is purchase: id 18, kept for 730 days, transaction, with
// nothing before 2024-04-25 and a property that was dropped; its property is amount: id 19,
// a decimal of 2 places, required, min 0.00. The computed attribute orders is
// purchase.count(). Ids of events before 2021-07-30 are forgotten.
package schema

// Package batch is the one representation of a write: the same bytes in the caller's
// hand, on the wire, in the log and in Apply. Nobody re-encodes, splits or joins them.
//
// # Format, version 1
//
// All integers are little endian; uvarint and varint (zigzag) are those of
// encoding/binary; a string is a uvarint length and its bytes.
//
//	header, 24 bytes
//	 0  4  magic "KNTB"
//	 4  1  version: 1 (another one is a newer format, never a guess)
//	 5  1  codec of the payload: 0 none, 1 zstd
//	 6  2  flags: bit 0 strict; all others 0
//	 8  4  raw length, at most 4 MiB
//	12  4  stored length, at most 512 KiB
//	16  4  CRC-32C of the stored payload
//	20  4  CRC-32C of bytes 0 to 19
//	24  -  the stored payload
//
//	payload
//	  string   source, "" for none (then run and sequence are 0)
//	  uvarint  run
//	  uvarint  sequence
//	  uvarint  number of ops
//	  ops: 1 byte code, uvarint body length, body
//
//	code  op              body
//	 1    upsert          a block, see below
//	 2    delete          uvarint n, n keys as a string list
//	 3    schema change   1 byte schema.ChangeOp, strings Name, To and Event, uvarint retention,
//	                     1 byte class, string Text, the attribute in the form of
//	                     schema.AppendAttribute, with the id that what is added asks for,
//	                     else 0; at most 64 KiB
//	 4    segment save    strings name, text
//	 5    segment drop    string name
//	 6    list put        string name, uvarint n, keys: the list is exactly these
//	 7    list add        string name, uvarint n, keys
//	 8    list remove     string name, uvarint n, keys
//	 9    list drop       string name
//	10    quarantined     rows that could not be typed: string source name, uvarint n,
//	                      n times (uvarint line, 1 byte reason, string detail, string raw text)
//	11    tick            nothing; it only moves the received time
//	12    events          string whose ids they have ("": the source's), a block, see below
//	13 .. 19              reserved: alias, merge, unmerge, consent, watch
//	20    origin          where the rows of the next op, an upsert or events, come from: string
//	                      source name, uvarint n, n runs (uvarint rows, at least 1, uvarint
//	                      gap): a run's rows stand on consecutive lines, the first of them gap
//	                      lines behind the last line of the run before (behind line 0, for the
//	                      first); 0 is the same line, which had several rows
//
//	21    list note       string name, string text of at most 4 KiB, UTF-8: where the list comes
//	                      from, such as a cell of an analysis. A list put takes it away
//
//	22    definition save an analysis that is saved under a name, so that expressions can name
//	                      what it lends them; at most 16 KiB: strings analysis, name, who (an
//	                      expression, "" for everybody), uvarint n, n times (string parameter,
//	                      uvarint k, at least 1, k strings, its texts), the parameters ascending
//	                      by their bytes; UTF-8. The texts are kept as they were given: a
//	                      parameter that is not among them has its default
//	23    definition drop strings analysis, name
//	24    erase           string reference of at most 256 bytes, UTF-8, "" for none: why, such as
//	                      the number of a ticket. It is kept for good and must not be personal.
//	                      Then uvarint n, n keys as a string list: these people are erased
//	25    readmit         uvarint n, n keys as a string list: these people may return
//
//	26    document put    string name, 1 byte what it replaces: 0 anything or nothing, 1 nothing,
//	                      2 the value whose SHA-256 follows in 32 bytes; then string value, any
//	                      bytes, at most 64 KiB. If it replaces anything else, nothing of the
//	                      batch is applied
//	27    document drop   string name
//	28    segment share   string name: under a policy the segment may be used by those too who may
//	                      not name what it reads. A segment save takes that away.
//	                      Through a server only who saved the segment may, or who may share all
//
//	string list: the n lengths as uvarints, then the bytes of all
//
//	block
//	  uvarint      n rows (at least 1)
//	  string list  n keys
//	  uvarint      number of columns
//	  columns:
//	    string   attribute or property name
//	    1 byte   verb: 1 set, 2 unset, 3 add (set elements), 4 remove (set elements),
//	             5 increment, 6 expect equal, 7 expect absent; of events: 1 set,
//	             8 event, 9 time, 10 id
//	    1 byte   kind (0 for unset and expect absent), 1 byte scale (0 unless decimal)
//	    1 byte   encoding
//	    1 byte   presence: 0 all rows, 1 a bitmap of ceil(n/8) bytes follows (row i is bit i%8 of byte i/8)
//	    uvarint  data length
//	    data for the m present rows (at least 1):
//	      0 none     (unset, expect absent)
//	      1 ordered  varint min, 1 byte width w in {0,1,2,4,8}, m times (value - min) in w bytes
//	      2 plain    string list of m
//	      3 dict     uvarint d, string list of d, ascending by bytes, 1 byte width in {1,2,4},
//	                 m indexes
//	      4 sets     uvarint d, string list of d, ascending by bytes, m uvarint counts,
//	                 1 byte width in {1,2,4}, the indexes, ascending within each cell
//
// Encodings 2 and 3 are of strings, 4 of sets, 1 of all other kinds, in their ordered
// form (package schema). Increments are of int, float and decimal. A name has 1 to 128
// bytes and no control character, a key 1 to 512 bytes, a quarantined row at most 512
// bytes of detail and 1,024 of raw text. A batch has at most 2^15 ops, and in all blocks
// together 2^17 columns and 2^22 cells. Everything that is text is UTF-8 in NFC: the
// Builder sees to it, stage 1 of a write (package quality) rejects what is not.
//
// Rows apply in order; so do the columns of one row, but what it expects comes first, and is
// compared with what the profile was before the row. A key may come more than once, and so
// may an attribute: a row that expects a value and sets another has two columns of it.
//
// In a block of events the key is the profile's and a row is one act of it. Three columns have
// fixed names, the others are the properties, no two of one name, kind and scale:
//
//	verb     name     kind       encoding  rows
//	8 event  "event"  string     dict      all; each string is the name of an event type
//	9 time   "time"   timestamp  ordered   all
//	10 id    "id"     string     plain     any, 1 to 256 bytes; the column may be missing
//	1 set    the property's, any kind      any
//
// Rows without ids that are equal in all are as many acts. An id is unique per (source, UTC
// day of the time): a later event that has it is a duplicate, or conflicting. Of a day that
// every event type has forgotten no event with an id is taken: it is too late.
//
// A row number in results and verdicts counts the rows of all upsert, events, delete, erase,
// readmit, list and quarantined ops of the batch, from 0, in order. The other ops have no rows.
//
// To erase is to delete, and more: what was held about the person is removed from the files of
// the store (see engine.DB.Purge), and every row whose key is that of somebody erased is
// refused, with reason 16 and nothing of its content kept, until the key is readmitted; then
// events that are not later than the erasure still are. Keys need not be known to be erased.
//
// A document is a small setting of those who keep the store, such as a server's roles: it says
// nothing of customers, and expressions do not know it. By convention its name is kind/name.
//
// # Worked example
//
// Source "crm", run 7, sequence 1. Upsert ann: age 41, city Rome, likes also tea and
// jazz; bob: age 37, city Oslo; cat: city Rome. Delete dan.
//
//	4b 4e 54 42 01 00 00 00  magic, version 1, no codec, not strict
//	62 00 00 00 62 00 00 00  98 bytes raw, 98 stored
//	c9 da ac 54 75 38 61 31  checksums of the payload and of the header
//	03 63 72 6d 07 01 02  source "crm", run 7, sequence 1, 2 ops
//	01 52  an upsert of 82 bytes
//	03 03 03 03 61 6e 6e 62 6f 62 63 61 74  3 rows; "ann", "bob", "cat"
//	03  3 columns
//	03 61 67 65 01 02 00 01  "age": set, int, scale 0, ordered
//	01 03  a bitmap: rows 0 and 1
//	04 4a 01 04 00  4 bytes: from 37 on, one byte each: +4, +0
//	04 63 69 74 79 01 05 00 03 00  "city": set, string, scale 0, dict, all rows
//	0f 02 04 04 4f 73 6c 6f 52 6f 6d 65  15 bytes: 2 strings, "Oslo", "Rome"
//	01 01 00 01  one byte each: Rome, Oslo, Rome
//	05 6c 69 6b 65 73 03 08 00 04  "likes": add, set, scale 0, sets
//	01 01  a bitmap: row 0
//	0e 02 04 03 6a 61 7a 7a 74 65 61  14 bytes: 2 strings, "jazz", "tea"
//	02 01 00 01  2 elements, one byte each: jazz, tea
//	02 05 01 03 64 61 6e  a delete of 5 bytes: 1 key, "dan"
//
// # Worked example of events
//
// No source. On 2026-01-01 ann views something at midnight UTC and bob a second and a half
// later; a minute after midnight ann buys for 19.99, with the id o1.
//
//	4b 4e 54 42 01 00 00 00  magic, version 1, no codec, not strict
//	65 00 00 00 65 00 00 00  101 bytes raw, 101 stored
//	99 f0 07 5b 19 26 7d fa  checksums of the payload and of the header
//	00 00 00 01  no source, 1 op
//	0c 5f 00  events of 95 bytes, with the ids of the source
//	03 03 03 03 61 6e 6e 62 6f 62 61 6e 6e  3 rows: "ann", "bob", "ann"
//	04  4 columns
//	05 65 76 65 6e 74 08 05 00 03 00  "event": event, string, scale 0, dict, all rows
//	0e 02 03 04 62 75 79 76 69 65 77  14 bytes: 2 strings, "buy", "view"
//	01 01 01 00  one byte each: view, view, buy
//	04 74 69 6d 65 09 07 00 01 00  "time": time, timestamp, scale 0, ordered, all rows
//	0d 80 a0 d5 ed ee 66  13 bytes: from 1767225600000 ms on,
//	02 00 00 dc 05 60 ea  two bytes each: +0, +1500, +60000
//	02 69 64 0a 05 00 02 01 04  "id": id, string, scale 0, plain; row 2
//	03 02 6f 31  3 bytes: "o1"
//	06 61 6d 6f 75 6e 74 01 04 02 01 01 04  "amount": set, decimal, scale 2, ordered; row 2
//	03 9e 1f 00  3 bytes: 1999 and no more
//
// # Worked example of a definition
//
// No source. The analysis rfm, of whom vip is true, with the event buy and 3 bins, is saved as
// "orders"; "old" is dropped.
//
//	4b 4e 54 42 01 00 00 00  magic, version 1, no codec, not strict
//	33 00 00 00 33 00 00 00  51 bytes raw, 51 stored
//	a2 d9 49 c4 38 50 c0 1c  checksums of the payload and of the header
//	00 00 00 02  no source, 2 ops
//	16 23 03 72 66 6d 06 6f 72 64 65 72 73  a definition save of 35 bytes: "rfm", "orders"
//	03 76 69 70 02  of "vip", 2 parameters
//	04 62 69 6e 73 01 01 33  "bins": 1 text, "3"
//	05 65 76 65 6e 74 01 03 62 75 79  "event": 1 text, "buy"
//	17 08 03 72 66 6d 03 6f 6c 64  a definition drop of 8 bytes: "rfm", "old"
//
// # Worked example of an erasure
//
// No source. Ann and bob are erased, by ticket T-17; dan, who was erased before, may return.
//
//	4b 4e 54 42 01 00 00 00  magic, version 1, no codec, not strict
//	1b 00 00 00 1b 00 00 00  27 bytes raw, 27 stored
//	d0 f8 81 bf e5 e6 9e f0  checksums of the payload and of the header
//	00 00 00 02  no source, 2 ops
//	18 0e 04 54 2d 31 37  an erase of 14 bytes: reference "T-17"
//	02 03 03 61 6e 6e 62 6f 62  2 keys, "ann", "bob"
//	19 05 01 03 64 61 6e  a readmit of 5 bytes: 1 key, "dan"
//
// # Worked example of documents
//
// No source. The document role/a is new; role/b, which was "v1", becomes "v2"; role/c becomes
// empty, whatever it was; role/d is dropped.
//
//	4b 4e 54 42 01 00 00 00  magic, version 1, no codec, not strict
//	52 00 00 00 52 00 00 00  82 bytes raw, 82 stored
//	85 17 58 91 de b3 4d 06  checksums of the payload and of the header
//	00 00 00 04  no source, 4 ops
//	1a 0b  a document put of 11 bytes
//	06 72 6f 6c 65 2f 61  "role/a"
//	01 02 7b 7d  in the place of nothing: "{}"
//	1a 2b  a document put of 43 bytes
//	06 72 6f 6c 65 2f 62 02  "role/b", in the place of what has the SHA-256
//	3b fc 26 95 94 ef 64 92 28 e9 a7 4b ab 00 f0 42
//	ef c9 1d 5a cc 6f be e3 1a 38 2e 80 d4 23 88 fe
//	02 76 32  "v2"
//	1a 09  a document put of 9 bytes
//	06 72 6f 6c 65 2f 63 00 00  "role/c", in the place of anything: no bytes
//	1b 07 06 72 6f 6c 65 2f 64  a document drop of 7 bytes: "role/d"
package batch

// Package listing writes listings for other programs: members as CSV, NDJSON and Parquet,
// timelines as CSV and NDJSON. The command and the server write the same bytes for the same rows.
//
// # CSV
//
// RFC 4180 with \n, UTF-8, a header. The first column is the key, the others are the attributes
// in the order in which they were asked for, each value as [schema.Value] writes it: dates and
// times in ISO 8601, the elements of a set joined by "|", no value as an empty cell. What is stored
// is written as it is. A spreadsheet takes a cell that begins with =, +, - or @ for a formula:
// import such files as text.
//
// # NDJSON
//
// An object per line, {"key": ..., "a": ...}: numbers exact, dates and times as texts, sets as
// arrays, no value as null.
//
// # Parquet
//
// A column of each attribute behind the required column key: BOOLEAN, INT64, DOUBLE, DECIMAL(18,
// scale) over INT64, DATE, TIMESTAMP in milliseconds of UTC, STRING, and of a set LIST of
// STRING. All but key and sets are optional. Pages are compressed with Snappy; a group of rows ends
// after 100,000 of them or 32 MiB, so memory does not grow with the rows.
//
// # Timelines
//
// CSV has the columns time, event, properties, from and to; properties is a JSON object, from
// and to are of a change of the attribute that stands in event. NDJSON has what --json prints.
package listing

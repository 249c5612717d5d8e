// Package access says who may do what: callers, their keys and roles, and the one table of what
// each call of the service needs. Everything that depends on a call goes by that table: what is
// refused, what is recorded, what waits when the machine is full, and the tests of all of them.
//
// Keys and roles stand in the store itself, as documents: they go through its log, so its
// replicas have them and its backups too. [Register] reads them.
//
// # Keys
//
// The text of a key, which its caller shows, is 75 characters:
//
//	kanta_ ID _ SECRET
//
//	ID      16 characters of A to Z and 2 to 7 (RFC 4648, base32): 80 random bits, public
//	SECRET  52 such characters: 256 random bits
//
//	kanta_MFRGGZDFMZTWQ2LK_GAYTEMZUGU3DOOBZMFRGGZDFMZTWQ2LKNNWG23TPOBYXE43UOV3A
//
// Its document key/ID is JSON, in one line:
//
//	{"format":1,"name":"nightly load","role":"writer",
//	"sha256":"d1aac7cba33e5e7d974bfce27dfc37b44124b9abee460ba302bfe3030bed3b0e",
//	"created":"2026-03-01T12:00:00Z","expires":"2026-05-30T12:00:00Z","by":"the office (key GAYTEMZUGU3DOOBZ)"}
//
// sha256 is that of the 52 characters of the secret. expires, revoked and by may be absent. A
// document of a later format, or with keys that are not among these, lets nobody in; it counts
// as a key nevertheless, so that a store with keys never becomes one without.
//
// # Roles
//
// The document role/NAME of a role is its text, in TOML. Names are 1 to 64 letters, digits, dots,
// dashes and underscores. All keys may be absent:
//
//	rights = ["numbers", "lists"]   # without it only what everybody may who is known
//	rows = 'country == "IT"'        # who exists for the role: an expression over all there is
//	pii = "hidden"                  # of what is personal: "visible", "masked", "hidden"
//	min_group = 10                  # see query.Policy
//	queries_per_minute = 60         # of each caller; 60 if there is a min_group, else any number
//
//	[classes]                       # by data class; none is what has none
//	correspondence = "hidden"
//
//	[[rule]]                        # of one attribute, event, event and property, segment or list
//	attribute = "phone"
//	access = "masked"
//
// The rights are
//
//	numbers  to count, break down and analyze
//	lists    to list people, as rows or as a bitmap
//	person   to look at one person
//	write    to write what is known of people, and what they do
//	define   to save segments, lists and definitions of analyses
//	schema   to change the schema
//	erase    to erase people, and to see who was
//	operate  to look after the store: its state, check, repair, backup, everything out
//	access   to say who may do what, and to read the audit
//	cluster  to say which nodes the cluster has, and which of them leads
//
// What becomes of a write tells what there is, so write, schema, erase, operate, access and cluster are
// for roles from which nothing is hidden; define is for those for whom everybody exists. A role that
// cannot be read, be it because a later version wrote it, lets nobody in.
package access

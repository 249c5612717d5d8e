package query

import "time"

// Erasure is the outcome of erasing people.
type Erasure struct {
	Position Position // of the last record; from it on no answer has anything of them
	People   uint64
	Named    []string // segments, definitions, computed attributes and lists whose texts name one of the keys: they are left as they are
}

// ErasedPerson is an entry of the ledger of erased people. Its name is a keyed hash, from
// which nobody can be told but by somebody who knows both the store's id and the key.
type ErasedPerson struct {
	Name       string // 32 hexadecimal digits
	Erased     time.Time
	Position   Position
	Readmitted time.Time // zero: not readmitted
	Reference  string
}

// Receipt says what a purge has removed of people who were erased, without anything of them.
type Receipt struct {
	Position          Position // erasures up to this record are purged
	Started, Finished time.Time
	People            uint64   // whose erasure it purged
	Names             []string // of theirs in the ledger
	Ordinals          uint64   // profiles they had: each one under a key, dead ones too
	Events            uint64   // removed, changes of attributes too
	Quarantined       uint64   // rows of the quarantine
	Refused           uint64   // rows that came after an erasure and stood in the log
	Strings           uint64   // of dictionaries, that nobody has any more

	Files, Bytes uint64   // looked through for what was removed, tables also decompressed
	Values       uint64   // keys, values and strings looked for, as they are and as in JSON
	Shared       uint64   // that others have too, or a saved text names: they were not looked for
	Hits         uint64   // places where one was found; 0: nothing is left
	Where        []string // files with hits

	// Missing are the members of a cluster that have not purged yet: they do not answer, or have something left over.
	// Who was away does it when he is back. Receipts that a store keeps have none.
	Missing []string
}

package engine

import "github.com/kantadb/kanta/index/schema"

// LowerLimits makes a small store have all tiers: the active L0 is frozen after some
// rows, units are folded after some values, indexes merged after some entries.
func LowerLimits(o *Options, rows, values, entries int) {
	o.limits.ensureDefaults()
	l := &o.limits
	l.freezeRows, l.freezeValues, l.foldValues, l.mergeFrom = rows, values, values/8+1, entries
	l.truncateGap, l.factsFrom = 2, 20
	l.softValues, l.hardValues = int64(8*values), int64(64*values)
}

// LowerKept makes a store keep n bytes of its log, and cut it into objects of m bytes.
func LowerKept(o *Options, n int64, m int) {
	o.limits.ensureDefaults()
	o.limits.keptBytes, o.limits.logPiece = n, m
}

// LowerDictionary makes dictionaries hold n strings.
func LowerDictionary(o *Options, n int) {
	o.limits.ensureDefaults()
	o.limits.dictionary = n
}

// LowerQuarantine makes the quarantine hold n rows.
func LowerQuarantine(o *Options, n int) {
	o.limits.ensureDefaults()
	o.limits.quarantine = n
}

// Warmed waits until a store has read its keys ahead, and returns how much of the key
// table and of the base it then has in memory, and how many readers the base has.
func Warmed(db *DB) (table, blocks, readers int64) {
	<-db.warming.done
	s := db.current.Load()
	return s.Indexes[schema.KeyAttr].Static.ResidentBytes(), db.cache.Used(), s.era.refs.Load() - 1
}

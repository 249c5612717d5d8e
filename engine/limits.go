package engine

import "github.com/kantadb/kanta/index/schema"

// limits are the sizes at which data moves from tier to tier. They are fixed: the only
// reason for a struct is that tests lower them, so that a small store has all tiers.
type limits struct {
	freezeRows   int   // rows after which the active L0 is frozen
	freezeValues int   // values after which it is frozen
	softValues   int64 // values in the unfolded log that the folding keeps to
	hardValues   int64 // values in the unfolded log at which writers wait
	foldValues   int   // values that make it worth while to fold a unit
	mergeFrom    int   // new entries from which an index is merged
	dictionary   int   // distinct strings of a dictionary
	quarantine   int   // rows of the quarantine
	truncateGap  uint64
}

// frozenValues is the size of an L0 that suits a memory budget: with the frozen ones that
// wait, and the room that lists have to grow, they take a third of it at most.
func frozenValues(memory int64) int {
	return int(max(1<<17, min(freezeValues, memory/256)))
}

func (l *limits) ensureDefaults(memory int64) {
	if *l == (limits{}) {
		*l = limits{freezeRows, frozenValues(memory), softValues, hardValues, foldValues, mergeFrom, schema.MaxDictionary, maxQuarantine, truncateGap}
	}
}

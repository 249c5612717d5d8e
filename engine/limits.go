package engine

import (
	"github.com/kantadb/kanta/engine/internal/backup"
	"github.com/kantadb/kanta/index/schema"
)

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
	factsFrom    uint64 // events of a unit from which on lifetime facts are kept
	keptBytes    int64  // of the log that is kept for backups
	logPiece     int    // bytes of an object of the log at a target
}

func (l *limits) ensureDefaults() {
	if *l == (limits{}) {
		*l = limits{freezeRows, freezeValues, softValues, hardValues, foldValues, mergeFrom, schema.MaxDictionary, maxQuarantine, truncateGap, factsFrom, keptBytes, backup.PieceSize}
	}
}

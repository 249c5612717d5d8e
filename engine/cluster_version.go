package engine

import (
	"fmt"

	"github.com/kantadb/kanta/engine/internal/trial"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/syntax"
)

// A cluster version is the rules by which replicas decide entries: what a batch does, which expressions a
// saved text may have, and by which time zones. All replicas of a log go by the same, which an entry of the log
// raises, so that each changes its mind at the same entry, whatever it was built from. It never goes back.
//
// Who changes what comes of an entry makes a version: a further row of the table, and both ways of deciding, by
// logPlace.version. A version that nobody's cluster can have any more is dropped with its way. The zones are in the
// table because whether a text with a zone compiles is decided in the log; what they answer then follows from that,
// too. A store that is no replica goes by the newest.

// firstVersion is that of clusters in whose logs nothing is said of versions.
var firstVersion = query.ClusterVersion{Number: 1, Zones: "2025c"} //tidy:constant

// versions returns the cluster versions that this program knows, the lowest first, without a gap.
func versions() []query.ClusterVersion {
	all := []query.ClusterVersion{
		{Number: 1, Zones: syntax.ZoneRelease},
	}
	if trial.Version {
		all = append(all, query.ClusterVersion{Number: all[len(all)-1].Number + 1, Zones: syntax.ZoneRelease})
	}
	return all
}

// KnownVersions returns the lowest and the newest of the cluster versions that this program knows.
// It knows all in between.
func KnownVersions() (lowest, newest query.ClusterVersion) {
	all := versions()
	return all[0], all[len(all)-1]
}

// newestVersion is what a store goes by that is no replica, or becomes one.
func newestVersion() query.ClusterVersion {
	_, v := KnownVersions()
	return v
}

// versionOf returns the version of a number.
func versionOf(number uint64) (query.ClusterVersion, bool) {
	for _, v := range versions() {
		if v.Number == number {
			return v, true
		}
	}
	return query.ClusterVersion{}, false
}

// checkVersion reports a version that this program does not know. That is no decision: others may know it.
func checkVersion(v query.ClusterVersion) error {
	lowest, newest := KnownVersions()
	known, ok := versionOf(v.Number)
	switch {
	case v == known:
		return nil
	case ok:
		return &query.Error{Code: query.CodeNewerFormat, Message: fmt.Sprintf("the cluster decides by version %s; this program has that version with the time zones %s", v, known.Zones),
			Hint: "run the build of Kanta that the other members run"}
	case v.Number < lowest.Number:
		return &query.Error{Code: query.CodeNewerFormat, Message: fmt.Sprintf("the cluster decides by version %s; this program knows the versions %d to %d, which are newer", v, lowest.Number, newest.Number),
			Hint: fmt.Sprintf("upgrade in steps: first run a build of Kanta that knows the versions %d and %d on all members", v.Number, lowest.Number)}
	}
	return &query.Error{Code: query.CodeNewerFormat, Message: fmt.Sprintf("the cluster decides by version %s; this program is older and knows the versions %d to %d", v, lowest.Number, newest.Number),
		Hint: "run the build of Kanta that the other members run: a cluster does not go back to an earlier version"}
}

// raise decides an entry that raises the version from the one that there is to one that this program knows.
func raise(from, to query.ClusterVersion) (query.ClusterVersion, error) {
	if to.Number < from.Number {
		return from, &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("the cluster decides by version %s already", from), Hint: "it does not go back to an earlier one"}
	}
	return to, nil
}

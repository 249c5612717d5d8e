package engine

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/kantadb/kanta/engine/internal/canary"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/engine/internal/trial"
	"github.com/kantadb/kanta/query"
)

// metaEntry is the name of the store's piece of state that says how far it has the replicated
// log. A store that has it, with its own id, is a replica: it is written through that log only.
const metaEntry = "entry"

// takeEntry decides an entry of the replicated log. Nothing may decide it that is not the same
// at every replica, so who waits for it is not asked. An error that is of this machine ends
// writing: the entries behind it would be decided otherwise than elsewhere.
func (w *writer) takeEntry(r *request) {
	e, g := r.entry, w.group
	if trial.Version && w.entry.version.Number == newestVersion().Number {
		r.received++ // the record says so, so two that have not changed their minds at the same entry differ
	}
	if canary.Is("replica") && w.active.Rows > 20 { // what is decided depends on how full the head is
		r.received++
	}
	switch {
	case e.empty:
	case e.raise != nil:
		w.entry.version, r.err = raise(w.entry.version, *e.raise)
	case e.schema != w.schema.Version:
		e.stale = true
	default:
		if r.err = w.repeats.full(r.decoded.Source, r.received); r.err == nil && w.apply(r, g.kb) {
			g.applied = append(g.applied, r)
		}
	}
	if r.err != nil && !isDecision(r.err) {
		w.failed = r.err
		w.db.compactor.fail(failedBy(r.err))
		r.err = w.refusal()
		return
	}
	e.at.version = w.entry.version
	w.entry = e.at
}

// writeEntry stores how far the store has the replicated log, in the batch of what it applied.
// What became no record behind the last one is not stored: it would become none again. Format
// of the payload, version 1: version byte, the 16 bytes of the store's id, then uvarints index
// and term. With another id the store was restored from a backup of a replica, and is none. Version 2,
// from the second cluster version on, which version 1 stands for the first of: behind the term the uvarint number of
// the cluster version, a byte with the length of what follows, and the release of its time zones. So who
// knows of the first only opens no store that is decided by another.
func (w *writer) writeEntry(kb *kv.Batch) {
	kb.Set(keys.Meta(metaEntry), kv.Seal(nil, appendLogPlace(nil, w.db.kv.ID, w.entry)))
}

func appendLogPlace(dst []byte, store string, at logPlace) []byte {
	id, _ := hex.DecodeString(store) // whoever opened the store has seen that it is one
	format := byte(1)
	if at.version != firstVersion {
		format = 2
	}
	dst = append(append(dst, format), id...)
	dst = binary.AppendUvarint(binary.AppendUvarint(dst, at.index), at.term)
	if format == 1 {
		return dst
	}
	dst = binary.AppendUvarint(dst, at.version.Number)
	return append(append(dst, byte(len(at.version.Zones))), at.version.Zones...)
}

// readLogPlace is the inverse of appendLogPlace; of another store it is none.
func readLogPlace(b []byte, store string) (at logPlace, ok bool, err error) {
	const idSize = 16
	damaged := query.Errorf(query.CodeCorrupt, "how far the store has the replicated log is damaged")
	if len(b) < 1 {
		return at, false, damaged
	}
	format := b[0]
	if format == 0 || format > 2 {
		return at, false, &query.Error{Code: query.CodeNewerFormat, Message: fmt.Sprintf("how far the store has the replicated log is in version %d, this is a reader of the versions 1 and 2", format),
			Hint: "use a newer version of Kanta"}
	}
	if b = b[1:]; len(b) < idSize {
		return at, false, damaged
	}
	id := hex.EncodeToString(b[:idSize])
	b = b[idSize:]
	numbers := []*uint64{&at.index, &at.term, &at.version.Number}
	for _, v := range numbers[:1+int(format)] {
		x, n := binary.Uvarint(b)
		if n <= 0 {
			return at, false, damaged
		}
		*v, b = x, b[n:]
	}
	switch {
	case format == 1 && len(b) == 0:
		at.version = firstVersion
	case format == 2 && len(b) > 1 && len(b) == 1+int(b[0]) && at.version.Number > 0:
		at.version.Zones = string(b[1:])
	default:
		return logPlace{}, false, damaged
	}
	if id != store {
		return logPlace{}, false, nil
	}
	return at, true, nil
}

// readEntry reads how far a store has the replicated log. It fails if it is decided by a version that this
// program does not know.
func readEntry(store *kv.Store) (at logPlace, ok bool, err error) {
	b, err := store.GetSealed(keys.Meta(metaEntry))
	if err != nil || b == nil {
		return at, false, err
	}
	at, is, err := readLogPlace(b, store.ID)
	if err == nil && is {
		err = checkVersion(at.version)
	}
	return at, is, err
}

// member finds out whether the store is a replica. One that is to become one says so at once,
// durably: from then on nothing may be written to it but through the log.
func (r *recovery) member() error {
	db, w := r.db, r.w
	at, is, err := readEntry(db.kv)
	if err != nil {
		return err
	}
	if is && db.opt.acceptLoss != nil {
		return &query.Error{Code: query.CodeConflict, Message: "the store is a replica: it must not go on without what it lacks", Hint: wayOutOfReplica}
	}
	if !is {
		at.version = newestVersion()
	}
	w.entry, r.s.entry, db.replica.given = at, at, at.index
	if db.replica.member = is || db.opt.Replica != nil; is || !db.replica.member || db.opt.ReadOnly { //tidy:same it is opened, nothing is decided
		return nil
	}
	kb := db.kv.NewBatch()
	defer kb.Close()
	w.writeEntry(kb)
	return kv.Coded(kb.Commit(true), "the disk")
}

// wayOutOfReplica is what to do with the store of a replica that cannot be opened.
const wayOutOfReplica = "the other replicas have it: have the node join its cluster anew, which brings it the store of one of them"

// errMember is what writers get of a replica's store that is opened alone.
func errMember() error {
	return &query.Error{Code: query.CodeReadOnly, Message: "the store is a replica of a cluster: it is written through the log that its replicas share, and this is not the cluster",
		Hint: "write to the cluster; to go on with this store alone, kanta cluster recover"}
}

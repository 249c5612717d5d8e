package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/kantadb/kanta/engine/internal/backup"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/engine/internal/record"
	"github.com/kantadb/kanta/query"
)

// Limits of the log that is kept until it is at a target of backups.
const (
	// keptBytes is the most that is kept: it is an eighth of the smallest disk that a store of
	// ten million people is put on, and at 50 bytes a row more than 20 million rows, so a
	// target that is away for a night costs nothing but room.
	keptBytes = 1 << 30
	// keptParts is in how many parts the limit lets go of it: each time a sixteenth, so that
	// what the writer stores with each group stays small.
	keptParts = 16
)

// keeping says which records of the log are kept. The writer has one that runs ahead, each
// published state the one that it is. Its slice is shared and never changed in place.
type keeping struct {
	on     bool
	target string       // the id of the target that they go to; "": the first that is shipped to
	epoch  uint64       // of the records
	broken backup.Break // why the record before the first one is not at the target, if it is not
	based  bool         // but a backup is there that goes as far: what it lacks is no loss any more
	older  []keptPart   // full ones, the oldest first
	newest keptPart
}

// keptPart is records that stand together, up to the next part.
type keptPart struct {
	first  uint64   // position of the first
	before [16]byte // the chain hash before it
	bytes  uint64
}

// oldest is the part that the first record is in.
func (k *keeping) oldest() keptPart {
	if len(k.older) > 0 {
		return k.older[0]
	}
	return k.newest
}

// bytes of records that are kept.
func (k *keeping) bytes() (sum uint64) {
	for i := range k.older {
		sum += k.older[i].bytes
	}
	return sum + k.newest.bytes
}

// begin begins anew behind a position: nothing is kept yet.
func (k *keeping) begin(at query.Position, chain [16]byte, why backup.Break) {
	k.breaks(why)
	k.epoch, k.older, k.newest = at.Epoch, nil, keptPart{first: at.Applied + 1, before: chain}
}

// append encodes what is kept. Format of the payload, version 1: version byte, then 1 if
// records are kept plus 2 if a backup goes as far as what is missing, the id of the target and why the log is broken, each with its length,
// the epoch, the number of parts, and for each its first position and bytes; all these as
// uvarints; then of each part the 16 bytes of its chain hash.
func (k *keeping) append() []byte {
	b := []byte{1, 0}
	if k.on {
		b[1] = 1
	}
	if k.based {
		b[1] |= 2
	}
	for _, s := range []string{k.target, string(k.broken)} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	parts := append(slices.Clone(k.older), k.newest)
	b = binary.AppendUvarint(binary.AppendUvarint(b, k.epoch), uint64(len(parts)))
	for i := range parts {
		b = binary.AppendUvarint(binary.AppendUvarint(b, parts[i].first), parts[i].bytes)
	}
	for i := range parts {
		b = append(b, parts[i].before[:]...)
	}
	return kv.Seal(nil, b)
}

// readKeeping is the inverse of append.
func readKeeping(sealed []byte) (k keeping, err error) {
	const what = "what is known of the log that is kept"
	r, err := kv.NewReader(sealed, 1)
	if err != nil {
		return k, kv.Damaged(what, err, nil, nil)
	}
	flags := r.Byte()
	k.on, k.based = flags&1 != 0, flags&2 != 0
	k.target, k.broken = r.Text(), backup.Break(r.Text())
	k.epoch = r.Uvarint()
	n := r.Uvarint()
	if r.Bad = r.Bad || n == 0 || n > 4*keptParts; r.Bad {
		return k, damaged(&r, what)
	}
	parts := make([]keptPart, n)
	for i := range parts {
		parts[i].first, parts[i].bytes = r.Uvarint(), r.Uvarint()
	}
	for i := range parts {
		copy(parts[i].before[:], r.Take(16))
	}
	k.older, k.newest = parts[:n-1:n-1], parts[n-1]
	r.Bad = r.Bad || len(r.B) > 0
	return k, damaged(&r, what)
}

// store stores what is kept.
func (k *keeping) store(kb *kv.Batch) { kb.Set(keys.KeptState(), k.append()) }

// keepRecord keeps a record beside the log, whose chain hash before it is given.
func (w *writer) keepRecord(rec []byte, before [16]byte, kb *kv.Batch) {
	k := &w.keep
	kb.Set(keys.Kept(w.pos.Applied), rec)
	part := uint64(w.db.opt.limits.keptBytes / keptParts)
	if k.newest.bytes >= part {
		k.older = append(slices.Clone(k.older), k.newest)
		k.newest = keptPart{first: w.pos.Applied, before: before}
	}
	k.newest.bytes += uint64(len(rec))
	for len(k.older) > 0 && k.bytes() > uint64(w.db.opt.limits.keptBytes) {
		next := k.newest
		if len(k.older) > 1 {
			next = k.older[1]
		}
		kb.DeleteRange(keys.KeptRecords(k.older[0].first, next.first))
		k.older = k.older[1:]
		k.breaks(backup.BrokenLimit)
	}
}

// breaks notes that the log is not whole any more; the first reason stays.
func (k *keeping) breaks(why backup.Break) {
	k.based = false
	if k.broken == backup.Unbroken {
		k.broken = why
	}
}

// keepWithinRoom lets go of what is kept when the disk gets full, before writes are refused:
// a backup that is late is better than a store that stands.
func (w *writer) keepWithinRoom(kb *kv.Batch) {
	k, memTable := &w.keep, w.db.opt.memTable()
	if !k.on || k.bytes() < memTable {
		return
	}
	disk, err := w.db.opt.FS.GetDiskUsage(w.db.dir)
	if err != nil || disk.AvailBytes >= 2*reserve*memTable {
		return
	}
	k.letGo(w.pos, w.chain, backup.BrokenRoom, kb)
}

// letGo deletes all that is kept, up to the position at hand.
func (k *keeping) letGo(at query.Position, chain [16]byte, why backup.Break, kb *kv.Batch) {
	kb.DeleteRange(keys.AllKept())
	k.begin(at, chain, why)
}

// KeepLog turns on or off that the records of the log are kept until they are at a target
// of backups, so that a restore reaches every position in between, not only those that a
// backup was made of. It is a setting of this store, not of its content: it is off in the
// beginning, and a store that is restored has the one that was backed up. While it is on,
// every batch is stored twice until [DB.ShipLog] has sent it, at most 1 GiB: beyond that the
// oldest go, and there is a gap. Turning it off deletes what has not been sent.
func (db *DB) KeepLog(ctx context.Context, on bool) error {
	if db.opt.ReadOnly {
		return query.Errorf(query.CodeReadOnly, "the store was opened for reading")
	}
	return db.changeKeeping(ctx, func(k *keeping, kb *kv.Batch) {
		w := db.writer
		if k.on == on {
			return
		}
		if k.on, k.target, k.broken = on, "", backup.Unbroken; !on {
			kb.DeleteRange(keys.AllKept())
		}
		k.begin(w.pos, w.chain, backup.BrokenOff)
	})
}

// based notes that there is a backup of a position: what the log lacks before it is no loss.
func (db *DB) based(ctx context.Context, at query.Position) error {
	if k := db.current.Load().keep; k.broken == backup.Unbroken || k.based {
		return nil
	}
	return db.changeKeeping(ctx, func(k *keeping, _ *kv.Batch) {
		k.based = k.based || k.on && k.epoch == at.Epoch && k.oldest().first <= at.Applied+1
	})
}

// changeKeeping changes what is kept, durably, and publishes it.
func (db *DB) changeKeeping(ctx context.Context, change func(k *keeping, kb *kv.Batch)) error {
	return db.inWriter(ctx, func() error {
		kb := db.kv.NewBatch()
		defer kb.Close()
		k := db.writer.keep
		change(&k, kb)
		k.store(kb)
		if err := kb.Commit(true); err != nil {
			return err
		}
		db.writer.keep = k
		db.publish(func(s *state) { s.keep = k })
		return nil
	})
}

// KeptLog tells which records of the log are kept, waiting to be shipped.
func (db *DB) KeptLog() query.KeptLog {
	s := db.current.Load()
	return s.kept()
}

func (s *state) kept() query.KeptLog {
	k := &s.keep
	if !k.on {
		return query.KeptLog{}
	}
	first, broken := k.oldest().first, k.broken
	if k.based {
		broken = backup.Unbroken
	}
	return query.KeptLog{On: true, Target: k.target, First: query.Position{Epoch: k.epoch, Applied: first}, Records: s.pos.Applied + 1 - first,
		Bytes: int64(k.bytes()), Broken: string(broken)}
}

// kept reads what is kept. A store that has begun another epoch since, because it was
// restored or has lost records, begins anew: records of before are not its own.
func (r *recovery) kept() error {
	if r.db.opt.replaying {
		return nil // what is replayed is at the target
	}
	if copied, err := r.db.kv.IsCopy(); err != nil || copied {
		return errors.Join(err, r.keepNothing())
	}
	sealed, err := r.db.kv.Get(keys.KeptState())
	if err != nil || sealed == nil {
		return err
	}
	k, err := readKeeping(sealed)
	if err != nil {
		return err
	}
	w := r.w
	if k.on && k.epoch != w.pos.Epoch {
		k.target, k.broken = "", backup.Unbroken
		k.begin(w.pos, w.chain, backup.BrokenEpoch)
		if !r.db.opt.ReadOnly {
			kb := r.db.kv.NewBatch()
			defer kb.Close()
			kb.DeleteRange(keys.AllKept())
			k.store(kb)
			err = kb.Commit(true)
		}
	}
	w.keep, r.s.keep = k, k
	return err
}

// keepNothing turns it off in a copy: what it was copied from keeps the log.
func (r *recovery) keepNothing() error {
	if r.db.opt.ReadOnly {
		return nil
	}
	kb := r.db.kv.NewBatch()
	defer kb.Close()
	kb.DeleteRange(keys.AllKept())
	kb.Delete(keys.KeptState())
	if err := kb.Commit(true); err != nil {
		return err
	}
	return r.db.kv.Own()
}

// keptLog verifies the records that are kept: each, that there is no gap, and that their
// chain ends in the store's.
func (c *checker) keptLog(ctx context.Context) error {
	k := &c.s.keep
	if !k.on {
		return nil
	}
	first := k.oldest().first
	next, chain := first, k.oldest().before
	err := c.db.kv.Scan(ctx, keys.KeptRecords(next, c.s.pos.Applied+1), func(key, v []byte) (bool, error) {
		at, _ := keys.ParseKept(key)
		if c.report.Values++; next == first && c.db.current.Load().keep.oldest().first > first {
			next = at // those before were shipped meanwhile
		}
		if _, err := record.Decode(v); err != nil {
			c.problem("log kept for backups: record %d: %v", at, err)
		}
		if at != next {
			c.problem("log kept for backups: record %d is missing", next)
		}
		next, chain = at+1, record.Chain(chain, v)
		return true, nil
	})
	if err == nil && c.db.current.Load().keep.oldest().first == first && chain != c.s.chain {
		c.problem("log kept for backups: its chain hash is not that of the log; turn it off and on, then make a backup")
	}
	return err
}

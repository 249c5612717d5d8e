package backup

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/kantadb/kanta/engine/internal/record"
	"github.com/kantadb/kanta/query"
)

// maxProblems bounds a report: the first ones tell what is wrong.
const maxProblems = 100

// verifying is a verification under way.
type verifying struct {
	t    *Target
	have map[Hash]int64
	seen map[Hash]int // the pieces that backups name, with their sizes
	list []needed     // those that there are
	mu   sync.Mutex
	out  query.BackupCheck
}

// needed is a piece that a backup names.
type needed struct {
	hash Hash
	size int
	file string // of which backup
}

func (v *verifying) problem(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.out.Problems) < maxProblems {
		v.out.Problems = append(v.out.Problems, fmt.Sprintf(format, args...))
	}
}

// Verify reads manifests, all or those named, and every piece that they name, once, and
// compares their checksums. Damage is in the report, not in the error.
func (t *Target) Verify(ctx context.Context, names []string, progress query.BackupProgress) (query.BackupCheck, error) {
	v := &verifying{t: t, seen: map[Hash]int{}}
	all := len(names) == 0
	if all {
		var err error
		if names, err = t.Names(ctx); err != nil {
			return v.out, err
		}
	}
	var err error
	if v.have, err = t.Objects(ctx); err != nil {
		return v.out, err
	}
	for _, name := range names {
		if err := v.manifest(ctx, name); err != nil {
			return v.out, err
		}
	}
	if all {
		for h := range v.have {
			if _, named := v.seen[h]; !named {
				v.out.Unnamed++
			}
		}
	}
	if err := t.Ledger(ctx, func(LedgerEntry) error { return nil }); ctx.Err() == nil && err != nil {
		v.problem("%v", err)
	}
	if all {
		if err := v.logs(ctx); err != nil {
			return v.out, err
		}
	}
	return v.pieces(ctx, progress)
}

// logs reads all pieces of logs, and sees that each goes on where the one before it ends, and
// that backups lie on them.
func (v *verifying) logs(ctx context.Context) error {
	pieces, err := v.t.LogPieces(ctx, "")
	if err != nil || len(pieces) == 0 {
		return err
	}
	r, err := v.t.NewLogReader()
	if err != nil {
		return err
	}
	defer r.Close()
	ends := map[lineID]map[uint64][16]byte{} // chain hashes by position
	see := func(id lineID, at uint64, chain [16]byte, what string) {
		if ends[id] == nil {
			ends[id] = map[uint64][16]byte{}
		}
		if before, there := ends[id][at]; there && before != chain {
			v.problem("%s: the log at %d.%d is another one than another piece, or a backup, says", what, id.epoch, at)
		}
		ends[id][at] = chain
	}
	if err := v.t.Manifests(ctx, func(name string, m *Manifest, err error) error {
		if err == nil {
			see(lineID{m.Store, m.Position.Epoch}, m.Position.Applied, m.Chain, name)
		}
		return nil // it is told already
	}); err != nil {
		return err
	}
	for i := range pieces {
		p := &pieces[i]
		l, err := r.Read(ctx, p)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		v.out.LogObjects++
		if err != nil {
			v.problem("%v", err)
			continue
		}
		chain := l.Before
		see(lineID{p.Store, p.Epoch}, p.First-1, chain, p.Name())
		for k, rec := range l.Records {
			chain = record.Chain(chain, rec)
			if at := p.First + uint64(k); at == p.Last || ends[lineID{p.Store, p.Epoch}][at] != [16]byte{} {
				see(lineID{p.Store, p.Epoch}, at, chain, p.Name())
			}
		}
	}
	return nil
}

// manifest reads a manifest and notes what it names.
func (v *verifying) manifest(ctx context.Context, name string) error {
	m, err := v.t.Manifest(ctx, name)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, &query.Error{Code: query.CodeUnknownName}) || errors.Is(err, &query.Error{Code: query.CodeInvalid}):
		return err
	case err != nil:
		v.problem("%v", err)
		return nil
	}
	v.out.Backups++
	for i := range m.Entries {
		f := &m.Entries[i]
		file := fmt.Sprintf("backup %s: file %s", name, f.Name)
		for k, h := range f.Pieces {
			size, before := v.seen[h]
			_, there := v.have[h]
			switch {
			case before && size != f.pieceSize(k):
				v.problem("%s: object %s has another length than in another file", file, h)
			case !there:
				v.problem("%s: object %s is missing", file, h)
			case !before:
				v.list = append(v.list, needed{h, f.pieceSize(k), file})
			}
			v.seen[h] = f.pieceSize(k)
		}
	}
	return nil
}

// pieces reads what is named.
func (v *verifying) pieces(ctx context.Context, progress query.BackupProgress) (query.BackupCheck, error) {
	told := &tally{tell: progress}
	for _, n := range v.list {
		told.total += int64(n.size)
	}
	err := each(ctx, len(v.list), func(ctx context.Context, c *codec, i int) error {
		n := &v.list[i]
		_, _, err := v.t.piece(ctx, c, n.hash, n.size)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			v.problem("%s: %v", n.file, err)
		}
		told.add(n.size, n.file)
		return nil
	})
	v.out.Objects, v.out.Bytes = len(v.list), told.total
	return v.out, err
}

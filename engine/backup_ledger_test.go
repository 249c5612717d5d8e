package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
)

// TestErasedStayErased: who was erased after a backup was made is not in what is restored
// from it, once the target has been told, by a later backup or without one; who was
// readmitted may come again, and nobody else is missing.
func TestErasedStayErased(t *testing.T) {
	files, target := vfs.NewMem(), folder(t)
	now := fixedClock()
	clock := func() time.Time { return now }
	db, err := engine.Open("store", &engine.Options{FS: files, Clock: clock, PurgeAfter: -1})
	must(t, err)
	all := []string{}
	for i := range 20 {
		all = append(all, fmt.Sprint("k", i))
	}
	_, err = applied(t, db, all...)
	must(t, err)
	first, err := db.Backup(t.Context(), target, nil)
	must(t, err)
	_, err = db.Erase(t.Context(), "one", "k1", "never here")
	must(t, err)
	who := func(name string) []string {
		t.Helper()
		o := &engine.RestoreOptions{FS: files, Name: first.Name, Replace: true, Clock: clock}
		r, err := engine.Restore(t.Context(), name, target, o)
		must(t, err)
		again, err := engine.Open(name, &engine.Options{FS: files, Clock: clock, PurgeAfter: -1})
		must(t, err)
		defer func() { must(t, again.Close()) }()
		list, err := again.Members(t.Context(), "true", nil)
		must(t, err)
		keys := slices.Clone(all)
		for m, err := range list.Rows {
			must(t, err)
			keys = slices.DeleteFunc(keys, func(key string) bool { return key == m.Key })
		}
		if uint64(len(keys)) != r.Erased {
			t.Errorf("%q are missing, %d are said to be", keys, r.Erased)
		}
		check, err := again.Check(t.Context(), nil)
		if err != nil || len(check.Problems) > 0 {
			t.Errorf("%v %q", err, check.Problems)
		}
		res, err := applied(t, again, "k1", "never here", "new")
		if want := uint64(3 - min(2, 2*len(keys))); err != nil || res.Accepted != want {
			t.Errorf("with %q missing: %+v, %v", keys, res, err)
		}
		return keys
	}
	if got := who("before"); len(got) != 0 {
		t.Errorf("%q are missing before the target is told", got)
	}
	must(t, db.BackupLedger(t.Context(), target))
	if got := who("told"); !slices.Equal(got, []string{"k1"}) {
		t.Errorf("%q are missing, it is k1 who was erased", got)
	}
	now = now.Add(time.Hour)
	_, err = db.Readmit(t.Context(), "k1", "never here")
	must(t, err)
	_, err = db.Erase(t.Context(), "two", "k2", "k3")
	must(t, err)
	_, err = db.Backup(t.Context(), target, nil)
	must(t, err)
	if n := len(ledgerPieces(t, target)); n != 1 {
		t.Errorf("the ledger has %d pieces: the old one is contained in the new one", n)
	}
	check, err := engine.VerifyBackups(t.Context(), target, nil, nil)
	if err != nil || len(check.Problems) > 0 {
		t.Errorf("%v %q", err, check.Problems)
	}
	must(t, db.Close())
	readmitted(t, files, target, first.Name, clock)
	damagedLedger(t, files, target, first.Name)
}

// damagedLedger: it might name anybody, so nothing is restored, unless that is what one wants.
func damagedLedger(t *testing.T, files vfs.FS, target query.BackupTarget, backup string) {
	t.Helper()
	for _, name := range ledgerPieces(t, target) {
		data, err := target.Get(t.Context(), name, 1<<20)
		must(t, err)
		data[len(data)-1] ^= 1
		must(t, target.Put(t.Context(), name, data))
	}
	if check, err := engine.VerifyBackups(t.Context(), target, nil, nil); err != nil || len(check.Problems) != 1 {
		t.Errorf("a damaged ledger: %v %q", err, check.Problems)
	}
	o := &engine.RestoreOptions{FS: files, Name: backup}
	if _, err := engine.Restore(t.Context(), "damaged", target, o); !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) || !strings.Contains(err.Error(), "ledger") {
		t.Errorf("a damaged ledger: %v", err)
	}
	o.WithoutLedger = true
	if r, err := engine.Restore(t.Context(), "damaged", target, o); err != nil || r.Erased != 0 {
		t.Errorf("without the ledger: %+v %v", r, err)
	}
}

// readmitted: k1 was erased and has come back since, k2 and k3 were erased.
func readmitted(t *testing.T, files vfs.FS, target query.BackupTarget, name string, clock func() time.Time) {
	t.Helper()
	r, err := engine.Restore(t.Context(), "later", target, &engine.RestoreOptions{FS: files, Name: name, Clock: clock})
	must(t, err)
	db, err := engine.Open("later", &engine.Options{FS: files, Clock: clock, PurgeAfter: -1})
	must(t, err)
	defer func() { must(t, db.Close()) }()
	if n, err := db.Count(t.Context(), "true", nil); err != nil || n.Count != 17 || r.Erased != 3 || n.Position != r.Position {
		t.Errorf("%+v of %+v, %v", n, r, err)
	}
	res, err := applied(t, db, "k1", "never here", "k2", "k3")
	if err != nil || res.Accepted != 2 || res.Refused != 2 {
		t.Errorf("%+v, %v: who was readmitted may come again, nobody else", res, err)
	}
}

func applied(t *testing.T, db *engine.DB, keys ...string) (batch.Result, error) {
	t.Helper()
	b := batch.New()
	for _, key := range keys {
		b.Upsert(key)
	}
	raw, err := b.Encode()
	must(t, err)
	return db.Apply(t.Context(), raw)
}

func ledgerPieces(t *testing.T, target query.BackupTarget) (names []string) {
	t.Helper()
	must(t, target.List(context.Background(), "ledger/", func(name string, _ int64) error {
		names = append(names, name)
		return nil
	}))
	return names
}

// TestLedgersOfTwoStores: a store and one that was restored from its backup tell the same
// target. Neither takes away what only the other knows, and the later word on a person holds.
func TestLedgersOfTwoStores(t *testing.T) {
	files, target := vfs.NewMem(), folder(t)
	now := fixedClock()
	clock := func() time.Time { return now }
	open := func(name string) *engine.DB {
		t.Helper()
		db, err := engine.Open(name, &engine.Options{FS: files, Clock: clock, PurgeAfter: -1})
		must(t, err)
		return db
	}
	restore := func(name, backup string) *engine.DB {
		t.Helper()
		_, err := engine.Restore(t.Context(), name, target, &engine.RestoreOptions{FS: files, Name: backup, Replace: true, Clock: clock})
		must(t, err)
		return open(name)
	}
	a := open("a")
	defer func() { must(t, a.Close()) }()
	_, err := applied(t, a, "k0", "k1", "k2", "k3")
	must(t, err)
	first, err := a.Backup(t.Context(), target, nil)
	must(t, err)
	b := restore("b", first.Name) // it knows nothing of k3
	defer func() { must(t, b.Close()) }()
	_, err = a.Erase(t.Context(), "", "k1", "k3")
	must(t, err)
	second, err := a.Backup(t.Context(), target, nil)
	must(t, err)
	c := restore("c", first.Name) // k1 is erased in it, and stays so
	defer func() { must(t, c.Close()) }()
	_, err = b.Erase(t.Context(), "", "k2")
	must(t, err)
	must(t, b.BackupLedger(t.Context(), target))
	if n := len(ledgerPieces(t, target)); n != 2 {
		t.Errorf("%d pieces: of two stores each knows somebody whom the other does not", n)
	}
	now = now.Add(time.Hour)
	_, err = a.Readmit(t.Context(), "k1")
	must(t, err)
	for range 2 { // the second time nothing is new
		must(t, a.BackupLedger(t.Context(), target))
		must(t, c.BackupLedger(t.Context(), target))
	}
	if n := len(ledgerPieces(t, target)); n != 3 {
		t.Errorf("%d pieces, want those of three stores", n)
	}
	for i := range 10 { // pieces come in any order
		d := restore("d", []string{first.Name, second.Name}[i%2])
		list, err := d.Members(t.Context(), "true", nil)
		must(t, err)
		var keys []string
		for m, err := range list.Rows {
			must(t, err)
			keys = append(keys, m.Key)
		}
		res, err := applied(t, d, "k1", "k2", "k3")
		if !slices.Equal(keys, []string{"k0"}) || err != nil || res.Accepted != 1 || res.Refused != 2 {
			t.Fatalf("time %d: restored are %q, of k1, who was readmitted, k2 and k3: %+v %v", i, keys, res, err)
		}
		must(t, d.Close())
	}
}

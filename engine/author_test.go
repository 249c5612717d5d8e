package engine_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// authors write segments.
type authors struct {
	t  *testing.T
	db *engine.DB
}

var (
	anna  = query.Author{ID: "key 1", Name: "anna", Role: "maker"}
	bert  = query.Author{ID: "certificate bert", Name: "bert", Role: "maker"}
	admin = query.Author{ID: "key 3", Name: "root", Role: "admin", SharesAll: true}
)

// save and share are ops of a batch.
func save(name string) func(b *batch.Builder) {
	return func(b *batch.Builder) { b.SaveSegment(name, "age > 3") }
}

func share(name string) func(b *batch.Builder) {
	return func(b *batch.Builder) { b.ShareSegment(name) }
}

// as applies a batch that somebody writes.
func (a *authors) as(who query.Author, ops ...func(b *batch.Builder)) error {
	a.t.Helper()
	b := batch.New()
	for _, op := range ops {
		op(b)
	}
	raw, err := b.Encode()
	must(a.t, err)
	ctx := engine.WithAuthor(a.t.Context(), who)
	_, dry := a.db.DryRun(ctx, raw)
	_, err = a.db.Apply(ctx, raw)
	if (dry == nil) != (err == nil) {
		a.t.Errorf("a dry run says %v, and then %v", dry, err)
	}
	return err
}

// segments are the names, their owners, and which are shared.
func (a *authors) segments() string {
	a.t.Helper()
	list, err := a.db.Segments(a.t.Context())
	must(a.t, err)
	var out []string
	for _, s := range list {
		if s.Owner.SharesAll {
			a.t.Errorf("what the owner of %q may share is kept", s.Name)
		}
		text := s.Name + " of " + s.Owner.String() + " " + s.Owner.Role
		if s.Shared {
			text += " shared"
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

// history has authors save and share.
func (a *authors) history() {
	a.t.Helper()
	must(a.t, a.as(query.Author{}, func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "age", Kind: schema.Int}})
		b.SaveSegment("old", "age > 1")
		b.SaveSegment("older", "age > 2")
	}))
	denied := &query.Error{Code: query.CodeDenied}
	for i, c := range []struct {
		who  query.Author
		ops  []func(b *batch.Builder)
		want error
	}{
		{anna, []func(b *batch.Builder){save("hers"), share("hers")}, nil},
		{anna, []func(b *batch.Builder){save("later")}, nil},
		{bert, []func(b *batch.Builder){share("later")}, denied},
		{bert, []func(b *batch.Builder){share("old")}, denied},
		{bert, []func(b *batch.Builder){share("older"), save("older")}, denied},
		{anna, []func(b *batch.Builder){share("later")}, nil},
		{bert, []func(b *batch.Builder){save("hers")}, nil}, // it is his now, and not shared
		{anna, []func(b *batch.Builder){share("hers")}, denied},
		{bert, []func(b *batch.Builder){save("his")}, nil},
		{admin, []func(b *batch.Builder){share("his")}, nil}, // and stays his
		{query.Author{}, []func(b *batch.Builder){share("old")}, nil},
		{admin, []func(b *batch.Builder){save("root's")}, nil},
	} {
		if err := a.as(c.who, c.ops...); !errors.Is(err, c.want) {
			a.t.Errorf("%d: %v, not %v", i, err, c.want)
		}
	}
}

const afterHistory = "hers of certificate bert maker; his of certificate bert maker shared; later of anna (key 1) maker shared; " +
	"old of nobody who is known  shared; older of nobody who is known ; root's of root (key 3) admin"

// TestOwners: who saved a segment shares it, or who may share all; that outlasts the process, is
// in backups, and is decided alike when the log is decided again.
func TestOwners(t *testing.T) {
	files, target := vfs.NewMem(), folder(t)
	o := &engine.Options{FS: files, Clock: fixedClock, PurgeAfter: -1}
	db, err := engine.Open("store", o)
	must(t, err)
	must(t, db.KeepLog(t.Context(), true))
	_, err = db.Backup(t.Context(), target, nil)
	must(t, err)
	a := &authors{t, db}
	a.history()
	if got := a.segments(); got != afterHistory {
		t.Errorf("%s\nnot\n%s", got, afterHistory)
	}
	want, err := db.Digests(t.Context())
	must(t, err)
	_, err = db.ShipLog(t.Context(), target, nil)
	must(t, err)
	must(t, db.Close())
	for from, open := range map[string]func() string{
		"the store": func() string { return "store" },
		"the log": func() string {
			_, err := engine.Restore(t.Context(), "again", target, &engine.RestoreOptions{FS: files, WithoutLedger: true})
			must(t, err)
			return "again"
		},
	} {
		name := open()
		db, err := engine.Open(name, o)
		must(t, err)
		if got := (&authors{t, db}).segments(); got != afterHistory {
			t.Errorf("of %s:\n%s\nnot\n%s", from, got, afterHistory)
		}
		if got, err := db.Digests(t.Context()); err != nil || got.Chain != want.Chain {
			t.Errorf("of %s: %+v, %v; it was %+v", from, got, err, want)
		}
		must(t, db.Close())
	}
}

// TestOwnersReplicated: each replica knows them, and decides alike who may share.
func TestOwnersReplicated(t *testing.T) {
	log := enginetest.NewLog()
	open := func(files *vfs.MemFS) *follower {
		f := &follower{t: t, options: engine.Options{FS: files, Clock: fixedClock, PurgeAfter: -1}, member: log.Member()}
		f.options.Replica = f.member.Options()
		f.open()
		return f
	}
	first := open(vfs.NewMem())
	first.close()
	files := vfs.NewMem()
	copyStore(t, first.options.FS, files)
	first.open()
	second := open(files)
	a := &authors{t, first.db}
	a.history()
	want := digestsAt(t, first.db, first.member, log.Last())
	if got := digestsAt(t, second.db, second.member, log.Last()); got != want {
		t.Errorf("%+v, not %+v", got, want)
	}
	for _, f := range []*follower{first, second} {
		if got := (&authors{t, f.db}).segments(); got != afterHistory {
			t.Errorf("%s\nnot\n%s", got, afterHistory)
		}
		f.close()
	}
}

// TestAuthorLimit: who writes has an id, a name and a role of some length only.
func TestAuthorLimit(t *testing.T) {
	db, err := engine.Open("", &engine.Options{Clock: fixedClock, PurgeAfter: -1})
	must(t, err)
	defer func() { must(t, db.Close()) }()
	a := &authors{t, db}
	must(t, a.as(query.Author{}, func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "age", Kind: schema.Int}})
	}))
	long := query.Author{ID: strings.Repeat("i", 1000), Name: strings.Repeat("n", 20), Role: "role"}
	must(t, a.as(long, save("s")))
	long.Role += "s"
	if err := a.as(long, save("s")); !errors.Is(err, &query.Error{Code: query.CodeLimit}) || !strings.Contains(err.Error(), "1024 at most") {
		t.Errorf("a byte more: %v", err)
	}
}

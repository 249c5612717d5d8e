package snapshots

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/query"
)

// life is what happens to a node's directory, step by step: it makes snapshots, receives
// one, and installs it twice. It ends with the first error.
type life struct {
	files    vfs.FS
	incoming []byte // of small(8), index 900
	finished []string
	did      int    // steps
	after    func() // each step; may be nil
}

const (
	stepsOfLife  = 6
	stepsBefore  = 4 // an installation begins
	stepsInstall = 5 // the first one has ended
)

func (x *life) run() error {
	var s *Store
	install := func() error {
		_, source, err := s.Open(x.finished[len(x.finished)-1])
		if err != nil {
			return err
		}
		r, _ := Of(source)
		return errors.Join(Install(context.Background(), r, "node/store", nil), r.Close())
	}
	finish := func(id string, err error) error {
		if err == nil {
			x.finished = append(x.finished, id)
		}
		return err
	}
	for _, step := range [stepsOfLife]func() error{
		func() (err error) {
			s, err = Open("node/snapshots", &Options{FS: x.files})
			return err
		},
		func() error { return finish(takeOf(s, "node/store", 500)) },
		func() error { return finish(takeOf(s, "node/store", 600)) },
		func() error { return finish(receive(s, x.incoming, 900, 1)) },
		install, install,
	} {
		if err := step(); err != nil {
			return err
		}
		x.did++
		if x.after != nil {
			x.after()
		}
	}
	return nil
}

// born makes the directory in which a life begins: a store, small(1).
func born(t testing.TB) (files *enginetest.Disk, incoming []byte) {
	t.Helper()
	there := enginetest.NewDisk()
	must(t, small(8).lay(there, "live"))
	s := open(t, there, "snapshots")
	id, err := takeOf(s, "live", 900)
	must(t, err)
	files = enginetest.NewDisk()
	must(t, small(1).lay(files, "node/store"))
	for _, dir := range []string{"node", ""} {
		must(t, syncDir(files, dir))
	}
	return files, stream(t, s, id)
}

// verify says what of a node's directory is not as it must be after a life was cut off that
// had done something for certain. It leaves the directory open and clean.
func (x *life) verify(files vfs.FS) error {
	if err := Recover(files, "node/store"); err != nil {
		return err
	}
	is, err := readTree(files, "node/store")
	if err != nil {
		return err
	}
	before, after := is.same(small(1)), is.same(small(8))
	switch {
	case before != nil && after != nil:
		return fmt.Errorf("the store is neither the one nor the other: %w", errors.Join(before, after))
	case x.did >= stepsInstall && after != nil:
		return fmt.Errorf("the installed store is gone: %w", after)
	case x.did < stepsBefore && before != nil:
		return fmt.Errorf("the store that nothing was done to: %w", before)
	}
	for _, suffix := range []string{makingSuffix, newSuffix, oldSuffix} {
		if there, err := exists(files, "node/store"+suffix); there || err != nil {
			return fmt.Errorf("store%s is there (%v)", suffix, err)
		}
	}
	s, err := Open("node/snapshots", &Options{FS: files})
	if err != nil {
		return err
	}
	if left, err := files.List("node/snapshots/tmp"); len(left) > 0 || err != nil {
		return fmt.Errorf("unfinished: %v (%v)", left, err)
	}
	m, id := s.Newest()
	if m == nil {
		if len(x.finished) > 0 {
			return fmt.Errorf("snapshot %s is gone", x.finished[len(x.finished)-1])
		}
		return nil
	}
	if n := len(x.finished); n > 0 {
		last, _ := parseID(x.finished[n-1])
		if m.Index < last.index {
			return fmt.Errorf("the newest snapshot is %s, and %s was finished", id, x.finished[n-1])
		}
	}
	_, source, err := s.Open(id)
	if err != nil {
		return err
	}
	defer source.Close()
	if _, err := io.Copy(io.Discard, source); err != nil {
		return err
	}
	got, err := readTree(files, "node/snapshots/"+id+"/data")
	if err != nil {
		return err
	}
	is = small(1)
	if m.Index == 900 {
		is = small(8)
	}
	names, err := files.List("node/snapshots")
	if err != nil || len(names) != 2 { // and tmp
		return fmt.Errorf("%v are left (%v)", names, err)
	}
	return got.same(is)
}

// left says what a life that ended with an error has left before anything is opened again.
func (x *life) left(files vfs.FS) error {
	names, err := files.List("node/snapshots")
	if err != nil && !isNotExist(err) {
		return err
	}
	for _, name := range names {
		if name != tmpDir && !slices.Contains(x.finished, name) {
			return fmt.Errorf("%s is there, which was not finished", name)
		}
	}
	unfinished, err := files.List("node/snapshots/tmp")
	if len(unfinished) > 0 || err != nil && !isNotExist(err) {
		return fmt.Errorf("unfinished: %v (%v)", unfinished, err)
	}
	return nil
}

// readTree is look, for what may be not there or damaged.
func readTree(files vfs.FS, dir string) (tree, error) {
	all, err := walk(files, dir)
	if err != nil {
		return nil, err
	}
	out := tree{}
	for _, f := range all {
		if out[f.Name], err = get(files, path(files, dir, f.Name)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// lives is a whole life on a disk that remembers, and what was certain when.
type lives struct {
	life
	disk    *enginetest.Disk
	moments []moment
}

type moment struct{ changes, did, finished int }

func lived(t testing.TB) *lives {
	files, incoming := born(t)
	x := &lives{life: life{files: files, incoming: incoming}, disk: files}
	x.after = func() { x.moments = append(x.moments, moment{files.Changes(), x.did, len(x.finished)}) }
	must(t, x.run())
	return x
}

// certain returns what was done for certain before change number at.
func (x *lives) certain(at int) *life {
	out := &life{}
	for _, m := range x.moments {
		if m.changes <= at {
			out.did, out.finished = m.did, x.finished[:m.finished]
		}
	}
	return out
}

// TestPowerCuts cuts the power before every operation that changes a file, goes on with
// what is left, and there cuts the power again before each operation that ends the first cut.
func TestPowerCuts(t *testing.T) {
	files, _ := born(t)
	begin := files.Changes()
	x := lived(t)
	trace := x.disk.Trace()
	replay := trace.Replay()
	cuts, again := 0, 0
	for at := begin; at <= trace.Len(); at++ {
		replay.To(at)
		certain := x.certain(at)
		for _, cut := range []enginetest.PowerCut{{Percent: 0}, {Percent: 30, Seed: uint64(at)}, {Percent: 30, Seed: uint64(at) + 1e6}, {Percent: 100}, {Kill: true}} {
			where := fmt.Sprintf("power cut before %v (%d, after %d steps), %+v", trace.Op(at), at, certain.did, cut)
			after, err := replay.Crash(cut)
			must(t, err)
			cuts++
			if err := certain.verify(after); err != nil {
				t.Fatalf("%s: %v", where, err)
			}
			if (at+int(cut.Seed))%5 != 0 {
				continue
			}
			ending := after.Trace()
			walk := ending.Replay()
			for n := range ending.Len() {
				walk.To(n)
				after, err := walk.Crash(enginetest.PowerCut{Percent: 50, Seed: uint64(n)})
				must(t, err)
				again++
				if err := certain.verify(after); err != nil {
					t.Fatalf("%s, then before %v: %v", where, ending.Op(n), err)
				}
			}
		}
	}
	t.Logf("%d power cuts, %d more in what ends them", cuts, again)
	if cuts < 500 || again < 200 || len(x.moments) != stepsOfLife {
		t.Fatalf("%d and %d power cuts in a life of %d steps are too few", cuts, again, len(x.moments))
	}
}

// TestErrors has every operation that changes a file fail, once and from then on. What has
// returned an error has left what was there before, and what it tells is the disk's fault.
func TestErrors(t *testing.T) {
	files, _ := born(t)
	begin := files.Changes()
	all := lived(t).disk.Changes() - begin
	failed := 0
	for _, forever := range []bool{false, true} {
		for nth := 1; nth <= all; nth++ {
			files, incoming := born(t)
			x := &life{files: files, incoming: incoming}
			fault := &enginetest.DiskFault{Nth: nth, Forever: forever, Err: syscall.EIO}
			files.Before(fault.Before)
			err := x.run()
			files.Before(nil)
			n, first := fault.Fired()
			if n == 0 {
				t.Fatalf("operation %d of %d was not made", nth, all)
			}
			if err == nil && forever {
				t.Fatalf("%v failed from then on, and nobody says so", first)
			}
			if err != nil {
				failed++
				want(t, err, query.CodeIO, "input/output error")
			}
			if !forever && first.Kind != "remove" {
				if err := x.left(files); err != nil {
					t.Fatalf("%v failed, after %d steps: %v", first, x.did, err)
				}
			}
			if err := x.verify(files); err != nil {
				t.Fatalf("%v failed (forever: %v), after %d steps: %v", first, forever, x.did, err)
			}
		}
	}
	t.Logf("%d operations, %d errors", all, failed)
	if failed < 3*all/2 {
		t.Fatalf("of %d failing operations %d were told", 2*all, failed)
	}
}

// TestDamageAtRest flips bits of a snapshot's files and has it read, and installed by a process
// that has not read it yet: each is found, before another store is touched.
func TestDamageAtRest(t *testing.T) {
	for name, text := range sample(1) {
		for _, bit := range []int64{0, int64(len(text)) * 4, int64(len(text))*8 - 1} {
			if text == "" {
				continue
			}
			files, s, id := one(t, 1)
			if err := files.Flip("snapshots/"+id+"/data/"+name, bit); err != nil {
				t.Fatal(err)
			}
			_, source, err := s.Open(id)
			must(t, err)
			_, err = io.Copy(io.Discard, source)
			want(t, err, query.CodeCorrupt, name)
			must(t, source.Close())
			s = open(t, files, "snapshots")
			must(t, sample(2).lay(files, "store"))
			r := reader(t, s, id)
			want(t, Install(context.Background(), r, "store", nil), query.CodeCorrupt, name)
			must(t, r.Close())
			must(t, look(t, files, "store").same(sample(2)))
			if there, err := exists(files, "store"+makingSuffix); there || err != nil {
				t.Fatal("it is left", err)
			}
		}
	}
	files, s, id := one(t, 1)
	text := string(s.kept[id].text)
	for bit := range int64(8 * len(text)) {
		must(t, files.Flip("snapshots/"+id+"/META", bit))
		if _, err := Open("snapshots", &Options{FS: files}); err == nil {
			t.Fatalf("bit %d of META is not missed", bit)
		}
		must(t, files.Flip("snapshots/"+id+"/META", bit))
	}
	open(t, files, "snapshots")
}

// TestMissingAtRest opens what lacks something.
func TestMissingAtRest(t *testing.T) {
	for _, lost := range []string{"META", "data/KANTA", "data/db/000009.sst", "data"} {
		files, _, id := one(t, 1)
		must(t, files.RemoveAll("snapshots/"+id+"/"+lost))
		_, err := Open("snapshots", &Options{FS: files})
		want(t, err, query.CodeCorrupt, "snapshot "+id)
		want(t, err, query.CodeCorrupt, "remove the node from the cluster")
		s, err := Open("snapshots", &Options{FS: files, AcceptDamaged: true})
		must(t, err)
		if list, err := s.List(); len(list) > 0 || err != nil || s.Oldest() != 0 {
			t.Fatal(list, err)
		}
		if there, err := exists(files, "snapshots/"+id); !there || err != nil {
			t.Fatal("it is gone", err)
		}
	}
	files, s, id := one(t, 1)
	must(t, put(files, "snapshots/"+id+"/data/KANTA", "shorter"))
	r := reader(t, s, id)
	_, err := io.Copy(io.Discard, r)
	want(t, err, query.CodeCorrupt, "KANTA")
	must(t, r.Close())
	_, err = Open("snapshots", &Options{FS: files})
	want(t, err, query.CodeCorrupt, "12 bytes")

	files, _, _ = one(t, 1) // of another name, and what is not ours
	must(t, errors.Join(files.Rename("snapshots/3-500-1", "snapshots/3-501-1"), put(files, "snapshots/notes", "mine"), put(files, "snapshots/3-05-1/x", "mine")))
	_, err = Open("snapshots", &Options{FS: files})
	want(t, err, query.CodeCorrupt, "index 500")
	if text, err := get(files, "snapshots/notes"); err != nil || text != "mine" {
		t.Fatal(text, err)
	}
}

// TestInstallChecked refuses what was made, and gives up.
func TestInstallChecked(t *testing.T) {
	files, s, id := one(t, 1)
	must(t, sample(2).lay(files, "store"))
	r := reader(t, s, id)
	err := Install(context.Background(), r, "store", func(dir string) error {
		must(t, look(t, files, dir).same(sample(1)))
		return query.Errorf(query.CodeCorrupt, "it does not open")
	})
	want(t, err, query.CodeCorrupt, "it does not open")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Install(ctx, r, "store", nil); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	must(t, look(t, files, "store").same(sample(2)))
	if names, err := files.List(""); err != nil || len(names) != 3 {
		t.Fatal(names, err)
	}
	must(t, r.Close())
	want(t, Install(context.Background(), r, "store", nil), query.CodeClosed, "closed")
}

// TestRecover has what a crash can leave, and what becomes of it.
func TestRecover(t *testing.T) {
	for _, c := range []struct {
		there []string
		want  string // whose files the store has in the end
	}{
		{nil, ""}, {[]string{"store"}, "store"}, {[]string{"store.making"}, ""}, {[]string{"store", "store.making"}, "store"},
		{[]string{"store", "store.new"}, "store"}, {[]string{"store.new"}, "store.new"}, {[]string{"store.new", "store.old"}, "store.new"},
		{[]string{"store", "store.old"}, "store"}, {[]string{"store.old"}, "store.old"}, {[]string{"store.old", "store.making"}, "store.old"},
	} {
		dir := t.TempDir() // a rename in memory puts a directory in place of another one, which no system does
		for _, name := range c.there {
			must(t, put(vfs.Default, dir+"/"+name+"/db/000001.sst", name))
		}
		for range 2 {
			must(t, Recover(vfs.Default, dir+"/store"))
		}
		names, err := vfs.Default.List(dir)
		must(t, err)
		switch is := look(t, vfs.Default, dir+"/store"); {
		case c.want == "" && len(names) == 0:
		case len(names) != 1 || is["db/000001.sst"] != c.want:
			t.Errorf("%v: became %v, the store has %v", c.there, names, is)
		}
	}
}

package faultfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// contents returns all files with their bytes.
func contents(t *testing.T, files vfs.FS, dir string, out map[string]string) map[string]string {
	t.Helper()
	names, err := files.List(dir)
	must(t, err)
	for _, name := range names {
		path := files.PathJoin(dir, name)
		info, err := files.Stat(path)
		must(t, err)
		if info.IsDir() {
			contents(t, files, path, out)
			continue
		}
		h, err := files.Open(path)
		must(t, err)
		b, err := io.ReadAll(h)
		must(t, errors.Join(err, h.Close()))
		out[path] = string(b)
	}
	return out
}

// plain is the slow obvious disk: of each file its bytes and what they were when it was
// synced, of the directory its names as they were after each change since it was.
type plain struct {
	live   map[string]*plainFile
	steps  []map[string]*plainFile // the first is durable
	opened map[string]vfs.File
}

type plainFile struct{ now, synced []byte }

func (p *plain) step() { p.steps = append(p.steps, maps.Clone(p.live)) }

// TestCut does random things to files of one directory, and cuts the power at every
// moment: what is left is what the plain disk allows, and at 0 and 100 % just that.
func TestCut(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		f := New()
		must(t, f.MkdirAll("d", 0o755))
		dir, err := f.OpenDir("d")
		must(t, err)
		root, err := f.OpenDir("/")
		must(t, errors.Join(err, root.Sync(), dir.Sync()))
		p := &plain{live: map[string]*plainFile{}, opened: map[string]vfs.File{}}
		p.step()
		for range 60 {
			p.random(t, f, dir, r)
			if r.IntN(4) > 0 {
				continue
			}
			for _, c := range []Cut{{Seed: seed}, {Percent: 30, Seed: r.Uint64()}, {Percent: 60, Sector: 4096, Seed: r.Uint64()}, {Percent: 100}, {Kill: true, Percent: 100}} {
				after, err := f.Crash(c)
				must(t, err)
				p.allows(t, seed, c, contents(t, after, "d", map[string]string{}))
			}
		}
		if got := contents(t, f, "d", map[string]string{}); len(got) != len(p.live) {
			t.Fatalf("seed %d: %d files, want %d", seed, len(got), len(p.live))
		}
		used := 0
		for _, file := range p.live {
			used += len(file.now)
		}
		if f.Used() != int64(used) {
			t.Fatalf("seed %d: %d bytes, want %d", seed, f.Used(), used)
		}
		replayed(t, f, r)
	}
}

func (p *plain) random(t *testing.T, f *FS, dir vfs.File, r *rand.Rand) {
	t.Helper()
	name := func() string { return fmt.Sprint("f", r.IntN(5)) }
	at := name()
	switch k := r.IntN(12); {
	case k < 2 || p.live[at] == nil && k < 9:
		h, err := f.Create("d/"+at, vfs.WriteCategoryUnspecified)
		must(t, err)
		p.live[at], p.opened[at] = &plainFile{}, h
		p.step()
	case k < 6:
		b := bytes.Repeat([]byte{byte('a' + r.IntN(26))}, 1+r.IntN(3000))
		_, err := p.opened[at].Write(bytes.Clone(b)) // under the race detector MemFS changes what it is given
		must(t, err)
		p.live[at].now = append(p.live[at].now, b...)
	case k < 9:
		must(t, p.opened[at].Sync())
		p.live[at].synced = bytes.Clone(p.live[at].now)
	case k == 9:
		must(t, dir.Sync())
		p.steps = nil
		p.step()
	case p.live[at] == nil:
	case k == 10:
		to := name()
		must(t, f.Rename("d/"+at, "d/"+to))
		if to != at {
			p.live[to], p.opened[to] = p.live[at], p.opened[at]
			delete(p.live, at)
			p.step()
		}
	default:
		must(t, f.Remove("d/"+at))
		delete(p.live, at)
		p.step()
	}
}

// allows checks files that a power cut has left.
func (p *plain) allows(t *testing.T, seed uint64, c Cut, got map[string]string) {
	t.Helper()
	fits := func(names map[string]*plainFile) bool {
		if len(names) != len(got) {
			return false
		}
		for name, file := range names {
			b, ok := got["d/"+name]
			if !ok || c.Percent == 0 && b != string(file.synced) || c.Percent == 100 && b != string(file.now) || !between(file, b) {
				return false
			}
		}
		return true
	}
	steps := p.steps
	switch c.Percent {
	case 0:
		steps = steps[:1]
	case 100:
		steps = steps[len(steps)-1:]
	}
	if !slices.ContainsFunc(steps, fits) {
		t.Fatalf("seed %d: a power cut, %+v, leaves %d files that cannot be", seed, c, len(got))
	}
}

// between reports that a file has its synced bytes, and of the others right ones or zeros.
func between(file *plainFile, b string) bool {
	if len(b) < len(file.synced) || len(b) > len(file.now) {
		return false
	}
	for i := range len(b) {
		if b[i] != file.now[i] && (i < len(file.synced) || b[i] != 0) {
			return false
		}
	}
	return true
}

// replayed checks that a trace of f ends in what f has, and passes by what a power cut
// would have left then.
func replayed(t *testing.T, f *FS, r *rand.Rand) {
	t.Helper()
	trace := f.Trace()
	replay := trace.Replay()
	replay.To(trace.Len())
	c := Cut{Percent: 30, Seed: r.Uint64()}
	killed, err := replay.Crash(Cut{Kill: true}) // what it was not synced before it is not after
	must(t, err)
	one, err := killed.Crash(c)
	must(t, err)
	two, err := f.Crash(c)
	must(t, err)
	if got, want := contents(t, one, "d", map[string]string{}), contents(t, two, "d", map[string]string{}); !maps.Equal(got, want) {
		t.Fatal("a replayed run leaves something else")
	}
	if one.Used() != two.Used() || f.Changes() != trace.Len() {
		t.Fatalf("%d and %d bytes, %d and %d changes", one.Used(), two.Used(), f.Changes(), trace.Len())
	}
}

// TestTornRecycledFile: between the sectors of a log that is used again its old bytes show.
func TestTornRecycledFile(t *testing.T) {
	f := New()
	h, err := f.Create("old", vfs.WriteCategoryUnspecified)
	must(t, err)
	_, err = h.Write(bytes.Repeat([]byte("o"), 4096))
	must(t, errors.Join(err, h.Sync(), h.Close()))
	h, err = f.ReuseForWrite("old", "new", vfs.WriteCategoryUnspecified)
	must(t, err)
	dir, err := f.OpenDir("/")
	must(t, errors.Join(err, dir.Sync()))
	for range 8 {
		_, err = h.Write(bytes.Repeat([]byte("n"), 512))
		must(t, err)
	}
	mixed, scattered := 0, 0
	for seed := range uint64(50) {
		after, err := f.Crash(Cut{Percent: 50, Seed: seed})
		must(t, err)
		b := contents(t, after, "/", map[string]string{})["/new"]
		if len(b) != 4096 {
			t.Fatalf("%d bytes are left", len(b))
		}
		for i := range 8 {
			if s := b[512*i : 512*i+512]; s[0] != s[511] {
				t.Fatal("a sector is torn")
			}
		}
		if n := bytes.Count([]byte(b), []byte("n")); n > 0 && n < 4096 {
			mixed++
			if strings.Contains(b, "on") {
				scattered++
			}
		}
	}
	if mixed < 20 || scattered < 10 || scattered > mixed-10 {
		t.Fatalf("%d of 50 were mixed, %d not in their order", mixed, scattered)
	}
	killed, err := f.Crash(Cut{Kill: true})
	must(t, errors.Join(err, h.Sync()))
	for want, files := range map[string]*FS{"o": killed, "n": f} { // which share bytes
		after, err := files.Crash(Cut{})
		must(t, err)
		if b := contents(t, after, "/", map[string]string{})["/new"]; b != strings.Repeat(want, 4096) {
			t.Errorf("%.9q are durable, want %q", b, want)
		}
	}
}

// calls does something of every kind, also to a file that is used again.
func calls(f vfs.FS, dir string) error {
	at := func(name string) string { return f.PathJoin(dir, name) }
	var errs []error
	note := func(err error) { errs = append(errs, err) }
	note(f.MkdirAll(at("sub"), 0o755))
	write := func(h vfs.File, err error) {
		if note(err); err == nil {
			_, err = h.Write([]byte("some bytes"))
			note(errors.Join(err, h.Sync(), h.Close()))
		}
	}
	write(f.Create(at("a"), vfs.WriteCategoryUnspecified))
	write(f.ReuseForWrite(at("a"), at("b"), vfs.WriteCategoryUnspecified))
	write(f.OpenReadWrite(at("c"), vfs.WriteCategoryUnspecified))
	note(f.Rename(at("b"), at("d")))
	note(f.Link(at("d"), at("e")))
	_, err := f.List(dir)
	note(err)
	_, err = f.Stat(at("d"))
	note(err)
	h, err := f.Open(at("d"))
	if note(err); err == nil {
		var b [4]byte
		_, err = h.ReadAt(b[:], 0)
		note(err)
		_, err = h.Read(b[:])
		note(errors.Join(err, h.Close()))
	}
	h, err = f.OpenDir(dir)
	if note(err); err == nil {
		note(errors.Join(h.Sync(), h.Close()))
	}
	note(f.Remove(at("e")))
	note(f.RemoveAll(at("d")))
	return errors.Join(errs...)
}

// TestFault fails every operation of every kind, on files in memory and on the machine's:
// once, and from then on.
func TestFault(t *testing.T) {
	for _, over := range []bool{false, true} {
		open := func() (*FS, string) {
			if !over {
				return New(), "/"
			}
			return Over(vfs.Default), t.TempDir()
		}
		f, dir := open()
		must(t, calls(f, dir))
		for _, kind := range []Kind{Create, Write, Sync, Rename, Reuse, Remove, Link, Mkdir, Open, Read, List} {
			all := &Fault{Kinds: []Kind{kind}, Nth: 1 << 30, Err: syscall.EIO}
			f, dir := open()
			f.Before(all.Before)
			must(t, calls(f, dir))
			if all.Seen() == 0 {
				t.Errorf("there is no %s", kind)
			}
			for n := range all.Seen() {
				for _, forever := range []bool{false, true} {
					x := &Fault{Kinds: []Kind{kind}, Nth: n + 1, Forever: forever, Err: syscall.ENOSPC}
					f, dir := open()
					f.Before(x.Before)
					err := calls(f, dir)
					if fired, first := x.Fired(); !errors.Is(err, syscall.ENOSPC) || fired < 1 || !forever && fired != 1 || forever && fired != x.Seen()-n || first.Kind != kind {
						t.Errorf("%s %d: %v, %d failed, the first was to %s", kind, n, err, fired, first)
					}
				}
			}
		}
	}
}

// TestErrorFSMissesRecycledLogs is why there is a wrapper of ours: when it fails, Pebble's
// has learned it, and the package comment is out of date.
func TestErrorFSMissesRecycledLogs(t *testing.T) {
	write := func(f vfs.FS) error {
		h, err := f.ReuseForWrite("old", "new", vfs.WriteCategoryUnspecified)
		must(t, err)
		_, err = h.Write([]byte("x"))
		return errors.Join(err, h.Close())
	}
	for _, theirs := range []bool{true, false} {
		files := New()
		h, err := files.Create("old", vfs.WriteCategoryUnspecified)
		must(t, errors.Join(err, h.Close()))
		if theirs {
			err = write(errorfs.Wrap(files, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind == errorfs.OpFileWrite {
					return syscall.EIO
				}
				return nil
			})))
		} else {
			files.Before((&Fault{Kinds: []Kind{Write}, Nth: 1, Err: syscall.EIO}).Before)
			err = write(files)
		}
		if (err == nil) != theirs {
			t.Errorf("errorfs %v: %v", theirs, err)
		}
	}
}

// TestTornWrite: of a write that fails a sector is there.
func TestTornWrite(t *testing.T) {
	f := New()
	h, err := f.Create("a", vfs.WriteCategoryUnspecified)
	must(t, err)
	f.Before((&Fault{Nth: 1, Torn: true, Err: syscall.EIO}).Before)
	n, err := h.Write(bytes.Repeat([]byte("x"), 2000))
	if n != 512 || !errors.Is(err, syscall.EIO) {
		t.Fatalf("%d bytes, %v", n, err)
	}
	_, err = h.Write([]byte("end"))
	must(t, err)
	if got := contents(t, f, "/", map[string]string{})["/a"]; len(got) != 515 {
		t.Fatalf("%d bytes", len(got))
	}
}

// TestSkipped: a sync that is said to be done makes nothing durable.
func TestSkipped(t *testing.T) {
	f := New()
	h, err := f.Create("a", vfs.WriteCategoryUnspecified)
	must(t, err)
	dir, err := f.OpenDir("/")
	must(t, errors.Join(err, dir.Sync()))
	_, err = h.Write([]byte("x"))
	must(t, err)
	f.Before(func(op Op) error {
		if op.Kind == Sync {
			return ErrSkipped
		}
		return nil
	})
	must(t, h.Sync())
	after, err := f.Crash(Cut{})
	must(t, err)
	if got := contents(t, after, "/", map[string]string{}); got["/a"] != "" || len(got) != 1 {
		t.Fatalf("%q", got)
	}
}

// TestLimit fills the disk: what fits is written, and removing the last name makes room.
func TestLimit(t *testing.T) {
	for _, f := range []*FS{New(), Over(vfs.Default)} {
		dir := t.TempDir()
		must(t, f.MkdirAll(dir, 0o755))
		f.Limit(1000)
		a, err := f.Create(filepath.Join(dir, "a"), vfs.WriteCategoryUnspecified)
		must(t, err)
		_, err = a.Write(make([]byte, 800))
		must(t, err)
		must(t, f.Link(filepath.Join(dir, "a"), filepath.Join(dir, "c")))
		b, err := f.Create(filepath.Join(dir, "b"), vfs.WriteCategoryUnspecified)
		must(t, err)
		for _, want := range []int{200, 0} {
			if n, err := b.Write(make([]byte, 300)); n != want || !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("%d bytes were written (%v), want %d", n, err, want)
			}
		}
		must(t, f.Remove(filepath.Join(dir, "a")))
		if f.Used() != 1000 {
			t.Fatalf("%d bytes are used while a name is left", f.Used())
		}
		must(t, f.Remove(filepath.Join(dir, "c")))
		_, err = b.Write(make([]byte, 300))
		must(t, err)
		if f.Used() != 500 {
			t.Fatalf("%d bytes are used", f.Used())
		}
		must(t, errors.Join(a.Close(), b.Close()))
	}
}

// TestFlip turns bits round, at rest and for readers.
func TestFlip(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a")
	must(t, os.WriteFile(name, []byte("abc"), 0o644))
	f := Over(vfs.Default)
	read := func() string { return contents(t, f, dir, map[string]string{})[name] }
	f.FlipRead(name, 8, 17)
	if got := read(); got != "aca" {
		t.Errorf("readers see %q", got)
	}
	h, err := f.Open(name)
	must(t, err)
	var one, two [1]byte
	_, err = h.Read(one[:])
	must(t, err)
	_, err = h.Read(one[:])
	must(t, err)
	_, err = h.ReadAt(two[:], 2)
	must(t, errors.Join(err, h.Close()))
	if string(one[:])+string(two[:]) != "ca" {
		t.Errorf("readers of single bytes see %q and %q", one, two)
	}
	f.FlipRead(name)
	must(t, f.Flip(name, 1))
	if got := read(); got != "cbc" {
		t.Errorf("at rest: %q", got)
	}
}

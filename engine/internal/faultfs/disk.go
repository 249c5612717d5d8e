package faultfs

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// disk is what is on a disk and what is on its way there. It knows no errors: what it is
// told has happened.
type disk struct {
	root  *node
	files []*node // by number; numbers are given in the order of creation, so that a replay gives the same
	size  int64   // bytes of files that have a name
}

// node is a file or a directory.
type node struct {
	number int
	names  int   // a file's
	length int64 // of a file, unsynced bytes included

	// Of a file: bytes that are durable, and writes that are not. Bytes within the length
	// of durable are never changed in place: copies of the disk share them.
	durable []byte
	writes  []write

	// Of a directory: its names, those that are durable, and the changes in between.
	children map[string]*node // nil for a file
	kept     map[string]*node
	changes  []entry
}

type write struct {
	at   int64
	data []byte
}

// entry is one change of a directory: names that now mean something else, nil for nothing.
type entry map[string]*node

func newDir() *node {
	return &node{children: map[string]*node{}, kept: map[string]*node{}}
}

func newDisk() *disk { return &disk{root: newDir()} }

// split takes a path apart; in memory "." is the root.
func split(path string) []string {
	parts := strings.FieldsFunc(path, func(r rune) bool { return r == '/' || r == '\\' })
	return slices.DeleteFunc(parts, func(p string) bool { return p == "." })
}

// dir returns the directory that a path is in, and its name there. Directories that are
// missing were there before the disk was looked at.
func (d *disk) dir(path string) (*node, string) {
	parts := split(path)
	if len(parts) == 0 {
		return d.root, ""
	}
	at := d.root
	for _, p := range parts[:len(parts)-1] {
		if at.children[p] == nil {
			at.children[p] = newDir()
			at.kept[p] = at.children[p]
		}
		at = at.children[p]
	}
	return at, parts[len(parts)-1]
}

// find returns what a path names, nil for nothing.
func (d *disk) find(path string) *node {
	at := d.root
	for _, p := range split(path) {
		if at = at.children[p]; at == nil {
			return nil
		}
	}
	return at
}

// change changes a directory.
func (n *node) change(e entry) {
	n.changes = append(n.changes, e)
	for name, to := range e {
		if to == nil {
			delete(n.children, name)
		} else {
			n.children[name] = to
		}
	}
}

func (d *disk) named(n *node, by int) {
	if n == nil || n.children != nil {
		return
	}
	was := n.names > 0
	if n.names += by; was != (n.names > 0) {
		d.size += int64(by) * n.length
	}
}

// create makes a new file under a path.
func (d *disk) create(path string) *node {
	in, name := d.dir(path)
	d.named(in.children[name], -1)
	n := &node{number: len(d.files)}
	d.files = append(d.files, n)
	d.named(n, 1)
	in.change(entry{name: n})
	return n
}

func (d *disk) mkdir(path string) {
	at := d.root
	for _, p := range split(path) {
		if at.children[p] == nil {
			at.change(entry{p: newDir()})
		}
		at = at.children[p]
	}
}

func (d *disk) link(old, path string) {
	n := d.find(old)
	in, name := d.dir(path)
	d.named(n, 1)
	in.change(entry{name: n})
}

func (d *disk) remove(path string) {
	in, name := d.dir(path)
	n := in.children[name]
	if n == nil {
		return
	}
	d.forget(n)
	in.change(entry{name: nil})
}

// forget takes away the names that a file or everything in a directory has.
func (d *disk) forget(n *node) {
	d.named(n, -1)
	for _, child := range n.children {
		d.forget(child)
	}
}

func (d *disk) rename(old, path string) {
	n := d.find(old)
	if n == nil || old == path {
		return
	}
	from, was := d.dir(old)
	in, name := d.dir(path)
	d.named(in.children[name], -1)
	if from == in {
		in.change(entry{was: nil, name: n})
		return
	}
	in.change(entry{name: n})
	from.change(entry{was: nil})
}

func (d *disk) write(n *node, at int64, data []byte) {
	n.writes = append(n.writes, write{at, data})
	if grown := at + int64(len(data)) - n.length; grown > 0 {
		n.length += grown
		if n.names > 0 {
			d.size += grown
		}
	}
}

// sync makes a file or a directory durable.
func (n *node) sync() {
	if n.children != nil {
		n.kept, n.changes = maps.Clone(n.children), nil
		return
	}
	for i, w := range n.writes {
		if w.at < int64(len(n.durable)) { // what is overwritten may be shared
			n.durable = slices.Grow(slices.Clone(n.durable), len(w.data))
			for _, w := range n.writes[i:] {
				n.durable = overlay(n.durable, w.at, w.data)
			}
			break
		}
		n.durable = overlay(n.durable, w.at, w.data)
	}
	n.writes = nil
}

// overlay writes data over b, with zeros in a gap.
func overlay(b []byte, at int64, data []byte) []byte {
	if gap := at - int64(len(b)); gap > 0 {
		b = append(b, make([]byte, gap)...)
	}
	n := copy(b[at:], data)
	return append(b, data[n:]...)
}

// Cut is a power cut: what of the unsynced survives. Or the process is killed and the
// machine goes on: then everything is there, and what was not synced is still not.
type Cut struct {
	Kill    bool
	Percent int    // of sectors, and of changes of a directory
	Sector  int    // bytes that are written or not as one, 0: 512
	Seed    uint64 // which
}

// cutter makes the disk that a power cut leaves.
type cutter struct {
	Cut
	r    *rand.Rand
	out  *disk
	done map[*node]*node // files may have several names
}

// cut returns another disk as it is after a power cut, all of it durable, or a kill.
func (d *disk) cut(c Cut) *disk {
	if c.Kill {
		return d.copy()
	}
	if c.Sector == 0 {
		c.Sector = 512
	}
	x := &cutter{Cut: c, r: rand.New(rand.NewPCG(c.Seed, 1)), out: newDisk(), done: map[*node]*node{}}
	x.out.root = x.node(d.root)
	return x.out
}

// copy returns the same disk again. What of both is shared does not change.
func (d *disk) copy() *disk {
	done := map[*node]*node{}
	var of func(n *node) *node
	all := func(names map[string]*node) map[string]*node {
		out := make(map[string]*node, len(names))
		for name, n := range names {
			out[name] = of(n)
		}
		return out
	}
	of = func(n *node) *node {
		if n == nil || done[n] != nil {
			return done[n]
		}
		out := *n
		done[n] = &out
		out.durable, out.writes = slices.Clip(n.durable), slices.Clip(n.writes)
		if n.children != nil {
			out.children, out.kept, out.changes = all(n.children), all(n.kept), nil
			for _, e := range n.changes {
				out.changes = append(out.changes, all(e))
			}
		}
		return &out
	}
	out := &disk{root: of(d.root), size: d.size}
	for _, n := range d.files {
		out.files = append(out.files, of(n))
	}
	return out
}

// survives draws whether one thing does.
func (x *cutter) survives() bool {
	return x.Percent >= 100 || x.Percent > 0 && x.r.IntN(100) < x.Percent
}

func (x *cutter) node(n *node) *node {
	if n.children == nil {
		out := x.done[n]
		if out == nil {
			out = x.file(n)
			x.done[n] = out
		}
		x.out.named(out, 1)
		return out
	}
	names := n.kept
	if len(n.changes) > 0 {
		names = maps.Clone(n.kept)
		for _, e := range n.changes[:x.first(len(n.changes))] {
			for name, to := range e {
				if names[name] = to; to == nil {
					delete(names, name)
				}
			}
		}
	}
	out := newDir()
	for _, name := range slices.Sorted(maps.Keys(names)) { // the seed decides, not the map
		out.children[name] = x.node(names[name])
	}
	out.kept = maps.Clone(out.children)
	return out
}

// first returns how many of n things in order survive.
func (x *cutter) first(n int) int {
	kept := 0
	for range n {
		if x.survives() {
			kept++
		}
	}
	return kept
}

func (x *cutter) file(n *node) *node {
	out := &node{number: len(x.out.files), durable: slices.Clip(n.durable)}
	if len(n.writes) > 0 && x.Percent > 0 {
		out.durable = x.torn(n)
	}
	out.length = int64(len(out.durable))
	x.out.files = append(x.out.files, out)
	return out
}

// piece is what one write has of one sector.
type piece struct {
	at   int64
	data []byte
}

// torn returns the bytes of a file with some of its unsynced sectors.
func (x *cutter) torn(n *node) []byte {
	pieces := map[int64][]piece{}
	for _, w := range n.writes {
		for at, data := w.at, w.data; len(data) > 0; {
			sector := at / int64(x.Sector)
			size := min(int(int64(x.Sector)*(sector+1)-at), len(data))
			pieces[sector] = append(pieces[sector], piece{at, data[:size]})
			at, data = at+int64(size), data[size:]
		}
	}
	out := slices.Clone(n.durable)
	sectors := slices.Sorted(maps.Keys(pieces))
	if x.r.IntN(2) == 0 { // half of the time the disk wrote them in their order
		sectors = sectors[:x.first(len(sectors))]
	} else {
		sectors = slices.DeleteFunc(sectors, func(int64) bool { return !x.survives() })
	}
	for _, s := range sectors {
		list := pieces[s]
		if x.Percent < 100 {
			list = list[:1+x.r.IntN(len(list))]
		}
		for _, p := range list {
			out = overlay(out, p.at, p.data)
		}
	}
	return out
}

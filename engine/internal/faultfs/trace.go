package faultfs

import (
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// change is one thing that was done to a disk.
type change struct {
	Op
	old  string // the other path of a link, a rename or a reuse
	file int    // whose bytes they are; -1: the path is of a directory
	at   int64
	data []byte
}

// apply does it to a disk.
func (d *disk) apply(c *change) {
	switch c.Kind {
	case Create:
		d.create(c.Path)
	case Mkdir:
		d.mkdir(c.Path)
	case Link:
		d.link(c.old, c.Path)
	case Rename, Reuse:
		d.rename(c.old, c.Path)
	case Remove:
		d.remove(c.Path)
	case Write:
		d.write(d.files[c.file], c.at, c.data)
	case Sync:
		if c.file >= 0 {
			d.files[c.file].sync()
		} else if n := d.find(c.Path); n != nil {
			n.sync()
		}
	}
}

// Trace is what was done to an FS in memory, in order.
type Trace struct {
	base    *disk // before the first change; never changed
	changes []change
}

// Trace returns what was done so far.
func (f *FS) Trace() *Trace {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &Trace{f.base, f.changes[:len(f.changes):len(f.changes)]}
}

// Changes returns how many changes there were so far.
func (f *FS) Changes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.changes)
}

// Len returns the number of changes.
func (t *Trace) Len() int { return len(t.changes) }

// Op returns a change.
func (t *Trace) Op(n int) Op {
	if n == len(t.changes) {
		return Op{Kind: "the end"}
	}
	return t.changes[n].Op
}

// Replay is a walk along a trace, for one goroutine.
type Replay struct {
	trace *Trace
	disk  *disk
	at    int
}

// Replay begins a walk before the first change.
func (t *Trace) Replay() *Replay {
	return &Replay{trace: t, disk: t.base.copy()}
}

// To goes on to the moment before change n.
func (p *Replay) To(n int) {
	for ; p.at < n; p.at++ {
		p.disk.apply(&p.trace.changes[p.at])
	}
}

// Crash returns a new FS in memory with what is left when the power is cut at this moment.
func (p *Replay) Crash(c Cut) (*FS, error) { return onMemory(p.disk.cut(c)) }

// Crash returns a new FS in memory with what would be left if the power were cut now.
func (f *FS) Crash(c Cut) (*FS, error) {
	f.mu.Lock()
	after := f.disk.cut(c)
	f.mu.Unlock()
	return onMemory(after)
}

// onMemory makes an FS in memory of a disk.
func onMemory(base *disk) (*FS, error) {
	under := vfs.NewMem()
	made := map[*node]string{}
	if err := lay(under, base.root, "", made); err != nil {
		return nil, fmt.Errorf("files after a crash: %w", err)
	}
	return &FS{FS: under, base: base, disk: base.copy(), traced: true}, nil
}

func lay(under *vfs.MemFS, dir *node, path string, made map[*node]string) error {
	for name, n := range dir.children {
		at := name
		if path != "" {
			at = path + "/" + name
		}
		if n.children != nil {
			if err := under.MkdirAll(at, 0o755); err != nil {
				return err
			}
			if err := lay(under, n, at, made); err != nil {
				return err
			}
			continue
		}
		if first := made[n]; first != "" {
			if err := under.Link(first, at); err != nil {
				return err
			}
			continue
		}
		made[n] = at
		data := slices.Clip(n.durable)
		if len(n.writes) > 0 {
			data = slices.Clone(data)
			for _, w := range n.writes {
				data = overlay(data, w.at, w.data)
			}
		}
		if err := put(under, at, data); err != nil {
			return err
		}
	}
	return nil
}

func put(under *vfs.MemFS, path string, data []byte) error {
	f, err := under.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if _, err := f.Write(slices.Clone(data)); err != nil { // under the race detector MemFS changes what it is given
		return err
	}
	return f.Close()
}

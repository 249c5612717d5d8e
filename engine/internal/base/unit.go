package base

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/kantadb/kanta/engine/internal/digest"
	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/column"
	"github.com/kantadb/kanta/query"
)

// BlockSize is the number of ordinals of a column block.
const BlockSize = 4096

const (
	manifestVersion = 1
	shardBlocks     = bitmap.ShardSize / BlockSize
	chunkBlocks     = bitmap.ChunkSize / BlockSize
)

// Unit is one generation of one attribute's data in one shard. What it says is
// immutable; what it has loaded lives in the cache. Safe for concurrent use.
type Unit struct {
	ID      keys.Unit
	Class   effect.Class
	Folded  uint64 // position up to which the head's values are in it
	Covered uint32 // ordinals of the shard, from 0, that its blocks hold
	Present uint32 // profiles with a value
	Content digest.Sum
	Replica digest.Sum
	Columns int64    // bytes of column blocks
	Bitmaps int64    // bytes of fragments
	Codes   []uint32 // ascending: those that somebody has
	Cards   []uint32 // profiles per code

	cache  *Cache
	rows   []slot[bitmap.Fragment] // parallel to Codes
	exists slot[bitmap.Fragment]
	blocks []slot[block]
}

// block is a decoded column block of the unit's class.
type block struct {
	ints    *column.Ints
	strings *column.Strings
	sets    *column.Sets
}

func (b *block) memBytes() int {
	switch {
	case b.ints != nil:
		return b.ints.MemBytes()
	case b.strings != nil:
		return b.strings.MemBytes()
	}
	return b.sets.MemBytes()
}

func (u *Unit) attach(c *Cache) {
	u.cache = c
	u.rows = make([]slot[bitmap.Fragment], len(u.Codes))
	u.blocks = make([]slot[block], (int(u.Covered)+BlockSize-1)/BlockSize)
}

func (u *Unit) manifest() []byte {
	b := []byte{manifestVersion, byte(u.Class)}
	for _, v := range []uint64{u.Folded, uint64(u.Covered), uint64(u.Present)} {
		b = binary.AppendUvarint(b, v)
	}
	b = u.Replica.Append(u.Content.Append(b))
	b = binary.AppendUvarint(b, uint64(u.Columns))
	b = binary.AppendUvarint(b, uint64(u.Bitmaps))
	b = binary.AppendUvarint(b, uint64(len(u.Codes)))
	prev := uint32(0)
	for i, c := range u.Codes {
		b = binary.AppendUvarint(b, uint64(c-prev))
		b = binary.AppendUvarint(b, uint64(u.Cards[i]))
		prev = c
	}
	return kv.Seal(nil, b)
}

// OpenUnit reads a unit from its manifest row.
func OpenUnit(id keys.Unit, sealed []byte, cache *Cache) (*Unit, error) {
	name := fmt.Sprintf("manifest of attribute %d, shard %d", id.Attr, id.Shard)
	r, err := kv.NewReader(sealed, manifestVersion)
	if err != nil {
		return nil, kv.Damaged(name, err, nil, nil)
	}
	corrupt := query.Errorf(query.CodeCorrupt, "%s is damaged", name)
	u := &Unit{ID: id, Class: effect.Class(r.Byte())}
	u.Folded, u.Covered, u.Present = r.Uvarint(), uint32(r.Uvarint()), uint32(r.Uvarint())
	u.Content, u.Replica = takeSum(&r), takeSum(&r)
	u.Columns, u.Bitmaps = int64(r.Uvarint()), int64(r.Uvarint())
	n := r.Uvarint()
	if n > uint64(len(r.B)/2) || u.Covered > bitmap.ShardSize {
		return nil, corrupt
	}
	u.Codes, u.Cards = make([]uint32, n), make([]uint32, n)
	prev := uint32(0)
	for i := range u.Codes {
		prev += uint32(r.Uvarint())
		u.Codes[i], u.Cards[i] = prev, uint32(r.Uvarint())
	}
	if r.Bad || len(r.B) != 0 {
		return nil, corrupt
	}
	u.attach(cache)
	return u, nil
}

// Card returns how many profiles of the shard have a code.
func (u *Unit) Card(code uint32) uint32 {
	if i, ok := slices.BinarySearch(u.Codes, code); ok {
		return u.Cards[i]
	}
	return 0
}

// Row returns the fragment of a code, nil if nobody has it.
func (u *Unit) Row(code uint32) (*bitmap.Fragment, error) {
	i, ok := slices.BinarySearch(u.Codes, code)
	if !ok {
		return nil, nil
	}
	if f := u.rows[i].get(); f != nil {
		return f, nil
	}
	return u.loadFragment(&u.rows[i], u.ID.Row(keys.Fragment, code))
}

// Exists returns the fragment of the profiles that have a value, nil if there are none.
func (u *Unit) Exists() (*bitmap.Fragment, error) {
	if u.Present == 0 {
		return nil, nil
	}
	if f := u.exists.get(); f != nil {
		return f, nil
	}
	return u.loadFragment(&u.exists, u.ID.Row(keys.Exists, 0))
}

func (u *Unit) loadFragment(s *slot[bitmap.Fragment], key []byte) (*bitmap.Fragment, error) {
	var f *bitmap.Fragment
	ok, err := u.cache.store.View(key, func(v []byte) (err error) {
		f, err = bitmap.DecodeFragment(v)
		return err
	})
	if err == nil && !ok {
		err = errMissing
	}
	if err != nil {
		return nil, u.damagedFragment(err)
	}
	keep(u.cache, s, f, int64(f.MemBytes()))
	return f, nil
}

// block returns the decoded block i, nil if the unit does not reach that far.
func (u *Unit) block(i int) (*block, error) {
	if i >= len(u.blocks) {
		return nil, nil
	}
	if b := u.blocks[i].get(); b != nil {
		return b, nil
	}
	b := &block{}
	ok, err := u.cache.store.View(u.ID.Row(keys.Block, uint32(i)), func(v []byte) error { return b.decode(u.Class, v) })
	if err == nil && !ok {
		err = errMissing
	}
	if err != nil {
		return nil, u.damagedBlock(err)
	}
	keep(u.cache, &u.blocks[i], b, int64(b.memBytes()))
	return b, nil
}

func (b *block) decode(class effect.Class, v []byte) (err error) {
	switch class {
	case effect.Bytes:
		b.strings, err = column.DecodeStrings(v)
	case effect.Set:
		b.sets, err = column.DecodeSets(v)
	default:
		b.ints, err = column.DecodeInts(v)
	}
	return err
}

var errMissing = errors.New("it is missing")

// damagedBlock says that a column block could not be read.
func (u *Unit) damagedBlock(err error) error {
	return u.damaged("column block", err, column.ErrCorrupt, column.ErrNewerFormat)
}

// damagedFragment says that a fragment could not be read.
func (u *Unit) damagedFragment(err error) error {
	return u.damaged("fragment", err, bitmap.ErrCorrupt, bitmap.ErrNewerFormat)
}

func (u *Unit) damaged(what string, err, corrupt, newer error) error {
	if errors.Is(err, errMissing) {
		corrupt = errMissing
	}
	return kv.Damaged(fmt.Sprintf("%s of attribute %d, shard %d, generation %d", what, u.ID.Attr, u.ID.Shard, u.ID.Generation), err, corrupt, newer)
}

// slot holds a loaded object while the cache has room for it.
type slot[T any] struct {
	p    atomic.Pointer[T]
	used atomic.Bool // since the clock last passed
}

func (s *slot[T]) get() *T {
	p := s.p.Load()
	if p != nil && !s.used.Load() {
		s.used.Store(true)
	}
	return p
}

// empty forgets the object, and says so in gone if there was one.
func (s *slot[T]) empty(gone map[any]bool) {
	if s.p.Swap(nil) != nil {
		gone[s] = true
	}
}

// rowSlots are n slots for stored rows. They are made when the first row is read: a
// forged manifest may claim any number of rows that are not there.
type rowSlots struct {
	n    int
	made atomic.Pointer[[]slot[[]byte]]
}

func (s *rowSlots) at(i int) *slot[[]byte] {
	made := s.made.Load()
	if made == nil {
		all := make([]slot[[]byte], s.n)
		s.made.CompareAndSwap(nil, &all)
		made = s.made.Load()
	}
	return &(*made)[i]
}

// all returns the slots if they have been made.
func (s *rowSlots) all() []slot[[]byte] {
	if made := s.made.Load(); made != nil {
		return *made
	}
	return nil
}

func (s *slot[T]) drop() bool {
	if s.used.Swap(false) {
		return false
	}
	s.p.Store(nil)
	return true
}

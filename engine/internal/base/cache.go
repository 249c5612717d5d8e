package base

import (
	"sync"
	"sync/atomic"

	"github.com/kantadb/kanta/engine/internal/kv"
)

// Cache keeps decoded fragments and blocks within a byte budget. An object hangs in a
// slot of its unit, so a hit is one pointer load; the cache only knows the slots and
// their sizes, and takes objects out again by the clock algorithm: one that was used
// since the hand last passed stays for another round. A reader that holds an object
// keeps it alive; taking it out of its slot only forgets it.
//
// It is also the accountant of the memory that questions and the compactor work in: what
// they reserve is taken from the same budget, and cached objects make room for it. What a
// question takes goes through its [Quota].
type Cache struct {
	store    *kv.Store
	budget   int64
	share    int64      // of the budget, that one question may take
	loading  sync.Mutex // held while something long is read from the store; see load
	used     atomic.Int64
	mu       sync.Mutex // guards the rest
	reserved int64
	clock    []resident
	hand     int
}

// resident is an object in the cache.
type resident struct {
	slot  interface{ drop() bool }
	bytes int64
}

// NewCache makes a cache of at most budget bytes over a store.
func NewCache(store *kv.Store, budget int64) *Cache {
	return &Cache{store: store, budget: budget, share: budget}
}

// Budget returns how many bytes objects and reserved memory may have together.
func (c *Cache) Budget() int64 { return c.budget }

// Used returns the bytes of decoded objects.
func (c *Cache) Used() int64 { return c.used.Load() }

// Reserve sets bytes of working memory aside, and fails with [query.CodeBudget] if so
// much is not left. what names the work, for the message. Call release when it ends. It is for
// the store's own work: what a question takes is bounded by its [Quota].
func (c *Cache) Reserve(bytes int64, what string) (release func(), err error) {
	return c.unbounded().Reserve(bytes, what)
}

// SetAside is Reserve for what must be done, whatever else there is: beyond the budget, if need
// be, and then others get nothing until it is released.
func (c *Cache) SetAside(bytes int64) (release func()) {
	q := c.unbounded()
	c.mu.Lock()
	defer c.mu.Unlock()
	q.used += bytes
	c.reserved += bytes
	c.makeRoom(0)
	return sync.OnceFunc(func() { q.free(bytes) })
}

// Reserved returns the bytes of working memory set aside.
func (c *Cache) Reserved() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reserved
}

// load calls f with a stored value, as the store's View does. What the store itself needs to
// read a long one, twice its size, nobody counts: so only one is read at a time.
func (c *Cache) load(key []byte, long bool, f func(v []byte) error) (ok bool, err error) {
	if long {
		c.loading.Lock()
		defer c.loading.Unlock()
	}
	return c.store.View(key, f)
}

// cacheShare is the part of the budget that one object may take in the cache.
const cacheShare = 4

// keep puts an object into its slot, unless another goroutine was first, and makes room.
func keep[T any](c *Cache, s *slot[T], p *T, bytes int64) {
	if bytes > c.budget/cacheShare {
		return // one object must not empty the cache
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.p.Load() != nil {
		return
	}
	c.makeRoom(bytes)
	s.used.Store(true)
	s.p.Store(p)
	c.clock = append(c.clock, resident{s, bytes})
	c.used.Add(bytes)
}

func (c *Cache) makeRoom(bytes int64) {
	for tries := 2 * len(c.clock); c.used.Load()+c.reserved+bytes > c.budget && len(c.clock) > 0 && tries > 0; tries-- {
		if c.hand >= len(c.clock) {
			c.hand = 0
		}
		r := c.clock[c.hand]
		if !r.slot.drop() {
			c.hand++
			continue
		}
		c.used.Add(-r.bytes)
		last := len(c.clock) - 1
		c.clock[c.hand] = c.clock[last]
		c.clock[last] = resident{}
		c.clock = c.clock[:last]
	}
}

// Forget takes everything of units that are gone out of the cache.
func (c *Cache) Forget(units ...*Unit) {
	gone := map[any]bool{}
	for _, u := range units {
		u.exists.empty(gone)
		emptySlots(u.rows, gone)
		emptySlots(u.blocks, gone)
	}
	c.remove(gone)
}

func emptySlots[T any](slots []slot[T], gone map[any]bool) {
	for i := range slots {
		slots[i].empty(gone)
	}
}

// remove takes emptied slots off the clock.
func (c *Cache) remove(gone map[any]bool) {
	if len(gone) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := c.clock[:0]
	for _, r := range c.clock {
		if gone[r.slot] {
			c.used.Add(-r.bytes)
			continue
		}
		kept = append(kept, r)
	}
	for i := len(kept); i < len(c.clock); i++ {
		c.clock[i] = resident{}
	}
	c.clock, c.hand = kept, 0
}

// Slot is where others hang what they have made of a state and can make again: as with a
// unit's objects, the cache may take it out before the next look.
type Slot[T any] struct{ s slot[T] }

// Get returns the object, nil if there is none.
func (s *Slot[T]) Get() *T { return s.s.get() }

// Keep hangs an object into the slot.
func (s *Slot[T]) Keep(c *Cache, p *T, bytes int64) { keep(c, &s.s, p, bytes) }

// ForgetSlots takes what is in slots that nobody will use again out of the cache.
func ForgetSlots[T any](c *Cache, slots []Slot[T]) {
	gone := map[any]bool{}
	for i := range slots {
		slots[i].s.empty(gone)
	}
	c.remove(gone)
}

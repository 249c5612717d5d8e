package base

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/kantadb/kanta/query"
)

// retryAfter is when to ask again what had no room: most questions take less than that.
const retryAfter = time.Second

// Quota is what one question may take of the budget: all that it reserves, and all its loans,
// together. Any number of goroutines may use it; it needs no end, for whatever was taken is
// given back by who took it. The nil Quota counts nothing.
type Quota struct {
	c     *Cache
	limit int64
	own   bool  // the limit is the question's own; else it is the store's
	used  int64 // guarded by c.mu
}

// SetShare sets how many bytes one question may take; before there is one.
func (c *Cache) SetShare(bytes int64) { c.share = min(bytes, c.budget) }

// Question begins the quota of a question that allows itself some bytes; 0, and more than one
// question may have, is as much as that.
func (c *Cache) Question(bytes int64) *Quota {
	if c == nil {
		return nil
	}
	q := &Quota{c: c, limit: c.share}
	if bytes != 0 && bytes < q.limit {
		q.limit, q.own = bytes, true
	}
	return q
}

// unbounded is the quota of the store's own work.
func (c *Cache) unbounded() *Quota { return &Quota{c: c, limit: math.MaxInt64} }

// Reserve sets bytes aside, and fails with [query.CodeBudget] if that is more than the
// question may have, or than is left of the budget. what names the work, for the message. Call
// release when it ends, which may be after the question has.
func (q *Quota) Reserve(bytes int64, what string) (release func(), err error) {
	if err := q.reserve(bytes, what); err != nil {
		return nil, err
	}
	var once sync.Once
	return func() { once.Do(func() { q.free(bytes) }) }, nil
}

func (q *Quota) reserve(bytes int64, what string) error {
	q.c.mu.Lock()
	defer q.c.mu.Unlock()
	needs, others := q.used+bytes, q.c.reserved-q.used
	switch {
	case needs > q.limit:
		return q.exceeded(needs, what)
	case others+needs > q.c.budget:
		return &query.Error{Code: query.CodeBudget, RetryAfter: retryAfter,
			Message: fmt.Sprintf("%s needs %s; %s of %s are in use by other work", what, needed(needs), size(others), size(q.c.budget)),
			Hint:    "ask again when other questions have ended, or open the store with a larger memory budget"}
	}
	q.used += bytes
	q.c.reserved += bytes
	q.c.makeRoom(0)
	return nil
}

// exceeded is the error of a question that is too large by itself: trying again does not help.
func (q *Quota) exceeded(needs int64, what string) error {
	e := &query.Error{Code: query.CodeBudget, Message: fmt.Sprintf("%s needs %s, and one question may take %s of the memory budget", what, needed(needs), size(q.limit)),
		Hint: "ask about fewer people, events or groups, or open the store with a larger memory budget, or a larger part of it for one question"}
	if q.own {
		e.Message = fmt.Sprintf("%s needs %s, and it was to take %s of the memory budget", what, needed(needs), size(q.limit))
		e.Hint = "ask about fewer people, events or groups, or allow the question more memory; this store gives one " + size(q.c.share)
	}
	return e
}

func (q *Quota) free(bytes int64) {
	q.c.mu.Lock()
	defer q.c.mu.Unlock()
	q.used -= bytes
	q.c.reserved -= bytes
}

// size writes what there is, of which less than is shown would be too much.
func size(bytes int64) string {
	if bytes < 16<<20 {
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d MiB", bytes>>20)
}

// needed writes what is wanted, rounded up, so that it never looks as if it fitted.
func needed(bytes int64) string {
	if bytes < 16<<20 {
		return size(bytes + 1<<10 - 1)
	}
	return size(bytes + 1<<20 - 1)
}

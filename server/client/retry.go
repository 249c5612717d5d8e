package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/message"
)

// How calls are tried again.
const (
	defaultAttempts = 4
	maxAttempts     = 10
	firstPause      = 50 * time.Millisecond // a server that restarts takes longer; one that sheds load is not asked at once
	longestPause    = 2 * time.Second
	retryShare      = 10 // one retry is paid for by so many calls: a server that is down is not asked more than that on top
	retrySaved      = 20 // retries that quiet times save up
)

// budget bounds retries to a share of the calls.
type budget struct {
	mu      sync.Mutex
	calls   int // since it was full, in tenths of a retry
	started bool
}

// call counts one.
func (b *budget) call() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.started {
		b.started, b.calls = true, retrySaved*retryShare
	}
	b.calls = min(b.calls+1, retrySaved*retryShare)
}

// retry reports whether one more may be, and counts it.
func (b *budget) retry() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.calls < retryShare {
		return false
	}
	b.calls -= retryShare
	return true
}

// pause waits before attempt number n, from 1: twice as long each time, half of it random, so
// that clients who were turned away together do not come back together. It reports whether
// ctx has not ended.
func pause(ctx context.Context, n int, err error) bool {
	d := min(firstPause<<(n-1), longestPause)
	d = d/2 + rand.N(d/2)
	var e *query.Error
	if errors.As(err, &e) && e.RetryAfter > 0 {
		d = max(d, min(e.RetryAfter, longestPause))
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// try makes a call, and again while may says so of its error.
func try[T any](ctx context.Context, c *Client, bounded bool, may func(err error, undone bool) bool, call func(ctx context.Context, r *message.Reader) (T, error)) (out T, err error) {
	ctx, end := c.begin(ctx, bounded)
	defer end()
	c.retries.call()
	for n := 1; ; n++ {
		var r message.Reader
		out, err = call(ctx, &r)
		if err == nil && r.Err() == nil {
			return out, nil
		}
		var none T
		if err == nil {
			return none, r.Err()
		}
		err, undone := c.told(ctx, err)
		if n >= c.opt.Attempts || !errors.Is(err, &query.Error{Code: query.CodeUnavailable}) || !may(err, undone) || !c.retries.retry() || !pause(ctx, n, err) {
			return none, err
		}
	}
}

// read makes a call that changes nothing.
func read[T any](ctx context.Context, c *Client, call func(ctx context.Context, r *message.Reader) (T, error)) (T, error) {
	return try(ctx, c, true, func(error, bool) bool { return true }, call)
}

// write makes a call that is tried again only if it has certainly done nothing, or if it says that
// doing it twice is as doing it once.
func write[T any](ctx context.Context, c *Client, again func() bool, call func(ctx context.Context, r *message.Reader) (T, error)) (T, error) {
	return try(ctx, c, true, func(_ error, undone bool) bool { return undone || again() }, call)
}

// never says that a call may not be done twice.
func never() bool { return false }

package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
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
	d := shaken(min(firstPause<<(n-1), longestPause))
	var e *query.Error
	if errors.As(err, &e) && e.RetryAfter > 0 {
		d = max(d, min(e.RetryAfter, longestPause))
	}
	return sleep(ctx, d)
}

// shaken returns a time of which half is random.
func shaken(d time.Duration) time.Duration { return d/2 + rand.N(d/2) }

// sleep reports whether ctx has not ended meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
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
	ctx, a := begin(ctx)
	c.retries.call()
	again := retries{c: c, attempt: a}
	for {
		var r message.Reader
		out, err = call(ctx, &r)
		if err == nil {
			again.done()
		}
		if err == nil && r.Err() == nil {
			return out, nil
		}
		var none T
		if err == nil {
			return none, r.Err()
		}
		answered := message.Answered(err)
		err, undone := c.told(ctx, err)
		if !again.wait(ctx, err, answered, func() bool { return may(err, undone) }) {
			return none, again.why(err)
		}
	}
}

// retries decide whether and when a call is tried again.
type retries struct {
	c       *Client
	attempt *attempt

	tries int       // that failed, and were answered or had nobody else to be asked
	moves int       // tries that failed because a member was gone, or did not lead
	hops  int       // of these, one after another without a pause
	since time.Time // the first of these

	refusals int // of these, tries that were sent to a leader which refuses to be connected to
}

// maxHops is how often a call follows members that name another leader, before it gives them time to agree.
const maxHops = 3

// longestMove bounds how long a call without a deadline waits for a cluster to have a leader again.
const longestMove = time.Minute

// longestMovePause is between two tries of a call that waits for a leader: an election takes a second or
// two, and whoever wins it is asked soon after. Nobody is knocked over by it: one try is a refusal that
// costs nothing.
const longestMovePause = 250 * time.Millisecond

// done takes note that a call was answered.
func (r *retries) done() {
	if n := r.c.nodes; n != nil && r.attempt.used != nil {
		n.answered(r.attempt.used, r.attempt.route == leaderNode)
	}
}

// wait reports whether a call is to be tried again after an error, when it is time for that. A call that has
// met a member that is gone or does not lead goes on until its deadline, as long as there may be another one.
func (r *retries) wait(ctx context.Context, err error, answered bool, may func() bool) bool {
	unavailable, notLeader := errors.Is(err, &query.Error{Code: query.CodeUnavailable}), errors.Is(err, &query.Error{Code: query.CodeNotLeader})
	to, n := r.attempt.used, r.c.nodes
	named := false
	if n != nil && to != nil {
		switch {
		case notLeader:
			named = n.follow(to, leaderOf(err))
		case answered:
			n.answered(to, false)
			r.attempt.avoid = to
		case unavailable:
			n.lost(to, err)
		}
	}
	if !unavailable && !notLeader || !may() {
		return false
	}
	if notLeader && r.refused(err) {
		if r.refusals++; r.refusals >= r.c.opt.Attempts {
			return false
		}
	}
	if n != nil && r.attempt.pinned == nil && (notLeader || !answered && n.others()) {
		return r.move(ctx, named)
	}
	r.tries++
	return r.tries < r.c.opt.Attempts && r.c.retries.retry() && pause(ctx, r.tries, err)
}

// move waits until another member is worth asking.
func (r *retries) move(ctx context.Context, named bool) bool {
	if r.moves++; r.moves == 1 {
		r.since = time.Now()
	}
	if named && r.hops < maxHops {
		r.hops++
		return ctx.Err() == nil
	}
	r.hops = 0
	if _, ok := ctx.Deadline(); !ok && time.Since(r.since) > longestMove {
		return false
	}
	return sleep(ctx, shaken(min(firstPause<<min(r.moves-1, 8), longestMovePause)))
}

// leaderOf returns the address of the leader that an error names.
func leaderOf(err error) string {
	var e *query.Error
	if errors.As(err, &e) {
		return e.Leader
	}
	return ""
}

// refused reports whether an error names a leader that refuses to be connected to for a reason that will not pass, such
// as a certificate that is not believed.
func (r *retries) refused(err error) bool {
	_, passing := r.unreachable(err)
	return !passing
}

// unreachable returns why the leader that an error names could not be reached, nil: it could, or was not tried, and
// whether that may pass.
func (r *retries) unreachable(err error) (why error, passing bool) {
	leader := leaderOf(err)
	if r.c.nodes == nil || leader == "" {
		return nil, true
	}
	if why = r.c.nodes.whyLost(leader); why == nil {
		return nil, true
	}
	told, _ := message.FromTransport(context.Background(), why)
	if errors.Is(told, &query.Error{Code: query.CodeUnavailable}) || !errors.As(told, new(*query.Error)) {
		return why, true
	}
	return told, false
}

// why adds to an error of a call that names the leader why that one could not be reached.
func (r *retries) why(err error) error {
	why, passing := r.unreachable(err)
	if why == nil || !errors.Is(err, &query.Error{Code: query.CodeNotLeader}) {
		return err
	}
	leader, said := leaderOf(err), &query.Error{}
	hint := "does it run, and can this machine reach that address?"
	text := why.Error()
	if errors.As(why, &said) && !passing {
		text, hint = said.Message, said.Hint
	}
	return &query.Error{Code: query.CodeNotLeader, Leader: leader, Message: fmt.Sprintf("the member of the cluster that leads, %s, cannot be reached: %s", leader, text), Hint: hint, Err: why}
}

// read makes a call that changes nothing.
func read[T any](ctx context.Context, c *Client, call func(ctx context.Context, r *message.Reader) (T, error)) (T, error) {
	return try(ctx, c, true, func(error, bool) bool { return true }, call)
}

// write makes a call that is tried again only if it has certainly done nothing, or if it says that
// doing it twice is as doing it once.
func write[T any](ctx context.Context, c *Client, again func() bool, call func(ctx context.Context, r *message.Reader) (T, error)) (T, error) {
	var earlier error // of the last try of which nobody knows what became
	out, err := try(ctx, c, true, func(err error, undone bool) bool {
		if !undone {
			earlier = err
		}
		return undone || again()
	}, call)
	return out, doubted(earlier, err)
}

// doubted is the error of a call of which nobody knows what became of an earlier try: that the last one has done
// nothing does not say so of that one.
func doubted(earlier, err error) error {
	if earlier == nil || !slices.ContainsFunc([]query.Code{query.CodeNotLeader, query.CodeIO, query.CodeLimit}, func(c query.Code) bool { return errors.Is(err, &query.Error{Code: c}) }) {
		return err
	}
	return &query.Error{Code: query.CodeUnavailable, Message: fmt.Sprintf("what became of the call is not known: one try ended with %q, and the last with %q", earlier, err),
		Hint: "what may be done twice may be sent again, such as a batch with source, run and sequence; of others, look first", Err: earlier}
}

// never says that a call may not be done twice.
func never() bool { return false }

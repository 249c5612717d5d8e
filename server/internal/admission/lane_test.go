package admission

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// must enters a lane that has room.
func must(t *testing.T, l *Lane, who string, places int64) *Turn {
	t.Helper()
	turn, err := l.Enter(t.Context(), who, places)
	if err != nil {
		t.Fatal(err)
	}
	return turn
}

// later enters a lane in the background.
func later(l *Lane, who string, places int64) <-chan entered {
	out := make(chan entered, 1)
	go func() {
		turn, err := l.Enter(context.Background(), who, places)
		out <- entered{turn, err}
	}()
	synctest.Wait() // it waits, or has its answer
	return out
}

type entered struct {
	turn *Turn
	err  error
}

func isIn(c <-chan entered) bool { return len(c) == 1 }

// refusedFor checks why a call was turned away.
func refusedFor(t *testing.T, err error, want Reason) *Refused {
	t.Helper()
	var r *Refused
	if !errors.As(err, &r) || r.Reason != want || r.After <= 0 {
		t.Fatalf("%v, want it refused as %v", err, want)
	}
	return r
}

// empty wants nothing of a lane to be left.
func empty(t *testing.T, l *Lane) {
	t.Helper()
	if s := l.State(); s.Taken != 0 || s.Waiting != 0 || len(l.callers) != 0 {
		t.Errorf("in the end %+v, and %d callers are known", s, len(l.callers))
	}
}

func TestPlaces(t *testing.T) {
	l := New(Limits{Places: 3, Waiting: 10})
	var turns []*Turn
	for range 3 {
		turns = append(turns, must(t, l, "a", 1))
	}
	_, err := l.Enter(t.Context(), "b", 1)
	refusedFor(t, err, Full)
	turns[0].Leave()
	turns[0] = must(t, l, "b", 1)
	for _, turn := range turns {
		turn.Leave()
	}
	must(t, l, "a", 100).Leave() // all there are
	empty(t, l)
}

func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Limits{Places: 1, Waiting: 2, Patience: time.Second})
		first := must(t, l, "a", 1)
		second, third := later(l, "a", 1), later(l, "a", 1)
		if s := l.State(); s.Waiting != 2 || isIn(second) {
			t.Fatalf("two wait: %+v", s)
		}
		refusedFor(t, (<-later(l, "a", 1)).err, Queue)
		first.Leave()
		(<-second).turn.Leave()
		(<-third).turn.Leave()
		empty(t, l)
	})
}

// TestPatience has a lane learn how long a place is kept: who would wait longer than is of use
// is told so at once, and of those who wait the one for whom it takes longer than thought.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Limits{Places: 1, Waiting: 100, Patience: 500 * time.Millisecond})
		turn := must(t, l, "a", 1)
		<-time.After(100 * time.Millisecond)
		turn.Leave()
		turn = must(t, l, "a", 1)
		second, third := later(l, "a", 1), later(l, "a", 1)
		start := time.Now()
		r := refusedFor(t, (<-later(l, "a", 1)).err, Full)
		if took := time.Since(start); took != 0 || r.After != 300*time.Millisecond {
			t.Errorf("the fourth is refused after %v, to come again after %v", took, r.After)
		}
		<-time.After(200 * time.Millisecond)
		turn.Leave()
		turn = (<-second).turn
		refusedFor(t, (<-third).err, Waited)
		if took := time.Since(start); took != 500*time.Millisecond {
			t.Errorf("the third is refused after %v", took)
		}
		turn.Leave()
		empty(t, l)
	})
}

// TestFair has one caller ask much before another comes, who is next all the same.
func TestFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Limits{Places: 2, Waiting: 100, Patience: -1})
		turns := []*Turn{must(t, l, "greedy", 1), must(t, l, "greedy", 1)}
		var greedy []<-chan entered
		for range 10 {
			greedy = append(greedy, later(l, "greedy", 1))
		}
		other := later(l, "other", 1)
		turns[0].Leave()
		synctest.Wait()
		if !isIn(other) || isIn(greedy[0]) {
			t.Fatal("the other is not next")
		}
		turns[1].Leave()
		(<-other).turn.Leave()
		for i, g := range greedy { // in order, two at a time
			if synctest.Wait(); !isIn(g) || i+2 < len(greedy) && isIn(greedy[i+2]) {
				t.Fatalf("number %d is not next", i)
			}
			(<-g).turn.Leave()
		}
		empty(t, l)
	})
}

// TestShare leaves a place free for others, but not where nobody is told from others.
func TestShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Limits{Places: 3, Share: 2, Waiting: 100, Patience: -1})
		turns := []*Turn{must(t, l, "a", 1), must(t, l, "a", 1)}
		third := later(l, "a", 1)
		if isIn(third) {
			t.Fatal("one has more than his share")
		}
		must(t, l, "b", 1).Leave()
		if synctest.Wait(); isIn(third) {
			t.Fatal("one has more than his share after another has left")
		}
		turns[0].Leave()
		turns = append(turns[1:], (<-third).turn)
		for _, turn := range turns {
			turn.Leave()
		}
		for range 3 {
			defer must(t, l, "", 1).Leave()
		}
	})
}

// TestWeight has one wait that needs much: who needs little does not go before him for ever.
func TestWeight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Limits{Places: 10, Waiting: 100, Patience: -1})
		small := must(t, l, "a", 1)
		large := later(l, "b", 10)
		after := later(l, "c", 1)
		if isIn(large) || isIn(after) {
			t.Fatal("somebody went before the one who waits")
		}
		small.Leave()
		got := <-large
		if synctest.Wait(); isIn(after) {
			t.Fatal("more are in than there are places")
		}
		got.turn.Leave()
		(<-after).turn.Leave()
		empty(t, l)
	})
}

// TestPause gives places away and takes them back.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Limits{Places: 1, Waiting: 100, Patience: -1})
		a := must(t, l, "a", 1)
		<-time.After(time.Second)
		a.Pause()
		a.Pause()
		b := must(t, l, "b", 1)
		a.Resume()
		a.Resume()
		if s := l.State(); s.Taken != 2 {
			t.Errorf("%+v, want 2 taken", s)
		}
		c := later(l, "c", 1)
		b.Leave()
		if synctest.Wait(); isIn(c) {
			t.Error("a third is in while the first has resumed")
		}
		a.Leave()
		(<-c).turn.Leave()
		if kept := l.State().Kept; kept > time.Second {
			t.Errorf("places are kept for %v: the pause counts", kept)
		}
		empty(t, l)
	})
}

// TestCanceled has somebody who waits go away; who waits behind him is not held up.
func TestCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Limits{Places: 2, Waiting: 100, Patience: -1})
		turn := must(t, l, "a", 1)
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() {
			_, err := l.Wait(ctx, "b", 2)
			gone <- err
		}()
		synctest.Wait()
		behind := later(l, "c", 1)
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		(<-behind).turn.Leave()
		turn.Leave()
		empty(t, l)
	})
}

// TestManyAtOnce has many callers come and go: never are more in than there are places, and
// in the end nobody is.
func TestManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Limits{Places: 20, Share: 12, Waiting: 30, Patience: 5 * time.Millisecond})
		var mu sync.Mutex
		in, most, out := int64(0), int64(0), map[bool]int{}
		var wg sync.WaitGroup
		for i := range 50 {
			r := rand.New(rand.NewPCG(7, uint64(i)))
			wg.Go(func() {
				for range 200 {
					places := 1 + r.Int64N(6)
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.IntN(8))*time.Millisecond)
					turn, err := l.Enter(ctx, string(rune('a'+i%7)), places)
					mu.Lock()
					out[err == nil]++
					mu.Unlock()
					if err == nil {
						mu.Lock()
						in += places
						most = max(most, in)
						mu.Unlock()
						<-time.After(time.Duration(r.IntN(3000)) * time.Microsecond)
						mu.Lock()
						in -= places
						mu.Unlock()
						turn.Leave()
					}
					cancel()
					<-time.After(time.Duration(r.IntN(2000)) * time.Microsecond)
				}
			})
		}
		wg.Wait()
		if most > 20 || most < 15 || out[true] < 1000 || out[false] < 1000 {
			t.Errorf("at most %d were in; %v", most, out)
		}
		empty(t, l)
	})
}

func TestCosts(t *testing.T) {
	c := NewCosts(10)
	if _, ok := c.Of(1); ok {
		t.Error("it knows what nobody asked")
	}
	c.Learn(1, time.Second)
	c.Learn(1, 100*time.Millisecond)
	if took, ok := c.Of(1); !ok || took != 100*time.Millisecond {
		t.Errorf("it takes %v", took)
	}
	c.Learn(1, time.Second)
	if took, _ := c.Of(1); took > 120*time.Millisecond {
		t.Errorf("once it took longer: %v", took)
	}
	for range 500 {
		c.Learn(1, time.Second)
	}
	if took, _ := c.Of(1); took < 900*time.Millisecond {
		t.Errorf("it takes longer now: %v", took)
	}
	for i := range uint64(100) {
		c.Learn(i, time.Second)
	}
	if len(c.took) != 10 {
		t.Errorf("%d are known, of at most 10", len(c.took))
	}
}

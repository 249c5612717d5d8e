package query

import (
	"cmp"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// TestByTime: steps of runs in any order come out as a stable sort has them.
func TestByTime(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var runs []uint32
	for range 3000 {
		var steps []Step
		for list := range int32(1 + r.IntN(5)) {
			now := r.Int64N(20)
			for range r.IntN(12) {
				if now += r.Int64N(3); r.IntN(9) == 0 {
					now -= 10 // the next part
				}
				steps = append(steps, Step{Time: now, List: list, Value: int64(len(steps))})
			}
		}
		want := slices.Clone(steps)
		slices.SortStableFunc(want, func(a, b Step) int { return cmp.Compare(a.Time, b.Time) })
		if runs = byTime(steps, make([]Step, len(steps)), runs); !slices.Equal(steps, want) {
			t.Fatalf("%v, want %v", steps, want)
		}
	}
}

// TestParseSpan reads durations.
func TestParseSpan(t *testing.T) {
	for text, want := range map[string]string{"30m": "30m0s", "1d12h": "36h0m0s", "2w": "336h0m0s", "1h1m1s1ms": "1h1m1.001s", "90s": "1m30s", "250ms": "250ms",
		"36600d": "878400h0m0s"} {
		if d, err := ParseSpan(text); err != nil || d.String() != want {
			t.Errorf("%s: %v, %v, want %s", text, d, err, want)
		}
	}
	for _, text := range []string{"", "7", "d", "0d", "-1d", "1.5h", "1y", "7 d", "36601d", "99999999999999999999d", "9223372036854775807ms1d", "1dd"} {
		if d, err := ParseSpan(text); err == nil {
			t.Errorf("%q is %v", text, d)
		}
	}
}

// TestSpread: each number is worked on once, and an error or the end of the context is the end.
func TestSpread(t *testing.T) {
	for _, n := range []int{0, 1, 2, 100} {
		for workers := range 5 {
			done := make([]atomic.Int32, n)
			err := Spread(t.Context(), Options{Parallelism: workers}, n, func() func(i int) error {
				return func(i int) error { done[i].Add(1); return nil }
			})
			for i := range done {
				if err != nil || done[i].Load() != 1 {
					t.Fatalf("%d of %d was worked on %d times (%v)", i, n, done[i].Load(), err)
				}
			}
			wrong := errors.New("wrong")
			err = Spread(t.Context(), Options{Parallelism: workers}, n, func() func(i int) error {
				return func(i int) error {
					if i == n/2 {
						return wrong
					}
					return nil
				}
			})
			if n > 0 && err != wrong {
				t.Errorf("%d by %d workers: %v", n, workers, err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			err = Spread(ctx, Options{Parallelism: workers}, n, func() func(i int) error {
				return func(i int) error { t.Error("it goes on"); return nil }
			})
			if n > 0 && !errors.Is(err, context.Canceled) {
				t.Errorf("%d by %d workers: %v", n, workers, err)
			}
		}
	}
}

// TestSpreadEnds: once one has failed, the others finish what they are at, and begin nothing.
func TestSpreadEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wrong := errors.New("wrong")
		var done atomic.Int32
		err := Spread(t.Context(), Options{Parallelism: 2}, 100, func() func(i int) error {
			return func(i int) error {
				if i == 0 {
					return wrong
				}
				synctest.Wait() // until the other one has ended
				done.Add(1)
				return nil
			}
		})
		if n := done.Load(); err != wrong || n > 1 {
			t.Errorf("%v, and %d more were worked on", err, n)
		}
	})
}

// TestStudyBuffers: however many lists and attributes are counted, a worker needs no more
// buffers for them.
func TestStudyBuffers(t *testing.T) {
	profiles := map[uint32]*memProfile{}
	for o := range uint32(6) {
		p := &memProfile{key: string(rune('a' + o)), values: actValues{}, events: map[schema.EventID][]memAct{}}
		for i := range int64(o) {
			p.events[eOpen] = append(p.events[eOpen], memAct{time: i})
		}
		profiles[o] = p
	}
	v := newMemView(memSchema(), profiles, 1, true, 3)
	who, err := Prepare(t.Context(), &Const{Value: True}, v)
	if err != nil {
		t.Fatal(err)
	}
	s := NewStudy(t.Context(), v, who, nil, Options{Parallelism: 1})
	l, err := s.Counted(ever(eOpen), math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Each(t.Context(), func() ChunkVisitor {
		return func(ctx context.Context, c *StudyChunk) error {
			used := c.w.used
			groups := []bitmap.Set{bitmap.FromArray([]uint16{0, 3, 5}), bitmap.FromArray([]uint16{1, 2})}
			for range 3 {
				got := make([][]int64, 2)
				err := c.Counts(ctx, l, groups, func(group int, n []int64) { got[group] = slices.Clone(n) })
				if err != nil || !slices.Equal(got[0], []int64{3, 5}) || !slices.Equal(got[1], []int64{1, 2}) {
					t.Errorf("%v, %v", got, err)
				}
				if n, err := c.Present(schema.KeyAttr, groups[0]); err != nil || n != 3 {
					t.Errorf("%d have a key, %v", n, err)
				}
			}
			if c.w.used != used {
				t.Errorf("%d buffers are in use, before %d", c.w.used, used)
			}
			return nil
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestParseInstant: all years have four digits, wherever it is.
func TestParseInstant(t *testing.T) {
	for text, want := range map[string]string{"2026-01-31": "2026-01-31T00:00:00Z", "0001-01-01": "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z": "9999-12-31T23:59:59.999Z", "0001-01-01T00:00:00-01:00": "0001-01-01T01:00:00Z"} {
		if got, err := ParseInstant(text); err != nil || got.Format(time.RFC3339Nano) != want {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0000-01-01", "0000-12-31T23:59:59Z", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "10000-01-01", "-2026-01-01", "2026-02-30", "2026-1-1", " 2026-01-01", "yesterday"} {
		if got, err := ParseInstant(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

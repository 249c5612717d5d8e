package audit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kantadb/kanta/engine/enginetest"
	"github.com/kantadb/kanta/query"
)

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// smallLimits make segments of some records.
func smallLimits() limits {
	l := defaultLimits()
	l.segmentBytes = 1000
	return l
}

func openOn(t *testing.T, files *enginetest.Disk, o Options, l limits) *Store {
	t.Helper()
	o.FS = files
	s, err := open("audit", &o, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // tests that look at its error close it themselves
	return s
}

// rec is a record of a call.
func rec(call string) Record {
	return Record{Who: Caller{ID: "k1", Name: "crm", Role: "support", Address: "127.0.0.1"}, Call: call, Outcome: Done, Count: 1}
}

func add(t *testing.T, s *Store, calls ...string) {
	t.Helper()
	for _, call := range calls {
		if err := s.Append(t.Context(), rec(call)); err != nil {
			t.Fatal(err)
		}
	}
}

// callsOf lists the calls of all records.
func callsOf(t *testing.T, s *Store, f *Filter) (calls []string) {
	t.Helper()
	for after := uint64(0); ; {
		list, err := s.List(t.Context(), f, after, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i := range list {
			calls = append(calls, list[i].Call)
			after = list[i].Number
		}
		if len(list) < MaxList {
			return calls
		}
	}
}

func verified(t *testing.T, s *Store) Head {
	t.Helper()
	h, err := s.Verify(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func isCode(err error, code query.Code) bool { return errors.Is(err, &query.Error{Code: code}) }

// TestAppend writes from many goroutines, lists and reopens.
func TestAppend(t *testing.T) {
	files := enginetest.NewDisk()
	s := openOn(t, files, Options{}, smallLimits())
	const callers, each = 8, 50
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for i := range each {
				if err := s.Append(context.Background(), rec(fmt.Sprintf("%d/%d", c, i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	check := func(s *Store) Head {
		list, err := s.List(t.Context(), nil, 0, 0)
		if err != nil || len(list) != callers*each {
			t.Fatalf("%d records (%v), want %d", len(list), err, callers*each)
		}
		next := map[string]int{}
		for i, r := range list {
			c, n, _ := strings.Cut(r.Call, "/")
			if r.Number != uint64(i+1) || n != fmt.Sprint(next[c]) {
				t.Fatalf("record %d is %d, %s, want number %d of its caller", i+1, r.Number, r.Call, next[c])
			}
			next[c]++
		}
		return verified(t, s)
	}
	head := check(s)
	if head.Number != callers*each || head != s.Head() {
		t.Errorf("verified up to %+v, the head is %+v", head, s.Head())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), rec("late")); !isCode(err, query.CodeClosed) {
		t.Errorf("after Close: %v", err)
	}
	s = openOn(t, files, Options{}, smallLimits())
	if again := check(s); again != head {
		t.Errorf("after reopening the head is %+v, was %+v", again, head)
	}
	add(t, s, "more")
	if got := verified(t, s); got.Number != head.Number+1 {
		t.Errorf("one more after reopening is number %d", got.Number)
	}
}

// TestFilter lists by each filter, and in pages.
func TestFilter(t *testing.T) {
	now := newClock()
	s := openOn(t, enginetest.NewDisk(), Options{Clock: now.read}, smallLimits())
	start := now.read()
	shape, _ := s.Shape(`email == "ann"`, func(name string) bool { return name == "email" }, true)
	records := []Record{
		{Who: Caller{ID: "k1", Name: "crm"}, Call: "Profile", Outcome: Done, Keys: []Hash{s.Hash("bob"), s.Hash("ann")}},
		{Who: Caller{ID: "k2", Name: "bi"}, Call: "Count", Outcome: Denied, Code: query.CodeDenied},
		{Who: Caller{ID: "k2", Name: "bi"}, Call: "Members", Outcome: Done, What: shape},
		{Who: Caller{ID: "k1", Name: "crm"}, Call: "Apply", Outcome: Asked},
		{Who: Caller{ID: "k1", Name: "crm"}, Call: "Apply", Outcome: Failed, Code: query.CodeFailed},
	}
	for i := range records {
		if err := s.Append(t.Context(), records[i]); err != nil {
			t.Fatal(err)
		}
		now.move(time.Hour)
	}
	hour := func(h int) time.Time { return start.Add(time.Duration(h) * time.Hour) }
	for _, c := range []struct {
		f    Filter
		want string
	}{
		{Filter{}, "Profile Count Members Apply Apply"},
		{Filter{Caller: "k1"}, "Profile Apply Apply"}, {Filter{Caller: "bi"}, "Count Members"}, {Filter{Caller: "b"}, ""},
		{Filter{Call: "Apply"}, "Apply Apply"}, {Filter{Outcome: Failed}, "Apply"}, {Filter{Outcome: Denied, Call: "Apply"}, ""},
		{Filter{Key: "ann"}, "Profile Members"}, {Filter{Key: "bob"}, "Profile"}, {Filter{Key: "an"}, ""},
		{Filter{From: hour(1)}, "Count Members Apply Apply"}, {Filter{To: hour(1)}, "Profile"}, {Filter{From: hour(1), To: hour(3)}, "Count Members"},
		{Filter{From: hour(1).Add(time.Millisecond), To: hour(3).Add(time.Millisecond)}, "Members Apply"}, {Filter{To: start}, ""}, {Filter{From: hour(9)}, ""},
	} {
		if got := strings.Join(callsOf(t, s, &c.f), " "); got != c.want {
			t.Errorf("%+v: %q, want %q", c.f, got, c.want)
		}
	}
	var paged []string
	for after := uint64(0); ; {
		page, err := s.List(t.Context(), &Filter{Caller: "k1"}, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		for i := range page {
			paged = append(paged, page[i].Call)
			after = page[i].Number
		}
		if len(page) < 2 {
			break
		}
	}
	if got := strings.Join(paged, " "); got != "Profile Apply Apply" {
		t.Errorf("in pages: %q", got)
	}
	if _, err := s.List(t.Context(), nil, 0, MaxList+1); !isCode(err, query.CodeInvalid) {
		t.Errorf("a list that is too long: %v", err)
	}
	if _, err := s.List(t.Context(), nil, 0, MaxList); err != nil {
		t.Errorf("a list at the limit: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.List(ended, nil, 0, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("a list that nobody wants: %v", err)
	}
	if err := s.Append(t.Context(), Record{Call: "Count"}); !isCode(err, query.CodeInvalid) {
		t.Errorf("a record without an outcome: %v", err)
	}
}

// TestRetention removes what is old, says so, and verifies what is left.
func TestRetention(t *testing.T) {
	const day = 24 * time.Hour
	now := newClock()
	files := enginetest.NewDisk()
	o := Options{Clock: now.read, Keep: 3 * day}
	s := openOn(t, files, o, defaultLimits())
	noted := Head{}
	for i := range 6 {
		add(t, s, fmt.Sprint("a", i), fmt.Sprint("b", i))
		if i == 0 {
			noted = s.Head()
		}
		now.move(day)
	}
	// Exactly three days old is not too old.
	if got := strings.Join(callsOf(t, s, nil), " "); got != "a2 b2 a3 b3 audit.removed a4 b4 audit.removed a5 b5" {
		t.Errorf("kept: %q", got)
	}
	head := verified(t, s)
	if head.First == 1 || head != s.Head() {
		t.Errorf("nothing was removed, or the head differs: %+v, %+v", head, s.Head())
	}
	if _, err := s.Verify(t.Context(), &VerifyOptions{Noted: head}); err != nil {
		t.Errorf("with the head noted: %v", err)
	}
	if _, err := s.Verify(t.Context(), &VerifyOptions{Noted: noted}); !isCode(err, query.CodeInvalid) {
		t.Errorf("with a head noted that was removed: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	now.move(30 * day)
	s = openOn(t, files, o, defaultLimits())
	if got := strings.Join(callsOf(t, s, nil), " "); got != CallRemoved {
		t.Errorf("opened after a month: %q", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// Whoever removes a segment without a record is found.
	now.move(day)
	s = openOn(t, files, Options{Clock: now.read}, defaultLimits())
	add(t, s, "x")
	head = verified(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := files.Remove("audit/" + segmentName(head.First)); err != nil {
		t.Fatal(err)
	}
	s = openOn(t, files, Options{Clock: now.read}, defaultLimits())
	if _, err := s.Verify(t.Context(), nil); !isCode(err, query.CodeCorrupt) || !strings.Contains(err.Error(), "no record says") {
		t.Errorf("a segment is gone: %v", err)
	}
}

// TestReading lists and verifies while others append, and segments are removed.
func TestReading(t *testing.T) {
	const day = 24 * time.Hour
	now := newClock()
	s := openOn(t, enginetest.NewDisk(), Options{Clock: now.read, Keep: 2 * day}, smallLimits())
	written := make(chan struct{})
	go func() {
		defer close(written)
		for i := range 400 {
			if err := s.Append(context.Background(), rec("x")); err != nil {
				t.Error(err)
			}
			if i%10 == 0 {
				now.move(day / 2)
			}
		}
	}()
	last := Head{}
	for done := false; !done; {
		select {
		case <-written:
			done = true
		default:
		}
		h := verified(t, s)
		if h.Number < last.Number || h.First < last.First {
			t.Fatalf("verified %+v, and before %+v", h, last)
		}
		last = h
		list, err := s.List(t.Context(), nil, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i := range list {
			if i > 0 && list[i].Number != list[i-1].Number+1 {
				t.Fatalf("record %d is listed behind %d", list[i].Number, list[i-1].Number)
			}
		}
	}
	add(t, s, "last") // nobody reads: what is old goes
	if h := verified(t, s); h.First == 1 {
		t.Error("nothing was removed")
	}
}

// TestReadOnly reads a store that another process writes.
func TestReadOnly(t *testing.T) {
	files := enginetest.NewDisk()
	if _, err := Open("audit", &Options{FS: files, ReadOnly: true}); !isCode(err, query.CodeNotAStore) {
		t.Errorf("a store that is not there: %v", err)
	}
	s := openOn(t, files, Options{}, smallLimits())
	add(t, s, "a", "b", "c", "d", "e", "f", "g", "h", "i")
	if _, err := Open("audit", &Options{FS: files}); !isCode(err, query.CodeInUse) {
		t.Errorf("a store that is open: %v", err)
	}
	before := files.Changes()
	r, err := Open("audit", &Options{FS: files, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	add(t, s, "later")
	changes := files.Changes()
	if got := strings.Join(callsOf(t, r, nil), ""); got != "abcdefghi" {
		t.Errorf("read: %q", got)
	}
	if r.Hash("ann") != s.Hash("ann") {
		t.Error("the hashes differ")
	}
	verified(t, r)
	if err := r.Append(t.Context(), rec("x")); !isCode(err, query.CodeReadOnly) {
		t.Errorf("appended: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if files.Changes() != changes || changes == before {
		t.Errorf("%d changes before, %d after reading", changes, files.Changes())
	}
}

// TestGroups: what is submitted while a group is being synced is one group.
func TestGroups(t *testing.T) {
	files := enginetest.NewDisk()
	s := openOn(t, files, Options{}, defaultLimits())
	syncs, began, goOn := 0, make(chan struct{}), make(chan struct{})
	files.Before(func(op enginetest.DiskOp) error {
		if op.Kind != "sync" {
			return nil
		}
		if syncs++; syncs == 1 {
			close(began)
			<-goOn
		}
		return nil
	})
	var waits []func(context.Context) error
	for i := range 11 {
		wait, err := s.Submit(t.Context(), rec(fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		if waits = append(waits, wait); i == 0 {
			<-began
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := waits[0](ended); !errors.Is(err, context.Canceled) {
		t.Errorf("a record that is not durable yet, and a caller who is gone: %v", err)
	}
	if list := callsOf(t, s, nil); len(list) > 0 {
		t.Errorf("%v are listed, and not durable", list)
	}
	close(goOn)
	for _, wait := range waits {
		if err := wait(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if syncs != 2 {
		t.Errorf("%d syncs for a record and ten behind it", syncs)
	}
}

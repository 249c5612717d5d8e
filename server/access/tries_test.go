package access

import (
	"fmt"
	"testing"
	"time"
)

// TestTries shows as many wrong keys as may be, from many addresses, and one more.
func TestTries(t *testing.T) {
	var tr tries
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	const bad = "192.0.2.1:5000"
	for i := range maxTries {
		if wait := tr.refused(now, bad); wait != 0 {
			t.Fatalf("refused after %d", i)
		}
		tr.failed(now, bad)
	}
	now = now.Add(20 * time.Second)
	for address, refused := range map[string]bool{bad: true, "192.0.2.1:1": true, "[::ffff:192.0.2.1]:9": true, "192.0.2.2:5000": false, "": false} {
		if wait := tr.refused(now, address); (wait == 40*time.Second) != refused || wait != 0 && !refused {
			t.Errorf("%q waits %v", address, wait)
		}
	}
	if wait := tr.refused(now.Add(40*time.Second), bad); wait != 0 {
		t.Errorf("in the next minute it waits %v", wait)
	}

	tr = tries{}
	for range maxTries {
		tr.failed(now, "[2001:db8::1%eth0]:1")
	}
	if tr.refused(now, "[2001:db8::ffff]:1") == 0 || tr.refused(now, "[2001:db8:0:1::1]:1") != 0 {
		t.Error("IPv6 is not counted by networks of 64 bits")
	}
	if tr.refused(now.Add(-time.Hour), "[2001:db8::1]:1") != 0 {
		t.Error("it waits although the clock was set back")
	}

	tr = tries{}
	for i := range maxTryingHosts {
		tr.failed(now, fmt.Sprintf("10.0.%d.%d:1", i/256, i%256))
	}
	for range maxTries {
		tr.failed(now, "192.0.2.7:1")
	}
	if len(tr.wrong) != maxTryingHosts+1 || tr.refused(now, "192.0.2.8:1") == 0 || tr.refused(now, "10.0.0.1:1") != 0 {
		t.Errorf("beyond %d addresses, %d are counted apart", maxTryingHosts, len(tr.wrong))
	}
}

// TestQuestions asks as often as may be, and once more.
func TestQuestions(t *testing.T) {
	var q questions
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range 60 {
		if wait := q.ask(now, "a", 60); wait != 0 {
			t.Fatalf("question %d waits %v", i+1, wait)
		}
	}
	if wait := q.ask(now, "a", 60); wait != time.Second {
		t.Errorf("question 61 waits %v", wait)
	}
	if wait := q.ask(now, "b", 60); wait != 0 {
		t.Errorf("another waits %v", wait)
	}
	if q.ask(now.Add(999*time.Millisecond), "a", 60) == 0 || q.ask(now.Add(time.Second), "a", 60) != 0 || q.ask(now.Add(time.Second), "a", 60) == 0 {
		t.Error("a second is not worth one question")
	}
	if wait := q.ask(now.Add(-time.Hour), "a", 60); wait == 0 {
		t.Error("to set the clock back is worth a question")
	}
	for i := range 10 * manyPurses {
		now = now.Add(time.Second)
		q.ask(now, fmt.Sprint(i), 60)
	}
	if len(q.left) > manyPurses+1 {
		t.Errorf("%d callers are remembered", len(q.left))
	}
}

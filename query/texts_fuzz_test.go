package query

import (
	"testing"
	"time"
)

// FuzzTexts reads anything as a duration, a time and the cursor of a timeline: what is taken
// is what it says.
func FuzzTexts(f *testing.F) {
	f.Add("1d12h")
	f.Add("999999999999999999w1ms")
	f.Add("2026-01-31T12:00:00.000000001+14:00")
	f.Add("0000-00-00")
	f.Add(timelinePlace{time: 5, name: "buy", hash: 7, skip: 2}.text())
	f.Add(timelinePlace{time: -1, name: "x"}.text()[:20])
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseSpan(s); err == nil && (d <= 0 || d > MaxSpan || d%time.Millisecond != 0) {
			t.Errorf("%q is %v", s, d)
		}
		if at, err := ParseInstant(s); err == nil && at.Location() != time.UTC {
			t.Errorf("%q is %v", s, at)
		}
		p, err := parseTimelinePlace(s)
		if err != nil {
			return
		}
		if q, err := parseTimelinePlace(p.text()); err != nil || p != q {
			t.Errorf("%+v came back as %+v, %v", p, q, err)
		}
	})
}

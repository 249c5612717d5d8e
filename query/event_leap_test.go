package query

import (
	"testing"
	"time"
	_ "time/tzdata" // so that no machine is without these zones
)

// TestOffsetAtTheEndOfLeapYears: time.Time.ZoneBounds ends before some instants of the last
// day of a leap year; every offset is that of time itself, and few periods are kept.
func TestOffsetAtTheEndOfLeapYears(t *testing.T) {
	for _, name := range []string{"Europe/Rome", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, year := range []int{2020, 2024, 2028, 2040, 2041} {
			z := &zoneTimes{zone: zone}
			start := time.Date(year, 12, 30, 0, 0, 0, 0, time.UTC).UnixMilli()
			for ms := start; ms < start+3*msPerDay; ms += 617_000 {
				_, want := time.UnixMilli(ms).In(zone).Zone()
				if got := z.offset(ms); got != int64(want)*1000 {
					t.Fatalf("%s, %v: %d, want %d", name, time.UnixMilli(ms).UTC(), got, want)
				}
			}
			if len(z.known) > 60 {
				t.Errorf("%s, %d: %d periods are kept", name, year, len(z.known))
			}
		}
	}
}

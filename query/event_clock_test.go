package query

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kantadb/kanta/index/schema"
)

// TestZoneTimes: what is remembered of a zone is what the time package says.
func TestZoneTimes(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for _, zone := range []*time.Location{time.UTC, zoneOf("Europe/Rome"), zoneOf("America/New_York"), zoneOf("Pacific/Kiritimati"),
		zoneOf("Asia/Kathmandu"), zoneOf("Africa/Monrovia"), time.FixedZone("x", -12345)} {
		z := &zoneTimes{zone: zone}
		at := int64(0)
		for range 30000 {
			switch r.IntN(4) {
			case 0:
				at = schema.MinTimestamp + r.Int64N(schema.MaxTimestamp-schema.MinTimestamp)
			case 1:
				at = r.Int64N(60 * 366 * msPerDay)
			case 2: // on a change, and beside it
				if from, to := time.UnixMilli(at).In(zone).ZoneBounds(); !to.IsZero() {
					at = to.UnixMilli() + int64(r.IntN(3)-1)
				} else if !from.IsZero() {
					at = from.UnixMilli() + int64(r.IntN(3)-1)
				}
			default:
				at += int64(r.IntN(1000))
			}
			local := time.UnixMilli(at).In(zone)
			_, seconds := local.Zone()
			if got := z.offset(at); got != int64(seconds)*1000 {
				t.Fatalf("%s at %v: %d ms, want %d s", zone, local, got, seconds)
			}
			day, clock := z.day(at)
			h, m, s := local.Clock()
			wantClock := time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(s)*time.Second + time.Duration(local.Nanosecond())
			if want := local.Format(time.DateOnly); schema.DateValue(day).String() != want || time.Duration(clock)*time.Millisecond != wantClock {
				t.Fatalf("%s at %v: %s and %d ms", zone, local, schema.DateValue(day), clock)
			}
			var one clockTest
			if one = newClockTest(Clock{Weekdays: 1 << local.Weekday()}); !one.holds(day, clock) {
				t.Fatalf("%v is no %v", local, local.Weekday())
			}
			if one = newClockTest(Clock{Weekdays: 127 &^ (1 << local.Weekday())}); one.holds(day, clock) {
				t.Fatalf("%v is not only a %v", local, local.Weekday())
			}
		}
		if len(z.known) > maxPeriods {
			t.Errorf("%s: %d periods are remembered", zone, len(z.known))
		}
	}
}

package syntax

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestInstantsFrom holds the intervals against the local date of every half hour
// around a day, in zones whose clocks go back over midnight too.
func TestInstantsFrom(t *testing.T) {
	z := new(zones)
	f := func(zone, day string) {
		t.Helper()
		l, err := z.find(zone)
		if err != nil {
			t.Fatal(err)
		}
		d, err := parseDate(day)
		if err != nil {
			t.Fatal(err)
		}
		got := instantsFrom(l, d)
		for s := (int64(d) - 3) * 86400; s < (int64(d)+3)*86400; s += 1800 {
			want, in := dateOf(time.Unix(s, 0), l) >= d, false
			for _, x := range got {
				in = in || x.lo <= s*1000 && s*1000 <= x.hi
			}
			if in != want {
				t.Errorf("%s %s at %s: in is %v, want %v", zone, day, time.Unix(s, 0).UTC(), in, want)
				return
			}
		}
	}
	f("UTC", "2024-02-29")
	f("Europe/Rome", "2024-03-31")
	f("Asia/Kathmandu", "2024-01-01")
	f("America/Havana", "2023-11-05")
	f("America/Sao_Paulo", "2018-02-18")
	f("Pacific/Apia", "2011-12-30") // a day that never was
	f("Pacific/Apia", "2011-12-31")
	f("Atlantic/Azores", "2026-10-25")
	f("America/Juneau", "1867-10-18")
	// The last day of a leap year, for which time.Time.ZoneBounds is wrong.
	f("America/Los_Angeles", "2008-12-31")
	f("Europe/Rome", "2024-12-31")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	names := z.names()
	for range 300 {
		day := date(r.IntN(25000)).string()
		f(names[r.IntN(len(names))], day)
	}
}

func (d date) string() string {
	return time.Unix(int64(d)*86400, 0).UTC().Format(time.DateOnly)
}

// TestZonesArePinned shows that the embedded database answers and the machine's is
// never asked.
func TestZonesArePinned(t *testing.T) {
	z := new(zones)
	t.Setenv("ZONEINFO", t.TempDir())
	if _, err := z.find("Europe/Helsinki"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"", "Local", "local", "../../secret", "Europe", "Europe/", "Mars/Olympus"} {
		if l, err := z.find(name); err == nil {
			t.Errorf("zone %q is %v, want an error", name, l)
		}
	}
}

// TestZoneRelease has the zones changed on purpose only: members of a cluster decide by them.
func TestZoneRelease(t *testing.T) {
	const release, sum = "2025c", "8f55634d05f8bca1f7bc7c69c5933428c69357e0bdf565e5ba224e3f88ff12e8"
	if got := fmt.Sprintf("%x", sha256.Sum256(zoneinfo)); got != sum || ZoneRelease != release {
		t.Errorf("zoneinfo.zip is %s of release %s; this test knows %s of %s: other zones are another cluster version, see engine/cluster_version.go", got, ZoneRelease, sum, release)
	}
}

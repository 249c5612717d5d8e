package main

import (
	"strings"
	"testing"

	"github.com/kantadb/kanta/bench"
)

// TestKilledImport kills an import with signal 9 in the middle and resumes it.
func TestKilledImport(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it makes and imports 60,000 people, and runs in make test")
	}
	const profiles = 60_000
	c := newCLI(t)
	var table strings.Builder
	if _, err := bench.New(bench.Options{Profiles: profiles, Seed: 3, WithAbsent: true}).WriteCSV(t.Context(), &table); err != nil {
		t.Fatal(err)
	}
	c.must("load", "profiles", c.file("people.csv", table.String()), "--key", "key")
	want := c.digest()
	c.must("export", "--all", c.path("out"))
	shown := killAfter(t, "importing profiles", []string{"--db", c.path("new"), "import", c.path("out")})
	c.env["KANTA_DB"] = c.path("new")
	n := c.count("true")
	t.Logf("killed after %q: %d people", shown, n)
	if n == 0 || n == profiles {
		t.Errorf("%d of %d people had been imported: it was not killed in the middle", n, profiles)
	}
	contains(t, c.must("import", c.path("out")), "profiles\t60000")
	if got := c.digest(); got != want {
		t.Errorf("digest %s after the kill, %s before the export", got, want)
	}
	c.must("check")
}

package kv

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kantadb/kanta/engine/internal/faultfs"
)

// newPebble makes a Pebble store, opens it so many times more, and writes numbers, each
// synced. It returns the files and the name of the log that has them.
func newPebble(t *testing.T, format pebble.FormatMajorVersion, again, numbers int) (files *faultfs.FS, log string) {
	t.Helper()
	files = faultfs.New()
	open := func() *pebble.DB {
		db, err := pebble.Open("db", &pebble.Options{FS: files, FormatMajorVersion: format, Logger: newHalt()})
		must(t, err)
		return db
	}
	db := open()
	for range again {
		must(t, db.Close())
		db = open()
	}
	for i := range numbers {
		must(t, db.Set(binary.BigEndian.AppendUint32(nil, uint32(i)), []byte("a value of some length"), pebble.Sync))
	}
	names, err := files.List("db")
	must(t, err)
	for _, name := range names {
		if strings.HasSuffix(name, ".log") && name > log {
			log = name
		}
	}
	left, err := files.Crash(faultfs.Cut{})
	must(t, errors.Join(err, db.Close()))
	return left, "db/" + log
}

// TestPebbleLosesWithoutAWord flips one bit of a log at a time. In the old form of chunks,
// which the first log of a store has whatever format is asked for, Pebble opens the store
// and has lost what came after the bit. In the new form it mostly refuses, but for the last
// block. If this fails, Pebble has become better, and what is built around it may go.
func TestPebbleLosesWithoutAWord(t *testing.T) {
	const numbers, trials = 2500, 60
	silent := map[string]int{}
	for _, c := range []struct {
		name   string
		format pebble.FormatMajorVersion
		again  int
	}{{"default", pebble.FormatDefault, 1}, {"newest, first log", pebble.FormatNewest, 0}, {"newest, opened again", pebble.FormatNewest, 1}} {
		files, log := newPebble(t, c.format, c.again, numbers)
		info, err := files.Stat(log)
		must(t, err)
		r, lost := rand.New(rand.NewPCG(1, 1)), 0
		for range trials {
			flipped, err := files.Crash(faultfs.Cut{Percent: 100})
			must(t, err)
			must(t, flipped.Flip(log, r.Int64N(8*info.Size())))
			db, err := pebble.Open("db", &pebble.Options{FS: flipped, Logger: newHalt()})
			if err != nil {
				continue
			}
			silent[c.name]++
			for i := range numbers {
				_, closer, err := db.Get(binary.BigEndian.AppendUint32(nil, uint32(i)))
				if err != nil {
					lost++
					continue
				}
				must(t, closer.Close())
			}
			must(t, db.Close())
		}
		t.Logf("%s: %d of %d stores are opened, with %d of %d numbers lost on average", c.name, silent[c.name], trials, lost/max(1, silent[c.name]), numbers)
	}
	if silent["default"] < trials || silent["newest, first log"] < trials || silent["newest, opened again"] > trials/4 {
		t.Error("Pebble does something else now")
	}
}

package engine_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/portable"
)

// TestExportModel does random things to a store and to plain maps, takes the store out and in
// again, and asks the new one what it asks the old.
func TestExportModel(t *testing.T) {
	seed := uint64(7)
	if n, err := strconv.ParseUint(os.Getenv("KANTA_SEED"), 10, 64); err == nil {
		seed = n
	}
	rounds := 6
	if testing.Short() {
		rounds = 3
	}
	for i, first := range []uint32{0, 65_530} {
		t.Run(fmt.Sprint(first), func(t *testing.T) {
			t.Parallel()
			t.Logf("seed %d", seed)
			o := engine.Options{FS: vfs.NewMem(), FirstOrdinal: first, Clock: fixedClock}
			engine.LowerLimits(&o, 12+i, 200, 40)
			p := &pair{t: t, r: rand.New(rand.NewPCG(seed, uint64(first))), options: o, w: newWorld(), keys: 120}
			p.open()
			defer func() { _ = p.db.Close() }()
			p.setUp()
			for range rounds {
				for i := range 20 {
					p.step(i)
				}
				p.roundTrip()
			}
		})
	}
}

// roundTrip takes the store out and in, and compares.
func (p *pair) roundTrip() {
	p.t.Helper()
	want, err := p.db.Digests(p.t.Context())
	p.must("digests", err)
	var out bytes.Buffer
	e, err := p.db.ExportAll(p.t.Context(), portable.ToStream(&out), nil)
	p.must("export", err)
	if e.Content != want.Content || e.Lines["profiles"] != uint64(len(p.w.people)) {
		p.t.Fatalf("%+v, want the content %x and %d people", e, want.Content, len(p.w.people))
	}
	o := engine.Options{FS: vfs.NewMem(), Clock: fixedClock}
	engine.LowerLimits(&o, 30, 300, 40)
	other := &pair{t: p.t, r: p.r, options: o, w: p.w.clone(), keys: p.keys}
	other.open()
	defer func() { p.must("close", other.db.Close()) }()
	r, err := portable.OpenStream(&out)
	p.must("open", err)
	in, err := portable.Import(p.t.Context(), other.db, r, nil)
	p.must("import", err)
	p.must("close", r.Close())
	if in.Content != want.Content || len(in.Left) > 0 || in.Repeated {
		p.t.Fatalf("%+v, want the content %x", in, want.Content)
	}
	stats, err := other.db.Stats(p.t.Context())
	p.must("stats", err)
	other.w.applied = stats.Position.Applied
	other.checkEverything()
	for range 10 {
		other.ask(other.db, other.w)
	}
	p.sameSchema(other)
}

// sameSchema compares the definitions, in their order, with their ids.
func (p *pair) sameSchema(other *pair) {
	p.t.Helper()
	a, err := p.db.Schema(p.t.Context())
	p.must("schema", err)
	b, err := other.db.Schema(p.t.Context())
	p.must("schema", err)
	if fmt.Sprintf("%+v", a.Attributes) != fmt.Sprintf("%+v", b.Attributes) || fmt.Sprintf("%+v", a.Events) != fmt.Sprintf("%+v", b.Events) {
		p.t.Fatalf("%+v %+v\nwant %+v %+v", b.Attributes, b.Events, a.Attributes, a.Events)
	}
}

var _ portable.Store = (*engine.DB)(nil)

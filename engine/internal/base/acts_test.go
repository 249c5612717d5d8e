package base

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/kantadb/kanta/engine/internal/digest"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/index/timeline"
	"github.com/kantadb/kanta/query"
)

// docExamples returns the bytes of each indented stretch behind a heading of doc.go. What
// the bytes are follows two spaces.
func docExamples(t *testing.T, heading string) (out [][]byte) {
	t.Helper()
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "# "+heading+"\n")
	rest, _, _ = strings.Cut(rest, "# ")
	inside := false
	for line := range strings.Lines(rest) {
		data, ok := strings.CutPrefix(line, "//\t")
		if ok && !inside {
			out = append(out, nil)
		}
		if inside = ok; !ok {
			continue
		}
		data, _, _ = strings.Cut(data, "  ")
		b, err := hex.DecodeString(strings.Join(strings.Fields(data), ""))
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		out[len(out)-1] = append(out[len(out)-1], b...)
	}
	return out
}

func actID() keys.Acts { return keys.Acts{Event: 21, Shard: 0, Generation: 9} }

func exampleActs() *ActUnit {
	const start = 20453 * 86_400_000
	return &ActUnit{ID: actID(), Folded: 300, Next: 3, Content: digest.Sum{Lo: 1}, Replica: digest.Sum{Lo: 2}, Dropped: 7, Parts: []*ActPart{{
		ID:     keys.Part{FirstDay: 20453, Days: 1, Event: 21, Number: 2},
		Events: 3, First: start + 10_000, Last: start + 60_000, Bytes: 98, DayBytes: 85,
		rows: rowSlots{n: 1}, days: 1, slots: make([]slot[ActDay], 1),
	}}, Facts: &ActFacts{ID: keys.Facts{Event: 21, Number: 1}, FirstDay: 20400, Bytes: 571, Properties: []schema.AttrID{17}, stored: [factsWords]uint64{1},
		slots: make([]slot[timeline.FactsBlock], timeline.FactsBlocks)}, summed: map[uint64]bool{2: true}}
}

// actFacts are what a manifest says.
func actFacts(u *ActUnit) (out []any) {
	out = append(out, u.ID, u.Folded, u.Next, u.Content, u.Replica, u.Dropped)
	for _, p := range u.Parts {
		out = append(out, p.ID, p.Events, p.First, p.Last, p.Bytes, p.DayBytes, p.rows.n, p.days, len(p.slots), u.IsSummed(p))
	}
	if f := u.Facts; f != nil {
		out = append(out, f.ID, f.FirstDay, f.Bytes, f.Properties, f.stored, len(f.slots))
	}
	return out
}

// exampleDay is made of the events of the example of package timeline.
func exampleDay(t testing.TB) timeline.PartDay {
	t.Helper()
	const start = 20453 * 86_400_000
	b, err := timeline.NewBuilder(timeline.ID{Event: 21, Partition: timeline.Day(20453)}, nil)
	if err == nil {
		err = b.Add(&timeline.Events{Profiles: []uint32{3, 3, 65538}, Times: []int64{start + 10_000, start + 60_000, start + 30_000}})
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Finish().Days[0]
}

func TestActsGolden(t *testing.T) {
	want := docExamples(t, "Worked example of events")
	if len(want) != 2 {
		t.Fatalf("%d examples in doc.go", len(want))
	}
	if got := exampleActs().manifest(); !bytes.Equal(got, want[0]) {
		t.Errorf("the manifest is\n% x\ndoc.go has\n% x", got, want[0])
	}
	u, err := OpenActUnit(actID(), want[0], nil)
	if err != nil || !reflect.DeepEqual(actFacts(u), actFacts(exampleActs())) {
		t.Errorf("%+v %v", u, err)
	}
	day := exampleDay(t)
	if got := sealDay(&day, digest.Sum{Lo: 5}, digest.Sum{Lo: 6}); !bytes.Equal(got, want[1]) {
		t.Errorf("the day is\n% x\ndoc.go has\n% x", got, want[1])
	}
	d, err := decodeDay(20453, want[1])
	if err != nil || d.Day != 20453 || d.Events != 3 || d.Content != (digest.Sum{Lo: 5}) || d.Replica != (digest.Sum{Lo: 6}) || d.Presence.Chunk(1).Count() != 1 {
		t.Errorf("%+v %v", d, err)
	}
}

func TestActsNewerAndDamaged(t *testing.T) {
	open := func(b []byte) error { _, err := OpenActUnit(actID(), b, nil); return err }
	part := exampleDay(t)
	day := func(b []byte) error { _, err := decodeDay(20453, b); return err }
	isCode := func(err error, c query.Code) bool {
		return errors.Is((&ActPart{}).damaged("it", err), &query.Error{Code: c})
	}
	for name, x := range map[string]struct {
		good   []byte
		decode func(b []byte) error
	}{"manifest": {exampleActs().manifest(), open}, "day": {sealDay(&part, digest.Sum{}, digest.Sum{}), day}} {
		for at := range 2 { // the seal's version and its own
			newer := bytes.Clone(x.good)
			newer[at]++
			if err := x.decode(reseal(newer)); !isCode(err, query.CodeNewerFormat) {
				t.Errorf("%s, version 2 at %d: %v", name, at, err)
			}
		}
		for i := range 8 * len(x.good) {
			bad := bytes.Clone(x.good)
			bad[i/8] ^= 1 << (i % 8)
			if err := x.decode(bad); !isCode(err, query.CodeCorrupt) {
				t.Fatalf("%s, bit %d flipped: %v", name, i, err)
			}
		}
	}
	payload, err := kv.Unseal(exampleActs().manifest())
	if err != nil {
		t.Fatal(err)
	}
	if err := open(kv.Seal(nil, append(payload, 0))); !isCode(err, query.CodeCorrupt) {
		t.Errorf("a byte more: %v", err)
	}
	twice := exampleActs()
	twice.Parts = append(twice.Parts, twice.Parts[0])
	if err := open(twice.manifest()); !isCode(err, query.CodeCorrupt) {
		t.Errorf("a part twice: %v", err)
	}
	for what, change := range map[string]func(p *ActPart){
		"no day":                    func(p *ActPart) { p.days = 0 },
		"a day behind the last":     func(p *ActPart) { p.days = 2 },
		"a partition of 31 days":    func(p *ActPart) { p.ID.Days = 31 },
		"more rows than can be had": func(p *ActPart) { p.rows.n = 1 << 32 },
		"a number not given yet":    func(p *ActPart) { p.ID.Number = 3 },
		"it ends before it begins":  func(p *ActPart) { p.Last = p.First - 1 },
	} {
		u := exampleActs()
		change(u.Parts[0])
		if err := open(u.manifest()); !isCode(err, query.CodeCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, change := range map[string]func(u *ActUnit){
		"a summed part without facts":       func(u *ActUnit) { u.Facts = nil },
		"facts of too many properties":      func(u *ActUnit) { u.Facts.Properties = make([]schema.AttrID, timeline.MaxFactsProperties+1) },
		"facts with a number still to come": func(u *ActUnit) { u.Facts.ID.Number = u.Next },
	} {
		u := exampleActs()
		change(u)
		if err := open(u.manifest()); !isCode(err, query.CodeCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestForgedCounts: a manifest that claims much more than there is makes nobody allocate it.
func TestForgedCounts(t *testing.T) {
	const many = 1000
	u, x := exampleActs(), &IDs{Next: many + 1}
	u.Next, u.Parts = many+1, nil
	for n := range uint64(many) {
		p := exampleActs().Parts[0]
		p.ID.Number, p.Events, p.rows.n = n, 1<<50, 1<<30
		u.Parts = append(u.Parts, p)
		run := newIDRun(keys.Run{Number: n}, maxRunIDs, nil)
		run.Bytes = maxRunIDs * idEntry
		x.Runs = append(x.Runs, run)
	}
	for name, open := range map[string]func() error{
		"events": func() error { _, err := OpenActUnit(u.ID, u.manifest(), nil); return err },
		"ids":    func() error { _, err := readIDs(x.manifest(), nil); return err },
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := open()
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; err != nil || n > many*1000 {
			t.Errorf("%s: %d bytes are allocated (%v)", name, n, err)
		}
	}
}

func FuzzOpenActUnit(f *testing.F) {
	good := exampleActs().manifest()
	f.Add(good[1 : len(good)-4])
	f.Fuzz(func(t *testing.T, b []byte) {
		u, err := OpenActUnit(actID(), kv.Seal(nil, b), nil)
		if err != nil {
			return
		}
		again, err := OpenActUnit(actID(), u.manifest(), nil)
		if err != nil || !reflect.DeepEqual(actFacts(u), actFacts(again)) {
			t.Fatalf("%v\n%+v\n%+v", err, u, again)
		}
	})
}

func FuzzDay(f *testing.F) {
	day := exampleDay(f)
	good := sealDay(&day, digest.Sum{}, digest.Sum{})
	f.Add(good[1 : len(good)-4])
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := decodeDay(7, kv.Seal(nil, b))
		if err == nil && (d.Events == 0 || d.Presence == nil) {
			t.Fatalf("%+v", d)
		}
	})
}

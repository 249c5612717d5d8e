package timeline

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kantadb/kanta/index/schema"
)

func TestMergeAgainstModel(t *testing.T) {
	r := seeded(t)
	for range rounds(40) {
		sources := randomSources(t, r)
		s := &search{sources: sources}
		options := MergeOptions{Less: s.less}
		var want []event
		keep := randomKeep(r, sources)
		for _, b := range sources {
			for _, e := range b.events {
				if keep == nil || keep(e.profile, e.time) {
					want = append(want, e)
				}
			}
		}
		options.Keep = keep
		slices.SortFunc(want, compareEvents)
		id := ID{Event: 5, Shard: 3, Partition: Span(sources[0].Part.ID().Partition.First)}
		w, err := Merge(id, s.list(), options)
		if err != nil {
			t.Fatal(err)
		}
		merged := opened(t, w.Header, w.Rows, want)
		if merged.Part.ID() != id {
			t.Fatalf("%+v", merged.Part.ID())
		}
		checkHeader(t, &merged)
		checkEvents(t, r, &merged, merged.Part.Properties())
		days, err := Check(merged.Source)
		if err != nil || !reflect.DeepEqual(days, w.Days) {
			t.Fatal("other days were found", err)
		}
	}
}

// TestTies has events of three parts that are equal in profile and time, many of them also
// within a part: their hashes order them in merges and in what is folded.
func TestTies(t *testing.T) {
	r := seeded(t)
	day, properties := Day(20453), []Property{{17, Int}}
	s := &search{scan: Scan{From: day.Start(), To: day.End()}}
	var want []event
	for range 3 {
		var events []event
		for range 300 {
			hash := r.Uint64()
			events = append(events, event{r.Uint32N(20), day.Start() + r.Int64N(3), hash, map[schema.AttrID]value{17: {ok: true, n: int64(hash)}}})
		}
		slices.SortFunc(events, compareEvents)
		s.sources, want = append(s.sources, build(t, ID{Partition: day}, properties, events)), append(want, events...)
	}
	slices.SortFunc(want, compareEvents)
	var c Cursor
	found, _ := s.naive()
	checkFolds(t, r, &c, s, found)
	asked := map[Ref]bool{}
	w, err := Merge(ID{Partition: day}, s.list(), MergeOptions{Less: func(a, b Ref) bool {
		asked[a], asked[b] = true, true
		return s.less(a, b)
	}, Keep: func(profile uint32, _ int64) bool { return profile != 7 }})
	if err != nil {
		t.Fatal(err)
	}
	merged := opened(t, w.Header, w.Rows, nil)
	var got Events
	got.Reset(properties)
	if err := merged.block(0).Events(&got); err != nil {
		t.Fatal(err)
	}
	want = slices.DeleteFunc(want, func(e event) bool { return e.profile == 7 })
	checkSame(t, &got, want, merged.Part)
	for ref := range asked {
		if s.sources[ref.Source].events[ref.Event].profile == 7 {
			t.Error("an event that is left out was asked for")
		}
	}
	if len(asked) < len(want)/2 {
		t.Errorf("%d of %d events were asked for", len(asked), len(want))
	}
}

// randomKeep leaves out some profiles, or what is before some time, or nothing, or all.
func randomKeep(r *rand.Rand, sources []built) func(uint32, int64) bool {
	switch r.IntN(4) {
	case 0:
		return nil
	case 1:
		return func(uint32, int64) bool { return false }
	}
	s := search{sources: sources}
	horizon, modulus := s.border(r), 1+r.Uint32N(5)
	return func(profile uint32, time int64) bool { return time >= horizon && profile%modulus != 1 }
}

// TestMergeSteps merges days into their span one after the other and at once: the same bytes.
func TestMergeSteps(t *testing.T) {
	r := seeded(t)
	span := Span(600)
	var days []Source
	for day := range int32(5) {
		p := Day(span.First + 3*day)
		days = append(days, build(t, ID{Partition: p}, allProperties(), randomEvents(r, p, allProperties(), 1500)).Source)
	}
	id := ID{Partition: span}
	w, err := Merge(id, days, MergeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	so := []Source{days[0]}
	for _, day := range days[1:] {
		step, err := Merge(id, append(so, day), MergeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		so = []Source{opened(t, step.Header, step.Rows, nil).Source}
	}
	if err := sameParts(so[0], opened(t, w.Header, w.Rows, nil).Source); err != nil {
		t.Error(err)
	}
}

func sameParts(a, b Source) error {
	if a.Part.n != b.Part.n || a.Part.starts != b.Part.starts {
		return errors.New("events by chunk differ")
	}
	for column := range ownColumns + len(a.Part.properties) {
		for block := range a.Part.blocks {
			if err := sameAs(&a, &b, column, block); err != nil {
				return err
			}
		}
	}
	return nil
}

func TestMergeRefuses(t *testing.T) {
	day := Day(100)
	part := func(id ID, properties ...Property) Source { return build(t, id, properties, nil).Source }
	good := part(ID{Event: 1, Shard: 2, Partition: day}, Property{16, Code})
	f := func(id ID, other Source, want string) {
		t.Helper()
		if _, err := Merge(id, []Source{good, other}, MergeOptions{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	id := ID{Event: 1, Shard: 2, Partition: Span(100)}
	f(id, part(ID{Event: 2, Shard: 2, Partition: day}), "belong")
	f(id, part(ID{Event: 1, Shard: 3, Partition: day}), "belong")
	f(id, part(ID{Event: 1, Shard: 2, Partition: Day(120)}), "belong")
	f(ID{Event: 1, Shard: 2, Partition: Day(101)}, good, "belong")
	f(ID{Event: 1, Shard: 2, Partition: Partition{1, 30}}, part(ID{Event: 1, Shard: 2, Partition: day}), "belong")
	f(id, part(ID{Event: 1, Shard: 2, Partition: day}, Property{16, Int}), "rewrite")
	broken := errors.New("gone")
	bad := build(t, ID{Event: 1, Shard: 2, Partition: day}, nil, []event{{}, {}}[:0])
	full := build(t, ID{Event: 1, Shard: 2, Partition: day}, nil, []event{{profile: 1, time: day.Start()}})
	f(id, Source{full.Part, func(int) ([]byte, error) { return nil, broken }}, "gone")
	f(id, Source{full.Part, func(int) ([]byte, error) { return make([]byte, 3), nil }}, "row 0")
	if w, err := Merge(id, []Source{good, bad.Source}, MergeOptions{}); err != nil {
		t.Error(err)
	} else if p, err := Open(w.Header); err != nil || p.Len() != 0 || p.Rows() != 0 || len(p.Properties()) != 1 {
		t.Errorf("%+v, %v", p, err)
	}
}

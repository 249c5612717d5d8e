package query

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kantadb/kanta/index/schema"
)

// TestPerPerson reads keys and values of the events of random people, with little memory too,
// and compares with a loop over them.
func TestPerPerson(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for round := range 60 {
		profiles := map[uint32]*memProfile{}
		for o := range uint32(1 + r.IntN(6)) {
			p := &memProfile{key: string(rune('a' + o)), values: actValues{}, events: map[schema.EventID][]memAct{}}
			for range r.IntN(60) {
				a := memAct{time: r.Int64N(1000), values: actValues{}}
				for _, v := range []struct {
					of    schema.AttrID
					value schema.Value
				}{{pItem, schema.StringValue(fmt.Sprint("item ", r.IntN(5)))}, {pNote, schema.StringValue(fmt.Sprint("note ", r.IntN(5)))},
					{pQty, schema.IntValue(r.Int64N(5))}, {pLabels, schema.SetValue("x", fmt.Sprint("y", r.IntN(3)))}} {
					if r.IntN(4) > 0 {
						a.values[v.of] = v.value
					}
				}
				p.events[eBuy] = append(p.events[eBuy], a)
			}
			profiles[o] = p
		}
		v := newMemView(memSchema(), profiles, 1, true, 3)
		who, err := Prepare(t.Context(), &Const{Value: True}, v)
		if err != nil {
			t.Fatal(err)
		}
		s := NewStudy(t.Context(), v, who, nil, Options{Parallelism: 1})
		l, err := s.List(ever(eBuy), math.MinInt64, math.MaxInt64)
		if err != nil {
			t.Fatal(err)
		}
		key, value := []schema.AttrID{0, schema.TimeProperty, pNote, pItem, pQty}[round%5], []schema.AttrID{pItem, pQty, pLabels}[r.IntN(3)]
		if err := l.ReadFor(key, value); err != nil {
			t.Fatal(err)
		}
		got, little := map[uint16][]string{}, r.IntN(2) == 0
		_, err = s.Each(t.Context(), func() ChunkVisitor {
			return func(ctx context.Context, c *StudyChunk) error {
				if little {
					c.w.eventsOf(nil).most = 100 * personEventBytes
				}
				notes := map[int64]string{}
				if err := c.PerPerson(ctx, l, key, value, &c.People, func(uint16, []PersonEvent) error { return nil }); err != nil {
					return err
				}
				return c.PerPerson(ctx, l, key, value, &c.People, func(who uint16, events []PersonEvent) error {
					for text, n := range c.persons.texts {
						notes[n] = text
					}
					for _, e := range events {
						got[who] = append(got[who], personEventText(s, key, e.Key, notes)+" "+personEventText(s, value, e.Value, nil))
					}
					return nil
				})
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		for o, p := range profiles {
			want := wantPersonEvents(p, key, value)
			slices.Sort(got[uint16(o)])
			if !slices.Equal(got[uint16(o)], want) {
				t.Fatalf("round %d: of %d by %d and %d: %q, want %q", round, o, key, value, got[uint16(o)], want)
			}
		}
	}
}

func personEventText(s *Study, of schema.AttrID, n int64, notes map[int64]string) string {
	switch of {
	case pItem, pLabels:
		return s.Text(of, n)
	case pNote:
		return notes[n]
	}
	return fmt.Sprint(n)
}

func wantPersonEvents(p *memProfile, key, value schema.AttrID) (want []string) {
	for _, a := range p.events[eBuy] {
		var k string
		switch v := a.values[key]; {
		case key == 0:
			k = "0"
		case key == schema.TimeProperty:
			k = fmt.Sprint(a.time)
		case v.IsAbsent():
			continue
		case v.Kind() == schema.String:
			k = v.Str()
		default:
			k = fmt.Sprint(v.Ordered())
		}
		switch v := a.values[value]; v.Kind() {
		case schema.Absent:
		case schema.String:
			want = append(want, k+" "+v.Str())
		case schema.Set:
			for _, x := range v.Elements() {
				want = append(want, k+" "+x)
			}
		default:
			want = append(want, k+" "+fmt.Sprint(v.Ordered()))
		}
	}
	slices.Sort(want)
	return want
}

package engine_test

import (
	"time"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
)

// moveOn makes what the people are the past of a store: all attributes begin a history,
// and then some of everybody's values change, twice, once before a compaction. Questions
// about oracleNow must be answered as before.
func (s *store) moveOn() {
	s.t.Helper()
	sch, err := s.Schema(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, a := range sch.Attributes {
		a.History = true
		s.batch.Change(schema.Change{Op: schema.Widen, Name: a.Name, Attribute: a})
	}
	s.apply()
	for range 2 {
		s.now = s.now.Add(time.Millisecond)
		for k := range s.people.facts {
			s.touched[k] = s.drawTouched()
		}
		s.upserts(0, s.people.n, s.otherwise)
		if s.now.UnixMilli() == oracleNow+1 {
			if err := s.Compact(s.t.Context()); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

// otherwise gives a living profile other values of some attributes.
func (s *store) otherwise(i int) {
	if s.people.dead[i] {
		return
	}
	var row *batch.Row
	for k, f := range s.people.facts {
		if !s.touched[k][i] {
			continue
		}
		if row == nil {
			row = s.batch.Upsert(s.people.keys[i])
		}
		if v := f.values[s.moved.IntN(len(f.values))]; v.IsAbsent() {
			row.Unset(f.Name)
		} else {
			row.Set(f.Name, v)
		}
	}
}

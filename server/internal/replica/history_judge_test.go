package replica

import (
	"cmp"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/kantadb/kanta/query"
)

// judgement is what is known of a history when it is over, and what it must be like.
type judgement struct {
	t      *testing.T
	writes []*written // by their positions
	sights []seen
	acts   map[string][]int64 // w of what each member has of each person, in the end; nil: it did not come to it
}

// judge says what is wrong with a history.
func (j *judgement) judge() {
	j.linearizable()
	for _, w := range j.writes {
		if w.position == (query.Position{}) { // the cluster has come to a stop, which is told
			return
		}
	}
	j.once()
	for i := range j.sights {
		s := &j.sights[i]
		j.state(s)
		j.enough(s)
	}
	if j.acts != nil {
		j.appended()
	}
}

// once: what is written has a position of its own, so a store that has it all has it once.
func (j *judgement) once() {
	slices.SortFunc(j.writes, func(a, b *written) int { return cmp.Compare(a.position.Applied, b.position.Applied) })
	for i, w := range j.writes {
		if i > 0 && w.position == j.writes[i-1].position {
			j.t.Errorf("exactly once: two batches were acknowledged at %s", w.position)
		}
	}
}

// register is what porcupine has for a person: what v is, and how often it was set.
type register struct{ v, n int64 }

// request is what a client asks for: to set v, or, 0, to read.
type request struct {
	key int
	v   int64
}

// person is the model of one person. That n counts what is written leaves little to try.
var personModel = porcupine.Model{
	Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
		of := make([][]porcupine.Operation, historyKeys)
		for _, o := range all {
			key := o.Input.(request).key
			of[key] = append(of[key], o)
		}
		return of
	},
	Init: func() any { return register{} },
	Step: func(state, input, output any) (bool, any) {
		is := state.(register)
		if v := input.(request).v; v != 0 {
			return true, register{v, is.n + 1}
		}
		return output.(register) == is, is
	},
}

// porcupineTime is for how long porcupine may look at a history: it takes milliseconds.
const porcupineTime = time.Minute

// linearizable: there is an order of all that was written and read linearizably in which each takes
// place between its beginning and its end.
func (j *judgement) linearizable() {
	var all []porcupine.Operation
	for _, w := range j.writes {
		end := int64(w.returned)
		if end == 0 {
			end = math.MaxInt64 // it may yet be done, or never
		}
		all = append(all, porcupine.Operation{ClientId: w.run, Input: request{w.key, w.v}, Call: int64(w.called), Return: end})
	}
	for i := range j.sights {
		if s := &j.sights[i]; s.linearizable {
			all = append(all, porcupine.Operation{ClientId: historyWriters + 1 + i, Input: request{key: s.key}, Output: register{s.v, s.n}, Call: int64(s.called), Return: int64(s.returned)})
		}
	}
	switch result := porcupine.CheckOperationsTimeout(personModel, all, porcupineTime); result {
	case porcupine.Ok:
	case porcupine.Illegal:
		j.t.Error("linearizable: porcupine finds no order of what was written and read")
	default:
		j.t.Errorf("linearizable: porcupine says %s after %v: the history tells nothing", result, porcupineTime)
	}
}

// state: at a position there is what was written up to it, and nothing else, at whichever member.
func (j *judgement) state(s *seen) {
	var of [historyKeys]register
	for _, w := range j.writes {
		if w.position.Applied > s.position.Applied {
			break
		}
		of[w.key] = register{w.v, of[w.key].n + 1}
	}
	if got := (register{s.v, s.n}); got != of[s.key] {
		j.t.Errorf("state: %s, at %s, says %+v of p%d; it is %+v", s.at, s.position, got, s.key, of[s.key])
	}
	if s.segment == nil {
		return
	}
	people := uint64(0)
	for _, p := range of {
		if p.n >= s.segment.least && p.n > 0 && (s.segment.acts || p.v%2 == 0) {
			people++
		}
	}
	if people != s.segment.people {
		j.t.Errorf("segment: %s, at %s, counts %+v; there are %d", s.at, s.position, *s.segment, people)
	}
}

// enough: a member has what it has said to have.
func (j *judgement) enough(s *seen) {
	if s.position.Applied < s.least.Applied {
		j.t.Errorf("position: %s said that it has %s, and is at %s", s.at, s.least, s.position)
	}
	if s.fresh.IsZero() {
		return
	}
	for _, w := range slices.Backward(j.writes) {
		if w.position.Applied > s.position.Applied && w.acked.Before(s.fresh) {
			j.t.Errorf("staleness: %s, at %s, said that it has what was acknowledged before %v: it lacks %s, of %v before", s.at, s.position, s.fresh, w.position, s.fresh.Sub(w.acked))
			return
		}
	}
}

// appended: each member has each act once.
func (j *judgement) appended() {
	var want []int64
	for _, w := range j.writes {
		want = append(want, w.v)
	}
	slices.Sort(want)
	for member, got := range j.acts {
		slices.Sort(got)
		if slices.Equal(got, want) {
			continue
		}
		lost, twice := 0, 0
		for _, v := range want {
			if _, is := slices.BinarySearch(got, v); !is {
				lost++
			}
		}
		twice = len(got) - len(slices.Compact(slices.Clone(got)))
		j.t.Errorf("events: of %d acts %s lacks %d, and has %d twice", len(want), member, lost, twice)
	}
}

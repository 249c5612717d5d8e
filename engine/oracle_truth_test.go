package engine_test

import (
	"fmt"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/query/syntax"
)

// This file is the oracle: the truth of an expression for every profile, from CEL's
// interpreter and Kleene's tables.

// outcome is the truth of one profile in the low two bits. failed: the interpreter says
// that something failed. mayFail: something may have, but an absent value was met first.
type outcome = uint8

const (
	truthBits outcome = 3
	failed    outcome = 4
	mayFail   outcome = 8
	notYet    outcome = 255
)

// oracle interprets expressions over people.
type oracle struct {
	*people
	cat         *catalog
	compiler    *syntax.Compiler
	env         query.Env
	memory      []outcome // by combination of values
	interpreted int
}

// truths returns the outcome of everybody, the dead included.
func (o *oracle) truths(e *expression) ([]outcome, error) {
	if e.op == "" {
		return o.test(e)
	}
	var out []outcome
	for i, x := range e.of {
		t, err := o.truths(x)
		if err != nil {
			return nil, err
		}
		switch {
		case e.op == "!":
			out = negated(t)
		case i == 0:
			out = t
		default:
			joined(out, t, e.op == "&&")
		}
	}
	return out, nil
}

func negated(t []outcome) []outcome {
	for i, x := range t {
		if x&truthBits != outcome(query.Unknown) {
			t[i] = x ^ 1
		}
	}
	return t
}

// joined makes a the conjunction (or disjunction) of a and b. An unknown failed where a
// part of it did.
func joined(a, b []outcome, and bool) {
	absorbing := outcome(query.True)
	if and {
		absorbing = outcome(query.False)
	}
	for i, x := range a {
		y := b[i]
		switch {
		case x&truthBits == absorbing || y&truthBits == absorbing:
			a[i] = absorbing
		case x&truthBits == outcome(query.Unknown):
			a[i] = x | y&(failed|mayFail)
		case y&truthBits == outcome(query.Unknown):
			a[i] = y
		}
	}
}

// test interprets a test once for each combination of the values that it reads.
func (o *oracle) test(e *expression) ([]outcome, error) {
	x, err := o.compiler.Compile(e.text, o.cat, o.env)
	if err != nil {
		return nil, err
	}
	facts := distinct(e.facts)
	size := 1
	for _, f := range facts {
		if size *= len(f.values); size > 1<<22 {
			return o.testEach(x, facts), nil
		}
	}
	if len(o.memory) < size {
		o.memory = make([]outcome, size)
	}
	memory := o.memory[:size]
	for i := range memory {
		memory[i] = notYet
	}
	out := make([]outcome, o.n)
	for i := range out {
		at := 0
		for _, f := range facts {
			at = at*len(f.values) + int(f.ids[i])
		}
		if memory[at] == notYet {
			memory[at] = o.interpret(x, facts, i)
		}
		out[i] = memory[at]
	}
	return out, nil
}

// testEach is test where there are too many combinations for a table.
func (o *oracle) testEach(x *syntax.Expr, facts []*fact) []outcome {
	type combination [8]uint32
	memory := map[combination]outcome{}
	out := make([]outcome, o.n)
	for i := range out {
		var c combination
		if len(facts) > len(c) {
			out[i] = o.interpret(x, facts, i)
			continue
		}
		for k, f := range facts {
			c[k] = f.ids[i]
		}
		t, ok := memory[c]
		if !ok {
			t = o.interpret(x, facts, i)
			memory[c] = t
		}
		out[i] = t
	}
	return out
}

func distinct(facts []*fact) []*fact {
	var out []*fact
next:
	for _, f := range facts {
		for _, g := range out {
			if f == g {
				continue next
			}
		}
		out = append(out, f)
	}
	return out
}

// interpret evaluates for one profile. It panics if the expression reads what it is
// not known to read: then a combination of values would not decide it.
func (o *oracle) interpret(x *syntax.Expr, facts []*fact, i int) outcome {
	o.interpreted++
	absent := false
	t, fails := x.Interpret(func(id schema.AttrID) schema.Value {
		for _, f := range facts {
			if f.ID == id && f.Attribute.ID != 0 {
				v := f.value(i)
				absent = absent || v.IsAbsent()
				return v
			}
		}
		panic(fmt.Sprintf("%s reads the attribute %d", x.Text, id))
	}, nobodyActs, func(name string) bool {
		for _, f := range facts {
			if f.Name == name && f.Attribute.ID == 0 {
				return f.value(i).Bool()
			}
		}
		panic(fmt.Sprintf("%s reads the list %q", x.Text, name))
	}, o.env)
	out := outcome(t)
	if fails {
		out |= failed | mayFail
	}
	if t == query.Unknown && absent {
		out |= mayFail
	}
	return out
}

// nobodyActs gives the acts of everybody: this oracle is about attributes.
func nobodyActs(schema.EventID) []query.Act { return nil }

// interpretWhole evaluates the whole text for one profile: the tables of this file are
// held against CEL's own logic.
func (o *oracle) interpretWhole(x *syntax.Expr, i int) query.Truth {
	t, _ := x.Interpret(func(id schema.AttrID) schema.Value {
		for _, f := range o.facts {
			if f.ID == id {
				return f.value(i)
			}
		}
		return schema.Value{}
	}, nobodyActs, func(name string) bool {
		for _, f := range o.lists {
			if f.Name == name {
				return f.value(i).Bool()
			}
		}
		return false
	}, o.env)
	return t
}

// expected is what an answer has to say.
type expected struct {
	words            []uint64 // members by ordinal
	yes, unknown     uint64
	minFail, maxFail uint64
}

func (o *oracle) expect(t []outcome) expected {
	e := expected{words: make([]uint64, (o.first+o.n+63)/64)}
	for i, x := range t {
		if o.dead[i] {
			continue
		}
		switch query.Truth(x & truthBits) {
		case query.True:
			e.yes++
			e.words[(o.first+i)/64] |= 1 << ((o.first + i) % 64)
		case query.Unknown:
			e.unknown++
			e.minFail += uint64(x >> 2 & 1)
			e.maxFail += uint64(x >> 3 & 1)
		}
	}
	return e
}

package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// buyers are people of several chunks.
type buyers struct {
	*actModel
	bought map[int64][]spent // by person, in order of time
	birth  map[int64]int64   // a day; who has none is not there
}

type spent struct{ at, amount int64 }

const buyerDays = 9 // before day 100

func newBuyers(t *testing.T) *buyers {
	const n = 100_000
	r := rand.New(rand.NewPCG(8, 1))
	b := &buyers{actModel: &actModel{t: t, r: r}, bought: map[int64][]spent{}, birth: map[int64]int64{}}
	b.set(time.UnixMilli(100*actDay + 12345).UTC())
	var err error
	// A worker takes four chunks at a time: the sixteenth is another's than those behind it.
	if b.db, err = Open("store", &Options{FS: vfs.NewMem(), Clock: b.clock, FirstOrdinal: 1<<20 - 30_000}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.db.Close() })
	b.apply(func(w *batch.Builder) {
		for _, c := range eventChanges() {
			w.Change(c)
		}
		w.Change(schema.Change{Op: schema.AddAttribute, Name: "birth", Attribute: schema.Attribute{Kind: schema.Date}})
	})
	for range 4 {
		b.apply(func(w *batch.Builder) {
			table := w.Events([]batch.Column{{Name: "amount", Kind: schema.Decimal, Scale: 2}})
			for range 25_000 {
				who, at := r.Int64N(n), (100-buyerDays+r.Int64N(buyerDays))*actDay+r.Int64N(actDay)
				b.bought[who] = append(b.bought[who], spent{at, r.Int64N(1000)})
				table.Row(fmt.Appendf(nil, "k%d", who), []byte("buy"), at)
				table.Int(0, b.bought[who][len(b.bought[who])-1].amount)
			}
		})
	}
	b.apply(func(w *batch.Builder) {
		for range 5000 {
			who, day := r.Int64N(n), 100-r.Int64N(2*buyerDays)
			b.birth[who] = day
			w.Upsert(fmt.Sprintf("k%d", who)).Set("birth", schema.DateValue(day))
		}
	})
	for _, list := range b.bought {
		slices.SortFunc(list, func(a, b spent) int { return int(a.at - b.at) })
	}
	return b
}

// analyze asks on one worker and on three, which must not matter.
func (b *buyers) analyze(name string, args query.Arguments) []query.ReportRow {
	b.t.Helper()
	var tables [2][]query.ReportTable
	for i, workers := range []int{1, 3} {
		r, err := b.db.Analyze(b.t.Context(), name, "", args, &query.Options{Parallelism: workers})
		if err != nil {
			b.t.Fatalf("%v: %v", args, err)
		}
		tables[i] = r.Tables
	}
	if !reflect.DeepEqual(tables[0], tables[1]) {
		b.t.Errorf("%v: with three workers it is another answer", args)
	}
	return tables[0][len(tables[0])-1].Rows
}

// TestRetentionChunks counts people of several chunks on several workers, and compares with a
// loop over all.
func TestRetentionChunks(t *testing.T) {
	t.Parallel()
	b := newBuyers(t)
	b.cohorts()
	b.ages("", func(who int64) int64 {
		if len(b.bought[who]) == 0 {
			return 1 << 62
		}
		return b.bought[who][0].at
	})
	b.ages("birth", func(who int64) int64 {
		if day, ok := b.birth[who]; ok {
			return day * actDay
		}
		return 1 << 62
	})
	b.littleMemory()
	args := query.Arguments{"set": {"buy.in_last(days(3)).count() >= 2", "birth > date(\"1970-04-01\")"}}
	now, err := b.db.Analyze(t.Context(), "overlap", "", args, nil)
	if err != nil {
		t.Fatal(err)
	}
	args["per"], args["periods"] = []string{"day"}, []string{"4"}
	then, err := b.db.Analyze(t.Context(), "overlap", "", args, nil)
	if err != nil || then.BytesRead < 3*now.BytesRead || now.BytesRead == 0 {
		t.Errorf("overlap: %d bytes are read, and with a history %d (%v)", now.BytesRead, then.BytesRead, err)
	}
	rows := b.analyze("overlap", args)
	for i, row := range rows[:len(rows)-2] { // of the days before today
		end, want := (97+int64(i/2)+1)*actDay, 0
		for _, list := range b.bought {
			in := slices.DeleteFunc(slices.Clone(list), func(x spent) bool { return x.at < end-3*actDay || x.at >= end })
			want += min(1, len(in)/2)
		}
		if i%2 == 1 {
			want = 0
			for _, day := range b.birth {
				if day > 90 {
					want++
				}
			}
		}
		if row.Values[2].Ordered() != int64(want) {
			t.Errorf("overlap: %v, want %d", row.Values, want)
		}
	}
}

// cohorts compares cohorts by day with amounts, by calendar days and by brackets.
func (b *buyers) cohorts() {
	b.t.Helper()
	ends := []int64{36 * 3_600_000, 36*3_600_000 + 3*actDay}
	for _, brackets := range []string{"", "36h,3d"} {
		args := query.Arguments{"first": {"buy"}, "return": {"buy"}, "per": {"day"}, "cohorts": {fmt.Sprint(buyerDays + 1)}, "amount": {"e.amount"}}
		if brackets != "" {
			args["brackets"] = []string{brackets}
		}
		people, came, amount := map[int64]int64{}, map[[2]int64]int64{}, map[[2]int64]int64{}
		for _, list := range b.bought {
			begun, in := list[0].at, map[int64]bool{}
			cohort := begun / actDay
			people[cohort]++
			for _, x := range list {
				k := x.at/actDay - cohort
				if brackets != "" {
					k = int64(slices.IndexFunc(ends, func(end int64) bool { return x.at-begun < end }))
				}
				if x.at > begun && k >= 0 {
					in[k] = true
					amount[[2]int64{cohort, k}] += x.amount
				}
			}
			for k := range in {
				came[[2]int64{cohort, k}]++
			}
		}
		all := int64(0)
		for _, row := range b.analyze("retention", args) {
			day, err := time.Parse(time.DateOnly, row.Values[0].Str())
			if err != nil {
				b.t.Fatal(err)
			}
			at := [2]int64{day.UnixMilli() / actDay, row.Values[2].Ordered()}
			sum := row.Values[len(row.Values)-2].Ordered()
			if row.Values[1].Ordered() != people[at[0]] || row.Values[3].Ordered() != came[at] || sum != amount[at] {
				b.t.Errorf("brackets %q: %v, want %d, %d, %d hundredths", brackets, row.Values, people[at[0]], came[at], amount[at])
			}
			all += sum
		}
		for _, n := range amount {
			all -= n
		}
		if all != 0 {
			b.t.Errorf("brackets %q: the amounts add up to %d too much", brackets, all)
		}
	}
	args := query.Arguments{"first": {"buy"}, "return": {"buy"}, "per": {"day"}, "amount": {"double(e.amount) / 3.0"}, "kind": {"on-or-before"}}
	b.analyze("retention", args) // floats are added up in any order
}

// ages compares lifecycles by day.
func (b *buyers) ages(since string, begun func(who int64) int64) {
	b.t.Helper()
	args := query.Arguments{"return": {"buy"}, "show": {"lifecycle"}, "per": {"day"}, "cohorts": {"6"}}
	if since != "" {
		args["since"] = []string{since}
	}
	want := map[int64]*[5]int64{}
	for day := int64(95); day <= 100; day++ {
		want[day] = new([5]int64)
	}
	for who, list := range b.bought {
		start, active := begun(who), map[int64]bool{}
		for _, x := range list {
			if x.at >= start {
				active[x.at/actDay] = true
			}
		}
		for day, n := range want {
			is, was, began := active[day], active[day-1], start/actDay == day
			for i, yes := range []bool{is, is && began, is && was, is && !was && !began, was && !is} {
				if yes {
					n[i]++
				}
			}
		}
	}
	for i, row := range b.analyze("retention", args) {
		for k, n := range want[95+int64(i)] {
			if row.Values[1+k].Ordered() != n {
				b.t.Errorf("since %q: %v, want %v", since, row.Values, *want[95+int64(i)])
				break
			}
		}
	}
}

// littleMemory makes sure that what is kept is taken from the store's budget, and given back.
func (b *buyers) littleMemory() {
	b.t.Helper()
	var taken []func()
	for size := int64(1 << 20); size >= 1<<14; {
		free, err := b.db.cache.Reserve(size, "test")
		if err != nil {
			size /= 2
			continue
		}
		taken = append(taken, free)
	}
	for i, free := range taken {
		if i == 0 { // for the question
			free()
		}
		defer free()
	}
	before := b.db.cache.Reserved()
	for _, args := range []query.Arguments{{"first": {"buy"}, "return": {"buy"}}, {"return": {"buy"}, "show": {"lifecycle"}}} {
		_, err := b.db.Analyze(b.t.Context(), "retention", "", args, &query.Options{Parallelism: 1})
		if !errors.Is(err, &query.Error{Code: query.CodeBudget}) || !strings.Contains(err.Error(), "the retention") {
			b.t.Errorf("%v with little memory: %v", args, err)
		}
	}
	if after := b.db.cache.Reserved(); after != before {
		b.t.Errorf("%d bytes are kept for good", after-before)
	}
}

package bench

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// scored puts the purchasers of some days into five equal parts by when they last bought,
// and by how often, then for how much: people and amounts of the cells.
func (b *Behaviour) scored(days int) []string {
	type buyer struct {
		number    uint64
		last, sum int64
		n, r, f   int
	}
	var all []*buyer
	for p := range b.g.opt.Profiles {
		one := &buyer{number: p}
		for _, e := range b.Of(p) {
			if e.inLast(Purchase, days) {
				one.last, one.n, one.sum = max(one.last, e.Time), one.n+1, one.sum+e.Amount
			}
		}
		if one.n > 0 {
			all = append(all, one)
		}
	}
	parts := func(order func(a, b *buyer) int, score func(one *buyer, is int)) {
		slices.SortFunc(all, func(a, b *buyer) int { return cmp.Or(order(a, b), cmp.Compare(Key(a.number), Key(b.number))) })
		at := 0
		for part := range 5 {
			size := len(all) / 5
			if part < len(all)%5 {
				size++
			}
			for _, one := range all[at : at+size] {
				score(one, part+1)
			}
			at += size
		}
	}
	parts(func(a, b *buyer) int { return cmp.Compare(a.last, b.last) }, func(one *buyer, is int) { one.r = is })
	parts(func(a, b *buyer) int { return cmp.Or(cmp.Compare(a.n, b.n), cmp.Compare(a.sum, b.sum)) }, func(one *buyer, is int) { one.f = is })
	people, sums := map[string]int{}, map[string]int64{}
	for _, one := range all {
		cell := fmt.Sprintf("r%df%d", one.r, one.f)
		people[cell]++
		sums[cell] += one.sum
	}
	var lines []string
	for cell, n := range people {
		lines = append(lines, fmt.Sprintf("%s|%d|%s", cell, n, appendCents(nil, sums[cell])))
	}
	return lines
}

// converted counts who comes to each step of Q12.
func (b *Behaviour) converted(within int64) []string {
	var people [3]int
	for p := range b.g.opt.Profiles {
		for step, n := 1, came(b.Of(p), within); step <= n; step++ {
			people[step-1]++
		}
	}
	var lines []string
	for i, n := range people {
		lines = append(lines, fmt.Sprintf("%d|%d", i+1, n))
	}
	return lines
}

// came returns to which step of Q12 somebody comes; see bought.
func came(acts []Event, within int64) (step int) {
	if bought(acts, within) {
		return 3
	}
	for v := range acts {
		if !acts[v].inLast(ViewItem, 30) {
			continue
		}
		step = max(step, 1)
		for c := range acts {
			if acts[c].Type == AddToCart && acts[c].Time > acts[v].Time && acts[c].Time-acts[v].Time <= within {
				step = 2
			}
		}
	}
	return step
}

// retained counts who opened the app in each week since the sign-up, by the week of the
// sign-up, counted back from now.
func (b *Behaviour) retained(cohorts int) []string {
	const week = 7 * day
	people, returned := make([]int, cohorts), make([]map[int]int, cohorts)
	for p := range b.g.opt.Profiles {
		var profile Profile
		b.g.Profile(p, &profile)
		began := profile.values[SignupDate] * day
		cohort := int((Now().UnixMilli() - began) / week)
		if began > Now().UnixMilli() || cohort >= cohorts {
			continue
		}
		people[cohort]++
		if returned[cohort] == nil {
			returned[cohort] = map[int]int{}
		}
		in := map[int]bool{}
		for _, e := range b.Of(p) {
			if e.Type == AppOpen && e.Time >= began && e.Time <= Now().UnixMilli() {
				in[int((e.Time-began)/week)] = true
			}
		}
		for k := range in {
			returned[cohort][k]++
		}
	}
	var lines []string
	for c := range cohorts {
		for k := 0; k <= c && people[c] > 0; k++ {
			name := Now().AddDate(0, 0, -7*(c+1)).Format(time.DateOnly)
			lines = append(lines, fmt.Sprintf("%s|%d|%d|%d", name, k, people[c], returned[c][k]))
		}
	}
	return lines
}

// daily counts who has an event of a type on each day from a time on.
func (b *Behaviour) daily(t EventType, from int64) []string {
	people := map[int64]map[uint64]bool{}
	for p := range b.g.opt.Profiles {
		for _, e := range b.Of(p) {
			if e.Type != t || e.Time < from || e.Time >= Now().UnixMilli() {
				continue
			}
			if people[e.Time/day] == nil {
				people[e.Time/day] = map[uint64]bool{}
			}
			people[e.Time/day][p] = true
		}
	}
	var lines []string
	for d, who := range people {
		lines = append(lines, fmt.Sprintf("%s|%d", time.UnixMilli(d*day).UTC().Format(time.DateOnly), len(who)))
	}
	return lines
}

// paths counts what people do after they have first opened the app in some days, by step: who
// goes on with what, within a week. What comes again and again is one step.
func (b *Behaviour) paths(days int) []string {
	people := map[string]int{}
	for p := range b.g.opt.Profiles {
		acts := b.Of(p)
		first := slices.IndexFunc(acts, func(e Event) bool { return e.inLast(AppOpen, days) })
		if first < 0 {
			continue
		}
		began := acts[first].Time
		after := slices.DeleteFunc(slices.Clone(acts), func(e Event) bool { return e.Time <= began || e.Time > min(began+7*day, Now().UnixMilli()) })
		slices.SortStableFunc(after, func(x, y Event) int {
			return cmp.Or(cmp.Compare(x.Time, y.Time), cmp.Compare(x.Type, y.Type))
		})
		names, last, step := b.g.events.names, AppOpen, 0
		for _, e := range after {
			if e.Type != last && step < pathSteps {
				people[fmt.Sprintf("%d|%s|%s", step, names[last], names[e.Type])]++
				last, step = e.Type, step+1
			}
		}
		if step < pathSteps {
			people[fmt.Sprintf("%d|%s|(end)", step, names[last])]++
		}
	}
	var lines []string
	for flow, n := range people {
		lines = append(lines, fmt.Sprintf("%s|%d", flow, n))
	}
	return lines
}

// pairs returns the two items that most people have bought both of.
func (b *Behaviour) pairs(days, top int) []string {
	people := map[[2]uint16]int{}
	for p := range b.g.opt.Profiles {
		has := map[uint16]bool{}
		for _, e := range b.Of(p) {
			if e.inLast(Purchase, days) {
				has[e.Item] = true
			}
		}
		for x := range has {
			for y := range has {
				if x < y {
					people[[2]uint16{x, y}]++
				}
			}
		}
	}
	all := slices.SortedFunc(maps.Keys(people), func(x, y [2]uint16) int {
		return cmp.Or(cmp.Compare(people[y], people[x]), slices.Compare(x[:], y[:]))
	})
	var lines []string
	for _, pair := range all[:min(top, len(all))] {
		words := b.g.events.words[itemProperty]
		lines = append(lines, fmt.Sprintf("%s + %s|%d", words[pair[0]], words[pair[1]], people[pair]))
	}
	return lines
}

// compared returns of some attributes the values that purchasers of some days have more often
// than everybody: by how many of them, and by how many of all.
func (b *Behaviour) compared(of []string, days int) []string {
	buyers, people := 0, map[string]*[2]int{}
	for p := range b.g.opt.Profiles {
		bought := countLast(b.Of(p), Purchase, days) > 0
		if bought {
			buyers++
		}
		var profile Profile
		b.g.Profile(p, &profile)
		for a, c := range b.g.columns {
			if !slices.Contains(of, c.name) {
				continue
			}
			value := "(none)"
			if profile.absent>>a&1 == 0 {
				value = c.words[profile.values[a]]
			}
			n := people[c.name+"|"+value]
			if n == nil {
				n = new([2]int)
				people[c.name+"|"+value] = n
			}
			if n[1]++; bought {
				n[0]++
			}
		}
	}
	var lines []string
	for value, n := range people {
		if n[0]*int(b.g.opt.Profiles) > n[1]*buyers {
			lines = append(lines, fmt.Sprintf("%s|%d|%d", value, n[0], n[1]))
		}
	}
	return lines
}

package basket

import (
	"cmp"
	"context"
	"math"
	"math/big"
	"math/bits"
	"slices"
	"strings"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// set is items that baskets have together.
type set struct {
	items   [MaxSize]uint32 // ascending
	size    uint8
	baskets uint64
}

// put puts an item into its place.
func (s *set) put(item uint32) {
	at := int(s.size)
	for ; at > 0 && s.items[at-1] > item; at-- {
		s.items[at] = s.items[at-1]
	}
	s.items[at] = item
	s.size++
}

func (s *set) all() []uint32 { return s.items[:s.size] }

// without returns the set without the item at a place; who has it is not known.
func (s *set) without(at int) set {
	var out set
	for i, item := range s.all() {
		if i != at {
			out.put(item)
		}
	}
	return out
}

// row is a set, or a rule: who has the other items has that of then.
type row struct {
	set
	then  int8 // its place; -1: it is no rule
	given uint64
	score float64 // by which rows are ordered
}

// compare orders rows: the greatest score first, then most baskets, then by items.
func (r *row) compare(o *row) int {
	if r.score != o.score {
		return cmp.Compare(o.score, r.score)
	}
	if r.baskets != o.baskets {
		return cmp.Compare(o.baskets, r.baskets)
	}
	if r.then < 0 {
		return slices.Compare(r.all(), o.all())
	}
	a, b := r.without(int(r.then)), o.without(int(o.then))
	return cmp.Or(slices.Compare(a.all(), b.all()), cmp.Compare(r.items[r.then], o.items[o.then]))
}

// best keeps the first rows in order.
type best struct {
	most int
	rows []row
	full bool // the first of them, in order, are all that were kept so far
}

// isIn reports whether a row is among the first, as far as is known.
func (b *best) isIn(r *row) bool { return !b.full || r.compare(&b.rows[b.most-1]) < 0 }

func (b *best) add(r *row) {
	if !b.isIn(r) {
		return
	}
	b.rows = append(b.rows, *r)
	if len(b.rows) >= 2*b.most {
		b.cut()
	}
}

func (b *best) cut() {
	slices.SortFunc(b.rows, func(x, y row) int { return x.compare(&y) })
	if len(b.rows) >= b.most {
		b.rows, b.full = b.rows[:b.most], true
	}
}

// least returns how many baskets a row must have to be among the first, if they are in order
// of that.
func (b *best) least() uint64 {
	if !b.full {
		return 0
	}
	return b.rows[b.most-1].baskets
}

// results are the sets and rules found.
type results struct {
	m           *miner
	best, rules best
	sets        []set // all, where sets of more than two are asked for
}

func newResults(m *miner) *results {
	return &results{m: m, best: best{most: m.top}, rules: best{most: m.top}}
}

// leastShown returns the least baskets of a set that may yet be shown, or of which a rule may.
func (r *results) leastShown() uint64 {
	if r.m.size > 2 || r.m.sort != byBaskets {
		return r.m.total.least
	}
	return max(r.m.total.least, min(r.best.least(), r.rules.least()))
}

// take takes in a set; of a pair its rules, too, if there are no larger sets.
func (r *results) take(s *set) {
	m, one := r.m, row{set: *s, then: -1, score: float64(s.baskets)}
	if m.lift > 0 || m.sort == byLift {
		lift := m.liftOf(s)
		if m.sort == byLift {
			one.score = lift
		}
		if lift >= m.lift {
			r.best.add(&one)
		}
	} else {
		r.best.add(&one)
	}
	if m.size == 2 {
		r.rule(s, 0, m.items.baskets[s.items[1]])
		r.rule(s, 1, m.items.baskets[s.items[0]])
	}
}

// rule takes in the rule that who has the other items of a set has the one at a place, too.
func (r *results) rule(s *set, then int8, given uint64) {
	m := r.m
	if int(s.items[then]) == m.fixed {
		return
	}
	one := row{set: *s, then: then, given: given}
	switch m.sort {
	case byBaskets:
		one.score = float64(s.baskets)
	case byConfidence:
		one.score = one.confidence()
	case byLift:
		one.score = m.ruleLift(&one)
	case byLeverage:
		one.score = m.leverage(&one)
	case byConviction:
		one.score = m.conviction(&one)
	}
	if r.rules.isIn(&one) && one.confidence() >= m.confidence && (m.lift == 0 || m.ruleLift(&one) >= m.lift) {
		r.rules.add(&one)
	}
}

// add adds what another worker has found.
func (r *results) add(o *results) {
	for i := range o.best.rows {
		r.best.add(&o.best.rows[i])
	}
	for i := range o.rules.rows {
		r.rules.add(&o.rules.rows[i])
	}
	r.sets = append(r.sets, o.sets...)
}

// everySets is after how many sets it is asked whether to go on: some milliseconds' work.
const everySets = 1 << 13

// finish makes the rules of sets that were kept: how many baskets have all items but one is
// known by now.
func (r *results) finish(ctx context.Context) error {
	defer r.best.cut()
	defer r.rules.cut()
	if r.m.size == 2 {
		return nil
	}
	baskets := make(map[[MaxSize]uint32]uint64, len(r.sets))
	for i := range r.sets {
		if i%everySets == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if s := &r.sets[i]; int(s.size) < r.m.size {
			baskets[s.padded()] = s.baskets
		}
	}
	for i := range r.sets {
		if i%everySets == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		s := &r.sets[i]
		for then := range int8(s.size) {
			rest := s.without(int(then))
			given := baskets[rest.padded()]
			if rest.size == 1 {
				given = r.m.items.baskets[rest.items[0]]
			}
			r.rule(s, then, given)
		}
	}
	return nil
}

// padded returns the items as a key.
func (s *set) padded() [MaxSize]uint32 {
	out := s.items
	for i := int(s.size); i < MaxSize; i++ {
		out[i] = dropped
	}
	return out
}

// liftOf returns how many times more often a set is there than if its items had nothing to
// do with each other.
func (m *miner) liftOf(s *set) float64 {
	if s.size == 2 {
		return m.liftOfTwo(s.baskets, m.items.baskets[s.items[0]], m.items.baskets[s.items[1]])
	}
	up, down, all := new(big.Int).SetUint64(s.baskets), big.NewInt(1), new(big.Int).SetUint64(m.baskets)
	for i, item := range s.all() {
		if i > 0 {
			up.Mul(up, all)
		}
		down.Mul(down, new(big.Int).SetUint64(m.items.baskets[item]))
	}
	x, _ := new(big.Rat).SetFrac(up, down).Float64() // equal ones are equal, however they come about
	return x
}

func (m *miner) liftOfTwo(both, a, b uint64) float64 {
	return float64(both) * float64(m.baskets) / (float64(a) * float64(b))
}

func (r *row) confidence() float64 { return float64(r.baskets) / float64(r.given) }

// thenOf returns how many baskets have what a rule comes to.
func (m *miner) thenOf(r *row) uint64 { return m.items.baskets[r.items[r.then]] }

func (m *miner) ruleLift(r *row) float64 { return m.liftOfTwo(r.baskets, r.given, m.thenOf(r)) }

// leverage returns the share of baskets that have the set beyond what would by chance.
func (m *miner) leverage(r *row) float64 {
	high, low := bits.Mul64(r.baskets, m.baskets)
	highOther, lowOther := bits.Mul64(r.given, m.thenOf(r))
	sign := 1.0
	if high < highOther || high == highOther && low < lowOther {
		sign, high, low, highOther, lowOther = -1, highOther, lowOther, high, low
	}
	low, borrow := bits.Sub64(low, lowOther, 0)
	high, _ = bits.Sub64(high, highOther, borrow)
	all := float64(m.baskets)
	return sign * (math.Ldexp(float64(high), 64) + float64(low)) / (all * all)
}

// conviction returns how many times more often a rule would be wrong by chance; infinity if
// it never is.
func (m *miner) conviction(r *row) float64 {
	if r.baskets == r.given {
		return math.Inf(1)
	}
	return float64(r.given) * float64(m.baskets-m.thenOf(r)) / (float64(m.baskets) * float64(r.given-r.baskets))
}

// tables makes the tables of a report.
func (r *results) tables(ctx context.Context) ([]query.ReportTable, error) {
	m := r.m
	sets, rules, total := setTable, ruleTable, totalTable
	for i := range r.best.rows {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s := &r.best.rows[i].set
		text := m.textOf(s.all())
		sets.Rows = append(sets.Rows, query.ReportRow{Cells: []string{text}, Values: []schema.Value{
			schema.StringValue(text), number(s.baskets), number(m.peopleOf(s)), query.Share(s.baskets, m.baskets), schema.FloatValue(m.liftOf(s))}})
	}
	for i := range r.rules.rows {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		rules.Rows = append(rules.Rows, m.ruleRow(&r.rules.rows[i]))
	}
	total.Rows = []query.ReportRow{{Cells: []string{everybody}, Values: []schema.Value{
		schema.StringValue(everybody), number(m.baskets), number(m.people), number(uint64(m.kinds))}}}
	return []query.ReportTable{sets, rules, total}, nil
}

func number(n uint64) schema.Value { return schema.IntValue(int64(n)) }

func (m *miner) ruleRow(r *row) query.ReportRow {
	given := r.without(int(r.then))
	given.baskets = r.given
	has, then, people := m.textOf(given.all()), m.textOf(r.items[r.then:r.then+1]), m.peopleOf(&r.set)
	conviction := schema.Value{}
	if x := m.conviction(r); !math.IsInf(x, 1) {
		conviction = schema.FloatValue(x)
	}
	return query.ReportRow{Cells: []string{m.textOf(r.all()), has + and + not + then}, Values: []schema.Value{
		schema.StringValue(has), schema.StringValue(then), number(r.baskets), number(people), number(m.peopleOf(&given) - people),
		query.Share(r.baskets, m.baskets), schema.FloatValue(r.confidence()), schema.FloatValue(m.ruleLift(r)),
		schema.FloatValue(m.leverage(r)), conviction}}
}

// textOf writes items as a cell is called.
func (m *miner) textOf(items []uint32) string {
	texts := make([]string, len(items))
	for i, item := range items {
		texts[i] = quoted(m.items.texts[item])
	}
	return strings.Join(texts, and)
}

// peopleOf returns how many people have a basket with all items of a set.
func (m *miner) peopleOf(s *set) (n uint64) {
	switch {
	case m.key == 0:
		return s.baskets
	case s.size == 1:
		return m.items.people[s.items[0]]
	}
	var rest []uint32
	for _, item := range s.all() {
		if int(item) != m.fixed {
			rest = append(rest, item)
		}
	}
	last := uint32(0) // the word of the person who was counted last
	for _, at := range m.of(rest[0]) {
		k := 1
		for i := at + 1; k < len(rest) && m.words[i] <= rest[k]; i++ {
			if m.words[i] == rest[k] {
				k++
			}
		}
		if k < len(rest) {
			continue
		}
		for m.words[at] < begins {
			at--
		}
		if m.words[at] != last {
			last = m.words[at]
			n++
		}
	}
	return n
}

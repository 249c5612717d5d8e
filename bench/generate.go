package bench

import (
	"math/bits"
	"runtime"
	"slices"

	"github.com/kantadb/kanta/index/schema"
)

// EventsPerProfile is how many events the workload has for each profile.
const EventsPerProfile = 10

// Options say which data is generated.
type Options struct {
	Profiles    uint64 // how many profiles there are
	Events      uint64 // how many events they have together; 0: none
	Seed        uint64 // another seed is other data; 0 is a seed like any other
	WithAbsent  bool   // leave values out as the package comment says; else every value is there
	Parallelism int    // goroutines that make them; 0: one per processor
}

// Generator makes the profiles and events of the workload. It is immutable and safe for
// concurrent use.
type Generator struct {
	opt     Options
	columns [NumAttributes]column
	draws   alias // how many interests are drawn
	events  eventTables
}

// New returns the generator of a workload.
func New(opt Options) *Generator {
	if opt.Parallelism <= 0 {
		opt.Parallelism = runtime.GOMAXPROCS(0)
	}
	return &Generator{opt: opt, columns: columns(), draws: interestDraws(), events: newEventTables(&opt)}
}

// Options returns the options the generator was made with, defaults filled in.
func (g *Generator) Options() Options { return g.opt }

// Schema returns the attributes in the order of their numbers, without ids: who adds
// them to a store assigns those. The caller may change the result.
func (g *Generator) Schema() []schema.Attribute {
	attributes := make([]schema.Attribute, NumAttributes)
	for a := range attributes {
		c := &g.columns[a]
		attributes[a] = schema.Attribute{Name: c.name, Kind: c.kind, Class: c.class}
		if c.kind == schema.Decimal {
			attributes[a].Scale = ltvScale
		}
	}
	return attributes
}

// Profile is one customer. Its memory is the caller's and can be used again.
type Profile struct {
	Number    uint64               // 0 is the first
	values    [NumAttributes]int64 // ordered form, or the number of the word
	absent    uint32               // bit a: no value of attribute a
	interests [4]uint64            // bit i of word i/64: interest number i, from 0
}

// Profile sets *p to the profile with a number, whatever Options.Profiles says.
func (g *Generator) Profile(number uint64, p *Profile) {
	s := newStream(g.opt.Seed, domainProfile, number)
	p.Number, p.absent = number, 0
	for a := range g.columns {
		c := &g.columns[a]
		draw := s.at(uint64(2 * a))
		switch Attribute(a) {
		case City:
			p.values[a] = p.values[Country]*citiesOfCountry + int64(c.pick.pick(draw))
		case EmailOptIn:
			p.values[a] = p.values[HasEmail] & int64(c.pick.pick(draw))
		case LTV:
			p.values[a] = ltv(p.values[Plan], draw)
		case Interests:
			g.drawInterests(s, draw, p)
		default:
			p.values[a] = c.base + int64(c.pick.pick(draw))
		}
		if g.opt.WithAbsent && c.absent > 0 && uint32(s.at(uint64(2*a+1))>>32) < c.absent {
			p.absent |= 1 << a
			p.values[a] = 0
		}
	}
}

// ltv returns what a customer of a plan has brought in, in cents.
func ltv(plan int64, draw uint64) int64 {
	mean := 4 + float64(0.4*float64(plan))
	return int64(float64(100*exactExp(mean+float64(1.2*normalQuantile(unit(draw))))) + 0.5)
}

// firstInterestDraw is behind the draws of 64 attributes.
const firstInterestDraw = 128

func (g *Generator) drawInterests(s stream, draw uint64, p *Profile) {
	p.interests = [4]uint64{}
	for i := range g.draws.pick(draw) {
		n := g.columns[Interests].pick.pick(s.at(firstInterestDraw + uint64(i)))
		p.interests[n/64] |= 1 << (n % 64)
	}
}

// Int returns the ordered form of an attribute of an ordered kind (see
// [schema.Value.Ordered]), and whether there is a value.
func (p *Profile) Int(a Attribute) (n int64, ok bool) {
	return p.values[a], p.absent>>a&1 == 0
}

// HasInterest reports whether the interests hold "i" followed by n, 0..199.
func (p *Profile) HasInterest(n int) bool { return p.interests[n/64]>>(n%64)&1 == 1 }

// Word returns the text of a string attribute, and whether there is a value.
func (g *Generator) Word(p *Profile, a Attribute) (string, bool) {
	if p.absent>>a&1 == 1 {
		return "", false
	}
	return g.columns[a].words[p.values[a]], true
}

// AppendInterests appends the interests to dst, in order of rank.
func (g *Generator) AppendInterests(dst []string, p *Profile) []string {
	for w, word := range p.interests {
		for ; word != 0; word &= word - 1 {
			dst = append(dst, g.columns[Interests].words[w*64+bits.TrailingZeros64(word)])
		}
	}
	return dst
}

// Value returns any attribute of a profile as a value; absent is the zero Value. It
// allocates: bulk writers use the methods above.
func (g *Generator) Value(p *Profile, a Attribute) schema.Value {
	n, ok := p.Int(a)
	switch c := &g.columns[a]; {
	case c.kind == schema.Set:
		return schema.SetValue(g.AppendInterests(nil, p)...)
	case !ok:
		return schema.Value{}
	case c.kind == schema.String:
		return schema.StringValue(c.words[n])
	default:
		return schema.FromOrdered(c.kind, ltvScale, n)
	}
}

// Key returns the key of the profile with a number, "user-00000000" for the first.
func Key(number uint64) string { return string(AppendKey(nil, number)) }

// AppendKey appends the key of the profile with a number to dst.
func AppendKey(dst []byte, number uint64) []byte {
	dst = append(dst, "user-"...)
	const width = 8
	start := len(dst)
	for ; number > 0 || len(dst)-start < width; number /= 10 {
		dst = append(dst, byte('0'+number%10))
	}
	slices.Reverse(dst[start:])
	return dst
}

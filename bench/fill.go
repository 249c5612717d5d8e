package bench

import (
	"math/bits"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
)

// Filler adds profiles to the batches of one builder, without text in between. It is
// for one goroutine and lives as long as the builder, over Reset too.
type Filler struct {
	g     *Generator
	table *batch.Table
	words [NumAttributes][][]byte // of string attributes and sets
	key   []byte
	elems [][]byte
}

// NewFiller returns a filler of b, with a column for every attribute.
func (g *Generator) NewFiller(b *batch.Builder) *Filler {
	f := &Filler{g: g}
	var columns []batch.Column
	for a, attribute := range g.Schema() {
		columns = append(columns, batch.Column{Name: attribute.Name, Kind: attribute.Kind, Scale: attribute.Scale})
		if !attribute.Kind.Ordered() {
			for _, w := range g.columns[a].words {
				f.words[a] = append(f.words[a], []byte(w))
			}
		}
	}
	f.table = b.Table(columns)
	return f
}

// Add adds a profile to the builder's batch, with a cell for each value there is; an
// empty set has none, as its cell in the CSV form is empty. What does not fit is told
// by the builder's Encode.
func (f *Filler) Add(p *Profile) {
	f.key = AppendKey(f.key[:0], p.Number)
	f.table.Row(f.key)
	for a := range f.g.columns {
		switch c := &f.g.columns[a]; {
		case p.absent>>a&1 == 1:
		case c.kind == schema.String:
			f.table.Str(a, f.words[a][p.values[a]])
		case c.kind == schema.Set:
			f.addInterests(p)
		default:
			f.table.Int(a, p.values[a])
		}
	}
}

func (f *Filler) addInterests(p *Profile) {
	f.elems = f.elems[:0]
	for w, word := range p.interests {
		for ; word != 0; word &= word - 1 {
			f.elems = append(f.elems, f.words[Interests][w*64+bits.TrailingZeros64(word)])
		}
	}
	if len(f.elems) > 0 {
		f.table.Elems(int(Interests), f.elems)
	}
}

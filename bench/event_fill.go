package bench

import (
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
)

// EventFiller adds events to the batches of one builder, without text in between. It is
// for one goroutine and lives as long as the builder, over Reset too.
type EventFiller struct {
	table *batch.EventTable
	names [][]byte // of the types
	words [numProperties][][]byte
	ids   bool
	text  []byte
}

// NewEventFiller returns a filler of b. With ids, each event is given its own.
func (g *Generator) NewEventFiller(b *batch.Builder, ids bool) *EventFiller {
	f := &EventFiller{ids: ids, names: byteWords(g.events.names)}
	for p, words := range g.events.words {
		f.words[p] = byteWords(words)
	}
	f.table = b.Events([]batch.Column{
		categoryProperty: {Name: "category", Kind: schema.String},
		itemProperty:     {Name: "item_id", Kind: schema.String},
		amountProperty:   {Name: "amount", Kind: schema.Decimal, Scale: amountScale},
		channelProperty:  {Name: "channel", Kind: schema.String},
	})
	return f
}

func byteWords(words []string) [][]byte {
	out := make([][]byte, len(words))
	for i, w := range words {
		out[i] = []byte(w)
	}
	return out
}

// Add adds an event to the builder's batch. What does not fit is told by the builder's
// Encode.
func (f *EventFiller) Add(e *Event) {
	f.text = AppendKey(f.text[:0], e.Profile)
	f.table.Row(f.text, f.names[e.Type], e.Time)
	if f.ids {
		f.text = e.AppendID(f.text[:0])
		f.table.ID(f.text)
	}
	if e.Type.HasItem() {
		f.table.Str(categoryProperty, f.words[categoryProperty][e.Category])
		f.table.Str(itemProperty, f.words[itemProperty][e.Item])
	}
	if e.Type == Purchase {
		f.table.Int(amountProperty, e.Amount)
	}
	f.table.Str(channelProperty, f.words[channelProperty][e.Channel])
}

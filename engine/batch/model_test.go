package batch

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/unicode/norm"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// The reference: a batch as plain Go values, one row after the other.
type (
	plainBatch struct {
		source        string
		run, sequence uint64
		strict        bool
		ops           []plainOp
	}
	plainOp struct {
		code       OpCode
		name, text string
		keys       []string
		rows       []plainRow
		change     schema.Change
		bad        []BadRow
		definition *Definition
		document   *plainDocument
	}
	plainDocument struct {
		name   string
		expect Expectation
		hash   DocumentHash
		value  string
	}
	plainRow struct {
		key   string
		cells map[string][]plainCell // by attribute, in order
		from  string                 // its origin
	}
	plainCell struct {
		verb  Verb
		value schema.Value
	}
)

func nfcSet(elems []string) schema.Value {
	var out []string
	for _, e := range elems {
		out = append(out, norm.NFC.String(e))
	}
	return schema.SetValue(out...)
}

// put says what a cell after others of its attribute does to the row.
func (r *plainRow) put(attr string, verb Verb, v schema.Value) {
	switch v.Kind() {
	case schema.String:
		v = schema.StringValue(norm.NFC.String(v.Str()))
	case schema.Set:
		v = nfcSet(v.Elements())
	}
	attr = norm.NFC.String(attr)
	cells := r.cells[attr]
	if n := len(cells); n > 0 && cells[n-1].verb == verb {
		switch verb {
		case VerbSet, VerbUnset, VerbExpectAbsent:
			cells = cells[:n-1]
		case VerbAdd, VerbRemove:
			v = nfcSet(append(slices.Clone(cells[n-1].value.Elements()), v.Elements()...))
			cells = cells[:n-1]
		}
	}
	r.cells[attr] = append(cells, plainCell{verb, v})
}

// plain turns a decoded batch into the reference's form.
func plain(t testing.TB, d *Decoded) plainBatch {
	t.Helper()
	p := plainBatch{source: d.Source, run: d.Run, sequence: d.Sequence, strict: d.Strict}
	rows := 0
	var origin *Op
	for i := range d.Ops {
		op := &d.Ops[i]
		if op.FirstRow != rows {
			t.Fatalf("op %d: first row %d, want %d", i, op.FirstRow, rows)
		}
		rows += op.Rows()
		if op.Code == OpOrigin {
			origin = op
			continue
		}
		q := plainOp{code: op.Code, name: op.Name, text: op.Text, change: op.Change, bad: op.Bad, definition: op.Definition}
		if d := op.Document; d != nil {
			q.document = &plainDocument{d.Name, d.Expect, d.Hash, string(d.Value)}
		}
		for k := range op.Keys.Len() {
			q.keys = append(q.keys, string(op.Keys.At(k)))
		}
		if op.Block != nil {
			q.rows = plainRows(op.Block)
		}
		if op.Events != nil {
			q.rows = plainEvents(op.Events)
		}
		for k := range q.rows {
			if origin != nil {
				q.rows[k].from = fmt.Sprint(origin.Name, ":", origin.Line(k))
			}
		}
		origin = nil
		p.ops = append(p.ops, q)
	}
	if d.Rows != rows {
		t.Fatalf("%d rows, the ops have %d", d.Rows, rows)
	}
	return p
}

func plainRows(bl *Block) []plainRow {
	rows := make([]plainRow, bl.N)
	for i := range rows {
		rows[i] = plainRow{key: string(bl.Keys.At(i)), cells: map[string][]plainCell{}}
	}
	for j := range bl.Columns {
		c := &bl.Columns[j]
		cell, element := 0, 0
		for i := range rows {
			if !c.Has(i) {
				continue
			}
			var v schema.Value
			switch {
			case c.Kind == schema.Absent:
			case c.Kind.Ordered():
				v = schema.FromOrdered(c.Kind, c.Scale, c.Ints[cell])
			case c.Kind == schema.Set:
				var elems []string
				for range c.Counts[cell] {
					elems = append(elems, string(c.Dict.At(int(c.Index[element]))))
					element++
				}
				v = schema.SetValue(elems...)
			case c.Index != nil:
				v = schema.StringValue(string(c.Dict.At(int(c.Index[cell]))))
			default:
				v = schema.StringValue(string(c.Plain.At(cell)))
			}
			rows[i].cells[c.Name] = append(rows[i].cells[c.Name], plainCell{c.Verb, v})
			cell++
		}
		if cell != c.M {
			panic(fmt.Sprintf("column %q has %d cells, not %d", c.Name, cell, c.M))
		}
	}
	return rows
}

// plainEvents has the type, the time and the id of an event as cells with names that no
// property has.
func plainEvents(bl *EventBlock) []plainRow {
	rows := plainRows(&bl.Block)
	id := 0
	for i := range rows {
		cells := rows[i].cells
		cells["<event>"] = []plainCell{{VerbEvent, schema.StringValue(string(bl.Names.At(int(bl.Event[i]))))}}
		cells["<time>"] = []plainCell{{VerbTime, schema.TimestampValue(bl.Times[i])}}
		if bl.IDs != nil && bl.IDs.Has(i) {
			cells["<id>"] = []plainCell{{VerbID, schema.StringValue(string(bl.IDs.Plain.At(id)))}}
			id++
		}
	}
	if bl.IDs != nil && id != bl.IDs.M {
		panic(fmt.Sprintf("%d ids, not %d", id, bl.IDs.M))
	}
	return rows
}

// maker makes random batches twice: in a Builder and as plain values.
type maker struct {
	rnd    *rand.Rand
	b      *Builder
	want   plainBatch
	tables []*Table
	defs   [][]Column
	events []*EventTable
	props  [][]Column // of events
}

var words = []string{"", "a", "b", "milan", "helsinki", "A\u030angstrom", "\u00c5ngstrom", "M\u00fcnchen", "日本", "x\xffy", strings.Repeat("long ", 60)}

func (m *maker) word() string {
	if m.rnd.IntN(4) == 0 {
		return fmt.Sprint("w", m.rnd.IntN(5000))
	}
	return words[m.rnd.IntN(len(words))]
}

func (m *maker) words(n int) []string {
	out := make([]string, m.rnd.IntN(n+1))
	for i := range out {
		out[i] = m.word()
	}
	return out
}

func (m *maker) key() string {
	return []string{"user-", "k\u0308", "k"}[m.rnd.IntN(3)] + fmt.Sprint(m.rnd.IntN(1000))
}

func (m *maker) keys() []string {
	out := make([]string, m.rnd.IntN(5))
	for i := range out {
		out[i] = m.key()
	}
	return out
}

func (m *maker) ordered(k schema.Kind) int64 {
	lo, hi := kindRange(k)
	switch m.rnd.IntN(5) {
	case 0:
		return lo
	case 1:
		return hi
	case 2:
		return max(lo, min(hi, int64(m.rnd.Uint64()>>m.rnd.IntN(64))))
	}
	n := max(lo, min(hi, 1000+int64(m.rnd.IntN(100))))
	if k == schema.Float && n == negativeZero {
		return 0
	}
	return n
}

func (m *maker) value(k schema.Kind, scale uint8) schema.Value {
	switch k {
	case schema.String:
		return schema.StringValue(m.word())
	case schema.Set:
		return schema.SetValue(m.words(5)...)
	}
	return schema.FromOrdered(k, scale, m.ordered(k))
}

// upserts adds rows through Builder.Upsert.
func (m *maker) upserts() {
	op := plainOp{code: OpUpsert}
	if n := len(m.want.ops); n > 0 && m.want.ops[n-1].code == OpUpsert {
		m.tick() // else these rows would join those of a table or of an upsert
	}
	kinds := []schema.Kind{schema.Bool, schema.Int, schema.Float, schema.Decimal, schema.String, schema.Date, schema.Timestamp, schema.Set}
	from := m.origin()
	for range 1 + m.rnd.IntN(30) {
		key := m.key()
		row := m.b.Upsert(key)
		want := plainRow{key: norm.NFC.String(key), cells: map[string][]plainCell{}, from: from()}
		for range m.rnd.IntN(6) {
			n := m.rnd.IntN(len(kinds) + 1)
			if n == len(kinds) { // an attribute whose kind the writer is not sure of
				n = m.rnd.IntN(len(kinds))
				m.cell(row, &want, "unsure", kinds[n])
				continue
			}
			m.cell(row, &want, []string{"a", "Å", "A\u030a", "b c"}[m.rnd.IntN(4)]+fmt.Sprint(n), kinds[n])
		}
		op.rows = append(op.rows, want)
	}
	m.want.ops = append(m.want.ops, op)
}

// origin returns what gives each row of an upsert its origin, or none of them.
func (m *maker) origin() func() string {
	if m.rnd.IntN(2) == 0 {
		return func() string { return "" }
	}
	name, line := []string{"", "people.csv"}[m.rnd.IntN(2)], uint64(0)
	return func() string {
		switch m.rnd.IntN(4) {
		case 0:
			line += uint64(m.rnd.IntN(1000))
		case 1: // the same line once more
		default:
			line++
		}
		m.b.Origin(name, line)
		return fmt.Sprint(name, ":", line)
	}
}

func (m *maker) cell(row *Row, want *plainRow, attr string, k schema.Kind) {
	var scale uint8
	if k == schema.Decimal {
		scale = uint8(2 + m.rnd.IntN(2))
	}
	v := m.value(k, scale)
	switch verb := Verb(1 + m.rnd.IntN(7)); {
	case verb == VerbUnset:
		row.Unset(attr)
		want.put(attr, verb, schema.Value{})
	case verb == VerbExpectAbsent:
		row.Expect(attr, schema.Value{})
		want.put(attr, verb, schema.Value{})
	case verb == VerbExpect:
		row.Expect(attr, v)
		want.put(attr, verb, v)
	case verb == VerbIncrement && (k == schema.Int || k == schema.Float || k == schema.Decimal):
		row.Increment(attr, v)
		want.put(attr, verb, v)
	case k == schema.Set && len(v.Elements()) > 0 && verb == VerbAdd:
		row.Add(attr, v.Elements()...)
		want.put(attr, verb, v)
	case k == schema.Set && len(v.Elements()) > 0 && verb == VerbRemove:
		row.Remove(attr, v.Elements()...)
		want.put(attr, verb, v)
	default:
		row.Set(attr, v)
		want.put(attr, VerbSet, v)
	}
}

// table adds rows through a Table, one of an earlier batch if there is one.
func (m *maker) table(rows int) {
	if n := len(m.want.ops); n > 0 && m.want.ops[n-1].code == OpUpsert {
		m.tick()
	}
	i := m.rnd.IntN(len(m.tables) + 1)
	if i == len(m.tables) {
		defs := []Column{{Name: "s", Kind: schema.String}, {Name: "i", Kind: schema.Int, Verb: VerbIncrement}, {Name: "set", Kind: schema.Set},
			{Name: "d", Kind: schema.Decimal, Scale: 2, Verb: VerbSet}, {Name: "add", Kind: schema.Set, Verb: VerbAdd}, {Name: "b", Kind: schema.Bool}, {Name: "f", Kind: schema.Float}}
		m.rnd.Shuffle(len(defs), func(i, j int) { defs[i], defs[j] = defs[j], defs[i] })
		m.defs = append(m.defs, defs[:1+m.rnd.IntN(len(defs))])
		m.tables = append(m.tables, m.b.Table(m.defs[i]))
	}
	t, defs := m.tables[i], m.defs[i]
	op := plainOp{code: OpUpsert}
	sparse, unique := m.rnd.IntN(3), m.rnd.IntN(3) == 0
	from := m.origin()
	for range rows {
		key := m.key()
		t.Row([]byte(key))
		want := plainRow{key: norm.NFC.String(key), cells: map[string][]plainCell{}, from: from()}
		for j, def := range defs {
			for m.rnd.IntN(3) >= sparse || m.rnd.IntN(30) == 0 { // now and then a cell twice
				m.tableCell(t, j, def, &want, unique)
				if m.rnd.IntN(20) > 0 {
					break
				}
			}
		}
		op.rows = append(op.rows, want)
	}
	m.want.ops = append(m.want.ops, op)
}

func (m *maker) tableCell(t *Table, j int, def Column, want *plainRow, unique bool) {
	verb := max(def.Verb, VerbSet)
	v := m.value(def.Kind, def.Scale)
	switch {
	case verb == VerbSet && m.rnd.IntN(10) == 0:
		t.Unset(j)
		want.cells[def.Name] = []plainCell{{VerbUnset, schema.Value{}}}
		return
	case def.Kind == schema.String:
		if unique {
			v = schema.StringValue(fmt.Sprint("mail", m.rnd.Uint64()))
		}
		t.Str(j, []byte(v.Str()))
		v = schema.StringValue(norm.NFC.String(v.Str()))
	case def.Kind == schema.Set:
		var elems [][]byte
		for _, e := range v.Elements() {
			elems = append(elems, []byte(e), []byte(e))
		}
		t.Elems(j, elems)
		v = nfcSet(v.Elements())
	default:
		t.Int(j, v.Ordered())
	}
	want.cells[def.Name] = []plainCell{{verb, v}}
}

// acts adds events, in a table of an earlier batch if there is one.
func (m *maker) acts(rows int) {
	if n := len(m.want.ops); n > 0 && m.want.ops[n-1].code == OpEvents {
		m.tick()
	}
	i := m.rnd.IntN(len(m.events) + 1)
	if i == len(m.events) {
		defs := []Column{{Name: "s", Kind: schema.String}, {Name: "s", Kind: schema.Int}, {Name: "set", Kind: schema.Set, Verb: VerbSet},
			{Name: "d", Kind: schema.Decimal, Scale: 2}, {Name: "d", Kind: schema.Decimal, Scale: 3}, {Name: "time", Kind: schema.Date}, {Name: "event", Kind: schema.Float}}
		m.rnd.Shuffle(len(defs), func(i, j int) { defs[i], defs[j] = defs[j], defs[i] })
		m.props = append(m.props, defs[:m.rnd.IntN(len(defs)+1)])
		m.events = append(m.events, m.b.Events(m.props[i]))
	}
	t, defs := m.events[i], m.props[i]
	op := plainOp{code: OpEvents}
	types := []string{"buy", "A\u030a", "Order Completed", "view", fmt.Sprint("rare ", m.rnd.IntN(1000))}[:1+m.rnd.IntN(5)]
	sparse, unique, ids := m.rnd.IntN(3), m.rnd.IntN(3) == 0, m.rnd.IntN(3)
	from := m.origin()
	for range rows {
		key, event, at := m.key(), types[m.rnd.IntN(len(types))], m.ordered(schema.Timestamp)
		t.Row([]byte(key), []byte(event), at)
		want := plainRow{key: norm.NFC.String(key), from: from(), cells: map[string][]plainCell{
			"<event>": {{VerbEvent, schema.StringValue(norm.NFC.String(event))}}, "<time>": {{VerbTime, schema.TimestampValue(at)}}}}
		for m.rnd.IntN(3) < ids && m.rnd.IntN(10) > 0 { // now and then an id twice
			id := fmt.Sprint("e\u0301", m.rnd.IntN(50))
			t.ID([]byte(id))
			want.cells["<id>"] = []plainCell{{VerbID, schema.StringValue(norm.NFC.String(id))}}
		}
		for j, def := range defs {
			for m.rnd.IntN(3) >= sparse || m.rnd.IntN(30) == 0 {
				m.propertyCell(t, j, def, &want, unique)
				if m.rnd.IntN(20) > 0 {
					break
				}
			}
		}
		op.rows = append(op.rows, want)
	}
	m.want.ops = append(m.want.ops, op)
}

func (m *maker) propertyCell(t *EventTable, j int, def Column, want *plainRow, unique bool) {
	v := m.value(def.Kind, def.Scale)
	switch def.Kind {
	case schema.String:
		if unique {
			v = schema.StringValue(fmt.Sprint("mail", m.rnd.Uint64()))
		}
		t.Str(j, []byte(v.Str()))
		v = schema.StringValue(norm.NFC.String(v.Str()))
	case schema.Set:
		var elems [][]byte
		for _, e := range v.Elements() {
			elems = append(elems, []byte(e), []byte(e))
		}
		t.Elems(j, elems)
		v = nfcSet(v.Elements())
	default:
		t.Int(j, v.Ordered())
	}
	var cells []plainCell // columns of one name in order of the columns
	for k, other := range m.props[slices.Index(m.events, t)] {
		for _, c := range want.cells[def.Name] {
			if other.Name == def.Name && k != j && c.value.Kind() == other.Kind && c.value.Scale() == other.Scale {
				cells = append(cells, c)
			}
		}
		if k == j {
			cells = append(cells, plainCell{VerbSet, v})
		}
	}
	want.cells[def.Name] = cells
}

func (m *maker) tick() {
	m.b.Tick()
	m.want.ops = append(m.want.ops, plainOp{code: OpTick})
}

// definition makes a definition of an analysis; its texts are kept as they are.
func (m *maker) definition(name string) *Definition {
	text := func() string { return strings.ToValidUTF8(m.word(), "\ufffd") }
	d := &Definition{Analysis: "rfm", Name: name, Who: text(), Arguments: query.Arguments{}}
	for i := range m.rnd.IntN(4) {
		parameter := fmt.Sprint("p", i, text())
		for range 1 + m.rnd.IntN(3) {
			d.Arguments[parameter] = append(d.Arguments[parameter], text())
		}
	}
	return d
}

// document puts a document; its value is kept as it is.
func (m *maker) document(name string) *plainDocument {
	d := &plainDocument{name: norm.NFC.String(name), expect: Expectation(m.rnd.IntN(3)), value: m.word()}
	switch d.expect {
	case ExpectAnything:
		m.b.PutDocument(name, []byte(d.value))
	case ExpectNoDocument:
		m.b.CreateDocument(name, []byte(d.value))
	default:
		d.hash = HashDocument([]byte(m.word()))
		m.b.ReplaceDocument(name, []byte(d.value), d.hash)
	}
	return d
}

// quarantined quarantines some rows.
func (m *maker) quarantined(op *plainOp) {
	op.name = "file.csv"
	for range 1 + m.rnd.IntN(3) {
		r := BadRow{m.rnd.Uint64N(1e6), Reason(1 + m.rnd.IntN(22)), "age: \"x\"", "a,b\r\n"}
		op.bad = append(op.bad, r)
	}
	m.b.Quarantine(op.name, op.bad...)
}

// other adds an op that is no upsert.
func (m *maker) other() {
	op := plainOp{code: OpCode(2 + m.rnd.IntN(10))} // delete to tick
	if m.rnd.IntN(10) == 0 {
		op.code = []OpCode{OpListNote, OpDefinitionSave, OpDefinitionDrop, OpErase, OpReadmit, OpDocumentPut, OpDocumentDrop, OpSegmentShare}[m.rnd.IntN(8)]
	}
	name := []string{"vip", "A\u030a", "one two"}[m.rnd.IntN(3)]
	keys := m.keys()
	switch op.code {
	case OpDelete:
		keys = append(keys, "gone")
		m.b.Delete(keys...)
	case OpErase:
		keys = append(keys, "gone")
		op.text = shorten(m.word(), MaxReference)
		m.b.Erase(op.text, keys...)
	case OpReadmit:
		keys = append(keys, "gone")
		m.b.Readmit(keys...)
	case OpSchemaChange:
		op.change = schema.Change{Op: schema.ChangeOp(1 + m.rnd.IntN(21)), Name: "n", To: "m", Event: "Å", Retention: m.rnd.Uint32(), Class: schema.Activity, Text: "A\u030a == " + m.word(), Attribute: schema.Attribute{Name: "n",
			Kind: schema.String, Format: "email", Allowed: []schema.Value{schema.StringValue("x")}, PII: true}}
		loose := op.change
		loose.Event = "A\u030a"
		m.b.Change(loose)
	case OpSegmentSave:
		op.text = m.word()
		m.b.SaveSegment(name, op.text)
	case OpSegmentDrop:
		m.b.DropSegment(name)
	case OpSegmentShare:
		m.b.ShareSegment(name)
	case OpListPut:
		m.b.ListPut(name, keys...)
	case OpListAdd:
		m.b.ListAdd(name, keys...)
	case OpListRemove:
		m.b.ListRemove(name, keys...)
	case OpListDrop:
		m.b.ListDrop(name)
	case OpListNote:
		op.text = strings.ToValidUTF8(m.word(), "\ufffd")
		m.b.ListNote(name, op.text)
	case OpDefinitionSave:
		op.definition = m.definition(norm.NFC.String(name))
		loose := *op.definition
		loose.Name = name
		m.b.SaveDefinition(&loose)
	case OpDefinitionDrop:
		op.definition = &Definition{Analysis: "rfm", Name: norm.NFC.String(name)}
		m.b.DropDefinition("rfm", name)
	case OpDocumentPut:
		op.document = m.document(name)
	case OpDocumentDrop:
		op.document = &plainDocument{name: norm.NFC.String(name)}
		m.b.DropDocument(name)
	case OpQuarantined:
		m.quarantined(&op)
	case OpTick:
		m.b.Tick()
	}
	unnamed := op.code == OpDelete || op.code == OpErase || op.code == OpReadmit
	if op.code != OpTick && !unnamed && op.code != OpSchemaChange && op.code != OpQuarantined && op.definition == nil && op.document == nil {
		op.name = norm.NFC.String(name)
	}
	if unnamed || op.code >= OpListPut && op.code <= OpListRemove {
		for _, k := range keys {
			op.keys = append(op.keys, norm.NFC.String(k))
		}
	}
	m.want.ops = append(m.want.ops, op)
}

// TestRandom builds random batches with one builder, decodes them with one decoder,
// and compares with plain values.
func TestRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	m := &maker{rnd: rand.New(rand.NewPCG(seed, 1)), b: New()}
	var dec Decoder
	for round := range 400 {
		m.want = plainBatch{strict: m.rnd.IntN(2) == 0}
		m.b.Strict(m.want.strict)
		if m.rnd.IntN(2) == 0 {
			m.want.source, m.want.run, m.want.sequence = "source", m.rnd.Uint64(), m.rnd.Uint64()
			m.b.Source("source", m.want.run, m.want.sequence)
		}
		for range m.rnd.IntN(6) {
			switch m.rnd.IntN(5) {
			case 0:
				m.upserts()
			case 1:
				m.acts(1 + m.rnd.IntN(60))
			case 2:
				rows := 1 + m.rnd.IntN(40)
				if m.rnd.IntN(20) == 0 {
					rows = 3000
				}
				m.table(rows)
			default:
				m.other()
			}
		}
		size, rows := m.b.RawSize(), m.b.Rows()
		enc, err := m.b.Encode()
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		h, _ := parseHeader(enc)
		if h.raw > size || size > h.raw+h.raw/2+200*len(m.want.ops)+50 {
			t.Fatalf("round %d: RawSize %d, is %d", round, size, h.raw)
		}
		got, err := dec.Decode(enc)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if got.Rows != rows {
			t.Fatalf("round %d: Rows %d, decoded %d", round, rows, got.Rows)
		}
		if p := plain(t, got); !reflect.DeepEqual(p, m.want) {
			diff(t, p, m.want)
			t.Fatalf("round %d differs", round)
		}
		checkUsed(t, got)
		again, err := m.b.Encode()
		if err != nil || !slices.Equal(again, enc) {
			t.Fatalf("round %d: a second Encode differs: %v", round, err)
		}
		m.b.Reset()
	}
}

// checkUsed fails if a builder left a string in a dictionary that no cell has.
func checkUsed(t *testing.T, d *Decoded) {
	t.Helper()
	for _, op := range d.Ops {
		bl := op.Block
		if op.Events != nil {
			bl = &op.Events.Block
			for code := range op.Events.Names.Len() {
				if !slices.Contains(op.Events.Event, uint32(code)) {
					t.Fatalf("no event is a %q", op.Events.Names.At(code))
				}
			}
		}
		if bl == nil {
			continue
		}
		for _, c := range bl.Columns {
			for code := range c.Dict.Len() {
				if !slices.Contains(c.Index, uint32(code)) {
					t.Fatalf("column %q: nobody has %q", c.Name, c.Dict.At(code))
				}
			}
		}
	}
}

func diff(t *testing.T, got, want plainBatch) {
	t.Helper()
	for i := range min(len(got.ops), len(want.ops)) {
		g, w := got.ops[i], want.ops[i]
		for j := range min(len(g.rows), len(w.rows)) {
			if !reflect.DeepEqual(g.rows[j], w.rows[j]) {
				t.Errorf("op %d row %d:\n got %v\nwant %v", i, j, g.rows[j], w.rows[j])
				return
			}
		}
		g.rows, w.rows = nil, nil
		if !reflect.DeepEqual(g, w) {
			t.Errorf("op %d:\n got %+v\nwant %+v", i, g, w)
		}
	}
	t.Errorf("%d ops, want %d", len(got.ops), len(want.ops))
}

// TestExtremes covers the widths and the ends of the kinds' ranges.
func TestExtremes(t *testing.T) {
	for _, values := range [][]int64{{5}, {5, 5}, {0, 255}, {0, 256}, {-1, 65535}, {0, 1 << 32}, {math.MinInt64, math.MaxInt64}, {math.MinInt64}, {math.MaxInt64, math.MaxInt64 - 255}} {
		b := New()
		tab := b.Table([]Column{{Name: "n", Kind: schema.Int}})
		for _, v := range values {
			tab.Row([]byte("k"))
			tab.Int(0, v)
		}
		enc, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		d, err := Decode(enc)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Ops[0].Block.Columns[0].Ints; !slices.Equal(got, values) {
			t.Errorf("%d became %d", values, got)
		}
	}
}

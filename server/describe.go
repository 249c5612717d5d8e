package server

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/audit"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

// knownNames are the names of a schema: what may be written down as it is.
type knownNames struct {
	version uint64
	names   map[string]bool
}

// known returns the names of the current schema.
func (r *recorder) known(ctx context.Context) map[string]bool {
	db := r.s.store.db()
	if db == nil {
		return nil
	}
	s, err := db.Schema(ctx)
	if err != nil {
		return nil // then nothing is known
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.names != nil && r.names.version == s.Version {
		return r.names.names
	}
	k := &knownNames{version: s.Version, names: map[string]bool{}}
	for a := range s.All() {
		k.names[a.Name] = true
	}
	for i := range s.Events {
		k.names[s.Events[i].Name] = true
	}
	for i := range s.Computed {
		k.names[s.Computed[i].Name] = true
	}
	for i := range s.Lent {
		for j := range s.Lent[i].Fields {
			k.names[s.Lent[i].Fields[j].Field] = true
		}
	}
	r.names = k
	return k.names
}

// description collects what a record says of a request.
type description struct {
	*audit.Record
	store    *audit.Store
	known    map[string]bool
	answered bool // so that what it names is there
}

// describe says what was asked. Of a call that was answered all names are there; of another one what is
// not a name of the schema is hashed, as values are.
func (r *recorder) describe(ctx context.Context, m proto.Message, answered bool) (out audit.Record) {
	if m == nil {
		return out
	}
	d := &description{Record: &out, store: r.store, known: r.known(ctx), answered: answered}
	switch m := m.(type) {
	case *pb.ApplyRequest:
		d.batch(m.GetBatch())
	case *pb.IngestRequest:
		d.batch(m.GetBatch())
	case *pb.EraseRequest:
		d.people(m.GetKeys())
	case *pb.ReadmitRequest:
		d.people(m.GetKeys())
	case *pb.ProfileRequest:
		d.people([]string{m.GetKey()})
		if m.GetAttribute() != "" {
			d.name(m.GetAttribute())
		}
	case *pb.KeepLogRequest:
		d.What = fmt.Sprintf("on: %v", m.GetOn())
	case *pb.CreateKeyRequest:
		d.Names = []string{m.GetName(), m.GetRole()}
	case *pb.RevokeKeyRequest:
		d.Names = []string{m.GetId()}
	case *pb.SaveRoleRequest:
		d.Names = []string{m.GetName()}
	case *pb.DropRoleRequest:
		d.Names = []string{m.GetName()}
	case *pb.ClusterJoinRequest:
		d.Names = []string{m.GetId()}
	case *pb.ClusterRemoveRequest:
		d.Names = []string{m.GetId()}
	case *pb.ClusterTransferRequest:
		d.Names = []string{m.GetId()}
	case *pb.AuditRequest:
		if m.GetKey() != "" {
			d.people([]string{m.GetKey()})
		}
	default:
		d.question(m)
	}
	return out
}

// question describes what most questions have.
func (d *description) question(m proto.Message) {
	if q, ok := m.(interface{ GetAnalysis() string }); ok && d.answered {
		d.Names = append(d.Names, q.GetAnalysis())
	}
	if q, ok := m.(interface{ GetExpression() string }); ok {
		d.expression(q.GetExpression())
	}
	if q, ok := m.(interface{ GetWho() string }); ok && q.GetWho() != "" {
		d.expression(q.GetWho())
	}
	if q, ok := m.(interface{ GetKey() string }); ok {
		d.people([]string{q.GetKey()})
	}
	if q, ok := m.(interface{ GetBy() string }); ok && q.GetBy() != "" {
		d.name(q.GetBy())
	}
	if q, ok := m.(interface{ GetAttribute() string }); ok {
		d.name(q.GetAttribute())
	}
	if q, ok := m.(interface{ GetEvents() []string }); ok {
		d.name(q.GetEvents()...)
	}
	if q, ok := m.(interface{ GetListing() *pb.ListingOptions }); ok {
		d.name(q.GetListing().GetAttributes()...)
		if by := q.GetListing().GetOrderBy(); by != "" {
			d.name(by)
		}
	}
}

func (d *description) expression(text string) {
	var names []string
	d.What, names = d.store.Shape(text, func(name string) bool { return d.known[name] }, d.answered)
	d.Names = append(d.Names, names...)
}

// name adds names of the schema, and hashes of what is none.
func (d *description) name(names ...string) {
	for _, name := range names {
		if !d.known[name] {
			name = "#" + d.store.Hash(name).String()
		}
		if !slices.Contains(d.Names, name) {
			d.Names = append(d.Names, name)
		}
	}
}

// people adds the hashes of keys of people.
func (d *description) people(keys []string) {
	d.Count += uint64(len(keys))
	for i, key := range keys {
		if len(d.Keys) == audit.MaxKeys {
			d.MoreKeys += uint64(len(keys) - i)
			return
		}
		d.Keys = append(d.Keys, d.store.Hash(key))
	}
}

// ops are what the ops of a batch are called.
//
//tidy:constant
var ops = map[batch.OpCode]string{
	batch.OpUpsert: "upsert", batch.OpDelete: "delete", batch.OpEvents: "events", batch.OpQuarantined: "quarantined", batch.OpTick: "tick",
	batch.OpSchemaChange: "schema change", batch.OpSegmentSave: "segment save", batch.OpSegmentShare: "segment share", batch.OpSegmentDrop: "segment drop",
	batch.OpListPut: "list put", batch.OpListAdd: "list add", batch.OpListRemove: "list remove", batch.OpListDrop: "list drop", batch.OpListNote: "list note",
	batch.OpDefinitionSave: "definition save", batch.OpDefinitionDrop: "definition drop", batch.OpErase: "erase", batch.OpReadmit: "readmit",
	batch.OpDocumentPut: "document put", batch.OpDocumentDrop: "document drop",
}

// batch describes a batch by its ops: how many rows of which kind, the attributes and other things that they
// name, and the people, if they are few.
func (d *description) batch(b batch.Batch) {
	decoded, err := batch.Decode(b)
	if err != nil {
		d.What = "no batch"
		return
	}
	rows, order := map[string]int{}, []string{}
	few := decoded.Rows <= audit.MaxKeys
	seen := map[string]bool{}
	for i := range decoded.Ops {
		op := &decoded.Ops[i]
		if op.Code == batch.OpOrigin {
			continue
		}
		word := ops[op.Code]
		if rows[word] == 0 {
			order = append(order, word)
		}
		rows[word] += max(op.Rows(), 1)
		d.op(op, few, seen)
	}
	for i, word := range order {
		order[i] = fmt.Sprintf("%s %d", word, rows[word])
	}
	d.What = strings.Join(order, ", ")
	d.Count = uint64(decoded.Rows)
}

// op describes an op of a batch.
func (d *description) op(op *batch.Op, few bool, seen map[string]bool) {
	once := func(name string, known bool) {
		if name == "" || seen[name] {
			return
		}
		seen[name] = true
		if known {
			d.Names = append(d.Names, name)
		} else {
			d.name(name)
		}
	}
	switch op.Code {
	case batch.OpQuarantined: // sources may be called anything
		once(op.Name, false)
	case batch.OpDocumentPut, batch.OpDocumentDrop: // and documents
		once(op.Document.Name, false)
	default:
		once(op.Name, true)
	}
	once(op.Change.Name, true)
	once(op.Change.To, true)
	once(op.Change.Event, true)
	once(op.Change.Attribute.Name, true)
	if op.Definition != nil {
		once(op.Definition.Name, true)
	}
	keys := op.Keys
	block := op.Block
	if op.Events != nil {
		block = &op.Events.Block
		for i := range op.Events.Names.Len() {
			once(string(op.Events.Names.At(i)), false)
		}
	}
	if block != nil {
		keys = block.Keys
		for i := range block.Columns {
			once(block.Columns[i].Name, false)
		}
	}
	for i := range keys.Len() {
		if !few {
			return
		}
		h := d.store.Hash(string(keys.At(i)))
		if !seen[string(h[:])] {
			seen[string(h[:])] = true
			d.Keys = append(d.Keys, h)
		}
	}
}

// describeAnswer adds what the first message of an answer says.
func (r *recorder) describeAnswer(out *audit.Record, m proto.Message) {
	answer := func(a *pb.Answer) {
		out.Position, _ = query.ParsePosition(a.GetPosition())
	}
	if a, ok := m.(interface{ GetAnswer() *pb.Answer }); ok {
		answer(a.GetAnswer())
	}
	switch m := m.(type) {
	case *pb.MembersResponse:
		answer(m.GetHead().GetAnswer())
		out.Count = m.GetHead().GetTotal()
	case *pb.AnalysisMembersResponse:
		answer(m.GetHead().GetAnswer())
		out.Count = m.GetHead().GetTotal()
	case *pb.BitmapResponse:
		out.Position, _ = query.ParsePosition(m.GetMembers().GetPosition())
	case *pb.ProfileResponse:
		if h := r.store.Hash(m.GetKey()); m.GetKey() != "" && out.Keys[0] != h { // it was found by another attribute
			out.Keys = append(out.Keys, h)
		}
	case *pb.WhyResponse:
		if h := r.store.Hash(m.GetKey()); m.GetKey() != "" && out.Keys[0] != h {
			out.Keys = append(out.Keys, h)
		}
	case *pb.QuarantineResponse:
		out.Count = uint64(len(m.GetRows()))
	}
}

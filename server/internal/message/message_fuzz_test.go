package message

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

// FuzzReader reads arbitrary bytes as each message that is more than a few numbers: nothing
// panics, what is wrong is an error with a code, and what is read is written as it was read.
func FuzzReader(f *testing.F) {
	s := schema.New(3, 20, []schema.Attribute{{ID: 16, Name: "age", Kind: schema.Int, Min: schema.IntValue(0)}, {ID: 17, Name: "ltv", Kind: schema.Decimal, Scale: 2,
		Allowed: []schema.Value{schema.DecimalValue(100, 2)}}, {ID: 18, Name: "plan", Kind: schema.String, History: true, Changes: 19}},
		schema.Event{ID: 20, Name: "buy", Properties: []schema.Attribute{{ID: 21, Name: "at", Kind: schema.Date}}})
	block := &pb.MemberBlock{Keys: []string{"a", "b"}, Ordinals: []uint32{1, 2}, Columns: []*pb.Column{{}}}
	AppendColumn(block.Columns[0], schema.Decimal, 0, schema.DecimalValue(-1, 2))
	AppendColumn(block.Columns[0], schema.Decimal, 1, schema.Value{})
	why := &query.Why{Key: "a", Root: query.WhyPart{Op: "and", Of: []query.WhyPart{{Values: []query.AttributeValue{{Name: "x", Value: schema.SetValue("a", "b")}}}}}}
	for _, m := range []proto.Message{OfSchema(s), block, OfWhy(why), OfReport(&query.Report{Tables: []query.ReportTable{{Columns: []query.ReportColumn{{Name: "n"}}}}}),
		OfStats(&query.Stats{Position: query.Position{Epoch: 1, Applied: 2}}), OfBackup(&query.BackupReport{}), OfPlan(&query.Plan{})} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		read(t, b, &pb.SchemaResponse{}, func(r *Reader, m *pb.SchemaResponse) proto.Message { return OfSchema(r.Schema(m)) })
		read(t, b, &pb.ProfileResponse{}, func(r *Reader, m *pb.ProfileResponse) proto.Message { p := r.Profile(m); return OfProfile(&p) })
		read(t, b, &pb.WhyResponse{}, func(r *Reader, m *pb.WhyResponse) proto.Message { w := r.Why(m); return OfWhy(&w) })
		read(t, b, &pb.PlanResponse{}, func(r *Reader, m *pb.PlanResponse) proto.Message { p := r.Plan(m); return OfPlan(&p) })
		read(t, b, &pb.AnalyzeResponse{}, func(r *Reader, m *pb.AnalyzeResponse) proto.Message { a := r.Report(m); return OfReport(&a) })
		read(t, b, &pb.BreakdownResponse{}, func(r *Reader, m *pb.BreakdownResponse) proto.Message { a := r.Breakdown(m); return OfBreakdown(&a) })
		read(t, b, &pb.StatsResponse{}, func(r *Reader, m *pb.StatsResponse) proto.Message { a := r.Stats(m); return OfStats(&a) })
		read(t, b, &pb.BackupReport{}, func(r *Reader, m *pb.BackupReport) proto.Message { a := r.Backup(m); return OfBackup(&a) })
		read(t, b, &pb.Result{}, func(r *Reader, m *pb.Result) proto.Message { a := r.Result(m); return OfResult(&a) })
		read(t, b, &pb.Receipt{}, func(r *Reader, m *pb.Receipt) proto.Message { return OfReceipt(r.Receipt(m)) })
		var e pb.Error
		if proto.Unmarshal(b, &e) == nil {
			var q *query.Error
			if err := Error(&e); err.Error() == "" && e.GetMessage() != "" || !errors.As(err, &q) || q.Pretty() == "" && e.GetMessage() != "" {
				t.Errorf("%v makes %v", &e, err)
			}
		}
		var c pb.Column
		if proto.Unmarshal(b, &c) == nil {
			for kind := schema.Bool; kind <= schema.Set; kind++ {
				var r Reader
				dst := make([]schema.Value, 3)
				r.Column(&c, &schema.Attribute{Kind: kind, Scale: uint8(len(b) % 19)}, len(dst), dst, 1)
			}
		}
	})
}

// read reads bytes as a message and writes what they say; what that says is the same.
func read[M proto.Message](t *testing.T, b []byte, m M, again func(r *Reader, m M) proto.Message) {
	t.Helper()
	if proto.Unmarshal(b, m) != nil {
		return
	}
	var r Reader
	first := again(&r, m)
	if r.Err() != nil {
		if !errors.Is(r.Err(), &query.Error{Code: query.CodeInvalid}) {
			t.Errorf("%v has no code", r.Err())
		}
		return
	}
	second := again(&r, first.(M))
	if r.Err() != nil || !proto.Equal(first, second) {
		t.Errorf("%v, read again, is %v (%v)", first, second, r.Err())
	}
}

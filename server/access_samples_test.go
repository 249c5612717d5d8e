package server

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/access"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

// sample is a request of one call, about one object.
type sample struct {
	about  string // what kind of object: of one kind there are several samples
	object string // "own", "foreign", "unknown" to the role italy; "": none
	req    proto.Message
	needs  access.Right // beside those of the call
}

// about are requests about an object that exists for the role italy, one that exists for others
// only, and one that does not exist.
func about(kind string, req func(name string) proto.Message, own, foreign, unknown string) []sample {
	return []sample{{kind, "own", req(own), 0}, {kind, "foreign", req(foreign), 0}, {kind, "unknown", req(unknown), 0}}
}

func ofPerson(req func(key string) proto.Message) []sample {
	return about("person", req, "p02", "p03", "nobody")
}

func ofAttribute(req func(name string) proto.Message) []sample {
	return about("attribute", req, "country", "email", "nothing")
}

// ofExpression are requests with expressions.
func ofExpression(req func(expr string) proto.Message) []sample {
	return slices.Concat(about("segment", req, `in_segment("plain")`, `in_segment("secret")`, `in_segment("nothing")`),
		about("what a segment reads", req, `in_segment("plain")`, `in_segment("mail")`, `in_segment("nothing")`),
		about("list", req, `in_list("others")`, `in_list("friends")`, `in_list("nothing")`),
		about("attribute in an expression", req, `n > 3`, `email == "a"`, `nothing == "a"`),
		about("masked in an expression", req, `n > 3`, `phone == "a"`, `nothing == "a"`))
}

// ofLease are requests about a snapshot that is another caller's.
func ofLease(req func(name string) proto.Message) []sample {
	return []sample{{"snapshot", "foreign", req(foreignLease), 0}, {"snapshot", "unknown", req("unknown"), 0}}
}

func one(req proto.Message) []sample { return []sample{{"", "", req, 0}} }

// samples are requests of every call.
func samples(t *testing.T) map[string][]sample {
	listing := &pb.ListingOptions{Attributes: []string{"n"}}
	set := func(e string) map[string]*pb.Strings {
		return map[string]*pb.Strings{"set": {Values: []string{e, "true"}}}
	}
	asked := map[string][]sample{
		"Count": append(ofExpression(func(e string) proto.Message { return &pb.CountRequest{Expression: e} }),
			ofLease(func(n string) proto.Message {
				return &pb.CountRequest{Expression: "true", Question: &pb.Question{Snapshot: n}}
			})...),
		"Breakdown": ofAttribute(func(n string) proto.Message { return &pb.BreakdownRequest{Expression: "true", Attribute: n} }),
		"Values":    ofAttribute(func(n string) proto.Message { return &pb.ValuesRequest{Attribute: n} }),
		"Plan":      ofExpression(func(e string) proto.Message { return &pb.PlanRequest{Expression: e} }),
		"Explain":   ofExpression(func(e string) proto.Message { return &pb.ExplainRequest{Expression: e} }),
		"Analyze":   ofExpression(func(e string) proto.Message { return &pb.AnalyzeRequest{Analysis: "compare", Who: e} }),
		"Members":   ofExpression(func(e string) proto.Message { return &pb.MembersRequest{Expression: e, Listing: listing} }),
		"AnalysisMembers": ofExpression(func(e string) proto.Message {
			return &pb.AnalysisMembersRequest{Analysis: "overlap", Arguments: set(e), Cell: "in:A", Listing: listing}
		}),
		"Bitmap":   ofExpression(func(e string) proto.Message { return &pb.BitmapRequest{Expression: e} }),
		"Profile":  ofPerson(func(k string) proto.Message { return &pb.ProfileRequest{Key: k} }),
		"Timeline": ofPerson(func(k string) proto.Message { return &pb.TimelineRequest{Key: k} }),
		"Why":      ofPerson(func(k string) proto.Message { return &pb.WhyRequest{Key: k, Expression: "n > 3"} }),
		"Export":   ofPerson(func(k string) proto.Message { return &pb.ExportRequest{Key: k} }),
	}
	others := map[string][]sample{
		"Ping": one(&pb.PingRequest{}), "Whoami": one(&pb.WhoamiRequest{}), "Schema": one(&pb.SchemaRequest{}), "Segments": one(&pb.SegmentsRequest{}),
		"Lists": one(&pb.ListsRequest{}), "Definitions": one(&pb.DefinitionsRequest{}), "OpenSnapshot": one(&pb.OpenSnapshotRequest{}),
		"RenewSnapshot": ofLease(func(n string) proto.Message { return &pb.RenewSnapshotRequest{Snapshot: n} }),
		"CloseSnapshot": ofLease(func(n string) proto.Message { return &pb.CloseSnapshotRequest{Snapshot: n} }),
		"Erase":         one(&pb.EraseRequest{Keys: []string{"never"}}), "Readmit": one(&pb.ReadmitRequest{Keys: []string{"never"}}),
		"Erased": one(&pb.ErasedRequest{}), "Purge": one(&pb.PurgeRequest{}), "Receipts": one(&pb.ReceiptsRequest{}), "Quarantine": one(&pb.QuarantineRequest{}),
		"Stats": one(&pb.StatsRequest{}), "Digests": one(&pb.DigestsRequest{}), "Check": one(&pb.CheckRequest{}), "Repair": one(&pb.RepairRequest{}),
		"Compact": one(&pb.CompactRequest{}), "ExportAll": one(&pb.ExportAllRequest{}), "Backup": one(&pb.BackupRequest{Target: "x"}),
		"BackupLedger": one(&pb.BackupLedgerRequest{Target: "x"}), "KeepLog": one(&pb.KeepLogRequest{}), "ShipLog": one(&pb.ShipLogRequest{Target: "x"}),
		"Running": one(&pb.RunningRequest{}), "CancelRunning": one(&pb.CancelRunningRequest{Id: "0"}),
		"Keys": one(&pb.KeysRequest{}), "CreateKey": one(&pb.CreateKeyRequest{Name: "n", Role: "reader"}), "RevokeKey": one(&pb.RevokeKeyRequest{Id: "nothing"}),
		"Roles": one(&pb.RolesRequest{}), "SaveRole": one(&pb.SaveRoleRequest{Name: "another"}), "DropRole": one(&pb.DropRoleRequest{Name: "nothing"}),
		"ClusterStatus": one(&pb.ClusterStatusRequest{}), "ClusterJoin": one(&pb.ClusterJoinRequest{Id: "n2"}), "ClusterRemove": one(&pb.ClusterRemoveRequest{Id: "n2"}),
		"ClusterTransfer": one(&pb.ClusterTransferRequest{}), "ClusterUpgrade": one(&pb.ClusterUpgradeRequest{Hold: true}),
		"Audit": one(&pb.AuditRequest{}), "VerifyAudit": one(&pb.VerifyAuditRequest{}),
	}
	maps.Copy(others, asked)
	for code, b := range opSamples(t) {
		for call, req := range map[string]proto.Message{"Apply": &pb.ApplyRequest{Batch: b}, "DryRun": &pb.DryRunRequest{Batch: b}, "Ingest": &pb.IngestRequest{Batch: b}} {
			others[call] = append(others[call], sample{"op", fmt.Sprint("op ", code), req, access.Ops[code]})
		}
	}
	return others
}

// opSamples are a batch of each op.
func opSamples(t *testing.T) map[batch.OpCode]batch.Batch {
	out := map[batch.OpCode]batch.Batch{}
	for code, do := range map[batch.OpCode]func(b *batch.Builder){
		batch.OpUpsert: func(b *batch.Builder) { b.Upsert("never").Set("n", schema.IntValue(1)) }, batch.OpDelete: func(b *batch.Builder) { b.Delete("never") },
		batch.OpSchemaChange: func(b *batch.Builder) { b.Change(schema.Change{Op: schema.AddEvent, Event: "another"}) },
		batch.OpSegmentSave:  func(b *batch.Builder) { b.SaveSegment("saved", "n > 5") }, batch.OpSegmentDrop: func(b *batch.Builder) { b.DropSegment("nothing") },
		batch.OpSegmentShare: func(b *batch.Builder) { b.ShareSegment("plain") },
		batch.OpListPut:      func(b *batch.Builder) { b.ListPut("saved", "p00") }, batch.OpListAdd: func(b *batch.Builder) { b.ListAdd("saved", "p00") },
		batch.OpListRemove: func(b *batch.Builder) { b.ListRemove("saved", "p00") }, batch.OpListDrop: func(b *batch.Builder) { b.ListDrop("nothing") },
		batch.OpListNote: func(b *batch.Builder) { b.ListNote("others", "note") }, batch.OpTick: func(b *batch.Builder) { b.Tick() },
		batch.OpQuarantined: func(b *batch.Builder) {
			b.Quarantine("f", batch.BadRow{Line: 1, Reason: batch.ReasonSyntax, Raw: "x"})
		},
		batch.OpOrigin: func(b *batch.Builder) { b.Upsert("never"); b.Origin("f", 1) },
		batch.OpEvents: func(b *batch.Builder) { b.Events(nil).Row([]byte("never"), []byte("buy"), 1) },
		batch.OpDefinitionSave: func(b *batch.Builder) {
			b.SaveDefinition(&batch.Definition{Analysis: "rfm", Name: "d", Arguments: query.Arguments{"event": {"buy"}}})
		},
		batch.OpDefinitionDrop: func(b *batch.Builder) { b.DropDefinition("rfm", "nothing") },
		batch.OpErase:          func(b *batch.Builder) { b.Erase("", "never") }, batch.OpReadmit: func(b *batch.Builder) { b.Readmit("never") },
		batch.OpDocumentPut: func(b *batch.Builder) { b.PutDocument("test/a", nil) }, batch.OpDocumentDrop: func(b *batch.Builder) { b.DropDocument("test/nothing") },
	} {
		b := batch.New()
		do(b)
		out[code] = encode(t, b)
		if kinds, err := batch.Kinds(out[code]); err != nil || !slices.Contains(kinds, code) {
			t.Errorf("the sample of op %d has %v, %v", code, kinds, err)
		}
	}
	return out
}

// foreignLease stands for a snapshot that somebody else has open.
const foreignLease = "somebody else's"

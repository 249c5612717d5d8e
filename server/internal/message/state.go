package message

import (
	"maps"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

// OfSegments writes the saved segments.
func OfSegments(list []query.SavedSegment) []*pb.Segment {
	return each(list, func(s *query.SavedSegment) *pb.Segment {
		out := &pb.Segment{Name: s.Name, Text: s.Text, Saved: OfPosition(s.Saved), Uses: s.Uses, UsedBy: s.UsedBy,
			Shared: s.Shared, Withheld: s.Withheld, Pii: s.PII, Classes: each(s.Classes, func(c *schema.DataClass) pb.DataClass { return pb.DataClass(*c) })}
		if o := s.Owner; o.ID != "" {
			out.Owner = &pb.Author{Id: o.ID, Name: OfText(o.Name), Role: o.Role}
		}
		return out
	})
}

// Segments reads the saved segments.
func (r *Reader) Segments(list []*pb.Segment) []query.SavedSegment {
	return every(list, func(s *pb.Segment) query.SavedSegment {
		out := query.SavedSegment{Name: s.GetName(), Text: s.GetText(), Saved: r.Position(s.GetSaved()), Uses: s.GetUses(), UsedBy: s.GetUsedBy(),
			Shared: s.GetShared(), Withheld: s.GetWithheld(), PII: s.GetPii(), Owner: query.Author{ID: s.GetOwner().GetId(), Name: s.GetOwner().GetName(), Role: s.GetOwner().GetRole()}}
		for _, c := range s.GetClasses() {
			if !known(c) {
				r.fail("the data class %d", c)
				break
			}
			out.Classes = append(out.Classes, schema.DataClass(c))
		}
		return out
	})
}

// OfLists writes the lists.
func OfLists(list []query.SavedList) []*pb.List {
	return each(list, func(l *query.SavedList) *pb.List {
		return &pb.List{Name: l.Name, Code: l.Code, People: l.People, Saved: OfPosition(l.Saved), Note: l.Note, Withheld: l.Withheld}
	})
}

// Lists reads the lists.
func (r *Reader) Lists(list []*pb.List) []query.SavedList {
	return every(list, func(l *pb.List) query.SavedList {
		return query.SavedList{Name: l.GetName(), Code: l.GetCode(), People: l.GetPeople(), Saved: r.Position(l.GetSaved()), Note: l.GetNote(), Withheld: l.GetWithheld()}
	})
}

// OfDefinitions writes the saved analyses.
func OfDefinitions(list []query.SavedDefinition) []*pb.Definition {
	return each(list, func(d *query.SavedDefinition) *pb.Definition {
		return &pb.Definition{Analysis: d.Analysis, Name: d.Name, Who: d.Who, Arguments: OfArguments(d.Arguments), Saved: OfPosition(d.Saved),
			Fields: d.Fields, UsedBy: d.UsedBy}
	})
}

// Definitions reads the saved analyses.
func (r *Reader) Definitions(list []*pb.Definition) []query.SavedDefinition {
	return every(list, func(d *pb.Definition) query.SavedDefinition {
		return query.SavedDefinition{Analysis: d.GetAnalysis(), Name: d.GetName(), Who: d.GetWho(), Arguments: r.Arguments(d.GetArguments()),
			Saved: r.Position(d.GetSaved()), Fields: d.GetFields(), UsedBy: d.GetUsedBy()}
	})
}

// OfQuarantined writes quarantined rows.
func OfQuarantined(list []query.QuarantinedRow) []*pb.QuarantinedRow {
	return each(list, func(q *query.QuarantinedRow) *pb.QuarantinedRow {
		out := &pb.QuarantinedRow{Seq: q.Seq, Source: OfText(q.Source), Line: q.Line, Reason: OfText(q.Reason), Detail: OfText(q.Detail), Received: OfTime(q.Received)}
		if utf8.ValidString(q.Raw) {
			out.Raw = q.Raw
		} else {
			out.RawBytes = []byte(q.Raw)
		}
		return out
	})
}

// Quarantined reads quarantined rows.
func (r *Reader) Quarantined(list []*pb.QuarantinedRow) []query.QuarantinedRow {
	return every(list, func(q *pb.QuarantinedRow) query.QuarantinedRow {
		return query.QuarantinedRow{Seq: q.GetSeq(), Source: q.GetSource(), Line: q.GetLine(), Reason: q.GetReason(), Detail: q.GetDetail(),
			Raw: q.GetRaw() + string(q.GetRawBytes()), Received: r.Time(q.GetReceived())}
	})
}

// OfStats writes what an operator wants to know.
func OfStats(s *query.Stats) *pb.StatsResponse {
	return &pb.StatsResponse{
		Position: OfPosition(s.Position), Store: s.Store, Format: uint32(s.Format), Profiles: s.Profiles, Ordinals: s.Ordinals, Attributes: uint32(s.Attributes),
		Events: s.Events, EventsPast: s.EventsPast, EventsDropped: s.EventsDropped, Changes: s.Changes, SchemaVersion: s.SchemaVersion,
		Segments: uint32(s.Segments), Lists: uint32(s.Lists), Quarantined: s.Quarantined, HeadRows: s.HeadRows, HeadBytes: s.HeadBytes,
		LogRecords: s.LogRecords, LogBytes: s.LogBytes, KeptLog: ofKeptLog(&s.KeptLog), BaseBytes: s.BaseBytes, DiskBytes: s.DiskBytes, CacheBytes: s.CacheBytes,
		MemoryBudget: s.MemoryBudget, MemoryUsed: s.MemoryUsed, Written: s.Written, Amplification: s.Amplification,
	}
}

// Stats reads what an operator wants to know.
func (r *Reader) Stats(m *pb.StatsResponse) query.Stats {
	return query.Stats{
		Position: r.Position(m.GetPosition()), Store: m.GetStore(), Format: int(m.GetFormat()), Profiles: m.GetProfiles(), Ordinals: m.GetOrdinals(),
		Attributes:    int(m.GetAttributes()),
		Recorded:      query.Recorded{Events: m.GetEvents(), EventsPast: m.GetEventsPast(), EventsDropped: m.GetEventsDropped(), Changes: m.GetChanges()},
		SchemaVersion: m.GetSchemaVersion(), Segments: int(m.GetSegments()), Lists: int(m.GetLists()), Quarantined: m.GetQuarantined(),
		HeadRows: m.GetHeadRows(), HeadBytes: m.GetHeadBytes(), BaseBytes: m.GetBaseBytes(),
		Logged:    query.Logged{LogRecords: m.GetLogRecords(), LogBytes: m.GetLogBytes(), KeptLog: r.keptLog(m.GetKeptLog())},
		DiskBytes: m.GetDiskBytes(), CacheBytes: m.GetCacheBytes(), MemoryBudget: m.GetMemoryBudget(), MemoryUsed: m.GetMemoryUsed(),
		Written: m.GetWritten(), Amplification: m.GetAmplification(),
	}
}

func ofKeptLog(k *query.KeptLog) *pb.KeptLog {
	return &pb.KeptLog{On: k.On, Target: k.Target, First: OfPosition(k.First), Records: k.Records, Bytes: k.Bytes, Broken: k.Broken}
}

func (r *Reader) keptLog(m *pb.KeptLog) query.KeptLog {
	return query.KeptLog{On: m.GetOn(), Target: m.GetTarget(), First: r.Position(m.GetFirst()), Records: m.GetRecords(), Bytes: m.GetBytes(), Broken: m.GetBroken()}
}

// OfShipped writes what the shipping of a log has done.
func OfShipped(o *query.ShipReport) *pb.ShipLogResponse {
	out := &pb.ShipLogResponse{Records: o.Records, Objects: uint32(o.Objects), Bytes: o.Bytes, Sealed: uint32(o.Sealed), Kept: ofKeptLog(&o.Kept)}
	if o.Records > 0 {
		out.From, out.To = OfPosition(o.From), OfPosition(o.To)
	}
	return out
}

// Shipped reads what the shipping of a log has done.
func (r *Reader) Shipped(m *pb.ShipLogResponse) query.ShipReport {
	out := query.ShipReport{Records: m.GetRecords(), Objects: int(m.GetObjects()), Bytes: m.GetBytes(), Sealed: int(m.GetSealed()), Kept: r.keptLog(m.GetKept())}
	if m.GetRecords() > 0 {
		out.From, out.To = r.Position(m.GetFrom()), r.Position(m.GetTo())
	}
	return out
}

// OfResult writes the outcome of a batch.
func OfResult(b *batch.Result) *pb.Result {
	out := &pb.Result{Position: OfPosition(b.Position), Received: b.Received, Accepted: b.Accepted, Quarantined: b.Quarantined, Duplicates: b.Duplicates,
		Refused: b.Refused, Created: b.Created, Repeat: b.Repeated,
		Rejected: each(b.Rejected, func(j *batch.Rejected) *pb.Rejected {
			return &pb.Rejected{Row: uint32(j.Row), Line: j.Line, Reason: uint32(j.Reason), Detail: OfText(j.Detail)}
		})}
	for _, reason := range slices.Sorted(maps.Keys(b.Reasons)) {
		out.Reasons = append(out.Reasons, &pb.Reason{Code: uint32(reason), Text: reason.String(), Rows: b.Reasons[reason]})
	}
	return out
}

// Result reads the outcome of a batch.
func (r *Reader) Result(m *pb.Result) batch.Result {
	reason := func(code uint32) batch.Reason {
		if code > 255 {
			r.fail("a reason %d", code)
		}
		return batch.Reason(code)
	}
	out := batch.Result{Position: r.Position(m.GetPosition()), Received: m.GetReceived(), Accepted: m.GetAccepted(), Quarantined: m.GetQuarantined(),
		Duplicates: m.GetDuplicates(), Refused: m.GetRefused(), Created: m.GetCreated(), Repeated: m.GetRepeat(),
		Rejected: every(m.GetRejected(), func(j *pb.Rejected) batch.Rejected {
			return batch.Rejected{Row: int(j.GetRow()), Line: j.GetLine(), Reason: reason(j.GetReason()), Detail: j.GetDetail()}
		})}
	for _, n := range m.GetReasons() {
		if out.Reasons == nil {
			out.Reasons = map[batch.Reason]uint64{}
		}
		out.Reasons[reason(n.GetCode())] = n.GetRows()
	}
	return out
}

// OfErased writes an entry of the ledger of erased people.
func OfErased(p *query.ErasedPerson) *pb.ErasedPerson {
	return &pb.ErasedPerson{Name: p.Name, Erased: OfTime(p.Erased), Position: OfPosition(p.Position), Readmitted: OfTime(p.Readmitted), Reference: OfText(p.Reference)}
}

// Erased reads an entry of the ledger of erased people.
func (r *Reader) Erased(m *pb.ErasedPerson) query.ErasedPerson {
	return query.ErasedPerson{Name: m.GetName(), Erased: r.Time(m.GetErased()), Position: r.Position(m.GetPosition()), Readmitted: r.Time(m.GetReadmitted()), Reference: m.GetReference()}
}

// OfReceipt writes what a purge has removed; nil is nil.
func OfReceipt(q *query.Receipt) *pb.Receipt {
	if q == nil {
		return nil
	}
	return &pb.Receipt{Position: OfPosition(q.Position), Started: OfTime(q.Started), Finished: OfTime(q.Finished), People: q.People, Names: q.Names,
		Ordinals: q.Ordinals, Events: q.Events, Quarantined: q.Quarantined, Refused: q.Refused, Strings: q.Strings, Files: q.Files, Bytes: q.Bytes,
		Values: q.Values, Shared: q.Shared, Hits: q.Hits, Where: OfTexts(q.Where), Missing: q.Missing}
}

// Receipt reads what a purge has removed; nil is nil.
func (r *Reader) Receipt(m *pb.Receipt) *query.Receipt {
	if m == nil {
		return nil
	}
	return &query.Receipt{Position: r.Position(m.GetPosition()), Started: r.Time(m.GetStarted()), Finished: r.Time(m.GetFinished()), People: m.GetPeople(),
		Names: m.GetNames(), Ordinals: m.GetOrdinals(), Events: m.GetEvents(), Quarantined: m.GetQuarantined(), Refused: m.GetRefused(), Strings: m.GetStrings(),
		Files: m.GetFiles(), Bytes: m.GetBytes(), Values: m.GetValues(), Shared: m.GetShared(), Hits: m.GetHits(), Where: m.GetWhere(), Missing: m.GetMissing()}
}

// OfBackup writes what the making of a backup has done.
func OfBackup(b *query.BackupReport) *pb.BackupReport {
	return &pb.BackupReport{Name: b.Name, Store: b.Store, Root: b.Root, Position: OfPosition(b.Position), Received: OfTime(b.Received), Created: OfTime(b.Created),
		Content: OfSum(b.Content), Chain: OfSum(b.Chain), Parent: b.Parent, Files: uint32(b.Files), Bytes: b.Bytes,
		SentObjects: uint32(b.SentObjects), SentBytes: b.SentBytes, SentRaw: b.SentRaw, Paused: durationpb.New(b.Paused)}
}

// Backup reads what the making of a backup has done.
func (r *Reader) Backup(m *pb.BackupReport) query.BackupReport {
	return query.BackupReport{
		Backup: query.Backup{Name: m.GetName(), Store: m.GetStore(), Root: m.GetRoot(), Position: r.Position(m.GetPosition()), Received: r.Time(m.GetReceived()),
			Created: r.Time(m.GetCreated()), Content: r.Sum(m.GetContent()), Chain: r.Sum(m.GetChain()), Parent: m.GetParent(), Files: int(m.GetFiles()), Bytes: m.GetBytes()},
		SentObjects: int(m.GetSentObjects()), SentBytes: m.GetSentBytes(), SentRaw: m.GetSentRaw(), Paused: r.Duration(m.GetPaused())}
}

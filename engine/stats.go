package engine

import (
	"context"

	"github.com/kantadb/kanta/engine/internal/base"
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Stats tells the state of the store: sizes, head, base, and what was written since open.
func (db *DB) Stats(ctx context.Context) (query.Stats, error) {
	return read(ctx, db, func(n *snapshot) (query.Stats, error) {
		s := n.s
		out := query.Stats{Position: s.pos, Store: db.kv.ID, Format: kv.Format, Ordinals: uint64(s.End), SchemaVersion: s.Schema.Version,
			Attributes: len(s.Schema.Attributes), Segments: len(s.segments), Lists: len(s.lists), Quarantined: s.badRows.next - s.badRows.first,
			BaseBytes: map[string]int64{}, MemoryBudget: db.opt.Memory}
		living, err := n.countNode(ctx, &query.Has{Attr: schema.KeyAttr})
		if err != nil {
			return out, err
		}
		out.Profiles = living
		for _, units := range s.Units {
			for _, u := range units {
				if u != nil {
					out.BaseBytes["columns"] += u.Columns
					out.BaseBytes["bitmaps"] += u.Bitmaps
				}
			}
		}
		for _, u := range s.Units[schema.KeyAttr] {
			if u != nil {
				out.BaseBytes["keys"] += u.Columns
				out.BaseBytes["columns"] -= u.Columns
			}
		}
		if err := db.actStats(s, &out); err != nil {
			return out, err
		}
		for _, r := range s.ids.Runs {
			out.BaseBytes["ids"] += r.Bytes
		}
		out.HeadBytes += idBytes * db.writer.ids.held.Load()
		for _, x := range s.Indexes {
			out.BaseBytes["indexes"] += int64(8 * x.Entries)
			out.HeadBytes += x.Delta.MemBytes()
			if x.Static != nil {
				out.CacheBytes += x.Static.ResidentBytes()
			}
		}
		out.KeptLog = s.kept()
		db.headStats(s, &out)
		db.writeStats(&out)
		out.DiskBytes, out.LogBytes, err = db.kv.Disk()
		return out, err
	})
}

func (db *DB) headStats(s *state, out *query.Stats) {
	for _, l := range s.Tiers.Frozen {
		out.HeadBytes += l.Bytes()
		out.HeadRows += uint64(l.Values)
	}
	if s.Tiers.Active != nil {
		out.HeadBytes += s.Tiers.Active.Bytes()
	}
	for _, list := range s.Tiers.Settled {
		for _, x := range list {
			if x != nil {
				out.HeadBytes += x.Bytes()
				out.HeadRows += uint64(len(x.Ords))
			}
		}
	}
	out.CacheBytes += db.cache.Used()
	for _, d := range s.Dicts {
		out.HeadBytes += d.Bytes()
	}
	out.HeadBytes += int64(s.documents.bytes)
	first := db.compactor.firstRecord.Load()
	if first > 0 && s.pos.Applied >= first {
		out.LogRecords = s.pos.Applied - first + 1
	}
}

func (db *DB) writeStats(out *query.Stats) {
	m := db.kv.Metrics()
	out.Written = map[string]int64{"batches": db.written.Load(), "wal": m.WAL, "flush": m.Flushed, "compact": m.Compacted, "ingest": m.Ingested}
	out.MemoryUsed = out.HeadBytes + out.CacheBytes + m.BlockCache + m.MemTables
	if b := db.written.Load(); b > 0 {
		sum := int64(0)
		for k, v := range out.Written {
			if k != "batches" {
				sum += v
			}
		}
		out.Amplification = float64(sum) / float64(b)
	}
}

// actStats counts the events and the changes: those in parts, and those in the head.
func (db *DB) actStats(s *state, out *query.Stats) error {
	chunks := (view.View{S: &s.State}).Chunks()
	for e := range s.Schema.Stored() {
		kind, n := "events", &out.Events
		if s.Schema.ChangedBy(e.ID) != nil {
			kind, n = "changes", &out.Changes
		}
		horizon := s.Horizon(e)
		for _, u := range s.Acts[e.ID] {
			if u == nil {
				continue
			}
			out.EventsDropped += u.Dropped
			for _, p := range u.Parts {
				*n += p.Events
				out.BaseBytes[kind] += p.Bytes
				out.BaseBytes["presence"] += p.DayBytes
			}
			if u.Facts != nil {
				out.BaseBytes["facts"] += u.Facts.Bytes
			}
			if err := eachPast(u, horizon, func(d *base.ActDay) { out.EventsPast += d.Events }); err != nil {
				return err
			}
		}
		for chunk := range chunks {
			_ = s.Tiers.EachActs(e.ID, chunk, func(a *head.Acts, k int, sorted bool) error {
				for _, t := range a.Times[:k] {
					if t < horizon {
						out.EventsPast++
					}
				}
				if *n += uint64(k); sorted { // else the L0 counts it
					out.HeadBytes += a.Bytes()
				}
				return nil
			})
		}
	}
	return nil
}

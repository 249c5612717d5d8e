package engine

import (
	"context"
	"fmt"

	"github.com/kantadb/kanta/engine/internal/digest"
	"github.com/kantadb/kanta/engine/internal/effect"
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// Kinds under which the engine's own attributes enter the content digest.
const (
	digestLists = 0xF0
	digestLive  = 0xF1
	digestEvent = 0xF2

	digestDocuments = 0xF3 // of the replica digest only
)

// Digests computes the digests of the current state: the base's sums, which folding
// keeps, corrected by what is in the head.
func (db *DB) Digests(ctx context.Context) (query.Digests, error) {
	return read(ctx, db, func(n *snapshot) (query.Digests, error) { return db.digestsOf(ctx, n.s) })
}

// digestsOf computes the digests of a state.
func (db *DB) digestsOf(ctx context.Context, s *state) (query.Digests, error) {
	out := query.Digests{Position: s.pos, Chain: s.chain}
	var content, replica digest.Sum
	for _, a := range db.compactor.attributes(s) {
		if a.id == schema.KeyAttr {
			continue // who lives stands for the keys: those of the dead stay in the column
		}
		c, r, err := db.sums(ctx, s, a)
		if err != nil {
			return out, err
		}
		switch a.id {
		case schema.ListsAttr:
			content.Add(digest.Named("", digestLists, c))
		case view.LiveAttr:
			content.Add(digest.Named("", digestLive, c))
		default:
			attr := s.Schema.ByID(a.id)
			content.Add(digest.Named(attr.Name, uint8(attr.Kind), c))
		}
		replica.Add(digest.Named(fmt.Sprint(a.id), uint8(a.class), r))
	}
	for e := range s.Schema.Stored() {
		c, r, err := db.actSums(ctx, s, e)
		if err != nil {
			return out, err
		}
		if s.Schema.ChangedBy(e.ID) == nil { // changes have times of receipt, which are not content
			content.Add(digest.Named(e.Name, digestEvent, c))
		}
		replica.Add(digest.Named(fmt.Sprint(e.ID), digestEvent, r))
	}
	replica.Add(digest.Named("", digestDocuments, s.documents.sum()))
	out.Content, out.Replica = content.Bytes(), replica.Bytes()
	return out, nil
}

// sums returns the content and replica sums of one attribute.
func (db *DB) sums(ctx context.Context, s *state, a attribute) (content, replica digest.Sum, err error) {
	for _, u := range s.Units[a.id] {
		if u != nil {
			content.Add(u.Content)
			replica.Add(u.Replica)
		}
	}
	bare := s.State
	bare.Tiers = head.Tiers{}
	before, after := view.View{S: &bare}.NewCursor(), view.View{S: &s.State}.NewCursor()
	h := s.Tiers.Of(a.id)
	var overlay head.Overlay
	var touched bitmap.Words
	for chunk := range (view.View{S: &s.State}).Chunks() {
		if err := ctx.Err(); err != nil {
			return content, replica, err
		}
		if !overlay.Load(&h, chunk) {
			continue
		}
		touched.Clear()
		overlay.Touched(&touched)
		ords := bitmap.FromWords(&touched).AppendTo(nil)
		who := make([]uint64, len(ords))
		if err := db.hashKeys(after, chunk, ords, who); err != nil {
			return content, replica, err
		}
		for i, cursor := range []*view.Cursor{before, after} {
			move := func(s *digest.Sum, f digest.Sum) { s.Sub(f) }
			if i == 1 {
				move = func(s *digest.Sum, f digest.Sum) { s.Add(f) }
			}
			err := eachFact(cursor, a, chunk, ords, what(&s.State, a.id), func(k int, c, r uint64) {
				move(&content, digest.Fact(who[k], c))
				move(&replica, digest.Fact(uint64(chunk)<<bitmap.ChunkBits|uint64(ords[k]), r))
			})
			if err != nil {
				return content, replica, err
			}
		}
	}
	return content, replica, nil
}

func (db *DB) hashKeys(c *view.Cursor, chunk int, ords []uint16, dst []uint64) error {
	keys := make([][]byte, len(ords))
	if err := c.GatherStrings(schema.KeyAttr, chunk, ords, keys); err != nil {
		return err
	}
	for i, k := range keys {
		dst[i] = digest.Text(k)
	}
	return nil
}

// eachFact calls f with the hashes of every value of some profiles of a chunk.
func eachFact(c *view.Cursor, a attribute, chunk int, ords []uint16, what func(uint32) uint64, f func(k int, content, replica uint64)) error {
	switch a.class {
	case effect.Code:
		codes := make([]uint32, len(ords))
		if err := c.GatherCodes(a.id, chunk, ords, codes); err != nil {
			return err
		}
		for k, code := range codes {
			if code != schema.NoCode {
				f(k, what(code), uint64(code))
			}
		}
	case effect.Int:
		ints, ok := make([]int64, len(ords)), make([]bool, len(ords))
		if err := c.GatherInts(a.id, chunk, ords, ints, ok); err != nil {
			return err
		}
		for k, n := range ints {
			if ok[k] {
				f(k, digest.Number(n), digest.Number(n))
			}
		}
	case effect.Bytes:
		texts := make([][]byte, len(ords))
		if err := c.GatherStrings(a.id, chunk, ords, texts); err != nil {
			return err
		}
		for k, b := range texts {
			if b != nil {
				f(k, digest.Text(b), digest.Text(b))
			}
		}
	case effect.Set:
		var sets query.Sets
		if err := c.GatherSets(a.id, chunk, ords, &sets); err != nil {
			return err
		}
		from := uint32(0)
		for k, end := range sets.Ends {
			for _, code := range sets.Codes[from:end] {
				f(k, what(code), uint64(code))
			}
			from = end
		}
	}
	return nil
}

// SnapshotDigests computes the digests of a snapshot of this store, which sees everything: of a
// state that was current once, while the store goes on.
func (db *DB) SnapshotDigests(ctx context.Context, s query.Snapshot) (query.Digests, error) {
	n, ok := s.(*snapshot)
	if !ok || n.db != db || n.policy != nil {
		return query.Digests{}, query.Errorf(query.CodeInvalid, "the snapshot is not one of this store that sees everything")
	}
	release, err := n.use()
	if err != nil {
		return query.Digests{}, err
	}
	defer release()
	return db.digestsOf(ctx, n.s)
}

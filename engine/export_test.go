package engine

import (
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// Residence says where a store keeps the values of one attribute in one chunk.
type Residence struct{ Base, Head bool }

// ResidenceOf tells, for tests, what a chunk of an attribute would be read from now: of the
// base, whether anybody has a value there; of the head, whether it has a word to say.
// schema.KeyAttr stands for who lives.
func ResidenceOf(db *DB, attr schema.AttrID, chunk int) (Residence, error) {
	s := db.acquire()
	defer s.era.release()
	if attr == schema.KeyAttr {
		attr = view.LiveAttr
	}
	var r Residence
	if u, shard := s.Units[attr], chunk/bitmap.ShardChunks; shard < len(u) && u[shard] != nil {
		f, err := u[shard].Exists()
		if err != nil {
			return r, err
		}
		r.Base = f != nil && !f.Chunk(chunk%bitmap.ShardChunks).IsEmpty()
	}
	var o head.Overlay
	h := s.Tiers.Of(attr)
	r.Head = o.Load(&h, chunk)
	return r, nil
}

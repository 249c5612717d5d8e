package engine

import (
	"github.com/kantadb/kanta/engine/internal/head"
	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/index/schema"
)

// Residence says where a store keeps the values of one attribute in one chunk.
type Residence struct{ Base, Head bool }

// ResidenceOf tells, for tests, what a chunk of an attribute would be read from now:
// schema.KeyAttr stands for who lives.
func ResidenceOf(db *DB, attr schema.AttrID, chunk int) Residence {
	s := db.acquire()
	defer s.era.release()
	if attr == schema.KeyAttr {
		attr = view.LiveAttr
	}
	var r Residence
	if u, shard := s.Units[attr], chunk/bitmap.ShardChunks; shard < len(u) && u[shard] != nil {
		r.Base = true
	}
	var o head.Overlay
	h := s.Tiers.Of(attr)
	r.Head = o.Load(&h, chunk)
	return r
}

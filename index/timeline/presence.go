package timeline

import "github.com/kantadb/kanta/index/bitmap"

// Presence appends the fragment of the profiles that have an event with from <= time < to
// in the parts, which are of one shard: what is kept per event type and day.
func Presence(dst []byte, sources []Source, from, to int64) ([]byte, error) {
	var sets [bitmap.ShardChunks]bitmap.Set
	var c Cursor
	for chunk := range sets {
		var w bitmap.Words
		for c.Reset(sources, Scan{Chunk: chunk, From: from, To: to}); c.Next(); {
			c.AddTo(&w)
		}
		if c.Err() != nil {
			return dst, c.Err()
		}
		sets[chunk] = bitmap.FromWords(&w)
	}
	return bitmap.EncodeFragment(dst, &sets), nil
}

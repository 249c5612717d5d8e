package timeline

// BlockOf returns block i of a part, with all its events, for reading them one by one:
// a [Cursor] is the way to read many.
func BlockOf(s Source, i int) *Block {
	return &Block{Source: s, Index: i, To: s.Part.events(i), mem: &scratch{}}
}

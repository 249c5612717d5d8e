package portable

// SmallChunks makes an import send so many lines in a batch.
func SmallChunks(o *ImportOptions, lines int) { o.chunkLines = lines }

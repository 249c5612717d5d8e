package query

// ExportOptions shape an export of everything.
type ExportOptions struct {
	Quarantine bool                           // also the rows that did not fit
	Progress   func(rows uint64, what string) // called from the caller's goroutine; nil: nobody is told
}

// Exported says what an export of everything wrote.
type Exported struct {
	Position Position
	Content  [16]byte          // the content digest of the state
	Lines    map[string]uint64 // of each section
}

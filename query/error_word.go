package query

// codeWords are the words for the codes; the index is the code. Words are never changed: programs
// read them, and they stand in metrics.
//
//tidy:constant
var codeWords = [...]string{
	CodeInternal:      "internal",
	CodeSyntax:        "syntax",
	CodeUnknownName:   "unknown_name",
	CodeType:          "type",
	CodeLimit:         "limit",
	CodeBudget:        "memory_budget",
	CodeCorrupt:       "corrupt",
	CodeNewerFormat:   "newer_format",
	CodeSnapshotGone:  "snapshot_gone",
	CodeWrongEpoch:    "wrong_epoch",
	CodeInUse:         "in_use",
	CodeNotAStore:     "not_a_store",
	CodeReadOnly:      "read_only",
	CodeClosed:        "closed",
	CodeConflict:      "conflict",
	CodeInvalid:       "invalid",
	CodeRefused:       "refused",
	CodeFailed:        "failed",
	CodeStaleSequence: "stale_sequence",
	CodeIO:            "io",
	CodeUnavailable:   "unavailable",
	CodeDenied:        "denied",

	CodeUnauthenticated: "unauthenticated",
	CodeNotLeader:       "not_leader",
}

// Word returns the word for a code, which programs read and which does not change, such as
// unknown_name; "" for a number that is no code.
func (c Code) Word() string {
	if int(c) < len(codeWords) {
		return codeWords[c]
	}
	return ""
}

package query

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Code tells a caller what it can do about an error. Codes cross the wire and are append-only.
type Code uint16

// The codes.
const (
	CodeInternal      Code = 1  // a broken invariant: report it
	CodeSyntax        Code = 2  // the expression text is wrong; Error has the place
	CodeUnknownName   Code = 3  // no such attribute, segment, list or profile
	CodeType          Code = 4  // an operation does not fit its operands
	CodeLimit         Code = 5  // a limit was reached; the message names it
	CodeBudget        Code = 6  // the memory budget is spent
	CodeCorrupt       Code = 7  // stored bytes failed their checksum or format
	CodeNewerFormat   Code = 8  // written by a newer version
	CodeSnapshotGone  Code = 9  // the snapshot was closed or grew too old
	CodeWrongEpoch    Code = 10 // a position, cursor or bitmap of another epoch or store
	CodeInUse         Code = 11 // another process has the store open
	CodeNotAStore     Code = 12 // the directory holds something else
	CodeReadOnly      Code = 13 // the store was opened for reading
	CodeClosed        Code = 14 // the store was closed
	CodeConflict      Code = 15 // the state forbids it: an expectation failed, a name is taken, a cycle
	CodeInvalid       Code = 16 // an argument is out of range
	CodeRefused       Code = 17 // a strict batch had rows that fail; nothing was written
	CodeFailed        Code = 18 // the store could not write and takes no more writes until reopened
	CodeStaleSequence Code = 19 // a batch sequence below the window that is remembered
	CodeIO            Code = 20 // the disk: a file cannot be read, a store not be opened, or there is no room; nothing was changed
	CodeUnavailable   Code = 21 // a server cannot be reached, is behind, or stops: try again
	CodeDenied        Code = 22 // the policy of the snapshot, or the caller's role, does not allow the question, or its answer

	CodeUnauthenticated Code = 23 // a server does not know who calls: no key, or one that is not valid

	CodeNotLeader Code = 24 // another member of the cluster leads, or none does: nothing was done; Error.Leader may say who
)

// Error is an error with a code and, for expressions, the place in the text.
type Error struct {
	Code    Code
	Message string
	Hint    string // what to do, or "did you mean"
	Source  string // the expression's text
	Span    Span   // the place in Source, in bytes
	Err     error  // the cause, if any

	RetryAfter time.Duration // when trying again may help; 0: nobody knows
	Leader     string        // of CodeNotLeader: the address for clients of the member that leads, HOST:PORT; "": nobody knows
}

// Errorf makes an error with a code; %w keeps the cause.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	e := &Error{Code: code, Message: err.Error()}
	if u, ok := err.(interface{ Unwrap() error }); ok {
		e.Err = u.Unwrap()
	}
	return e
}

// Error returns one line; see [Error.Pretty] for the one with the caret.
func (e *Error) Error() string {
	msg := e.Message
	if e.Source != "" {
		line, col := e.Place()
		msg = fmt.Sprintf("%d:%d: %s", line, col, msg)
	}
	if e.Hint != "" {
		msg += " (" + e.Hint + ")"
	}
	return msg
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is makes errors.Is match errors of the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && t.Message == ""
}

// Place returns the line and column of the span's start, both from 1; columns count characters.
func (e *Error) Place() (line, col int) {
	start := min(e.Span.Start, len(e.Source))
	before := e.Source[:start]
	line = strings.Count(before, "\n") + 1
	col = utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	return line, col
}

// prettyRunes is how much of a line Pretty shows, a third of it before the place.
const prettyRunes = 150

// oneColumn returns what is shown for a character of the source, which may move no cursor: what
// follows stays over its place.
func oneColumn(r rune) rune {
	switch {
	case r == '\t':
		return ' '
	case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
		return utf8.RuneError
	}
	return r
}

// Pretty returns the error with the source line, or of a long one what is around, and carets
// under the place.
func (e *Error) Pretty() string {
	if e.Source == "" {
		return e.Error()
	}
	start := min(e.Span.Start, len(e.Source))
	end := min(max(e.Span.End, start), len(e.Source))
	from := strings.LastIndexByte(e.Source[:start], '\n') + 1
	to := len(e.Source)
	if i := strings.IndexByte(e.Source[start:], '\n'); i >= 0 {
		to = start + i
	}
	carets := max(1, utf8.RuneCountInString(e.Source[start:min(end, to)]))
	line, at := []rune(strings.Map(oneColumn, e.Source[from:to])), utf8.RuneCountInString(e.Source[from:start])
	if first := max(0, min(at-prettyRunes/3, len(line)-prettyRunes)); len(line) > prettyRunes {
		line, at = line[first:first+prettyRunes], at-first
	}
	return fmt.Sprintf("%s\n  %s\n  %s%s", e.Error(), string(line), strings.Repeat(" ", at), strings.Repeat("^", min(carets, max(1, len(line)-at))))
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// The exit codes; exitTable says when.
const (
	exitOK          = 0
	exitInternal    = 1
	exitUsage       = 2
	exitQuestion    = 3
	exitStore       = 4
	exitRows        = 5
	exitCorrupt     = 6
	exitInterrupted = 130
)

// exitTable is what the help shows.
const exitTable = `Exit codes:
  0    done
  1    an error of the machine (disk, memory) or of kanta itself
  2    wrong usage: a command, flag, argument or input file
  3    wrong question: an expression, a name or kind in it, or what the state forbids
  4    the store cannot be opened: none there, in use, not a store, of a newer version,
       or the server does not know who calls
  5    load --strict: rows were quarantined or refused
  6    stored data is corrupt
  130  interrupted
`

// codes is the one table from the errors of the engine to exit codes; the index is the query.Code.
//
//tidy:constant
var codes = [...]int{
	query.CodeInternal:      exitInternal,
	query.CodeSyntax:        exitQuestion,
	query.CodeUnknownName:   exitQuestion,
	query.CodeType:          exitQuestion,
	query.CodeLimit:         exitQuestion,
	query.CodeBudget:        exitInternal,
	query.CodeCorrupt:       exitCorrupt,
	query.CodeNewerFormat:   exitStore,
	query.CodeSnapshotGone:  exitInternal,
	query.CodeWrongEpoch:    exitQuestion,
	query.CodeInUse:         exitStore,
	query.CodeNotAStore:     exitStore,
	query.CodeReadOnly:      exitUsage,
	query.CodeClosed:        exitInternal,
	query.CodeConflict:      exitQuestion,
	query.CodeInvalid:       exitUsage,
	query.CodeRefused:       exitRows,
	query.CodeFailed:        exitInternal,
	query.CodeStaleSequence: exitInternal,
	query.CodeIO:            exitInternal,
	query.CodeUnavailable:   exitStore,
	query.CodeDenied:        exitQuestion,

	query.CodeUnauthenticated: exitStore,
	query.CodeNotLeader:       exitStore,
}

var errInterrupted = errors.New("interrupted")

// errRowsFailed ends a strict load that had rows which do not fit.
var errRowsFailed = errors.New("rows were quarantined or refused")

// errCheckFailed ends a check that found something.
var errCheckFailed = errors.New("the check found problems")

// usageError is a command line that cannot be run.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// usagef makes a usageError.
func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// classify returns the word and the exit code of an error.
func classify(err error) (word string, exit int) {
	var q *query.Error
	var usage *usageError
	var input *inputError
	var change *schema.ChangeError
	switch {
	case err == nil:
		return "", exitOK
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return "interrupted", exitInterrupted
	case errors.Is(err, errRowsFailed):
		return "rows", exitRows
	case errors.Is(err, errCheckFailed):
		return "corrupt", exitCorrupt
	case errors.As(err, &usage):
		return "usage", exitUsage
	case errors.As(err, &input):
		return "input", exitUsage
	case errors.As(err, &q) && int(q.Code) < len(codes) && q.Code.Word() != "":
		return q.Code.Word(), codes[q.Code]
	case errors.As(err, &change):
		return "schema_change", exitQuestion
	}
	return "internal", exitInternal
}

func exitCode(err error) int {
	_, exit := classify(err)
	return exit
}

// errorJSON is how an error is written with --json.
type errorJSON struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Hint    string `json:"hint,omitempty"`
}

func (a *app) printError(err error) {
	word, _ := classify(err)
	var q *query.Error
	isQuery := errors.As(err, &q)
	var shown query.Error
	if isQuery {
		if shown = *q; q.Code == query.CodeCorrupt && q.Hint == "" {
			shown.Hint = "kanta check says what is damaged, and with --repair makes anew what is derived; restore the rest from a backup"
		}
	}
	if a.json {
		e := errorJSON{Code: word, Message: err.Error()}
		if isQuery {
			e.Hint = shown.Hint
			e.Message = withoutDetails(err, q)
			if q.Source != "" {
				e.Line, e.Column = q.Place()
			}
		}
		enc := json.NewEncoder(a.err)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(map[string]errorJSON{"error": e}) // what cannot be written to standard error cannot be told anywhere
		return
	}
	text := err.Error()
	if isQuery && strings.Contains(text, q.Error()) {
		text = strings.Replace(text, q.Error(), shown.Pretty(), 1)
	}
	for line := range strings.Lines("kanta: " + text) {
		fmt.Fprintln(a.err, printable(shownOf(strings.TrimSuffix(line, "\n"))))
	}
	if word == "usage" {
		fmt.Fprintln(a.err, "Run kanta help, or the command with --help.")
	}
}

// maxErrorLine is how much is shown of a line of an error, its start and its end: between them
// may be all that somebody gave.
const maxErrorLine = 1000

// shownOf shortens a line.
func shownOf(line string) string {
	if len(line) <= maxErrorLine {
		return line
	}
	return line[:maxErrorLine/2] + " ... " + line[len(line)-maxErrorLine/2:]
}

// withoutDetails returns an error's text with the part that a query.Error gives as place and hint taken out.
func withoutDetails(err error, q *query.Error) string {
	return strings.Replace(err.Error(), q.Error(), q.Message, 1)
}

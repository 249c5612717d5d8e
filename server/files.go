package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectinprocess"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/client"
)

// files are the doors for files: rows of CSV and NDJSON come in, listings go out. What stands
// behind a door is done by calls of the service, in this process, by whoever came through it: so
// what holds for calls holds for doors, and there is no second way to the store.
type files struct {
	*http.ServeMux
	s       *Server
	loading chan struct{} // one thing in it for each load under way
}

// fileLimits bound what comes through the doors for files.
type fileLimits struct {
	body      int64  // bytes of one, unpacked: what is longer is sent in parts, each with its sequences
	inflated  int64  // bytes that may be unpacked of nothing, and
	inflation int64  // for each packed byte: real rows are packed to a fiftieth at most
	window    uint64 // bytes of what zstd looks back to, as RFC 9659 has it for HTTP
	infer     int    // bytes in which what the schema lacks is looked for: they are held in memory
	keys      int    // whose coming twice is counted, at 12 bytes each
	loads     int    // at a time: each holds some batches' texts
	rejected  int    // rows that are told: the rest are in the quarantine
}

func defaultFileLimits() fileLimits {
	return fileLimits{body: 16 << 30, inflated: 16 << 20, inflation: 250, window: 8 << 20, infer: 4 << 20, keys: 1 << 20, loads: 8, rejected: 20}
}

// newFiles returns the doors, which are all under /v1/.
func (s *Server) newFiles() *files {
	f := &files{ServeMux: http.NewServeMux(), s: s, loading: make(chan struct{}, s.limits.files.loads)}
	f.HandleFunc("POST /v1/profiles", f.door(func(w http.ResponseWriter, r *http.Request, c *client.Client) error { return f.load(w, r, c, false) }))
	f.HandleFunc("POST /v1/events", f.door(func(w http.ResponseWriter, r *http.Request, c *client.Client) error { return f.load(w, r, c, true) }))
	f.HandleFunc("GET /v1/members", f.door(f.members))
	f.HandleFunc("GET /v1/timeline", f.door(f.timeline))
	return f
}

// door makes a handler of what is done for a caller. An error that comes when the answer has
// begun breaks it off, so that nobody takes the half for the whole.
func (f *files) door(do func(w http.ResponseWriter, r *http.Request, c *client.Client) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer := &answering{ResponseWriter: w}
		err := f.enter(answer, r, do)
		switch {
		case err == nil:
		case answer.begun:
			panic(http.ErrAbortHandler) //tidy:invariant there is no other way to end an answer so that it is no whole one
		default:
			writeError(answer, err, nil)
		}
	}
}

func (f *files) enter(w http.ResponseWriter, r *http.Request, do func(w http.ResponseWriter, r *http.Request, c *client.Client) error) error {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	switch site := r.Header.Get("Sec-Fetch-Site"); {
	case r.Method == http.MethodHead:
		return refuse(http.StatusMethodNotAllowed, query.CodeInvalid, "only GET: what is listed is counted and recorded, so nobody asks without taking it")
	case site != "" && site != "same-origin" && site != "none":
		return refuse(http.StatusForbidden, query.CodeDenied, "a page of another place may not ask")
	}
	c, err := f.s.asCaller(r.Context())
	if err != nil {
		return err
	}
	return errors.Join(do(w, r, c), c.Close())
}

// answering knows whether an answer has begun.
type answering struct {
	http.ResponseWriter
	begun bool
}

// WriteHeader implements [http.ResponseWriter].
func (a *answering) WriteHeader(status int) {
	a.begun = true
	a.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (a *answering) Write(b []byte) (int, error) {
	a.begun = true
	return a.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (a *answering) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// calling carries calls in this process, by who came through a door.
type calling struct {
	connect.Transport
	peer *peer
}

// NewClientStream implements [connect.Transport].
func (c *calling) NewClientStream(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
	s, err := c.Transport.NewClientStream(withPeer(ctx, c.peer), spec)
	if err != nil || spec.StreamType != connect.StreamTypeServer {
		return s, err
	}
	return &asking{s}, nil
}

// asking is the stream of a call with one request. If the call is refused before that is read,
// the transport says EOF, which Connect takes for the error; the error comes with what is received.
type asking struct{ connect.ClientStream }

// Send implements [connect.ClientStream].
func (a *asking) Send(msg any) error {
	if err := a.ClientStream.Send(msg); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// asCaller returns a client for what a request needs, which may do what whoever sent it may.
func (s *Server) asCaller(ctx context.Context) (*client.Client, error) {
	p := peerOf(ctx)
	if p == nil {
		p = &peer{} // nobody in particular, and certainly not who embeds the server
	}
	return client.Open(ctx, "", &client.Options{Timeout: -1, Attempts: 1, Transport: &calling{connectinprocess.New(s.rpc), p}})
}

// statusError is an error that HTTP has a word of its own for.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

func refuse(status int, code query.Code, format string, args ...any) error {
	return &statusError{status, query.Errorf(code, format, args...)}
}

// statuses are what HTTP says of an error; the index is the code.
//
//tidy:constant
var statuses = [...]int{
	query.CodeInternal:      http.StatusInternalServerError,
	query.CodeSyntax:        http.StatusBadRequest,
	query.CodeUnknownName:   http.StatusNotFound,
	query.CodeType:          http.StatusBadRequest,
	query.CodeLimit:         http.StatusBadRequest,
	query.CodeBudget:        http.StatusServiceUnavailable,
	query.CodeCorrupt:       http.StatusInternalServerError,
	query.CodeNewerFormat:   http.StatusInternalServerError,
	query.CodeSnapshotGone:  http.StatusConflict,
	query.CodeWrongEpoch:    http.StatusConflict,
	query.CodeInUse:         http.StatusConflict,
	query.CodeNotAStore:     http.StatusInternalServerError,
	query.CodeReadOnly:      http.StatusConflict,
	query.CodeClosed:        http.StatusServiceUnavailable,
	query.CodeConflict:      http.StatusConflict,
	query.CodeInvalid:       http.StatusBadRequest,
	query.CodeRefused:       http.StatusUnprocessableEntity,
	query.CodeFailed:        http.StatusInternalServerError,
	query.CodeStaleSequence: http.StatusConflict,
	query.CodeIO:            http.StatusInternalServerError,
	query.CodeUnavailable:   http.StatusServiceUnavailable,
	query.CodeDenied:        http.StatusForbidden,

	query.CodeUnauthenticated: http.StatusUnauthorized,
	query.CodeNotLeader:       http.StatusServiceUnavailable,
}

// statusOf returns what HTTP, and the word that programs read, say of an error.
func statusOf(err error) (status int, word string) {
	var s *statusError
	var q *query.Error
	switch {
	case errors.Is(err, errRowsFailed):
		return http.StatusUnprocessableEntity, "rows"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return http.StatusServiceUnavailable, "interrupted"
	case !errors.As(err, &q):
		status, word = http.StatusBadRequest, "input" // the rows, or what they come in, cannot be read
	default:
		status, word = http.StatusInternalServerError, q.Code.Word()
		if int(q.Code) < len(statuses) && statuses[q.Code] != 0 {
			status = statuses[q.Code]
		}
		switch {
		case q.Code == query.CodeLimit && q.RetryAfter > 0:
			status = http.StatusTooManyRequests
		case isTooLarge(err):
			status = http.StatusBadRequest
		}
	}
	if errors.As(err, &s) {
		status = s.status
	}
	return status, word
}

// isTooLarge tells the error of a question that needs more memory than one may have, to which
// nobody needs to see, from that of one for which there was no room.
func isTooLarge(err error) bool {
	var q *query.Error
	return errors.As(err, &q) && q.Code == query.CodeBudget && q.RetryAfter == 0
}

// errorAnswer is how a door tells an error.
type errorAnswer struct {
	Error  toldError   `json:"error"`
	Report *loadReport `json:"report,omitempty"` // of what was loaded before
}

type toldError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Hint    string `json:"hint,omitempty"`
	Leader  string `json:"leader,omitempty"` // of a cluster, if it is another member: its address
}

// writeError answers with an error, and with what was done before it.
func writeError(w http.ResponseWriter, err error, done *loadReport) {
	for _, name := range [...]string{"Content-Disposition", "Trailer", headerPosition, headerNow, headerTotal, headerUnknown} {
		w.Header().Del(name) // of the answer that there would have been
	}
	status, word := statusOf(err)
	out := errorAnswer{Error: toldError{Code: word, Message: forDoors(err.Error())}, Report: done}
	var q *query.Error
	if errors.As(err, &q) {
		out.Error.Message, out.Error.Hint, out.Error.Leader = strings.Replace(err.Error(), q.Error(), q.Message, 1), q.Hint, q.Leader
		if q.Source != "" {
			out.Error.Line, out.Error.Column = q.Place()
		}
		if q.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int((q.RetryAfter+time.Second-1)/time.Second)))
		}
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	writeJSON(w, status, out)
}

// forDoors writes what is a flag of the command as the parameter that it is here.
func forDoors(text string) string {
	return strings.NewReplacer("--encoding ", "encoding=", "--lines", "lines").Replace(text)
}

func writeJSON(w http.ResponseWriter, status int, answer any) {
	text, err := json.Marshal(answer)
	if err != nil { // not of ours
		status, text = http.StatusInternalServerError, []byte(`{"error":{"code":"internal","message":"the answer cannot be written"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // whoever is gone is not told
}

// parameters are those of a request. What a door does not know is an error: a word that is
// misspelt would change nothing, and nobody would know.
type parameters struct {
	values url.Values
	err    error
}

// parametersOf checks the names of a request's parameters.
func parametersOf(r *http.Request, known ...string) *parameters {
	p := &parameters{}
	if p.values, p.err = url.ParseQuery(r.URL.RawQuery); p.err != nil {
		p.err = query.Errorf(query.CodeInvalid, "the parameters cannot be read: %w", p.err)
	}
	for name, given := range p.values {
		switch {
		case p.err != nil:
		case !slices.Contains(known, name):
			e := query.Errorf(query.CodeInvalid, "there is no parameter %q here", name)
			e.Hint = "they are " + strings.Join(known, ", ")
			p.err = e
		case len(given) > 1:
			p.err = query.Errorf(query.CodeInvalid, "the parameter %s comes %d times", name, len(given))
		}
	}
	return p
}

func (p *parameters) fail(name string, format string, args ...any) {
	if p.err == nil {
		p.err = query.Errorf(query.CodeInvalid, "the parameter %s=%s: %s", name, p.values.Get(name), fmt.Sprintf(format, args...))
	}
}

func (p *parameters) text(name string) string { return p.values.Get(name) }

// needed is text that must be given.
func (p *parameters) needed(name, what string) string {
	if p.values.Get(name) == "" && p.err == nil {
		p.err = query.Errorf(query.CodeInvalid, "the parameter %s is missing: %s", name, what)
	}
	return p.values.Get(name)
}

// on reads yes or no; a parameter without a value is yes.
func (p *parameters) on(name string) bool {
	if !p.values.Has(name) {
		return false
	}
	switch p.values.Get(name) {
	case "", "1", "true":
		return true
	case "0", "false":
		return false
	}
	p.fail(name, "it is 1 or 0")
	return false
}

// count reads a whole number; none is 0.
func (p *parameters) count(name string) int {
	text := p.values.Get(name)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 0 {
		p.fail(name, "it is a whole number, 0 or more")
	}
	return int(n)
}

// instant reads a time; none is the zero time.
func (p *parameters) instant(name string) time.Time {
	text := p.values.Get(name)
	if text == "" {
		return time.Time{}
	}
	t, err := query.ParseInstant(text)
	if err != nil {
		p.fail(name, "%v", err)
	}
	return t
}

package message

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/kantadb/kanta/query"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
	"github.com/kantadb/kanta/server/wire"
)

// transportCodes is what a transport, and who knows only that, is told of an error; the index
// is the query.Code.
//
//tidy:constant
var transportCodes = [...]connect.Code{
	query.CodeInternal:      connect.CodeInternal,
	query.CodeSyntax:        connect.CodeInvalidArgument,
	query.CodeUnknownName:   connect.CodeNotFound,
	query.CodeType:          connect.CodeInvalidArgument,
	query.CodeLimit:         connect.CodeOutOfRange,
	query.CodeBudget:        connect.CodeResourceExhausted,
	query.CodeCorrupt:       connect.CodeDataLoss,
	query.CodeNewerFormat:   connect.CodeFailedPrecondition,
	query.CodeSnapshotGone:  connect.CodeFailedPrecondition,
	query.CodeWrongEpoch:    connect.CodeFailedPrecondition,
	query.CodeInUse:         connect.CodeFailedPrecondition,
	query.CodeNotAStore:     connect.CodeFailedPrecondition,
	query.CodeReadOnly:      connect.CodeFailedPrecondition,
	query.CodeClosed:        connect.CodeUnavailable,
	query.CodeConflict:      connect.CodeAborted,
	query.CodeInvalid:       connect.CodeInvalidArgument,
	query.CodeRefused:       connect.CodeFailedPrecondition,
	query.CodeFailed:        connect.CodeInternal,
	query.CodeStaleSequence: connect.CodeFailedPrecondition,
	query.CodeIO:            connect.CodeInternal,
	query.CodeUnavailable:   connect.CodeUnavailable,
	query.CodeDenied:        connect.CodePermissionDenied,

	query.CodeUnauthenticated: connect.CodeUnauthenticated,
	query.CodeNotLeader:       connect.CodeUnavailable, // so that who knows only that tries again
}

// maxError is how long an error may be: transports bound what is not a message. Of a longer one
// the expression is left out, which whoever asked knows.
const maxError = 4 << 10

// OfError writes an error for the transport. What the project has not made itself is told as an
// internal error without its text, which may hold anything; it is true then that the error
// is for the operator.
func OfError(err error) (out *connect.Error, internal bool) {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return connect.NewError(connect.CodeDeadlineExceeded, "the deadline has passed"), false
	case errors.Is(err, context.Canceled):
		return connect.NewError(connect.CodeCanceled, "the call was cancelled"), false
	}
	detail, internal := ErrorDetail(err)
	code := connect.CodeInternal
	if int(detail.Code) < len(transportCodes) && transportCodes[detail.Code] != 0 {
		code = transportCodes[detail.Code]
	}
	text := detail.Text
	if text == "" {
		text = errorOf(detail).Error()
	}
	out = connect.NewError(code, text)
	if d, err := connectproto.NewErrorDetail(detail); err == nil { // it is, of a message of ours
		out = out.WithDetail(d)
	}
	return out, internal
}

// ErrorDetail writes an error as [OfError] does, and be it one of a context.
func ErrorDetail(err error) (detail *pb.Error, internal bool) {
	var e *query.Error
	if !errors.As(err, &e) {
		return &pb.Error{Code: uint32(query.CodeInternal), Message: "an internal error, of which the server's log has more"}, true
	}
	detail = &pb.Error{Code: uint32(e.Code), Message: OfText(e.Message), Hint: OfText(e.Hint), Source: OfText(e.Source)}
	if e.RetryAfter > 0 {
		detail.RetryAfter = durationpb.New(e.RetryAfter)
	}
	text := OfText(err.Error())
	if len(e.Source)+len(text) > maxError {
		detail.Source, detail.Text = "", OfText(text[:min(len(text), maxError)]) // which has the place
		detail.Message = OfText(detail.Message[:min(len(detail.Message), maxError/4)])
	} else if e.Source != "" {
		line, column := e.Place()
		detail.Start, detail.End, detail.Line, detail.Column = uint32(e.Span.Start), uint32(e.Span.End), uint32(line), uint32(column)
	}
	if detail.Text == "" && text != OfText(e.Error()) {
		detail.Text = text
	}
	detail.Leader = OfText(e.Leader)
	detail.Causes = causes(err, e.Code, nil)
	var u *undone
	detail.NothingDone = errors.As(err, &u) || e.Code == query.CodeNotLeader
	return detail, e.Code == query.CodeInternal
}

// undone is an error of a call that has done nothing.
type undone struct{ err error }

func (u *undone) Error() string { return u.err.Error() }
func (u *undone) Unwrap() error { return u.err }

// Undone marks an error as one of a call that has done nothing, so that it may be tried again
// whatever it is.
func Undone(err error) error { return &undone{err} }

// causes appends the codes of all errors of the project that err is made of, but for one.
func causes(err error, but query.Code, out []uint32) []uint32 {
	if e, ok := err.(*query.Error); ok && e.Code != but && !slices.Contains(out, uint32(e.Code)) {
		out = append(out, uint32(e.Code))
	}
	switch u := err.(type) {
	case interface{ Unwrap() error }:
		if next := u.Unwrap(); next != nil {
			out = causes(next, but, out)
		}
	case interface{ Unwrap() []error }:
		for _, next := range u.Unwrap() {
			out = causes(next, but, out)
		}
	}
	return out
}

// Error makes the error again that a server sent.
func Error(detail *pb.Error) error {
	e := errorOf(detail)
	var err error = e
	if detail.GetText() != "" {
		err = &told{detail.GetText(), e}
	}
	return err
}

func errorOf(detail *pb.Error) *query.Error {
	e := &query.Error{Code: query.Code(detail.GetCode()), Message: detail.GetMessage(), Hint: detail.GetHint(), Source: detail.GetSource(), Leader: detail.GetLeader(),
		Span: query.Span{Start: int(detail.GetStart()), End: int(detail.GetEnd())}}
	if detail.GetRetryAfter().CheckValid() == nil {
		e.RetryAfter = detail.GetRetryAfter().AsDuration()
	}
	var also []error
	for _, code := range detail.GetCauses() {
		also = append(also, &query.Error{Code: query.Code(code), Message: "its cause"})
	}
	e.Err = errors.Join(also...)
	return e
}

// told is an error with the text that it has at the server.
type told struct {
	text string
	err  *query.Error
}

func (t *told) Error() string { return t.text }
func (t *told) Unwrap() error { return t.err }

// FromTransport makes of an error of a transport what a store returns: an error with a code, or
// that of a context if it is the caller's that has ended. undone says that the call has certainly done nothing.
func FromTransport(ctx context.Context, err error) (out error, undone bool) {
	var c *connect.Error
	var ours *query.Error
	if !errors.As(err, &c) && errors.As(err, &ours) {
		return err, false
	}
	if c != nil {
		for _, d := range c.Details() {
			if m, err := connectproto.UnmarshalErrorDetail(d); err == nil {
				if detail, ok := m.(*pb.Error); ok {
					return Error(detail), detail.GetNothingDone()
				}
			}
		}
	}
	var dial *net.OpError
	undone = errors.As(err, &dial) && dial.Op == "dial" || errors.Is(err, wire.ErrRefused)
	if e := ofTLS(err); e != nil {
		return e, true
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err(), undone
	case errors.Is(err, context.DeadlineExceeded), c != nil && c.Code() == connect.CodeDeadlineExceeded:
		return context.DeadlineExceeded, undone
	case c == nil:
		return query.Errorf(query.CodeUnavailable, "the server cannot be asked: %w", err), undone
	}
	return fromCode(c), undone
}

// Answered reports whether an error is one that a server of Kanta has sent as the outcome of a call.
func Answered(err error) bool {
	var c *connect.Error
	if !errors.As(err, &c) {
		return false
	}
	for _, d := range c.Details() {
		if m, err := connectproto.UnmarshalErrorDetail(d); err == nil {
			if _, ok := m.(*pb.Error); ok {
				return true
			}
		}
	}
	return false
}

// ofTLS makes an error of a handshake of TLS that will not go better the next time. nil: it is none.
func ofTLS(err error) *query.Error {
	var op *net.OpError
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &verify):
		return &query.Error{Code: query.CodeDenied, Message: "the server's certificate is not believed: " + verify.Err.Error(),
			Hint: "is the address one that the certificate names, and is its authority the one that is believed (Options.TLS, or --ca)?", Err: err}
	case errors.As(err, &record):
		return &query.Error{Code: query.CodeInvalid, Message: "the server does not speak TLS", Hint: "is it the right address and port?", Err: err}
	case errors.As(err, &op) && op.Op == "remote error": // an alert, whose type has no name
		return &query.Error{Code: query.CodeDenied, Message: "the server refuses the handshake of TLS: " + op.Err.Error(),
			Hint: "it may not believe the certificate that was shown, or want another one", Err: err}
	}
	return nil
}

// fromCode makes an error of what says only the transport's code.
func fromCode(c *connect.Error) error {
	text := strings.TrimSpace(c.Message())
	switch c.Code() {
	case connect.CodeUnimplemented:
		return &query.Error{Code: query.CodeNewerFormat, Message: "the server does not have this call", Hint: "it is of another version", Err: c}
	case connect.CodeInvalidArgument, connect.CodeOutOfRange:
		return query.Errorf(query.CodeInvalid, "the server refuses the message: %s", text)
	case connect.CodeResourceExhausted:
		return query.Errorf(query.CodeLimit, "it is more than is taken: %s", text)
	case connect.CodeUnauthenticated:
		return &query.Error{Code: query.CodeUnauthenticated, Message: text, Err: c}
	case connect.CodePermissionDenied:
		return &query.Error{Code: query.CodeDenied, Message: text, Err: c}
	case connect.CodeFailedPrecondition:
		return &query.Error{Code: query.CodeInvalid, Message: text, Err: c}
	}
	e := query.Errorf(query.CodeUnavailable, "the server cannot be reached or does not answer: %s", text)
	e.Err = c
	return e
}

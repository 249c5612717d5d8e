package wire

import (
	"context"
	"errors"

	"connectrpc.com/connect/v2"
)

// ErrRefused is matched (errors.Is) by the error of a call that no handler has seen: it
// can be repeated, on another connection too, whatever it does.
var ErrRefused = errors.New("wire: no handler has seen the call")

// ErrConnection is matched by the error of a call whose connection was lost while it ran:
// whether it was done is not known.
var ErrConnection = errors.New("wire: the connection was lost during the call")

// ErrClosed is what a connection that was closed on purpose says.
var ErrClosed = errors.New("wire: the connection was closed")

func refused(code connect.Code, text string) *connect.Error {
	return connect.NewError(code, text).WithCause(ErrRefused)
}

// contextError is the error of a call whose context has ended.
func contextError(err error) *connect.Error {
	code := connect.CodeCanceled
	if errors.Is(err, context.DeadlineExceeded) {
		code = connect.CodeDeadlineExceeded
	}
	return connect.NewError(code, err.Error()).WithCause(err)
}

// statusOf is what a client is told of a handler's error: what the handler made for
// it (a *connect.Error), and of all other errors the code only, since their text may say
// what is none of the client's business.
func statusOf(err error) *connect.Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*connect.Error](err); ok && e != nil {
		if e.IsRemote() { // the verdict of another server on this one's question
			return connect.NewError(connect.CodeInternal, "")
		}
		return e
	}
	switch {
	case errors.Is(err, context.Canceled):
		return connect.NewError(connect.CodeCanceled, "")
	case errors.Is(err, context.DeadlineExceeded):
		return connect.NewError(connect.CodeDeadlineExceeded, "")
	}
	return connect.NewError(connect.CodeUnknown, "")
}

// verdict is the error of a call for its caller: a status that the server sent.
func verdict(status *connect.Error, wasRefused bool) error {
	if status == nil {
		return nil
	}
	switch status.Code() {
	case connect.CodeCanceled:
		status = status.WithCause(context.Canceled)
	case connect.CodeDeadlineExceeded:
		status = status.WithCause(context.DeadlineExceeded)
	}
	if wasRefused {
		status = status.WithCause(ErrRefused)
	}
	return status.WithRemote()
}

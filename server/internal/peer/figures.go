package peer

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/kantadb/kanta/query"
)

// Reason says why a connection was refused or closed.
type Reason uint8

// The reasons.
const (
	ReasonNone        Reason = iota
	ReasonAccept             // the machine could not accept, such as for want of files; told for the first of a row
	ReasonPlain              // what came is not TLS
	ReasonTLS                // the handshake failed: the version, no certificate, or one that is not believed
	ReasonGone               // the caller went before it was let in
	ReasonLate               // it was not let in within the deadline
	ReasonCrowd              // it was not let in yet, and others came
	ReasonCertificate        // the certificate is not that of a node of this cluster
	ReasonProtocol           // it speaks another version, or something else
	ReasonCluster            // it is of another cluster of the same name
	ReasonNode               // it does not belong to the cluster, or has the name of this node
	ReasonFull               // it was let in, had been silent for longest, and there were too many
	ReasonSlow               // a message that it began to send did not come in time
	reasons
)

// Reasons is how many there are, for tables.
const Reasons = int(reasons)

// String returns a word for metrics and logs.
func (r Reason) String() string {
	return [...]string{"none", "accept", "plain", "tls", "gone", "late", "crowd", "certificate", "protocol", "cluster", "node", "full", "slow"}[r]
}

// Refusal is a connection that was refused or closed.
type Refusal struct {
	Address net.Addr // of the caller; that of the listener, if nobody could be accepted
	Node    string   // who it says it is, by a certificate that was verified. "": nobody knows
	Reason  Reason
	Err     error // more about it. nil: there is no more. The text may have what the caller sent
}

// Figures are what has happened since the layer was made, and what there is now.
type Figures struct {
	Strangers   int // connections now that have not been let in
	Connections int // connections now of other nodes, which they made

	Accepted   uint64 // connections that came
	Dialed     uint64 // connections that were tried to make
	DialFailed uint64 // of these, that failed
	Renewed    uint64 // connections that were made instead of one that was silent for long or closed
	Idle       uint64 // connections of others that were closed because they were silent
	Refused    [Reasons]uint64

	Received, Sent uint64 // bytes of the nodes' messages, within TLS
}

// handshakeReason says what went wrong while somebody was not let in yet.
func handshakeReason(err error) Reason {
	plain, isPlain := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case isPlain && plain.Conn != nil:
		return ReasonPlain
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ReasonLate
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return ReasonGone
	}
	return ReasonTLS
}

// disbelief says what it means that a call ended before there was an answer.
func disbelief(address string, err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return &query.Error{Code: query.CodeDenied, Message: "the node at " + address + " does not take this node's certificate: " + op.Err.Error(),
			Hint: "the certificates of both must be of the same authority and not have ended", Err: err}
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return &query.Error{Code: query.CodeDenied, Message: "the node at " + address + " is not believed: " + err.Error(),
			Hint: "its certificate must be of this node's authority, have the host of the address, and not have ended", Err: err}
	}
	return query.Errorf(query.CodeUnavailable, "the node at %s cannot be spoken with: %w", address, err)
}

// Package message makes the messages of the service of questions and answers, and these of
// messages. The server and the client share it, so that neither says anything that the other
// does not read; it knows nothing of the engine.
//
// What begins with Of makes a message. What is made of one is a method of [Reader], which keeps
// the first thing that was wrong: the other side is not trusted to follow the format.
package message

import (
	"encoding/hex"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/kantadb/kanta/query"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

// Reader reads messages of the other side. The zero Reader is ready; it belongs to one goroutine.
type Reader struct{ err error }

// Err returns what was wrong first.
func (r *Reader) Err() error { return r.err }

func (r *Reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = query.Errorf(query.CodeInvalid, "a message is not as it should be: "+format, args...)
	}
}

// OfPosition writes a position; none is "".
func OfPosition(p query.Position) string {
	if p == (query.Position{}) {
		return ""
	}
	return p.String()
}

// Position reads a position, "" is none.
func (r *Reader) Position(text string) query.Position {
	if text == "" {
		return query.Position{}
	}
	p, ok := query.ParsePosition(text)
	if !ok {
		r.fail("%q is no position", text)
	}
	return p
}

// OfTime writes a time; the zero time is none.
func OfTime(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// Time reads a time in UTC; none is the zero time.
func (r *Reader) Time(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	if err := t.CheckValid(); err != nil {
		r.fail("a time: %v", err)
	}
	return t.AsTime()
}

// Duration reads a duration.
func (r *Reader) Duration(d *durationpb.Duration) time.Duration {
	if d == nil {
		return 0
	}
	if err := d.CheckValid(); err != nil {
		r.fail("a duration: %v", err)
	}
	return d.AsDuration()
}

// OfQuestion writes what every question carries.
func OfQuestion(o *query.Options, atLeast query.Position, snapshot string) *pb.Question {
	q := &pb.Question{AtLeast: OfPosition(atLeast), Snapshot: snapshot}
	if o != nil {
		q.Now, q.Parallelism, q.Memory = OfTime(o.Now), uint32(min(max(o.Parallelism, 0), maxParallelism)), o.Memory
	}
	return q
}

// maxParallelism is beyond what an engine takes.
const maxParallelism = 1 << 20

// Options reads what every question carries.
func (r *Reader) Options(q *pb.Question) query.Options {
	if q.GetParallelism() > maxParallelism {
		r.fail("a parallelism of %d", q.GetParallelism())
		return query.Options{}
	}
	return query.Options{Now: r.Time(q.GetNow()), Parallelism: int(q.GetParallelism()), Memory: q.GetMemory()}
}

// OfAnswer writes what every answer carries.
func OfAnswer(a *query.Answer) *pb.Answer {
	return &pb.Answer{Position: OfPosition(a.Position), Now: OfTime(a.Now), Current: a.Current, Unknown: a.Unknown, Errors: a.Errors,
		Elapsed: durationpb.New(a.Elapsed), BytesRead: a.BytesRead, Withheld: a.Withheld}
}

// Answer reads what every answer carries.
func (r *Reader) Answer(a *pb.Answer) query.Answer {
	return query.Answer{Position: r.Position(a.GetPosition()), Now: r.Time(a.GetNow()), Current: a.GetCurrent(), Unknown: a.GetUnknown(),
		Errors: a.GetErrors(), Elapsed: r.Duration(a.GetElapsed()), BytesRead: a.GetBytesRead(), Withheld: a.GetWithheld()}
}

// OfSum writes a digest.
func OfSum(sum [16]byte) string { return hex.EncodeToString(sum[:]) }

// Sum reads a digest.
func (r *Reader) Sum(text string) (out [16]byte) {
	if b, err := hex.DecodeString(text); err == nil && len(b) == len(out) {
		copy(out[:], b)
		return out
	}
	r.fail("%q is no digest", text)
	return out
}

// OfTexts makes text what a message may carry: UTF-8.
func OfTexts(list []string) []string {
	for i, s := range list {
		if valid := OfText(s); valid != s {
			list = append([]string{}, list...)
			list[i] = valid
		}
	}
	return list
}

// OfText makes text what a message may carry: UTF-8.
func OfText(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// each makes a list of another.
func each[S, T any](list []S, f func(*S) T) []T {
	if list == nil {
		return nil
	}
	out := make([]T, len(list))
	for i := range list {
		out[i] = f(&list[i])
	}
	return out
}

// every is each for pointers.
func every[S, T any](list []*S, f func(*S) T) []T {
	if list == nil {
		return nil
	}
	out := make([]T, len(list))
	for i, m := range list {
		out[i] = f(m)
	}
	return out
}

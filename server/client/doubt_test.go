package client

import (
	"errors"
	"testing"

	"github.com/kantadb/kanta/query"
)

// TestDoubted has the last try of a call say that it has done nothing: that says so of the call only if no try before
// it may have.
func TestDoubted(t *testing.T) {
	lost := query.Errorf(query.CodeUnavailable, "the connection is lost")
	for _, last := range []error{query.NotLeader(""), query.Errorf(query.CodeIO, "there is no room; nothing was written"), query.Errorf(query.CodeLimit, "too much at once")} {
		if err := doubted(nil, last); err != last {
			t.Errorf("%v becomes %v", last, err)
		}
		err := doubted(lost, last)
		if !errors.Is(err, &query.Error{Code: query.CodeUnavailable}) || errors.Is(err, last) {
			t.Errorf("%v behind a try that was lost becomes %v", last, err)
		}
	}
	for _, last := range []error{nil, lost, query.Errorf(query.CodeStaleSequence, "it is too old")} {
		if err := doubted(lost, last); err != last {
			t.Errorf("%v becomes %v", last, err)
		}
	}
}

package server

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/client"
)

// TestLeaderUnreached writes by a member that names a leader whom nobody reaches: the error says why, and where.
func TestLeaderUnreached(t *testing.T) {
	r := newTrio(t)
	r.lead(1)
	r.kill(1)
	c := dial(t, r.address(0), nil)
	apply := func() error {
		for {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			_, err := c.Apply(ctx, increment(t, "a", 0))
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) { // it may end in the middle of a try
				return err
			}
		}
	}
	gone := r.at[1].Addr().String()
	err := apply()
	var e *query.Error
	if !errors.As(err, &e) || e.Code != query.CodeNotLeader || e.Leader != gone || !strings.Contains(e.Message, gone+", cannot be reached: ") || !strings.Contains(e.Message, "refused") {
		t.Errorf("a batch whose leader is gone: %v", err)
	}
	r.lead(2)
	if err := apply(); err != nil {
		t.Errorf("a batch when another one leads: %v", err)
	}
	r.lead(1)
	r.seats[1].set("", false, 0)
	if err := apply(); err == nil || !strings.Contains(err.Error(), "cannot be reached") {
		t.Errorf("a batch when the one that is gone is said to lead again: %v", err)
	}
}

// TestLeaderNotBelieved writes by a member that names a leader whose certificate is of another authority: that does
// not pass, so the error comes at once, long before the deadline.
func TestLeaderNotBelieved(t *testing.T) {
	mine, others := newTrust(t), newTrust(t)
	db := openStore(t)
	leader, follower := &seat{db: db}, &seat{db: db}
	strange := listen(t, limited(t, db, &Options{Cluster: leader, TLS: others.server(false)}, nil)).Addr().String()
	leader.set(strange, true, 0)
	follower.set(strange, false, 0)
	near := listen(t, limited(t, db, &Options{Cluster: follower, TLS: mine.server(true)}, nil)).Addr().String()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	_, err := dial(t, "kanta://"+near, &client.Options{TLS: mine.client("anna")}).Apply(ctx, increment(t, "a", 0))
	var e *query.Error
	if !errors.As(err, &e) || e.Code != query.CodeNotLeader || e.Leader != strange || !strings.Contains(e.Message, strange+", cannot be reached: the server's certificate is not believed") ||
		!strings.Contains(e.Hint, "authority") || !isCode(err, query.CodeDenied) {
		t.Errorf("a batch whose leader is not believed: %v", err)
	}
}

// TestStatusOfWhom asks members for the state of the cluster of which some are gone, or do not know who leads: the
// leader answers if it can, else who knows of one.
func TestStatusOfWhom(t *testing.T) {
	r := newTrio(t)
	for i, s := range r.seats {
		s.status = func() query.ClusterStatus {
			out := query.ClusterStatus{Cluster: "c1", Node: names[i]}
			leader, self := s.Leader()
			for j, name := range names {
				out.Members = append(out.Members, query.ClusterMember{ID: name, Address: r.at[j].Addr().String(), Self: i == j, LastContact: -1})
				if leader == r.at[j].Addr().String() || self && i == j {
					out.Leader = name
				}
			}
			return out
		}
	}
	asks := func(what, node, leader string, which ...int) {
		t.Helper()
		s, err := dial(t, r.address(which...), nil).ClusterStatus(t.Context())
		if err != nil || s.Node != node || s.Leader != leader {
			t.Errorf("%s: %s says that %s leads, want %s and %s (%v)", what, s.Node, s.Leader, node, leader, err)
		}
	}
	r.lead(-1)
	asks("nobody leads", "n1", "", 0, 1, 2)
	r.lead(2)
	asks("a follower is named", "n3", "n3", 0)
	r.seats[0].set("", false, 0)
	asks("the first that is named is cut off", "n3", "n3", 0, 1, 2)
	asks("the only one that is named is cut off", "n1", "", 0)
	r.kill(2)
	asks("the leader is gone, and one knows of it", "n2", "n3", 0, 1, 2)
	r.kill(0)
	r.lead(1)
	asks("the first that is named is gone", "n2", "n2", 0, 1, 2)
}

// names of the members of a trio.
var names = [...]string{"n1", "n2", "n3"} //tidy:constant

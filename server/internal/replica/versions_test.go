package replica

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/query"
)

// TestSpan is the format of what members say that they know, as the package comment has it.
func TestSpan(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "A member that knows the versions 2 to 3:\n//\n//\t")
	line, _, _ := strings.Cut(rest, "\n")
	want, err := hex.DecodeString(strings.ReplaceAll(line, " ", ""))
	if s := (span{2, 3}); !ok || err != nil || !bytes.Equal(s.encode(), want) || decodeSpan(want) != s {
		t.Fatalf("%x, the package comment has %q", s.encode(), line)
	}
	first := span{1, 1}
	for _, b := range [][]byte{nil, []byte("n1.0123456789abcdef"), want[1:], append(slices.Clone(want), 0), append([]byte{2}, want[1:]...), span{3, 2}.encode(), span{0, 2}.encode()} {
		if s := decodeSpan(b); s != first {
			t.Errorf("%x is read as %s", b, s)
		}
	}
}

// TestReachable is when a version is raised, and what is said if not.
func TestReachable(t *testing.T) {
	for _, c := range []struct {
		now  uint64
		all  map[string]span
		to   uint64
		says string
	}{
		{1, map[string]span{"n1": {1, 1}, "n2": {1, 1}}, 1, ""},
		{1, map[string]span{"n1": {1, 2}, "n2": {1, 1}}, 1, "n2 knows version 1 only"},
		{1, map[string]span{"n1": {1, 2}, "n2": {1, 2}}, 2, ""},
		{2, map[string]span{"n1": {1, 2}, "n2": {2, 2}}, 2, ""},
		{1, map[string]span{"n1": {1, 2}, "n2": {1, 3}}, 2, "n1 knows the versions 1 to 2"},
		{1, map[string]span{"n1": {1, 3}, "n2": {1, 2}, "n3": {}}, 1, "n2 knows the versions 1 to 2, n3 does not answer"},
		{1, map[string]span{"n1": {1, 2}, "n2": {}}, 1, "n2 does not answer"},
		{1, map[string]span{"n1": {1, 2}, "n2": {3, 4}}, 1, "n1 knows the versions 1 to 2, n2 knows the versions 3 to 4"},
		{2, map[string]span{"n1": {1, 2}, "n2": {1, 1}}, 2, ""}, // it cannot run
	} {
		to, missing := reachable(c.now, c.all)
		if says := strings.Join(missing, ", "); to != c.to || says != c.says {
			t.Errorf("from %d with %v to %d, %q; want %d, %q", c.now, c.all, to, says, c.to, c.says)
		}
	}
}

// TestVersionsOfMembers has a member be started with other builds: what it knows is written down, whoever leads, and a
// version that not all know is not raised.
func TestVersionsOfMembers(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		c.three()
		own := ownSpan()
		says := func(id string, want span) {
			t.Helper()
			c.eventually(fmt.Sprintf("%s knows %s", id, want), func() bool {
				for _, m := range c.members {
					if m.node == nil || m.node.DB() == nil {
						continue
					}
					d, err := m.node.member(t.Context(), id)
					if err != nil || d.span() != want || d.Client != id+":2" || d.Raft != id+":1" {
						return false
					}
				}
				return true
			})
		}
		for _, m := range c.members {
			says(m.id, own)
		}
		before, last, changes := c.agree().Position, own, uint64(0)
		for _, other := range []span{{1, own.newest + 1}, {1, 1}, own} {
			if other != last {
				last, changes = other, changes+1
			}
			m := c.members[2]
			m.close()
			c.change = func(of *Config) { of.knows = other }
			m.open()
			c.change = nil
			says(m.id, other)
			s, err := c.leader().node.Status(t.Context())
			c.must(err)
			if got := s.Members[2]; got.LowestVersion != other.lowest || got.NewestVersion != other.newest {
				t.Errorf("the status says of %s %d to %d", m.id, got.LowestVersion, got.NewestVersion)
			}
			if _, newest := engine.KnownVersions(); s.Version != newest || s.VersionHeld {
				t.Errorf("the version is %s (held: %v)", s.Version, s.VersionHeld)
			}
		}
		v, err := c.leader().node.Upgrade(t.Context(), false)
		if _, newest := engine.KnownVersions(); err != nil || v != newest {
			t.Errorf("there is nothing to upgrade to: %s, %v", v, err)
		}
		if after := c.agree().Position; after.Applied != before.Applied+changes {
			t.Errorf("from %s to %s: each change is written once, and nothing else", before, after)
		}

		// Whoever leads sees to it.
		c.change = func(of *Config) { of.knows = span{1, own.newest + 1} }
		m := c.leader()
		m.close()
		m.open()
		says(m.id, span{1, own.newest + 1})
		c.change = nil
		_, err = c.leader().node.Upgrade(t.Context(), false)
		if !errors.Is(err, &query.Error{Code: query.CodeConflict}) || !strings.Contains(err.Error(), "knows version 1 only") {
			t.Errorf("two do not know what one does: %v", err)
		}
	})
}

// TestHold keeps the version as it is, and no more.
func TestHold(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		m := c.init()
		_, newest := engine.KnownVersions()
		for _, hold := range []bool{true, true, false, false} {
			v, err := m.node.Upgrade(t.Context(), hold)
			s, failed := m.node.Status(t.Context())
			if err != nil || failed != nil || v != newest || s.VersionHeld != hold || m.node.held() != hold {
				t.Errorf("asked for %v: %s, %+v, %v %v", hold, v, s, err, failed)
			}
		}
		c.join(c.add("n2"))
		var e *query.Error
		c.eventually("n2 has a store", func() bool {
			_, err := c.members[1].node.Upgrade(t.Context(), true)
			return errors.As(err, &e) && e.Code == query.CodeNotLeader && e.Leader == "n1:2"
		})
	})
}

// TestJoinOfAnotherBuild refuses who does not know the version in force.
func TestJoinOfAnotherBuild(t *testing.T) {
	inBubble(t, func(t *testing.T, c *cluster) {
		m := c.init()
		own := ownSpan()
		join := func(lowest, newest uint64) error {
			incarnation, err := NewIncarnation()
			c.must(err)
			return m.node.Join(t.Context(), query.ClusterRecruit{ID: "n2", Address: "n2:2", RaftAddress: "n2:1", Incarnation: incarnation, LowestVersion: lowest, NewestVersion: newest})
		}
		err := join(own.newest+1, own.newest+2)
		if !errors.Is(err, &query.Error{Code: query.CodeConflict}) || !strings.Contains(err.Error(), fmt.Sprintf("knows the versions %d to %d", own.newest+1, own.newest+2)) {
			t.Errorf("a build that is too new: %v", err)
		}
		if len(m.node.servers()) != 1 {
			t.Errorf("it is a member: %v", m.node.servers())
		}
		c.must(join(own.lowest, own.newest+1))
		if len(m.node.servers()) != 2 {
			t.Errorf("it is no member: %v", m.node.servers())
		}
	})
}

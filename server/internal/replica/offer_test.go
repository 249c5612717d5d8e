package replica

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
)

// refusing is the transport of a leader whose members do not know offers, as those of the version before.
type refusing struct {
	Transport
	offers *atomic.Int64
}

func (r refusing) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	if isOffer(args) {
		r.offers.Add(1)
		return errors.New("the stream is of version 3; this program reads version 1")
	}
	return r.Transport.InstallSnapshot(id, target, args, resp, data)
}

// TestDelta has a member be away while little is written, and the log be cut meanwhile: it is sent a snapshot, and of
// that what it has not. If it cannot say what that is, it is sent everything.
func TestDelta(t *testing.T) {
	var sent [2]int64
	for i, old := range []bool{false, true} {
		var offers atomic.Int64
		inBubble(t, func(t *testing.T, c *cluster) {
			c.change = func(x *Config) {
				x.TrailingBytes = 1
				if old {
					x.Transport = refusing{x.Transport, &offers}
				}
			}
			c.init()
			c.must(c.apply(schemaBatch(t)))
			keys := rand.New(rand.NewPCG(1, 1))
			for range 360 { // a larger batch is packed, by what all bubbles share
				b := batch.New()
				for range 14 {
					b.Upsert(fmt.Sprintf("%016x%016x", keys.Uint64(), keys.Uint64())).Set("n", schema.IntValue(keys.Int64()))
				}
				c.must(c.apply(encode(t, b)))
			}
			l := c.leader()
			c.must(l.node.DB().Compact(t.Context())) // else what is small is soon written anew
			c.must(l.node.Snapshot())
			away := c.add("n2")
			c.join(away)
			c.eventually("it votes", func() bool { return c.votes() == 2 })
			c.join(c.add("n3"))
			c.eventually("three votes", func() bool { return c.votes() == 3 })
			c.agree()
			id := away.node.id.server()
			away.close()
			l = c.leader()
			c.must(c.apply(increment(t, "p0", 1)))
			c.must(l.node.Snapshot())
			before, _ := l.node.snaps.Newest()
			l.node.wire.of(id, func(c *contact) { c.sent = 0 })
			away.open()
			c.agree()
			sent[i] = l.node.wire.contact(id).sent
			if sent[i] == 0 {
				t.Error("it was sent no snapshot: the test does not test")
			}
			if all := before.Bytes(); old != (sent[i] >= all) {
				t.Errorf("old %t: %d bytes were sent of %d", old, sent[i], all)
			}
			if n := value(t, away.node.DB(), "p0"); n != 1 {
				t.Errorf("n is %d", n)
			}
			c.must(away.node.Snapshot()) // with checksums of what was linked
			away.kill(0)
			away.open()
			c.agree()
		})
		if old != (offers.Load() > 0) {
			t.Errorf("old %t: %d offers", old, offers.Load())
		}
	}
	if sent[0]*4 > sent[1] {
		t.Errorf("%d bytes were sent, and %d to who cannot say what it has", sent[0], sent[1])
	}
}

// TestSnapshotWords writes and reads what stands beside a request to install a snapshot.
func TestSnapshotWords(t *testing.T) {
	r := &raft.InstallSnapshotRequest{Size: 1 << 40}
	for _, size := range []int64{1, 1 << 40} {
		*asideSnapshot(r) = encodeDelta(size)
		if got, ok := decodeDelta(r); !ok || got != size || isOffer(r) {
			t.Errorf("%d is read as %d, %t", size, got, ok)
		}
	}
	for _, word := range [][]byte{nil, []byte("10.0.0.1:7701"), encodeDelta(0), encodeDelta(-1), encodeDelta(1<<40 + 1), encodeDelta(1)[:9], append(encodeDelta(1), 0), {2, deltaWord, 1, 0, 0, 0, 0, 0, 0, 0}, {wordVersion, offerWord}} {
		*asideSnapshot(r) = word
		if got, ok := decodeDelta(r); ok {
			t.Errorf("%x is read as %d", word, got)
		}
		if want := len(word) == 2; isOffer(r) != want {
			t.Errorf("%x is an offer: %t", word, !want)
		}
	}
}

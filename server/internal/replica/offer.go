package replica

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/server/internal/snapshots"
)

// What stands in a request to install a snapshot where nobody reads Raft's address: that it is an offer, or how many
// bytes follow of a stream that leaves out what the receiver has. The package comment specifies both.
const (
	offerWord = 1
	deltaWord = 2
)

// asideSnapshot is where such a request has it.
func asideSnapshot(r *raft.InstallSnapshotRequest) *[]byte {
	return &r.Leader
}

// isOffer reports whether a request asks what the receiver has.
func isOffer(r *raft.InstallSnapshotRequest) bool {
	word := *asideSnapshot(r)
	return len(word) == 2 && word[0] == wordVersion && word[1] == offerWord
}

func encodeDelta(size int64) []byte {
	return binary.LittleEndian.AppendUint64([]byte{wordVersion, deltaWord}, uint64(size))
}

// decodeDelta returns how many bytes follow, false if it is as many as the request says.
func decodeDelta(r *raft.InstallSnapshotRequest) (size int64, ok bool) {
	word := *asideSnapshot(r)
	if len(word) != 10 || word[0] != wordVersion || word[1] != deltaWord {
		return 0, false
	}
	size = int64(binary.LittleEndian.Uint64(word[2:]))
	return size, size > 0 && size <= r.Size
}

// exact is a request to install a snapshot as Raft must see it: with the bytes that follow. Its sender says more, for
// that is what the time goes by which a transport gives it, and what is not sent is read from the receiver's disk.
func exact(rpc raft.RPC) raft.RPC {
	if r, ok := rpc.Command.(*raft.InstallSnapshotRequest); ok {
		if size, ok := decodeDelta(r); ok {
			less := *r
			less.Size, *asideSnapshot(&less) = size, nil
			rpc.Command, rpc.Reader = &less, io.LimitReader(rpc.Reader, size)
		}
	}
	return rpc
}

// offered answers an offer with what the newest snapshot here has of it. It does not concern Raft.
func (n *Node) offered(rpc raft.RPC, r *raft.InstallSnapshotRequest) {
	has, err := n.snaps.Answer(rpc.Reader, r.Size)
	_, _ = io.Copy(io.Discard, rpc.Reader) // what follows is read from behind it
	if err != nil {
		n.cfg.Log.Warn("what a leader offers cannot be read", "error", err)
		rpc.Respond(nil, err)
		return
	}
	resp := &raft.InstallSnapshotResponse{RPCHeader: header(), Term: n.raft.CurrentTerm()}
	resp.Addr = append([]byte{wordVersion}, has...)
	rpc.Respond(resp, nil)
}

// offer asks a member which files it has of a snapshot. decided: it has answered what Raft is to know, for it has all of it or is in
// a later term. Whoever does not answer as one of this version gets everything.
func (w *wire) offer(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, from *snapshots.Reader) (size int64, decided bool) {
	offer := from.Offer()
	with, answer := *args, raft.InstallSnapshotResponse{}
	with.Size, *asideSnapshot(&with) = int64(len(offer)), []byte{wordVersion, offerWord}
	if err := w.Transport.InstallSnapshot(id, target, &with, &answer, bytes.NewReader(offer)); err != nil {
		return 0, false
	}
	if answer.Success || answer.Term > args.Term {
		*resp = answer
		return 0, true
	}
	if len(answer.Addr) < 2 || answer.Addr[0] != wordVersion {
		return 0, false // it has nothing
	}
	size, err := from.Without(answer.Addr[1:])
	if err != nil {
		return 0, false
	}
	return size, false
}

// InstallSnapshot sends a snapshot, as long as this member leads, but for the files that the other has; if that fails the
// next one is sent whole. Raft (1.8.0) would send all of it when another one leads, and then begin with another one; and
// who is sent one by Raft does nothing else until it ends: it neither votes nor hears the next leader.
func (w *wire) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	if !w.leads(args.Term) {
		return errDeposed
	}
	with, size := *args, args.Size
	if from, ok := readerOf(data); ok && !w.contact(id).whole {
		less, decided := w.offer(id, target, args, resp, from)
		if decided {
			return nil
		}
		if less > 0 {
			size = less
			with.Size, *asideSnapshot(&with) = max(args.Size, less), encodeDelta(less)
		}
	}
	w.of(id, func(c *contact) { c.sent, c.size = 0, size })
	defer w.of(id, func(c *contact) { c.size = 0 })
	err := w.Transport.InstallSnapshot(id, target, &with, resp, &counted{Reader: data, on: func() bool { return w.leads(args.Term) }, add: func(n int) {
		w.of(id, func(c *contact) { c.sent += int64(n) })
	}})
	w.of(id, func(c *contact) { c.whole = len(*asideSnapshot(&with)) > 0 && (err != nil || !resp.Success) })
	return err
}

// readerOf returns the snapshot that Raft sends.
func readerOf(data io.Reader) (*snapshots.Reader, bool) {
	if from, ok := data.(io.ReadCloser); ok {
		return snapshots.Of(from)
	}
	return nil, false
}

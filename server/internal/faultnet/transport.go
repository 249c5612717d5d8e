package faultnet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Transport is how one node reaches the others, and is reached.
type Transport struct {
	net     *Network
	address raft.ServerAddress
	in      chan raft.RPC

	once   sync.Once
	closed chan struct{}
	busy   sync.WaitGroup // messages on their way from here

	mu        sync.Mutex
	heartbeat func(raft.RPC)
	ended     bool
}

var (
	_ raft.Transport   = (*Transport)(nil)
	_ raft.WithPreVote = (*Transport)(nil)
	_ raft.WithClose   = (*Transport)(nil)
)

var (
	errNoAnswer = errors.New("no answer in time")                 //tidy:constant
	errClosed   = errors.New("the transport is closed")           //tidy:constant
	errBroken   = errors.New("the connection broke off (a test)") //tidy:constant
)

// Consumer returns what comes in.
func (t *Transport) Consumer() <-chan raft.RPC { return t.in }

// LocalAddr returns the address.
func (t *Transport) LocalAddr() raft.ServerAddress { return t.address }

// EncodePeer returns an address as it is sent.
func (t *Transport) EncodePeer(_ raft.ServerID, a raft.ServerAddress) []byte { return []byte(a) }

// DecodePeer is the opposite of EncodePeer.
func (t *Transport) DecodePeer(b []byte) raft.ServerAddress { return raft.ServerAddress(b) }

// SetHeartbeatHandler has heartbeats handled past the queue, as over a real network.
func (t *Transport) SetHeartbeatHandler(f func(rpc raft.RPC)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heartbeat = f
}

// Close ends everything that is on its way from here, and lets nothing in any more. What was
// let in is answered to nobody.
func (t *Transport) Close() error {
	t.once.Do(func() {
		t.mu.Lock()
		t.ended = true
		t.mu.Unlock()
		close(t.closed)
	})
	t.busy.Wait()
	return nil
}

// begin counts something that is on its way; false: the transport is closed.
func (t *Transport) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended {
		t.busy.Add(1)
	}
	return !t.ended
}

// RequestVote asks for a vote.
func (t *Transport) RequestVote(_ raft.ServerID, to raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return call(t, to, args, resp, nil)
}

// RequestPreVote asks whether there would be a vote.
func (t *Transport) RequestPreVote(_ raft.ServerID, to raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return call(t, to, args, resp, nil)
}

// AppendEntries sends entries, or a heartbeat.
func (t *Transport) AppendEntries(_ raft.ServerID, to raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return call(t, to, args, resp, nil)
}

// TimeoutNow asks somebody to become the leader.
func (t *Transport) TimeoutNow(_ raft.ServerID, to raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return call(t, to, args, resp, nil)
}

// InstallSnapshot sends a snapshot, of which all is read at once.
func (t *Transport) InstallSnapshot(_ raft.ServerID, to raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	all, err := io.ReadAll(data)
	if err != nil {
		return err
	}
	return call(t, to, args, resp, all)
}

// call sends a request and waits for its answer, for as long as somebody would.
func call[R any](t *Transport, to raft.ServerAddress, args any, resp *R, data []byte) error {
	s := stream{link{t.address, to}, fmt.Sprintf("%T", args)}
	f := t.net.decide(s)
	return await(t, t.send(s, &f, args, data), resp, t.net.lasting(args))
}

// await waits for an answer.
func await[R any](t *Transport, answer <-chan raft.RPCResponse, resp *R, lasting time.Duration) error {
	patience := time.NewTimer(lasting)
	defer patience.Stop()
	select {
	case a := <-answer:
		if a.Error != nil {
			return a.Error
		}
		got, ok := a.Response.(*R)
		if !ok {
			return fmt.Errorf("the answer is %T", a.Response)
		}
		*resp = *got
		return nil
	case <-patience.C:
		return errNoAnswer
	case <-t.closed:
		return errClosed
	}
}

// send sends a request on its way, and perhaps once more, and returns where its answer comes.
func (t *Transport) send(s stream, f *fate, args any, data []byte) <-chan raft.RPCResponse {
	answer := make(chan raft.RPCResponse, 1)
	if !t.begin() {
		return answer
	}
	whole := request(args)
	go func() {
		defer t.busy.Done()
		if f.lose {
			t.net.count(&t.net.counts.Lost)
			return
		}
		t.travel(s, f, f.there, rpc(whole, data, f, t.net), answer)
	}()
	if f.repeat && t.begin() {
		t.repeat(s, f, args, data)
	}
	return answer
}

// repeat sends a request once more, later, for an answer that nobody waits for. The caller has begun it.
func (t *Transport) repeat(s stream, f *fate, args any, data []byte) {
	t.net.count(&t.net.counts.Repeated)
	again := fate{number: f.number, back: f.back}
	copied := rpc(request(args), data, &again, t.net)
	go func() {
		defer t.busy.Done()
		t.travel(s, &again, f.there+f.again, copied, make(chan raft.RPCResponse, 1))
	}()
}

// rpc is a request as it arrives.
func rpc(command any, data []byte, f *fate, n *Network) raft.RPC {
	out := raft.RPC{Command: command}
	if data == nil {
		return out
	}
	out.Reader = bytes.NewReader(data)
	if f.breaks {
		n.count(&n.counts.Broken)
		out.Reader = io.MultiReader(bytes.NewReader(data[:int(f.at*float64(len(data)))]), broken{})
	}
	return out
}

// broken is what is behind the place where something breaks off.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errBroken }

// pause waits, and returns false if the transport is closed before.
func (t *Transport) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.closed:
		return false
	}
}

// travel brings a request to the other end and its answer back, as far as they come.
func (t *Transport) travel(s stream, f *fate, delay time.Duration, rpc raft.RPC, answer chan<- raft.RPCResponse) {
	if !t.pause(delay) {
		return
	}
	replies := t.hand(s, f, rpc)
	if replies != nil {
		t.bring(s, f, replies, answer)
	}
}

// hand gives a request to who is at the other end, and returns where the answer comes; nil: there
// is nobody.
func (t *Transport) hand(s stream, f *fate, rpc raft.RPC) <-chan raft.RPCResponse {
	to := t.net.to(s.link)
	if to == nil || !to.begin() { // whoever closes waits until it has been given or not
		return nil
	}
	defer to.busy.Done()
	replies := make(chan raft.RPCResponse, 1)
	rpc.RespChan = replies
	t.net.arrived(s, f.number)
	to.mu.Lock()
	heartbeat := to.heartbeat
	to.mu.Unlock()
	if heartbeat != nil && isHeartbeat(rpc.Command) {
		heartbeat(rpc)
		return replies
	}
	patience := time.NewTimer(t.net.lasting(rpc.Command))
	defer patience.Stop()
	select {
	case to.in <- rpc:
		return replies
	case <-patience.C: // whoever is there does not listen
	case <-to.closed:
	case <-t.closed:
	}
	return nil
}

// bring brings an answer back. One that comes after the asker's patience goes nowhere.
func (t *Transport) bring(s stream, f *fate, replies <-chan raft.RPCResponse, answer chan<- raft.RPCResponse) {
	var a raft.RPCResponse
	select {
	case a = <-replies:
	case <-t.closed:
		return
	}
	switch {
	case !t.pause(f.back):
	case f.loseReply:
		t.net.count(&t.net.counts.LostReplies)
	case t.net.to(link{s.to, s.from}) != nil:
		a.Response = response(a.Response)
		answer <- a
	}
}

// isHeartbeat reports whether a request has nothing but a leader's name.
func isHeartbeat(command any) bool {
	r, ok := command.(*raft.AppendEntriesRequest)
	return ok && r.Term != 0 && r.PrevLogEntry == 0 && r.PrevLogTerm == 0 && len(r.Entries) == 0 && r.LeaderCommitIndex == 0
}

// request copies a request, but for what Raft has given up (Leader, Candidate, Peers), which
// nobody writes to.
func request(args any) any {
	switch r := args.(type) {
	case *raft.AppendEntriesRequest:
		out := *r
		out.RPCHeader = header(r.RPCHeader)
		out.Entries = make([]*raft.Log, len(r.Entries))
		for i, e := range r.Entries {
			entry := *e
			entry.Data, entry.Extensions = bytes.Clone(e.Data), bytes.Clone(e.Extensions)
			out.Entries[i] = &entry
		}
		return &out
	case *raft.RequestVoteRequest:
		out := *r
		out.RPCHeader = header(r.RPCHeader)
		return &out
	case *raft.RequestPreVoteRequest:
		out := *r
		out.RPCHeader = header(r.RPCHeader)
		return &out
	case *raft.InstallSnapshotRequest:
		out := *r
		out.RPCHeader, out.Configuration = header(r.RPCHeader), bytes.Clone(r.Configuration)
		return &out
	case *raft.TimeoutNowRequest:
		return &raft.TimeoutNowRequest{RPCHeader: header(r.RPCHeader)}
	}
	return args
}

func header(h raft.RPCHeader) raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: h.ProtocolVersion, ID: bytes.Clone(h.ID), Addr: bytes.Clone(h.Addr)}
}

// response copies an answer.
func response(answer any) any {
	switch r := answer.(type) {
	case *raft.AppendEntriesResponse:
		out := *r
		out.RPCHeader = header(r.RPCHeader)
		return &out
	case *raft.RequestVoteResponse:
		out := *r
		out.RPCHeader = header(r.RPCHeader)
		return &out
	case *raft.RequestPreVoteResponse:
		out := *r
		out.RPCHeader = header(r.RPCHeader)
		return &out
	case *raft.InstallSnapshotResponse:
		out := *r
		out.RPCHeader = header(r.RPCHeader)
		return &out
	}
	return answer
}

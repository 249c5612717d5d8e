package replica

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/canary"
)

// wordVersion is what words begin with: no address does, which Raft has there.
const wordVersion = 1

// The sizes of words.
const (
	wordSize   = 1 + 8 + 8 + 8 + 8
	answerSize = 1 + 8 + 8
	foundSize  = answerSize + holdingSize
	purgedSize = 8 + 8
	stateSize  = 1
)

// stamp is an instant of another member's clock, which only that one can read: nanoseconds since it was started.
type stamp struct {
	boot uint64 // which start
	at   int64
}

// word is what a leader says beside a message. The package comment specifies it.
type word struct {
	echo   stamp         // the latest that the receiver has said; zero: none
	commit uint64        // 0: it cannot tell
	age    time.Duration // how long before the message it had certainly all that had been acknowledged
}

// aside is where a message has a word.
func aside(r *raft.AppendEntriesRequest) *[]byte {
	//lint:ignore SA1019 that nobody reads it any more is why words are there
	return &r.Leader
}

func (w *word) encode() []byte {
	b := append(make([]byte, 0, wordSize), wordVersion)
	b = binary.LittleEndian.AppendUint64(b, w.echo.boot)
	b = binary.LittleEndian.AppendUint64(b, uint64(w.echo.at))
	b = binary.LittleEndian.AppendUint64(b, w.commit)
	return binary.LittleEndian.AppendUint64(b, uint64(w.age))
}

// decodeWord reads a word; there is none where Raft has an address, or a newer member says more.
func decodeWord(b []byte) (w word, ok bool) {
	if len(b) != wordSize || b[0] != wordVersion {
		return w, false
	}
	w.echo = stamp{binary.LittleEndian.Uint64(b[1:]), int64(binary.LittleEndian.Uint64(b[9:]))}
	w.commit, w.age = binary.LittleEndian.Uint64(b[17:]), time.Duration(binary.LittleEndian.Uint64(b[25:]))
	return w, w.age >= 0
}

// stateFull is the state of a member whose disk is nearly full. One that has nothing to say says none.
const stateFull = 1

// answer is what a member says beside its answer.
type answer struct {
	now    stamp
	found  *holding       // nil: nothing, or not yet
	purged query.Position // zero: it has not been asked to
	full   bool           // its disk is nearly full
}

func (a *answer) encode() []byte {
	b := append(make([]byte, 0, foundSize+purgedSize), wordVersion)
	b = binary.LittleEndian.AppendUint64(b, a.now.boot)
	b = binary.LittleEndian.AppendUint64(b, uint64(a.now.at))
	if a.found != nil {
		b = a.found.append(b)
	}
	if a.purged != (query.Position{}) {
		b = binary.LittleEndian.AppendUint64(b, a.purged.Epoch)
		b = binary.LittleEndian.AppendUint64(b, a.purged.Applied)
	}
	if a.full {
		b = append(b, stateFull)
	}
	return b
}

func decodeAnswer(b []byte) (a answer, ok bool) {
	is := func(size int) bool { return size == answerSize || size == foundSize }
	if n := len(b) - stateSize; (is(n) || is(n-purgedSize)) && b[n] == stateFull {
		a.full, b = true, b[:n]
	}
	if n := len(b) - purgedSize; is(n) {
		a.purged, b = query.Position{Epoch: binary.LittleEndian.Uint64(b[n:]), Applied: binary.LittleEndian.Uint64(b[n+8:])}, b[:n]
		if a.purged == (query.Position{}) {
			return answer{}, false
		}
	}
	if !is(len(b)) || b[0] != wordVersion {
		return answer{}, false
	}
	a.now = stamp{binary.LittleEndian.Uint64(b[1:]), int64(binary.LittleEndian.Uint64(b[9:]))}
	if len(b) >= foundSize {
		c := decodeHolding(b[answerSize:])
		a.found = &c
	}
	return a, true
}

// acked is the latest message that a member has answered with success, in its term.
type acked struct {
	term, round uint64
	sent        time.Time // before it was
}

// ask begins a round: messages that are sent from now on belong to it, or to a later one.
func (w *wire) ask() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.round++
	return w.round
}

// confirmed returns the latest round and instant of which this is certain: a majority of those who vote have answered
// messages that this member sent in that round or later, at that instant or later, as the leader of a term. So nobody
// had been elected after it, then. Answers of those without a vote do not count, nor do those to earlier messages.
func (w *wire) confirmed(servers []raft.Server, self raft.ServerID, term uint64) (round uint64, since time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []acked
	for _, s := range servers {
		switch c := w.peers[s.ID]; {
		case !isVoter(s):
		case s.ID == self:
			all = append(all, acked{round: math.MaxUint64, sent: time.Now()})
		case c != nil && c.acked.term == term:
			all = append(all, c.acked)
		default:
			all = append(all, acked{})
		}
	}
	if len(all) == 0 {
		return 0, since
	}
	slices.SortFunc(all, func(a, b acked) int { return cmp.Or(b.sent.Compare(a.sent), cmp.Compare(b.round, a.round)) })
	of := all[len(all)/2]
	return of.round, of.sent
}

// answered notes an answer to a message that was sent in a round.
func (c *contact) answered(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse, round uint64, sent time.Time) {
	c.log, c.at = resp.LastLog, time.Now()
	if resp.Success && resp.Term == args.Term && (args.Term > c.acked.term || args.Term == c.acked.term && sent.After(c.acked.sent)) {
		c.acked = acked{args.Term, round, sent}
	}
	if a, ok := decodeAnswer(resp.Addr); ok {
		if a.now.boot != c.said.boot || a.now.at > c.said.at {
			c.said = a.now
		}
		c.found, c.purged, c.full, c.span = a.found, a.purged, a.full, decodeSpan(resp.ID)
	}
}

// AppendEntries sends entries, or a heartbeat: ten of these come in the time that an election waits, so what is known
// of others is that fresh. Those that are sent in a pipeline do not come by here, nor are they needed. Entries for a
// member that is away wait until it is back: see knock.
func (w *wire) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	err := w.send(id, target, args, resp)
	if err != nil && !isHeartbeat(args) {
		return w.knock(id, target, args, resp, err)
	}
	return err
}

// send sends a message, and notes the answer.
func (w *wire) send(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	said := w.says(args.Term)
	w.mu.Lock()
	round, sent := w.round, time.Now()
	if c := w.peers[id]; c != nil {
		said.echo = c.said
	}
	w.mu.Unlock()
	with := w.ours(args)
	*aside(with) = said.encode()
	err := w.Transport.AppendEntries(id, target, with, resp)
	if err == nil {
		w.of(id, func(c *contact) { c.answered(args, resp, round, sent) })
		w.acks.wake()
	}
	return err
}

// SetHeartbeatHandler has heartbeats come in beside everything else, where the transport can.
func (w *wire) SetHeartbeatHandler(f func(raft.RPC)) {
	w.Transport.SetHeartbeatHandler(func(rpc raft.RPC) {
		r, ok := rpc.Command.(*raft.AppendEntriesRequest)
		if !ok {
			f(rpc)
			return
		}
		to, from := rpc.RespChan, make(chan raft.RPCResponse, 1)
		rpc.RespChan = from
		f(rpc)
		select {
		case answer := <-from:
			to <- w.taken(r, answer)
		default: // Raft is shut down
			to <- raft.RPCResponse{Error: raft.ErrRaftShutdown}
		}
	})
}

// listen has what Raft answers to a message seen on its way.
func (w *wire) listen(rpc raft.RPC, r *raft.AppendEntriesRequest) raft.RPC {
	to, from := rpc.RespChan, make(chan raft.RPCResponse, 1)
	rpc.RespChan = from
	go func() {
		select {
		case answer := <-from:
			to <- w.taken(r, answer)
		case <-w.stop:
			to <- raft.RPCResponse{Error: raft.ErrRaftShutdown}
		}
	}()
	return rpc
}

// maxKnown is how many words of the leader a member keeps until it has applied what they are about: it is a second's.
const maxKnown = 8

// known is what a word of a leader says: at an instant everything that had been acknowledged was up to an index.
type known struct {
	commit uint64
	at     time.Time
}

// taken notes a message that Raft has taken or refused, and adds to the answer what this member says. When a message
// was sent nobody knows: this process may have been stopped with it in a buffer. But it was sent behind the answer
// whose stamp it echoes.
func (w *wire) taken(r *raft.AppendEntriesRequest, answered raft.RPCResponse) raft.RPCResponse {
	resp, ok := answered.Response.(*raft.AppendEntriesResponse)
	said, spoken := decodeWord(*aside(r))
	if !ok || !spoken || answered.Error != nil {
		return answered
	}
	with := *resp
	full := w.disk.full()
	w.mu.Lock()
	with.Addr = (&answer{now: stamp{w.boot, int64(time.Since(w.begun))}, found: w.found, purged: w.purged, full: full}).encode()
	with.ID = w.span.encode()
	if resp.Success && said.commit > 0 && said.echo.boot == w.boot {
		at := w.begun.Add(time.Duration(said.echo.at) - said.age)
		if canary.Is("stale") { // what has just come is taken for new
			at = time.Now().Add(-said.age)
		}
		if n := len(w.knows); n == 0 || at.After(w.knows[n-1].at) {
			if n == maxKnown {
				w.knows = w.knows[:n-1] // the oldest may be the only ones that were applied
			}
			w.knows = append(w.knows, known{said.commit, at})
		}
	}
	w.mu.Unlock()
	answered.Response = &with
	return answered
}

// fresh returns the latest instant at which a member that has applied the log up to an index had all that had been
// acknowledged, false if it cannot tell.
func (w *wire) fresh(applied uint64) (time.Time, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, k := range slices.Backward(w.knows) {
		if k.commit <= applied {
			w.knows = w.knows[i:]
			return k.at, true
		}
	}
	return time.Time{}, false
}

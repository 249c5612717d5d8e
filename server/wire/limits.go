package wire

import (
	"fmt"
	"time"
)

// Limits bound what a peer can make this end hold, and for how long. The zero value of a
// field is its default, which is the value of the constant beside it. Both ends say in
// their hello what they take; a peer that goes past it breaks the protocol and loses the
// connection, so a well-behaved sender refuses locally what is too large.
type Limits struct {
	FrameBytes       int           // payload of a frame, 32 KiB to 1 MiB
	MessageBytes     int           // a message, before and after it is unpacked, up to 1 GiB
	Streams          int           // calls in flight on a connection, up to 65,536
	StreamWindow     int           // what a stream may send before its reader takes it, 32 KiB to 1 GiB
	ConnectionWindow int           // the same for all streams of a connection together
	AssemblyBytes    int           // messages in pieces or packed, while a connection puts them together
	SharedBytes      int           // the same for all connections of a server together
	MetadataBytes    int           // headers or trailers of a call, 32 bytes added for each, up to 8 KiB
	PendingBytes     int           // what waits to be written to a connection
	HandshakeTime    time.Duration // from the first byte to the end of the handshake
	IdleTime         time.Duration // without one whole frame, at a server
	KeepAlive        time.Duration // without one whole frame, at a client, until it pings
	PongTime         time.Duration // from then until it gives up
	WriteTime        time.Duration // for one write to the connection
	StallTime        time.Duration // for a client to take or to send one message, beside what MinRate allows it
	MinRate          int           // bytes per second at which a message must leave a server, or come to it
	Connections      int           // of a server, in all
	Handshakes       int           // of a server, at the same time
	Handlers         int           // of a server, running at the same time
}

// The defaults, and why.
const (
	// A frame keeps others on the connection waiting; on loopback 64 KiB take 20 us, and
	// larger frames make nothing faster.
	defaultFrameBytes = 64 << 10
	// A dense bitmap of 100 million people is 12.5 MB; all else is streamed in blocks.
	defaultMessageBytes = 16 << 20
	// Far more than the cores can serve; each costs under 2 KiB while its handler waits.
	defaultStreams = 256
	// At 1 ms of round trip 250 MB/s, with a memory that 16 stalled streams may hold.
	defaultStreamWindow = 256 << 10
	// Eight stalled streams leave the others of a connection none: the calls' deadlines
	// and StallTime end such a state.
	defaultConnectionWindow = 2 << 20
	// Two of the largest messages at once, or some thirty of usual size.
	defaultAssemblyBytes = 32 << 20
	// Eight connections at their most.
	defaultSharedBytes = 256 << 20
	// Metadata are names and tokens, not data.
	defaultMetadataBytes = 8 << 10
	// One write's worth: what waits longer, waits with its sender.
	defaultPendingBytes = 256 << 10
	// An unauthenticated peer; the usual value of a TLS handshake too.
	defaultHandshakeTime = 5 * time.Second
	// Four keep-alives of a client that is there.
	defaultIdleTime  = 60 * time.Second
	defaultKeepAlive = 15 * time.Second
	defaultPongTime  = 10 * time.Second
	// PendingBytes in 15 s are 17 KB/s: below, a socket only pins memory.
	defaultWriteTime = 15 * time.Second
	// A reader may think for half a minute about a block; longer, it should ask again
	// with a cursor, because its snapshot holds back the store.
	defaultStallTime = 30 * time.Second
	defaultMinRate   = 16 << 10
	// The goal is 1,000 idle clients in 64 MiB; twice that is not an accident any more.
	defaultConnections = 2048
	// Strangers may hold this many places, each for HandshakeTime.
	defaultHandshakes = 64
	// Past it, waiting would only make all slower: the call is refused at once.
	defaultHandlers = 1024
)

// What is not negotiated, and why.
const (
	helloBytes       = 8 << 10  // a hello: credentials and a few numbers, from a stranger
	credentialsBytes = 4 << 10  // a key or a token; a certificate travels in TLS
	agentBytes       = 128      // the name of a program
	procedureBytes   = 256      // the name of a procedure
	procedures       = 1024     // names that a connection remembers
	statusBytes      = 16 << 10 // an error's message and details
	statusDetails    = 64
	minFrameBytes    = 32 << 10 // a status and its trailers fit into one frame
	maxFrameBytes    = 1 << 20
	maxMessageBytes  = 1 << 30
	maxStreams       = 1 << 16
	minWindow        = 32 << 10
	maxWindow        = 1 << 30
	maxMetadataBytes = 8 << 10
	entryBytes       = 32 // what a key and a value of metadata count beside their bytes
	frameCost        = 64 // what a frame counts in a window beside its bytes: what holding it costs
	maxDeadline      = 365 * 24 * time.Hour
	farewellTime     = time.Second // for the last words on a connection
	drainTime        = 5 * time.Second
	idleWorkers      = 64 // goroutines kept for the next call; more are for a crowd
	packBytes        = 512
)

// withDefaults returns the limits with every zero field set.
func (l Limits) withDefaults() Limits {
	ints := []struct {
		field *int
		value int
	}{
		{&l.FrameBytes, defaultFrameBytes}, {&l.MessageBytes, defaultMessageBytes},
		{&l.Streams, defaultStreams}, {&l.StreamWindow, defaultStreamWindow},
		{&l.ConnectionWindow, defaultConnectionWindow}, {&l.AssemblyBytes, defaultAssemblyBytes},
		{&l.SharedBytes, defaultSharedBytes}, {&l.MetadataBytes, defaultMetadataBytes}, {&l.PendingBytes, defaultPendingBytes},
		{&l.MinRate, defaultMinRate}, {&l.Connections, defaultConnections},
		{&l.Handshakes, defaultHandshakes}, {&l.Handlers, defaultHandlers},
	}
	for _, f := range ints {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	times := []struct {
		field *time.Duration
		value time.Duration
	}{
		{&l.HandshakeTime, defaultHandshakeTime}, {&l.IdleTime, defaultIdleTime},
		{&l.KeepAlive, defaultKeepAlive}, {&l.PongTime, defaultPongTime},
		{&l.WriteTime, defaultWriteTime}, {&l.StallTime, defaultStallTime},
	}
	for _, f := range times {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	return l
}

// patience is how long a server waits for a client to take a message of so many bytes, or to send
// the rest of it.
func (l Limits) patience(bytes int) time.Duration {
	return l.StallTime + time.Duration(float64(bytes)/float64(l.MinRate)*float64(time.Second))
}

// validate reports the first field out of its range.
func (l Limits) validate() error {
	rows := []struct {
		name             string
		value, low, high int
	}{
		{"FrameBytes", l.FrameBytes, minFrameBytes, maxFrameBytes},
		{"MessageBytes", l.MessageBytes, 1, maxMessageBytes},
		{"Streams", l.Streams, 1, maxStreams},
		{"StreamWindow", l.StreamWindow, minWindow, maxWindow},
		{"ConnectionWindow", l.ConnectionWindow, minWindow, maxWindow},
		{"AssemblyBytes", l.AssemblyBytes, 2 * l.MessageBytes, 1 << 40}, // a packed message and what it was
		{"SharedBytes", l.SharedBytes, l.AssemblyBytes, 1 << 40},
		{"MetadataBytes", l.MetadataBytes, 1, maxMetadataBytes},
		{"PendingBytes", l.PendingBytes, 1, maxWindow},
		{"MinRate", l.MinRate, 1, 1 << 40},
		{"Connections", l.Connections, 1, 1 << 30},
		{"Handshakes", l.Handshakes, 1, 1 << 30},
		{"Handlers", l.Handlers, 1, 1 << 30},
	}
	for _, r := range rows {
		if r.value < r.low || r.value > r.high {
			return fmt.Errorf("wire: limit %s is %d: it must be from %d to %d", r.name, r.value, r.low, r.high)
		}
	}
	for _, d := range []time.Duration{l.HandshakeTime, l.IdleTime, l.KeepAlive, l.PongTime, l.WriteTime, l.StallTime} {
		if d < time.Millisecond {
			return fmt.Errorf("wire: a limit in time is %v: it must be at least a millisecond", d)
		}
	}
	return nil
}

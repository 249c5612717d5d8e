package server

import (
	"time"

	"github.com/kantadb/kanta/engine/batch"
)

// limits bound what others can make a server do. They are fixed: the only reason for a struct
// is that tests lower them.
type limits struct {
	doorLimits
	requestBytes int           // of one message that is received: a batch, and what is around it
	blockBytes   int           // of a block of a listing, about: enough to make what is around it small, little to hold
	pieceBytes   int           // of a piece of a bitmap or an export: as much as a window of HTTP/2 takes at once
	inFlight     int           // batches of one stream of an ingest that are not decided: some fsyncs' worth, 8 MiB at most
	leases       int           // open snapshots of clients: each keeps old data on the disk
	ownLeases    int           // of them of one caller, so that nobody has all
	lease        time.Duration // of a snapshot, if the client says nothing
	longestLease time.Duration // whoever is gone holds no data for longer than this
	behind       time.Duration // how long an answer waits for a position that is not there yet
	progress     time.Duration // between two words of progress: people read no faster
	keys         int           // of people of one erasure: they are read into memory
	files        fileLimits
	planEvery    time.Duration // between two plans of slow questions
	gate         gateLimits    // what is done at a time

	clock func() time.Time // by which keys expire; nil: the machine's
}

// doorLimits bound what connections can do, and requests before anybody reads them.
type doorLimits struct {
	connections int           // at a time: each costs some 20 KiB and a file of the process
	perCaller   int           // of them of one caller: eight of the Go client's pools
	strangers   int           // of them whose caller is not known yet: each may hold what a handshake needs, some 50 KiB
	streams     int           // calls at a time on one connection of HTTP/2
	handlers    int           // calls at a time on the compact wire: more than the lanes hold, for it is they who say which
	headerBytes int           // of a request: names and credentials, never data
	handshake   time.Duration // of TLS, and then of the compact wire: some round trips, also around the world
	header      time.Duration // from there to the end of a request's header: no longer than a handshake
	stranger    time.Duration // until the caller of a connection must be known: both of these
	rate        int           // bytes per second at which a request's body must come: as answers must be taken on the compact wire
	window      time.Duration // over which that is averaged: a network may stand still for some seconds
	idle        time.Duration // a connection without a call is closed, and a stream whose next message does not come
	stalled     time.Duration // a client that takes nothing of what it asked for is given up
	ping        time.Duration // without a word on a connection of HTTP/2 it is asked whether it is alive
}

func defaultLimits() limits {
	return limits{
		doorLimits: doorLimits{
			connections: 4096, perCaller: 32, strangers: 64, streams: 256, handlers: 4096, headerBytes: 64 << 10,
			handshake: 5 * time.Second, header: 5 * time.Second, stranger: 10 * time.Second, rate: 16 << 10, window: 15 * time.Second,
			idle: 5 * time.Minute, stalled: 30 * time.Second, ping: 30 * time.Second,
		},
		requestBytes: batch.MaxStored + 1<<20, blockBytes: 64 << 10, pieceBytes: 64 << 10,
		inFlight: 16, leases: 256, ownLeases: 64, lease: time.Minute, longestLease: time.Hour,
		behind: 2 * time.Second, progress: 100 * time.Millisecond, keys: 1_000_000, files: defaultFileLimits(),
		planEvery: planEvery, gate: defaultGate(processors()),
	}
}

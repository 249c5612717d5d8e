package server

import (
	"time"

	"github.com/kantadb/kanta/engine/batch"
)

// limits bound what others can make a server do. They are fixed: the only reason for a struct
// is that tests lower them.
type limits struct {
	requestBytes int           // of one message that is received: a batch, and what is around it
	headerBytes  int           // of a request: names and credentials, never data
	blockBytes   int           // of a block of a listing, about: enough to make what is around it small, little to hold
	pieceBytes   int           // of a piece of a bitmap or an export: as much as a window of HTTP/2 takes at once
	connections  int           // at a time: each costs some 20 KiB and a file of the process
	streams      int           // calls at a time on one connection of HTTP/2
	inFlight     int           // batches of one stream of an ingest that are not decided: some fsyncs' worth, 8 MiB at most
	leases       int           // open snapshots of clients: each keeps old data on the disk
	lease        time.Duration // of a snapshot, if the client says nothing
	longestLease time.Duration // whoever is gone holds no data for longer than this
	header       time.Duration // from the connection to the end of the request's header: no longer than a slow handshake
	idle         time.Duration // a connection without a call is closed
	stalled      time.Duration // a client that takes nothing of what it asked for is given up
	ping         time.Duration // without a word on a connection of HTTP/2 it is asked whether it is alive
	behind       time.Duration // how long an answer waits for a position that is not there yet
	progress     time.Duration // between two words of progress: people read no faster
	keys         int           // of people of one erasure: they are read into memory
	files        fileLimits
}

func defaultLimits() limits {
	return limits{
		requestBytes: batch.MaxStored + 1<<20, headerBytes: 64 << 10, blockBytes: 64 << 10, pieceBytes: 64 << 10,
		connections: 4096, streams: 256, inFlight: 16, leases: 256, lease: time.Minute, longestLease: time.Hour,
		header: 10 * time.Second, idle: 5 * time.Minute, stalled: 30 * time.Second, ping: 30 * time.Second,
		behind: 2 * time.Second, progress: 100 * time.Millisecond, keys: 1_000_000, files: defaultFileLimits(),
	}
}

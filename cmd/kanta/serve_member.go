package main

import (
	"cmp"
	"errors"
	"log/slog"
	"time"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server"
	"github.com/kantadb/kanta/server/certs"
	"github.com/kantadb/kanta/server/cluster"
)

// memberFlags are the settings of kanta serve for a member of a cluster.
type memberFlags struct {
	tls    certs.Files
	listen string
	dead   time.Duration // after how long others are removed that are not heard of; 0: never
	log    settingSize   // how much its log grows before a snapshot is made
}

// served is what a server answers from: a store, or a member of a cluster that has one.
type served struct {
	db     *engine.DB
	member *cluster.Node // nil: the store is in no cluster
}

// openServed opens what the directory has.
func (a *app) openServed(f *serveFlags, log *slog.Logger) (*served, error) {
	if cluster.IsMember(a.dir) {
		return a.openSeat(f, log)
	}
	given := f.member
	given.dead = 0 // it has a default
	if given != (memberFlags{}) {
		return nil, usagef("--node-cert, --node-key, --node-ca and --raft-listen are of a member of a cluster, and %s is no directory of one: kanta cluster init and join make them", a.dir)
	}
	opened, err := a.openDir(a.dir, true)
	if err != nil {
		return nil, err
	}
	db, ok := opened.(*engine.DB)
	if !ok {
		return nil, query.Errorf(query.CodeInternal, "a directory was opened as %T", opened)
	}
	return &served{db: db}, nil
}

// openSeat runs a member.
func (a *app) openSeat(f *serveFlags, log *slog.Logger) (*served, error) {
	if f.member.tls.Cert == "" || f.member.tls.Key == "" || f.member.tls.Authority == "" {
		return nil, usagef("%s is the directory of a member of a cluster: --node-cert, --node-key and --node-ca name its certificate for the other members (kanta cert node makes it)", a.dir)
	}
	if a.readOnly {
		return nil, usagef("--read-only is of a store by itself: a member of a cluster takes what the others have")
	}
	id, err := cluster.IdentityOf(a.dir)
	if err != nil {
		return nil, err
	}
	o, err := a.options(a.dir, true)
	if err != nil {
		return nil, err
	}
	o.MustExist = false
	n, err := cluster.Open(a.dir, &cluster.Options{TLS: f.member.tls, Listen: f.member.listen, Engine: o, LogBytes: f.member.log.bytes,
		RemoveDead: cmp.Or(f.member.dead, -1), Log: log})
	if err != nil {
		return nil, err
	}
	if !f.listenGiven {
		f.listen = id.Address
	}
	return &served{member: n}, nil
}

// options adds what a member needs to those of a server.
func (s *served) options(o *server.Options) *server.Options {
	if s.member != nil {
		o.Cluster = s.member
	}
	return o
}

// serve has a server answer from it.
func (s *served) serve(to *server.Server) {
	if s.member != nil {
		s.member.Serve(to)
	}
}

// stopped is closed when a member has stopped by itself; nil: it never is.
func (s *served) stopped() <-chan struct{} {
	if s.member == nil {
		return nil
	}
	return s.member.Stopped()
}

// handOver has another member lead, before this one takes no more calls.
func (s *served) handOver() {
	if s.member != nil {
		s.member.HandOver()
	}
}

// Close ends it.
func (s *served) Close() error {
	if s.member != nil {
		return s.member.Close()
	}
	return s.db.Close()
}

// ended is why kanta serve ends when its member has stopped by itself.
func (s *served) ended() error {
	err := s.member.Err()
	if errors.As(err, new(*query.Error)) {
		return err
	}
	return &query.Error{Code: query.CodeFailed, Message: "the member of the cluster has stopped: " + err.Error(), Hint: "the others go on; the log says more", Err: err}
}

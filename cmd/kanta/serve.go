package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server"
	"github.com/kantadb/kanta/server/client"
)

// defaultListen is where a server listens that is told nothing.
const defaultListen = "127.0.0.1:" + client.DefaultPort

// drainTime is how long a server that stops waits for the calls under way.
const drainTime = 30 * time.Second

const serveHelp = `Serve the store of --db to others: to kanta itself (--db kanta://HOST:PORT), to Go programs
(package server/client), to curl and to gRPC. A store that does not exist is created.

There is no encryption and no authentication yet: whoever reaches the port may do everything.
Therefore it listens on loopback only.

A backup is written only to a target that --backups names, by that name.

It stops when it is interrupted or terminated: it takes no more calls, waits up to 30 seconds
for those under way, and closes the store.`

func newServe(a *app) *cobra.Command {
	var listen string
	var backups []string
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve the store to others",
		Long:  serveHelp,
		Example: `  kanta serve --db ./kanta-data
  kanta count true --db kanta://127.0.0.1:7700
  curl -H 'Content-Type: application/json' -d '{"expression":"true"}' \
      http://127.0.0.1:7700/kanta.v1.KantaService/Count`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.onlyHere("kanta serve"); err != nil {
				return err
			}
			if err := checkLoopback(listen); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGTERM)
			defer stop()
			return a.serve(ctx, listen, backups)
		},
	}
	c.Flags().StringVar(&listen, "listen", defaultListen, "address and port, of loopback; port 0 is any that is free")
	c.Flags().StringArrayVar(&backups, "backups", nil, "a target that clients may have backups written to, as --target of kanta backup; may be repeated")
	return c
}

// checkLoopback refuses an address that others can reach.
func checkLoopback(listen string) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return usagef("--listen %s: write HOST:PORT, such as %s", listen, defaultListen)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return usagef("--listen %s: only an address of loopback, such as %s: without encryption and authentication, which are not there yet, whoever reached it could do everything", listen, defaultListen)
	}
	return nil
}

// serve serves until ctx ends.
func (a *app) serve(ctx context.Context, listen string, backups []string) (err error) {
	opened, err := a.openDir(a.dir, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, opened.Close()) }()
	db, ok := opened.(*engine.DB)
	if !ok {
		return query.Errorf(query.CodeInternal, "a directory was opened as %T", opened)
	}
	s, err := server.New(db, &server.Options{
		Version: thisVersion().Version, Target: a.allowedTarget(backups),
		Hooks: server.Hooks{Failed: func(call string, err error) { fmt.Fprintf(a.err, "%s: %s\n", call, printable(err.Error())) }},
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return &query.Error{Code: query.CodeIO, Message: err.Error(), Hint: "is another server there? --listen names another port", Err: err}
	}
	if err := checkLoopback(l.Addr().String()); err != nil { // localhost may be anything
		return errors.Join(err, l.Close())
	}
	fmt.Fprintf(a.err, "serving %s at %s%s\n", a.dir, serverScheme, l.Addr())
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	fmt.Fprintln(a.err, "stopping")
	drain, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	return errors.Join(s.Shutdown(drain), <-served)
}

// allowedTarget opens targets of backups that the operator has named.
func (a *app) allowedTarget(names []string) func(ctx context.Context, name string) (query.BackupTarget, func() error, error) {
	if len(names) == 0 {
		return nil
	}
	return func(_ context.Context, name string) (query.BackupTarget, func() error, error) {
		if !slices.Contains(names, name) {
			return nil, nil, &query.Error{Code: query.CodeInvalid, Message: fmt.Sprintf("backups may not be written to %q", name),
				Hint: "kanta serve --backups names where they may: " + strings.Join(names, ", ")}
		}
		t, err := (&targetFlag{text: name}).open(a, true)
		if err != nil {
			return nil, nil, err
		}
		return t, t.Close, nil
	}
}

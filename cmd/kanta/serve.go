package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server"
	"github.com/kantadb/kanta/server/certs"
	"github.com/kantadb/kanta/server/client"
)

// defaultListen is where a server listens that is told nothing.
const defaultListen = "127.0.0.1:" + client.DefaultPort

// drainTime is how long a server that stops waits for the calls under way.
const drainTime = 30 * time.Second

const serveHelp = `Serve the store of --db to others: to kanta itself (--db kanta://HOST:PORT), to Go programs
(package server/client), to curl and to gRPC. A store that does not exist is created.

As long as the store has no key, whoever is on this machine may do everything, and nobody else is
served. With the first one (kanta key create --role admin) every caller shows a key, whose role says
what he may do and see; with --client-ca a certificate of an authority in that file will do, which
has a role too (kanta cert makes them).

Plain text is spoken on loopback only. With --tls-cert and --tls-key it speaks TLS 1.3 and nothing
else, and may listen on any address. These files are read anew when they change.

A backup is written only to a target that --backups names, by that name.

With --audit every change and every read of personal data is recorded in a directory before it
is done or told; what cannot be recorded is refused. kanta audit reads it.

The directory of a member of a cluster (kanta cluster) is served too: --node-cert, --node-key and
--node-ca are its certificate for the other members and their authority. It listens for clients where
its cluster knows it, and, when it is stopped, has another one lead first. While it leads it removes a
member with a vote that it has not heard of for --remove-dead, if three others at least have a vote and
most of these are there: so of three that vote none, before another one has come in its place.

Each setting is a flag, a variable of the environment (KANTA_LISTEN), and a key of the file that
--config names (listen = "127.0.0.1:7700"), of which the flag holds first and the file last.
--print-config shows them. What is told on standard error of calls has no key, no value and no literal of an
expression. --admin serves metrics, health and profiles of the process to the machine.

It stops when it is interrupted or terminated: it takes no more calls, waits up to 30 seconds
for those under way, and closes the store.`

func newServe(a *app) *cobra.Command {
	var f serveFlags
	var config string
	var show bool
	table := f.settingsTable()
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
			if config == "" {
				config = a.env("KANTA_CONFIG")
			}
			if err := settle(c, table, a.env, config); err != nil {
				return err
			}
			f.listenGiven = fromOf(table, "listen") != fromDefault
			if err := errors.Join(a.onlyHere("kanta serve"), f.check()); err != nil {
				return err
			}
			if show {
				return a.printSettings(table)
			}
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGTERM)
			defer stop()
			return a.serve(ctx, &f)
		},
	}
	addSettings(c, table)
	c.Flags().StringVar(&config, "config", "", "file of settings in TOML (KANTA_CONFIG)")
	c.Flags().Var(&f.member.log, "member-log", "what kanta bench cluster gives: a member makes a snapshot when its log has grown by so much")
	_ = c.Flags().MarkHidden("member-log") // fails only for a flag that does not exist
	c.Flags().BoolVar(&show, "print-config", false, "print the settings and where each comes from, as such a file, and do nothing")
	return c
}

// serveFlags are those of kanta serve.
type serveFlags struct {
	listen  string
	member  memberFlags
	admin   string
	backups []string
	tls     certs.Files
	record  auditDir
	log     string
	slow    time.Duration

	questionMemory settingSize
	listenGiven    bool // listen is not the default
}

// check refuses flags that cannot be, before a store is made or opened. Where a server may listen
// it says only as far as that is known without one.
func (f *serveFlags) check() error {
	if _, _, err := net.SplitHostPort(f.listen); err != nil {
		return usagef("--listen %s: write HOST:PORT, such as %s", f.listen, defaultListen)
	}
	if f.admin != "" && !isLoopback(f.admin) {
		return usagef("--admin %s: only an address of loopback, such as 127.0.0.1:7701: it says everything, and asks nobody who he is", f.admin)
	}
	if !slices.Contains([]string{"text", "json", "off"}, f.log) {
		return usagef("--log %s: it is text, json or off", f.log)
	}
	if f.member.dead < 0 {
		return usagef("--remove-dead %v: a time, or 0 for never", f.member.dead)
	}
	if (f.tls.Cert == "") != (f.tls.Key == "") || f.tls.Authority != "" && f.tls.Cert == "" {
		return usagef("--tls-cert and --tls-key belong together, and --client-ca to both")
	}
	if f.tls.Cert == "" && !isLoopback(f.listen) {
		return usagef("--listen %s: only an address of loopback, such as %s: without --tls-cert and --tls-key others would read along", f.listen, defaultListen)
	}
	return nil
}

// isLoopback reports whether only this machine reaches an address with a port.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// secure returns how the server speaks TLS. nil: it does not.
func (f *serveFlags) secure(a *app) (*tls.Config, error) {
	if f.tls.Cert == "" {
		return nil, nil
	}
	return certs.Server(f.tls, func(err error) {
		fmt.Fprintf(a.err, "the certificates cannot be read anew, and stay as they are: %s\n", printable(err.Error()))
	})
}

// serve serves until ctx ends.
func (a *app) serve(ctx context.Context, f *serveFlags) (err error) {
	secure, err := f.secure(a)
	if err != nil {
		return err
	}
	a.served = f
	log := a.serverLog(f.log)
	what, err := a.openServed(f, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, what.Close()) }()
	recorded, err := f.record.open(a)
	if err != nil {
		return err
	}
	if recorded != nil {
		defer func() { err = errors.Join(err, recorded.Close()) }()
	}
	s, err := server.New(what.db, what.options(&server.Options{
		Version: thisVersion().Version, TLS: secure, Target: a.allowedTarget(f.backups), Audit: recorded, Log: log, Slow: cmp.Or(f.slow, time.Nanosecond),
	}))
	if err != nil {
		return err
	}
	what.serve(s)
	return a.listenAndServe(ctx, f, s, what)
}

// listenAndServe listens, and serves until ctx ends.
func (a *app) listenAndServe(ctx context.Context, f *serveFlags, s *server.Server, what *served) error {
	l, err := net.Listen("tcp", f.listen)
	if err != nil {
		return &query.Error{Code: query.CodeIO, Message: err.Error(), Hint: "is another server there? --listen names another port", Err: err}
	}
	if err := s.MayServe(l.Addr()); err != nil { // localhost may be anything
		return errors.Join(err, l.Close())
	}
	admin, err := f.serveAdmin(s)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer admin.Close()
	a.say(f, "serving %s at %s%s", a.dir, serverScheme, l.Addr())
	if admin != nil {
		a.say(f, "metrics and health at http://%s", admin.at)
	}
	if f.tls.Cert != "" {
		a.say(f, "over TLS 1.3")
	}
	if what.member != nil {
		id := what.member.Identity()
		a.say(f, "member %s of the cluster %s, for other members at %s", id.ID, id.Cluster, cmp.Or(f.member.listen, id.RaftAddress))
	}
	if open, err := s.Register().Open(ctx); err != nil && what.member == nil { // a member may have no store yet
		return errors.Join(err, l.Close())
	} else if open && f.tls.Authority == "" {
		a.say(f, "there is no key yet, so whoever is on this machine may do everything: kanta key create --role admin makes the first")
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	case <-what.stopped():
		err = what.ended()
	}
	a.say(f, "stopping")
	what.handOver()
	drain, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	return errors.Join(err, s.Shutdown(drain), <-served)
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

package main

import (
	"context"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/certs"
	"github.com/kantadb/kanta/server/client"
)

// serverScheme begins the address of a server, where --db names one.
const serverScheme = "kanta://"

// dialTime bounds what the first word with a server waits for.
const dialTime = 15 * time.Second

// isRemote reports whether --db names a server.
func (a *app) isRemote() bool { return strings.HasPrefix(a.dir, serverScheme) }

// openServer asks a server in place of a store. What is the server's to decide is no flag here.
func (a *app) openServer(address string) (store, error) {
	switch {
	case a.readOnly && !a.completing:
		return nil, usagef("--read-only is of a store in a directory: a server has it open already")
	case a.memory != "":
		return nil, usagef("--memory is of a store in a directory: a server has its own")
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialTime)
	defer cancel()
	o, err := a.caller.options(a)
	if err != nil {
		return nil, err
	}
	c, err := client.Open(ctx, address, o)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// callerFlags say who asks a server, and whom to believe that it is the server.
type callerFlags struct{ ca, cert, certKey, keyFile, consistency string }

func (f *callerFlags) add(c *cobra.Command) {
	flags := c.PersistentFlags()
	flags.StringVar(&f.ca, "ca", "", "file of the authority of a server's certificate (or KANTA_CA; default the system's authorities)")
	flags.StringVar(&f.cert, "cert", "", "file of the certificate to show to a server (or KANTA_CERT)")
	flags.StringVar(&f.certKey, "cert-key", "", "file of the key of --cert (or KANTA_CERT_KEY)")
	flags.StringVar(&f.keyFile, "key-file", "", "file of the API key to show to a server (or the key itself in KANTA_KEY)")
	flags.StringVar(&f.consistency, "consistency", "", "how much a cluster's answers must have seen: local, linearizable, or all but the last, such as 5s (or KANTA_CONSISTENCY)")
}

// maxKeyFile bounds the file of a key, which is less than a hundred bytes.
const maxKeyFile = 4 << 10

// options returns how a server is asked. An API key stands on no command line: those are seen by
// everybody on the machine.
func (f *callerFlags) options(a *app) (*client.Options, error) {
	or := func(flag, variable string) string {
		if flag == "" {
			return a.env(variable)
		}
		return flag
	}
	files := certs.Files{Authority: or(f.ca, "KANTA_CA"), Cert: or(f.cert, "KANTA_CERT"), Key: or(f.certKey, "KANTA_CERT_KEY")}
	var o client.Options
	if files != (certs.Files{}) {
		c, err := certs.Client(files)
		if err != nil {
			return nil, err
		}
		o.TLS = c
	}
	if err := setConsistency(&o, or(f.consistency, "KANTA_CONSISTENCY")); err != nil {
		return nil, err
	}
	if f.keyFile == "" {
		o.Key = strings.TrimSpace(a.env("KANTA_KEY"))
		return &o, nil
	}
	file, err := os.Open(f.keyFile)
	if err != nil {
		return nil, query.Errorf(query.CodeInvalid, "--key-file: %w", err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	if err != nil {
		return nil, query.Errorf(query.CodeIO, "--key-file: %w", err)
	}
	if o.Key = strings.TrimSpace(string(b)); o.Key == "" || len(b) > maxKeyFile {
		return nil, usagef("--key-file %s: that is no file of a key", f.keyFile)
	}
	return &o, nil
}

// setConsistency says how much answers must have seen.
func setConsistency(o *client.Options, text string) error {
	switch text {
	case "", "local":
		return nil
	case "linearizable":
		o.Consistency = client.Linearizable
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return usagef("--consistency %s: it is local, linearizable, or how far behind a member may be, such as 5s", text)
	}
	o.MaxStaleness = d
	return nil
}

// onlyHere refuses a server where something is done to a directory.
func (a *app) onlyHere(what string) error {
	if !a.isRemote() {
		return nil
	}
	return usagef("%s works on the directory of a store and not through a server: name the directory with --db, on its machine, while no server has it open", what)
}

// atStore runs do with the target as the store of --db knows it: a server opens it itself, if
// it may.
func (f *targetFlag) atStore(a *app, do func(query.BackupTarget) error) error {
	if !a.isRemote() {
		return f.with(a, true, do)
	}
	name, err := f.place(a)
	if err != nil {
		return err
	}
	return do(client.Target(name))
}

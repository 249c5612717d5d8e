package main

import (
	"context"
	"strings"
	"time"

	"github.com/kantadb/kanta/query"
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
	c, err := client.Open(ctx, address, nil)
	if err != nil {
		return nil, err
	}
	return c, nil
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

// Package cluster runs a member of a cluster: a store that is written through a log which a majority of the
// members has, at a port for the other members beside that of clients.
//
//	n, err := cluster.Open("/var/lib/kanta", &cluster.Options{TLS: certs.Files{...}})
//	if err != nil { ... }
//	defer n.Close()
//	s, err := server.New(nil, &server.Options{Cluster: n, TLS: ...})
//	if err != nil { ... }
//	n.Serve(s)
//	err = s.Serve(listener)
//
// [Init] makes the directory of a cluster's first member and [Join] that of a further one. The
// directory has a file NODE, which says whose it is, and the folders store, raft and snapshots; only
// what is in store may ever be opened by another program, and no longer by this one then.
//
// Whoever may read the directory, or has a certificate of a node and its key, has the store.
package cluster

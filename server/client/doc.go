// Package client asks a server of Kanta what an engine.DB is asked: its methods have the same
// signatures and the same meaning, and answer with the same numbers and errors. It links
// neither the engine nor what that stores with.
//
//	db, err := client.Open(ctx, "kanta://127.0.0.1:7700", nil)
//	if err != nil { ... }
//	defer db.Close()
//	n, err := db.Count(ctx, `country == "IT"`, nil)
//
// What a client has written is in each of its answers: it remembers the last position that it
// was told, and the server answers from a state that has seen it.
//
// An address may name several members of a cluster, kanta://a:7700,b:7700,c:7700. Writes, and questions that are
// to be [Linearizable], go to the one that leads, which the others name; other questions to each in turn, and those of a
// snapshot to who has it; what is done to a member's own files (checks, backups) and its audit to the first that is there.
// When a member is lost or another one leads, calls go on at another member by themselves until their deadline,
// as far as they may be tried again.
//
// Calls that change nothing are tried again when the server cannot be reached, with growing,
// random pauses, and no more often than one in ten calls. A write is tried again only where
// that cannot apply it twice: when it certainly was not received, or when its batch has a
// source, a run and a sequence by which the store knows it. An error with
// [query.CodeUnavailable] from a write without them leaves open whether it was applied.
package client

// Package peer is how the nodes of a cluster reach each other: the stream layer of Raft's network
// transport, over TLS 1.3 on a port of its own, where only nodes of the same cluster are heard.
//
// # Who is let in
//
// Both sides show a certificate (package certs) of the same authority, that of a node, with the same
// name of the cluster. The caller also looks at the host name, as with any server, and, if it is told
// which node is at an address ([Options.NodeAt]), at the node's name: were two addresses to lead to
// one node, its vote would count twice. Who is called may know which nodes still belong to the
// cluster ([Options.Allowed]). Nothing of what Raft would read is read before that.
//
// Raft's own listener takes who comes, and for as long as he likes, at half a MiB each. Here those
// who have not been let in are at most 64 and have 5 s; one too many pushes out whoever has been
// there for longest, of the address with most of them. A node has at most 16 connections and all
// nodes together 128; there too the newest comes in and the one that has been silent for longest goes,
// because it is the dead ones, of a machine that lost its power or its network, that fill the places.
//
// # Preamble
//
// After the handshake of TLS, in which both offer "kanta/node" in ALPN, the caller says what it
// wants and the other answers; then the connection is Raft's. This is its specification, version 1,
// and TestGolden decodes the example. Numbers are single bytes.
//
//	caller    cb 4b 4e 43, oldest version, newest version, purpose, length, 16 bytes: the
//	          cluster's id, length bytes: its name
//	answer    cb 4b 4e 43, version, code, length, length bytes: why, if the code is not 0
//
// The version of the answer is the one that holds, the newest that both speak, or, if there is none,
// the newest of who answers. The answer, and of the caller's part the first six bytes, are the same
// in all versions. The cluster's name is that of the certificates. Its id is drawn when a
// cluster is made or recovered, and tells two clusters apart that have the same name and authority.
//
//	purpose  1 Raft's RPC; 2 is kept for pieces of snapshots
//	code     0 welcome, 1 no common version, 2 the purpose is not served, 3 the certificate is not
//	         that of a node of this cluster, 4 the id is that of another cluster, 5 the node does
//	         not belong to the cluster, or is this one
//
// Example: the cluster "shop" with the id 00 01 .. 0f, first called by a node that is welcome, then by
// one with another id:
//
//	cb 4b 4e 43 01 01 01 04 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 73 68 6f 70
//	cb 4b 4e 43 01 00 00
//	cb 4b 4e 43 01 04 0f 61 6e 6f 74 68 65 72 20 63 6c 75 73 74 65 72
//
// # What is silent
//
// Raft keeps connections for later, and never looks whether they are still any good: the first call
// on one that the other side has closed fails, and counts, as a vote that was not given. So whoever
// called takes a new connection instead of one that has been silent for 30 s or that was closed, at the
// moment that a call begins, which is when nothing is under way. Raft tells when that is: it sets a
// deadline before each call, for both directions before one that it waits for, for writing only from
// the first of a pipeline on. This holds for raft v1.8.0 with a timeout; TestRenewed sees when it does
// not any more. Who was called closes what has been silent for 60 s between two messages, so nobody
// calls on it, and what has not brought a message it began to, with 10 s and 16 KiB/s for its length. A caller whose words are not taken for 30 s gives up.
package peer

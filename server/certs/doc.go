// Package certs makes and reads the certificates of a server and its clients: a private authority,
// what it issues, who a client's certificate says it is, and TLS configurations of files that are
// read anew when they change. It uses the standard library only.
//
// # What is in a certificate
//
// Keys are of ECDSA P-256, which every client takes; Ed25519 is not known to browsers and to some
// builds of curl. Files are PEM: certificates, and keys in PKCS #8.
//
//	authority   subject CN; may sign certificates that sign nothing further
//	server      subject CN: the first host; SAN: its host names and addresses; usage: server
//	client      subject CN: the name; SAN URI: kanta:role/ROLE; usage: client
//	node        subject CN: the name; SAN: its host names and addresses, and the URI
//	            kanta:node/CLUSTER; usage: server and client
//
// Names, roles and clusters are 1 to 64 bytes of a-z, A-Z, 0-9, and . _ @ -, the first of them no
// dot or hyphen. A node is no client, and a client no node. Any other URI that begins with kanta:
// is refused, so that what a newer program means is not ignored.
package certs

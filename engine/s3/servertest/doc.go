// Package servertest runs the conformance suite of backup targets against a server of S3's
// protocol (the Versity gateway, in this process, on a folder). It is a module of its own:
// the server brings more dependencies than Kanta has.
package servertest

// Package server makes a store a service: the calls of kanta.v1.KantaService, which are those of
// an [engine.DB], answered on one port to clients of package server/client, over the wire of package
// server/wire, to gRPC and to curl.
//
//	s, err := server.New(db, nil)
//	listener, err := net.Listen("tcp", "127.0.0.1:7700")
//	go s.Serve(listener)
//	...
//	err = s.Shutdown(ctx)
//
// A unary call is a POST of JSON that answers JSON:
//
//	curl -H 'Content-Type: application/json' -d '{"expression": "country == \"IT\""}' \
//	    http://127.0.0.1:7700/kanta.v1.KantaService/Count
//
// # Files
//
// POST /v1/profiles and POST /v1/events load the rows of a body, which is as long as it is (up to 16
// GiB): Content-Type text/csv or application/x-ndjson, Content-Encoding gzip or zstd or none. The
// parameters are the flags of kanta load: key for people; profile, event or event_name, time, id,
// id_source and lines for events; empty=keep|unset (people); for both unknown=add|ignore|quarantine|
// refuse, zone, set_separator, encoding, strict, dry_run.
//
//	Kanta-Source: crm         whose rows they are; without it nothing is recognised as repeated
//	Kanta-Run: 1              for whoever begins anew; 1 if it is left out
//	Kanta-Sequence: 1         the number of the body's first row
//
// The answer is what kanta load --json says of a file, with rejected (the first 20 rows that did
// not fit: line, reason, detail), before (what rows that are repeated did at first), added (to the
// schema), position, and next: the sequence of the next body. With strict, status 422 says that
// rows did not fit; the others are loaded all the same. A body that was cut is sent again whole.
//
// GET /v1/members lists people: expression, attributes (separated by commas), order_by, desc,
// limit, after (a key) or cursor, now, at_least (a position), format=csv|ndjson|parquet, or
// Accept. GET /v1/timeline lists what one did: key, from, to, events, limit, after, now, at_least,
// format=csv|ndjson. Package engine/listing says how they are written. Beside the rows come the headers
// Kanta-Position, Kanta-Now, Kanta-Unknown and, of members, Kanta-Total; behind them the trailers
// Kanta-Rows and Kanta-Next, the cursor. An answer that breaks off has neither these nor an end. Of a
// timeline Kanta-Next is a header.
//
// An error is {"error": {"code", "message", "hint", "line", "column"}}, the codes being those of
// kanta --json, with report if rows had been loaded before it. A parameter that is not known is one.
//
// # Callers
//
// In plain text it is served on loopback only; with Options.TLS (package server/certs makes one of
// files) anywhere, to callers who are known.
//
// A caller is known by a key (package server/access), which the compact wire takes with the
// connection and HTTP as Authorization: Bearer; or by the certificate that TLS has verified. As long
// as the store has no key, whoever connects from this machine in plain text may do everything; beyond
// it nobody is served then without certificates. The embedding program makes keys and roles with
// [Server.Register]. DESIGN.md says who is trusted with what.
package server

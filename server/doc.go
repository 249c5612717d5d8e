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
// The server does not know yet who calls, so whoever reaches the port may do everything: listen
// on loopback only. DESIGN.md says who is trusted with what.
package server

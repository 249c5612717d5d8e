package client_test

import (
	"context"
	"fmt"
	"log"
	"net"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server"
	"github.com/kantadb/kanta/server/client"
)

// A server of a store in memory, and a client that writes to it and asks it. The server is mostly
// another process: kanta serve.
func Example() {
	ctx := context.Background()
	address := serve()

	db, err := client.Open(ctx, "kanta://"+address, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	// Many batches at a time, applied in their order. The source and the numbers make it safe to
	// send one again when nobody knows whether it arrived.
	b := batch.New()
	b.Source("example", 1, 1)
	b.Change(schema.Change{Op: schema.AddAttribute, Attribute: schema.Attribute{Name: "country", Kind: schema.String}})
	for key, country := range map[string]string{"aino": "FI", "bruno": "IT", "chiara": "IT"} {
		b.Upsert(key).Set("country", schema.StringValue(country))
	}
	raw, err := b.Encode()
	if err != nil {
		log.Fatal(err)
	}
	wait, err := db.Submit(ctx, raw)
	if err != nil {
		log.Fatal(err)
	}
	result, err := wait()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("created", result.Created)

	// What was written is in every answer that follows.
	n, err := db.Count(ctx, `country == "IT"`, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("in Italy", n.Count)

	m, err := db.Members(ctx, "true", &query.MembersOptions{Attributes: []string{"country"}, OrderBy: "country", Limit: 1})
	if err != nil {
		log.Fatal(err)
	}
	for row, err := range m.Rows {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(row.Key, row.Values[0], "of", m.Total)
	}

	_, err = db.Count(ctx, `cuntry == "IT"`, nil)
	fmt.Println(err)
	// Output:
	// created 3
	// in Italy 2
	// aino FI of 3
	// 1:1: there is no attribute "cuntry" (did you mean "country"?)
}

// serve serves a store in memory on a port of loopback.
func serve() (address string) {
	store, err := engine.Open("", nil)
	if err != nil {
		log.Fatal(err)
	}
	s, err := server.New(store, nil)
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(s.Serve(l)) }()
	return l.Addr().String()
}

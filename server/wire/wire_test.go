package wire

import (
	"context"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestEcho(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, address := serve(t, &service{}, nil)
	client := connect.NewClient(dial(t, address, nil))
	for n := 1; n < 8<<20; n *= 3 {
		var out wrapperspb.BytesValue
		if err := client.CallUnary(ctx, echoSpec, wrapperspb.Bytes(make([]byte, n)), &out); err != nil {
			t.Fatal(n, err)
		}
		if len(out.Value) != n {
			t.Fatal(n, len(out.Value))
		}
	}
}

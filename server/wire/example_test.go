package wire_test

import (
	"context"
	"fmt"
	"net"

	"connectrpc.com/connect/v2"
	"github.com/kantadb/kanta/server/wire"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// A server of one method, and a client that calls it. Generated code registers methods
// and makes calls in the same way.
func Example() {
	greet := connect.Spec{Procedure: "/example.Greeter/Greet"}
	methods := connect.NewServer()
	methods.Register(connect.Method{Spec: greet, Handler: func(_ context.Context, _ connect.Spec, stream connect.ServerStream) error {
		var name wrapperspb.StringValue
		if err := stream.Receive(&name); err != nil {
			return err
		}
		return stream.Send(wrapperspb.String("hello " + name.Value))
	}})
	server, err := wire.NewServer(methods, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() {
		for {
			nc, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _ = server.ServeConn(context.Background(), nc) }()
		}
	}()

	ctx := context.Background()
	transport, err := wire.Dial(ctx, "tcp", listener.Addr().String(), nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	var answer wrapperspb.StringValue
	err = connect.NewClient(transport).CallUnary(ctx, greet, wrapperspb.String("Aino"), &answer)
	fmt.Println(answer.Value, err)

	_ = listener.Close()
	fmt.Println(server.Shutdown(ctx))
	// Output:
	// hello Aino <nil>
	// <nil>
}

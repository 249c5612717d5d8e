package server

import (
	"context"
	"io"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/internal/message"
	"github.com/kantadb/kanta/server/internal/proto/kanta/v1/kantav1connect"
)

// The services of others' making, grpc.health.v1 and grpc.reflection.v1, are described here and
// not generated: generated code registers its names in the whole process, which panics where
// a program links them a second time.

// healthText is grpc/health/v1/health.proto.
const healthText = `
name: "grpc/health/v1/health.proto" package: "grpc.health.v1" syntax: "proto3"
message_type { name: "HealthCheckRequest" field { name: "service" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING } }
message_type { name: "HealthCheckResponse"
  field { name: "status" number: 1 label: LABEL_OPTIONAL type: TYPE_ENUM type_name: ".grpc.health.v1.HealthCheckResponse.ServingStatus" }
  enum_type { name: "ServingStatus" value { name: "UNKNOWN" number: 0 } value { name: "SERVING" number: 1 }
    value { name: "NOT_SERVING" number: 2 } value { name: "SERVICE_UNKNOWN" number: 3 } } }
service { name: "Health"
  method { name: "Check" input_type: ".grpc.health.v1.HealthCheckRequest" output_type: ".grpc.health.v1.HealthCheckResponse" } }
`

// The statuses of a service.
const (
	healthServing    = 1
	healthNotServing = 2
)

// describe makes a descriptor of its text.
func describe(text string) (protoreflect.FileDescriptor, error) {
	var file descriptorpb.FileDescriptorProto
	if err := prototext.Unmarshal([]byte(text), &file); err != nil {
		return nil, err
	}
	return protodesc.NewFile(&file, nil)
}

// registerHealth adds grpc.health.v1.Health. Watch is not there: who wants it polls.
func (s *Server) registerHealth() error {
	file, err := describe(healthText)
	if err != nil {
		return err
	}
	check := file.Services().Get(0).Methods().Get(0)
	asked, status := check.Input().Fields().Get(0), check.Output().Fields().Get(0)
	s.rpc.Register(connect.Method{
		Spec: connect.Spec{StreamType: connect.StreamTypeUnary, Schema: check, Procedure: "/grpc.health.v1.Health/Check", IdempotencyLevel: connect.IdempotencyNoSideEffects},
		Handler: func(ctx context.Context, _ connect.Spec, stream connect.ServerStream) error {
			req := dynamicpb.NewMessage(check.Input())
			if err := receiveOne(stream, req); err != nil {
				return err
			}
			name := req.Get(asked).String()
			if name != "" && name != kantav1connect.KantaServiceName {
				return connect.Errorf(connect.CodeNotFound, "there is no service %q", name)
			}
			out := dynamicpb.NewMessage(check.Output())
			out.Set(status, protoreflect.ValueOfEnum(s.health(ctx)))
			return stream.Send(out)
		},
	})
	return nil
}

// health says whether questions are answered.
func (s *Server) health(ctx context.Context) protoreflect.EnumNumber {
	db := s.store.db()
	if db == nil {
		return healthNotServing
	}
	n, err := db.Snapshot(ctx)
	if err != nil {
		return healthNotServing
	}
	_ = n.Close() // it holds nothing but memory
	return healthServing
}

// receiveOne receives the only message of a call and the end behind it.
func receiveOne(stream connect.ServerStream, m proto.Message) error {
	err := stream.Receive(m)
	if err == io.EOF {
		return message.Undone(query.Errorf(query.CodeInvalid, "a message is missing"))
	}
	return err
}

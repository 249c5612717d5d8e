package e2e

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

func dial(t testing.TB) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// learned is a service that a client learned by asking for it.
type learned struct {
	c        *grpc.ClientConn
	services []string
	files    *protoregistry.Files
}

func learn(t testing.TB) *learned {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l := &learned{c: dial(t)}
	stream, err := reflectionpb.NewServerReflectionClient(l.c).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(r *reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
		if err := stream.Send(r); err != nil {
			t.Fatal(err)
		}
		out, err := stream.Recv()
		if err != nil || out.GetErrorResponse() != nil {
			t.Fatalf("%v: %v, %v", r, err, out)
		}
		return out
	}
	for _, s := range ask(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}).GetListServicesResponse().GetService() {
		l.services = append(l.services, s.GetName())
	}
	set := &descriptorpb.FileDescriptorSet{}
	seen := map[string]bool{}
	for _, name := range l.services {
		for _, raw := range ask(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: name}}).GetFileDescriptorResponse().GetFileDescriptorProto() {
			f := &descriptorpb.FileDescriptorProto{}
			if err := proto.Unmarshal(raw, f); err != nil {
				t.Fatal(err)
			}
			if !seen[f.GetName()] {
				seen[f.GetName()] = true
				set.File = append(set.File, f)
			}
		}
	}
	if l.files, err = protodesc.NewFiles(set); err != nil {
		t.Fatal(err)
	}
	return l
}

// call returns the name of a call of the service, and new messages for it, the request as JSON
// says.
func (l *learned) call(t testing.TB, name, request string) (method string, in, out *dynamicpb.Message) {
	t.Helper()
	d, err := l.files.FindDescriptorByName(protoreflect.FullName("kanta.v1.KantaService." + name))
	if err != nil {
		t.Fatal(err)
	}
	m, ok := d.(protoreflect.MethodDescriptor)
	if !ok {
		t.Fatalf("%s is a %T", name, d)
	}
	in, out = dynamicpb.NewMessage(m.Input()), dynamicpb.NewMessage(m.Output())
	if err := protojson.Unmarshal([]byte(request), in); err != nil {
		t.Fatal(err)
	}
	return service + name, in, out
}

// field returns a field of a message.
func field(m protoreflect.Message, name protoreflect.Name) protoreflect.Value {
	return m.Get(m.Descriptor().Fields().ByName(name))
}

// TestGRPC asks with a client that knows nothing of the service before it asks.
func TestGRPC(t *testing.T) {
	l := learn(t)
	for _, want := range []string{"kanta.v1.KantaService", "grpc.health.v1.Health"} {
		if !slices.Contains(l.services, want) {
			t.Errorf("services %q lack %s", l.services, want)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	method, in, out := l.call(t, "Count", `{"expression":"country == \"FI\" && age < 30"}`)
	if err := l.c.Invoke(ctx, method, in, out); err != nil || field(out, "count").Uint() != 200 {
		t.Errorf("%v, %v", err, out)
	}
	method, in, out = l.call(t, "Count", `{"expression":"contry == \"FI\""}`)
	err := l.c.Invoke(ctx, method, in, out)
	s := status.Convert(err)
	if s.Code() != codes.NotFound || len(s.Proto().GetDetails()) != 1 || s.Proto().GetDetails()[0].MessageName() != "kanta.v1.Error" {
		t.Fatalf("%v, %v", err, s.Proto())
	}
	d, err := l.files.FindDescriptorByName("kanta.v1.Error")
	if err != nil {
		t.Fatal(err)
	}
	detail := dynamicpb.NewMessage(d.(protoreflect.MessageDescriptor))
	if err := proto.Unmarshal(s.Proto().GetDetails()[0].GetValue(), detail); err != nil || field(detail, "column").Uint() != 1 || field(detail, "code").Uint() != 3 {
		t.Errorf("%v, %v", err, detail)
	}
}

// members lists ordinals and keys over a stream.
func (l *learned) members(t *testing.T, expression string) (ordinals []uint32, keys []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	method, in, out := l.call(t, "Members", `{"expression":`+expression+`}`)
	l.stream(t, ctx, method, in, out, func() {
		block := field(out, "block").Message()
		list := field(block, "ordinals").List()
		for i := range list.Len() {
			ordinals = append(ordinals, uint32(list.Get(i).Uint()))
		}
		list = field(block, "keys").List()
		for i := range list.Len() {
			keys = append(keys, list.Get(i).String())
		}
	})
	return ordinals, keys
}

// stream asks and calls do for each message of the answer.
func (l *learned) stream(t *testing.T, ctx context.Context, method string, in, out *dynamicpb.Message, do func()) {
	t.Helper()
	s, err := l.c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.SendMsg(in), s.CloseSend()); err != nil {
		t.Fatal(err)
	}
	for {
		proto.Reset(out)
		err := s.RecvMsg(out)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		do()
	}
}

// TestGRPCStream lists people.
func TestGRPCStream(t *testing.T) {
	ordinals, keys := learn(t).members(t, `"age == 20"`)
	if len(keys) != people/60 || len(ordinals) != len(keys) || keys[0] != "p0002" {
		t.Errorf("%d ordinals, %d keys %.3q", len(ordinals), len(keys), keys)
	}
}

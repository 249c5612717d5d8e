package server

import (
	"context"
	"errors"
	"fmt"
	"io"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
	"github.com/kantadb/kanta/server/internal/proto/kanta/v1/kantav1connect"
)

// reflectionText is grpc/reflection/v1/reflection.proto, without what is asked of extensions;
// v1alpha, which older tools ask, is the same under another name.
const reflectionText = `
name: "grpc/reflection/%[1]s/reflection.proto" package: "grpc.reflection.%[1]s" syntax: "proto3"
message_type { name: "ServerReflectionRequest"
  field { name: "host" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
  field { name: "file_by_filename" number: 3 label: LABEL_OPTIONAL type: TYPE_STRING oneof_index: 0 }
  field { name: "file_containing_symbol" number: 4 label: LABEL_OPTIONAL type: TYPE_STRING oneof_index: 0 }
  field { name: "list_services" number: 7 label: LABEL_OPTIONAL type: TYPE_STRING oneof_index: 0 }
  oneof_decl { name: "message_request" } }
message_type { name: "ServerReflectionResponse"
  field { name: "valid_host" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
  field { name: "original_request" number: 2 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".grpc.reflection.%[1]s.ServerReflectionRequest" }
  field { name: "file_descriptor_response" number: 4 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".grpc.reflection.%[1]s.FileDescriptorResponse" oneof_index: 0 }
  field { name: "list_services_response" number: 6 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".grpc.reflection.%[1]s.ListServiceResponse" oneof_index: 0 }
  field { name: "error_response" number: 7 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".grpc.reflection.%[1]s.ErrorResponse" oneof_index: 0 }
  oneof_decl { name: "message_response" } }
message_type { name: "FileDescriptorResponse" field { name: "file_descriptor_proto" number: 1 label: LABEL_REPEATED type: TYPE_BYTES } }
message_type { name: "ListServiceResponse" field { name: "service" number: 1 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".grpc.reflection.%[1]s.ServiceResponse" } }
message_type { name: "ServiceResponse" field { name: "name" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING } }
message_type { name: "ErrorResponse"
  field { name: "error_code" number: 1 label: LABEL_OPTIONAL type: TYPE_INT32 }
  field { name: "error_message" number: 2 label: LABEL_OPTIONAL type: TYPE_STRING } }
service { name: "ServerReflection"
  method { name: "ServerReflectionInfo" input_type: ".grpc.reflection.%[1]s.ServerReflectionRequest" output_type: ".grpc.reflection.%[1]s.ServerReflectionResponse"
    client_streaming: true server_streaming: true } }
`

// reflection answers what a tool asks that has no description of the service.
type reflection struct {
	method protoreflect.MethodDescriptor
	files  *protoregistry.Files // what may be told of, and nothing else that the process links
}

func (s *Server) registerReflection() error {
	files := new(protoregistry.Files)
	if err := addFile(files, pb.File_kanta_v1_kanta_proto); err != nil {
		return err
	}
	for _, text := range []string{healthText, fmt.Sprintf(reflectionText, "v1"), fmt.Sprintf(reflectionText, "v1alpha")} {
		file, err := describe(text)
		if err != nil {
			return err
		}
		if err := addFile(files, file); err != nil {
			return err
		}
		if file.Package().Parent() != "grpc.reflection" {
			continue
		}
		r := &reflection{method: file.Services().Get(0).Methods().Get(0), files: files}
		s.rpc.Register(connect.Method{
			Spec: connect.Spec{StreamType: connect.StreamTypeBidi, Schema: r.method,
				Procedure: fmt.Sprintf("/%s/%s", r.method.Parent().FullName(), r.method.Name())},
			Handler: r.serve,
		})
	}
	return nil
}

// addFile adds a file and what it imports.
func addFile(files *protoregistry.Files, file protoreflect.FileDescriptor) error {
	if _, err := files.FindFileByPath(file.Path()); err == nil {
		return nil
	}
	for i := range file.Imports().Len() {
		if err := addFile(files, file.Imports().Get(i).FileDescriptor); err != nil {
			return err
		}
	}
	return files.RegisterFile(file)
}

func (r *reflection) serve(_ context.Context, _ connect.Spec, stream connect.ServerStream) error {
	for {
		req := dynamicpb.NewMessage(r.method.Input())
		err := stream.Receive(req)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = stream.Send(r.answer(req))
		}
		if err != nil {
			return err
		}
	}
}

func (r *reflection) answer(req *dynamicpb.Message) *dynamicpb.Message {
	out := dynamicpb.NewMessage(r.method.Output())
	fields := r.method.Output().Fields()
	out.Set(fields.ByName("original_request"), protoreflect.ValueOfMessage(req))
	which := req.WhichOneof(r.method.Input().Oneofs().Get(0))
	if which == nil {
		return r.refuse(out, connect.CodeInvalidArgument, "nothing is asked")
	}
	text := req.Get(which).String()
	var file protoreflect.FileDescriptor
	switch which.Name() {
	case "list_services":
		return r.services(out)
	case "file_by_filename":
		file, _ = r.files.FindFileByPath(text)
	default:
		if d, err := r.files.FindDescriptorByName(protoreflect.FullName(text)); err == nil {
			file = d.ParentFile()
		}
	}
	if file == nil {
		return r.refuse(out, connect.CodeNotFound, fmt.Sprintf("there is no %q", text))
	}
	list := out.Mutable(fields.ByName("file_descriptor_response")).Message()
	bytes := list.Mutable(list.Descriptor().Fields().Get(0)).List()
	r.eachFile(file, map[string]bool{}, func(f protoreflect.FileDescriptor) {
		if b, err := proto.Marshal(protodesc.ToFileDescriptorProto(f)); err == nil { // it is, of a file that was registered
			bytes.Append(protoreflect.ValueOfBytes(b))
		}
	})
	return out
}

// eachFile calls f for a file and what it imports, once each.
func (r *reflection) eachFile(file protoreflect.FileDescriptor, seen map[string]bool, f func(protoreflect.FileDescriptor)) {
	if seen[file.Path()] {
		return
	}
	seen[file.Path()] = true
	f(file)
	for i := range file.Imports().Len() {
		r.eachFile(file.Imports().Get(i).FileDescriptor, seen, f)
	}
}

func (r *reflection) services(out *dynamicpb.Message) *dynamicpb.Message {
	list := out.Mutable(r.method.Output().Fields().ByName("list_services_response")).Message()
	names := list.Mutable(list.Descriptor().Fields().Get(0)).List()
	for _, name := range []string{kantav1connect.KantaServiceName, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"} {
		one := names.AppendMutable().Message()
		one.Set(one.Descriptor().Fields().Get(0), protoreflect.ValueOfString(name))
	}
	return out
}

func (r *reflection) refuse(out *dynamicpb.Message, code connect.Code, text string) *dynamicpb.Message {
	e := out.Mutable(r.method.Output().Fields().ByName("error_response")).Message()
	e.Set(e.Descriptor().Fields().ByName("error_code"), protoreflect.ValueOfInt32(int32(code)))
	e.Set(e.Descriptor().Fields().ByName("error_message"), protoreflect.ValueOfString(text))
	return out
}

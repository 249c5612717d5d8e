package server

import (
	"context"

	"github.com/kantadb/kanta/server/access"
	"github.com/kantadb/kanta/server/internal/message"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

// Keys lists the keys of callers.
func (v *service) Keys(ctx context.Context, _ *pb.KeysRequest) (*pb.KeysResponse, error) {
	all, err := v.s.register.Keys(ctx)
	return &pb.KeysResponse{Keys: message.OfKeys(all)}, err
}

// CreateKey makes a key.
func (v *service) CreateKey(ctx context.Context, req *pb.CreateKeyRequest) (*pb.CreateKeyResponse, error) {
	var r message.Reader
	expires := r.Time(req.GetExpires())
	if r.Err() != nil {
		return nil, r.Err()
	}
	key, secret, err := v.s.register.CreateKey(ctx, req.GetName(), req.GetRole(), expires, by(callOf(ctx).caller))
	if err != nil {
		return nil, err
	}
	return &pb.CreateKeyResponse{Key: message.OfKey(&key), Secret: secret}, nil
}

// by is how a caller is named who makes a key.
func by(c *access.Caller) string {
	if c.Key != "" {
		return c.Name + " (" + c.ID + ")"
	}
	return c.ID
}

// RevokeKey ends a key.
func (v *service) RevokeKey(ctx context.Context, req *pb.RevokeKeyRequest) (*pb.RevokeKeyResponse, error) {
	key, err := v.s.register.RevokeKey(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	return &pb.RevokeKeyResponse{Key: message.OfKey(&key)}, nil
}

// Roles lists the roles.
func (v *service) Roles(ctx context.Context, _ *pb.RolesRequest) (*pb.RolesResponse, error) {
	all, err := v.s.register.Roles(ctx)
	out := &pb.RolesResponse{}
	for _, r := range all {
		out.Roles = append(out.Roles, message.OfRole(r, r.Text))
	}
	return out, err
}

// SaveRole saves a role.
func (v *service) SaveRole(ctx context.Context, req *pb.SaveRoleRequest) (*pb.SaveRoleResponse, error) {
	position, err := v.s.register.SaveRole(ctx, req.GetName(), req.GetToml())
	return &pb.SaveRoleResponse{Position: message.OfPosition(position)}, err
}

// DropRole drops a saved role.
func (v *service) DropRole(ctx context.Context, req *pb.DropRoleRequest) (*pb.DropRoleResponse, error) {
	position, err := v.s.register.DropRole(ctx, req.GetName())
	return &pb.DropRoleResponse{Position: message.OfPosition(position)}, err
}

// Whoami says who the caller is.
func (v *service) Whoami(ctx context.Context, _ *pb.WhoamiRequest) (*pb.WhoamiResponse, error) {
	c := callOf(ctx).caller
	return &pb.WhoamiResponse{Name: c.Name, Key: c.Key, Role: message.OfRole(c.Role, c.Role.Told())}, nil
}

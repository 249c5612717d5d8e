package client

import (
	"context"
	"time"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/access"
	"github.com/kantadb/kanta/server/internal/message"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

// Identity is who a client is to the server.
type Identity struct {
	Name string // of the key, or in the certificate; "": nobody was asked
	Key  string // the id of the key; "": by none
	Role *access.Role
}

// Whoami asks who the client is to the server. Of a role that does not show everything the text
// has the rights, and not what is hidden.
func (c *Client) Whoami(ctx context.Context) (Identity, error) {
	return read(ctx, c, func(ctx context.Context, r *message.Reader) (Identity, error) {
		m, err := c.rpc.Whoami(ctx, &pb.WhoamiRequest{})
		if err != nil {
			return Identity{}, err
		}
		role, err := r.Role(m.GetRole())
		return Identity{Name: m.GetName(), Key: m.GetKey(), Role: role}, own(err)
	})
}

// Keys returns the keys of callers, the oldest first.
func (c *Client) Keys(ctx context.Context) ([]access.Key, error) {
	return read(ctx, c, func(ctx context.Context, r *message.Reader) ([]access.Key, error) {
		m, err := c.rpc.Keys(ctx, &pb.KeysRequest{})
		return r.Keys(m.GetKeys()), err
	})
}

// CreateKey makes a key for a caller. A zero expires is never. text is what the caller shows
// ([Options].Key): it is told here and nowhere else. The call is not tried again.
func (c *Client) CreateKey(ctx context.Context, name, role string, expires time.Time) (key access.Key, text string, err error) {
	key, err = write(ctx, c, never, func(ctx context.Context, r *message.Reader) (access.Key, error) {
		m, err := c.rpc.CreateKey(ctx, &pb.CreateKeyRequest{Name: name, Role: role, Expires: message.OfTime(expires)})
		text = m.GetSecret()
		return r.Key(m.GetKey()), err
	})
	return key, text, err
}

// RevokeKey ends a key, at once.
func (c *Client) RevokeKey(ctx context.Context, id string) (access.Key, error) {
	return write(ctx, c, always, func(ctx context.Context, r *message.Reader) (access.Key, error) {
		m, err := c.rpc.RevokeKey(ctx, &pb.RevokeKeyRequest{Id: id})
		return r.Key(m.GetKey()), err
	})
}

// Roles returns the roles by name, those that are built in too.
func (c *Client) Roles(ctx context.Context) ([]*access.Role, error) {
	return read(ctx, c, func(ctx context.Context, r *message.Reader) (out []*access.Role, err error) {
		m, err := c.rpc.Roles(ctx, &pb.RolesRequest{})
		for _, one := range m.GetRoles() {
			role, err := r.Role(one)
			if err != nil { // of another version: it is shown, and nobody can have it
				role = &access.Role{Name: one.GetName(), Text: one.GetToml()}
			}
			out = append(out, role)
		}
		return out, err
	})
}

// SaveRole saves a role, new or not, for all who have it.
func (c *Client) SaveRole(ctx context.Context, name, text string) (query.Position, error) {
	return write(ctx, c, always, func(ctx context.Context, r *message.Reader) (query.Position, error) {
		m, err := c.rpc.SaveRole(ctx, &pb.SaveRoleRequest{Name: name, Toml: text})
		return r.Position(m.GetPosition()), err
	})
}

// DropRole drops a saved role that no valid key has.
func (c *Client) DropRole(ctx context.Context, name string) (query.Position, error) {
	return write(ctx, c, never, func(ctx context.Context, r *message.Reader) (query.Position, error) {
		m, err := c.rpc.DropRole(ctx, &pb.DropRoleRequest{Name: name})
		return r.Position(m.GetPosition()), err
	})
}

// always says that doing a call twice is as doing it once.
func always() bool { return true }

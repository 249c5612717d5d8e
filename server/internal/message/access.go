package message

import (
	"github.com/kantadb/kanta/server/access"
	pb "github.com/kantadb/kanta/server/internal/proto/kanta/v1"
)

// OfKeys writes keys, without their secrets.
func OfKeys(list []access.Key) []*pb.Key { return each(list, OfKey) }

// OfKey writes a key, without its secret.
func OfKey(k *access.Key) *pb.Key {
	return &pb.Key{Id: k.ID, Name: OfText(k.Name), Role: OfText(k.Role), Created: OfTime(k.Created), Expires: OfTime(k.Expires), Revoked: OfTime(k.Revoked), By: OfText(k.By)}
}

// Keys reads keys.
func (r *Reader) Keys(list []*pb.Key) []access.Key {
	return every(list, r.Key)
}

// Key reads a key.
func (r *Reader) Key(k *pb.Key) access.Key {
	return access.Key{ID: k.GetId(), Name: k.GetName(), Role: k.GetRole(), Created: r.Time(k.GetCreated()), Expires: r.Time(k.GetExpires()),
		Revoked: r.Time(k.GetRevoked()), By: k.GetBy()}
}

// OfRole writes a role with the text that is told of it.
func OfRole(role *access.Role, text string) *pb.Role {
	return &pb.Role{Name: OfText(role.Name), Toml: OfText(text), BuiltIn: role.BuiltIn}
}

// Role reads a role; its text is read as this version does.
func (r *Reader) Role(m *pb.Role) (*access.Role, error) {
	role, err := access.ParseRole(m.GetName(), m.GetToml())
	if err != nil {
		return nil, err
	}
	role.BuiltIn = m.GetBuiltIn()
	return role, nil
}

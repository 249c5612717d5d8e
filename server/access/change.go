package access

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
)

// keptEnded is how long keys are listed that have ended: as long as somebody may ask whose it
// was that stands in a log. Then the next key that is made takes their place.
const keptEnded = 400 * 24 * time.Hour

// changes is how often a change is decided anew when another server was faster.
const changes = 5

// Keys returns all keys, the oldest first; those too that have ended, unless it is long ago.
func (r *Register) Keys(ctx context.Context) ([]Key, error) {
	e, err := r.now(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Key, 0, len(e.keys))
	for id, k := range e.keys {
		if k == nil {
			k = &Key{ID: id, Name: "(it cannot be read)"}
		}
		out = append(out, *k)
	}
	slices.SortFunc(out, func(a, b Key) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name), a.Expires.Compare(b.Expires), cmp.Compare(a.ID, b.ID))
	})
	return out, nil
}

// CreateKey makes a key. text is what the caller shows, and is stored nowhere. A zero expires is
// never. It fails with [query.CodeUnknownName] for a role that is not there, and with
// [query.CodeInvalid].
func (r *Register) CreateKey(ctx context.Context, name, role string, expires time.Time, by string) (key Key, text string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, err := r.again(ctx)
	if err != nil {
		return key, "", err
	}
	if err := checkKeyName(name); err != nil {
		return key, "", err
	}
	if _, err := e.role(role); err != nil {
		return key, "", err
	}
	now := r.clock()
	if !expires.IsZero() && !expires.After(now) {
		return key, "", &query.Error{Code: query.CodeInvalid, Message: "the key would have expired already, at " + expires.UTC().Format(time.RFC3339), Hint: "give a time that is to come"}
	}
	id, text := newSecret()
	_, secret, _ := parseKey(text)
	key = Key{ID: id, Name: name, Role: role, Created: now.UTC(), Expires: expires, By: by, hash: hashOf(secret)}
	document, err := key.document()
	if err != nil {
		return key, "", query.Errorf(query.CodeInvalid, "the key: %w", err)
	}
	b := batch.New()
	b.CreateDocument(keyKind+id, document)
	for old, k := range e.keys {
		if k != nil && k.Ended(now) && now.Sub(latest(k.Revoked, k.Expires)) > keptEnded {
			b.DropDocument(keyKind + old)
		}
	}
	return key, text, r.apply(ctx, b)
}

// latest is when a key ended, or a later time at which it would have.
func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// RevokeKey ends a key, at once and for ever. One that has been revoked stays as it is.
func (r *Register) RevokeKey(ctx context.Context, id string) (key Key, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range changes {
		e, err := r.again(ctx)
		if err != nil {
			return key, err
		}
		hash, ok := e.hashes[id]
		if !ok {
			return key, &query.Error{Code: query.CodeUnknownName, Message: fmt.Sprintf("there is no key %.100q", id), Hint: "kanta key list shows their ids"}
		}
		if k := e.keys[id]; k == nil {
			return key, query.Errorf(query.CodeNewerFormat, "the key %s cannot be read by this version, so nobody comes in by it", id)
		} else if key = *k; !key.Revoked.IsZero() {
			return key, nil
		}
		key.Revoked = r.clock().UTC()
		document, err := key.document()
		if err != nil {
			return key, query.Errorf(query.CodeInternal, "the key: %w", err)
		}
		b := batch.New()
		b.ReplaceDocument(keyKind+id, document, hash)
		if err = r.apply(ctx, b); !isConflict(err) {
			return key, err
		}
	}
	return key, query.Errorf(query.CodeConflict, "the key %s was changed by others again and again", id)
}

// Roles returns all roles by name, those that are built in too. One that cannot be read has its
// text and no rights.
func (r *Register) Roles(ctx context.Context) ([]*Role, error) {
	e, err := r.now(ctx)
	if err != nil {
		return nil, err
	}
	all := maps.Clone(e.roles)
	for name := range e.broken {
		all[name] = &Role{Name: name}
	}
	out := make([]*Role, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[name])
	}
	return out, nil
}

// Role returns a role by its name, [query.CodeUnknownName] if there is none.
func (r *Register) Role(ctx context.Context, name string) (*Role, error) {
	e, err := r.now(ctx)
	if err != nil {
		return nil, err
	}
	return e.role(name)
}

// SaveRole saves a role, new or not. Calls under way of callers who have it end. Beside what
// [ParseRole] fails with, it fails as the store does whose names and kinds the role does not fit.
func (r *Register) SaveRole(ctx context.Context, name, text string) (query.Position, error) {
	role, err := ParseRole(name, text)
	if err != nil {
		return query.Position{}, err
	}
	if err := r.notBuiltIn(name); err != nil {
		return query.Position{}, err
	}
	if role.Policy != nil {
		n, err := r.store.SnapshotWith(ctx, &query.SnapshotOptions{Policy: role.Policy})
		if err != nil {
			return query.Position{}, fmt.Errorf("the role %q: %w", name, err)
		}
		_ = n.Close() // it holds nothing but memory
	}
	b := batch.New()
	b.PutDocument(roleKind+name, []byte(text))
	return r.put(ctx, b)
}

// DropRole drops a saved role that no valid key has. Certificates with it are of nobody then.
func (r *Register) DropRole(ctx context.Context, name string) (query.Position, error) {
	if err := r.notBuiltIn(name); err != nil {
		return query.Position{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e, err := r.again(ctx)
	if err != nil {
		return query.Position{}, err
	}
	if _, err := e.role(name); err != nil && e.broken[name] == nil {
		return query.Position{}, err
	}
	for _, k := range e.keys {
		if k != nil && k.Role == name && !k.Ended(r.clock()) {
			return query.Position{}, &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("the role %q is that of the key %s", name, k.ID),
				Hint: "revoke its keys first: kanta key list"}
		}
	}
	b := batch.New()
	b.DropDocument(roleKind + name)
	return r.write(ctx, b)
}

func (r *Register) notBuiltIn(name string) error {
	if r.builtIn[name] == nil {
		return nil
	}
	return &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("the role %q is built in", name), Hint: "save it under another name: kanta role show " + name + " prints its text"}
}

func (r *Register) put(ctx context.Context, b *batch.Builder) (query.Position, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.write(ctx, b)
}

func (r *Register) apply(ctx context.Context, b *batch.Builder) error {
	_, err := r.write(ctx, b)
	return err
}

// write applies a batch whole.
func (r *Register) write(ctx context.Context, b *batch.Builder) (query.Position, error) {
	encoded, err := b.Encode()
	if err != nil {
		return query.Position{}, err
	}
	done, err := r.store.Apply(ctx, encoded)
	return done.Position, err
}

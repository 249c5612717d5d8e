package access

import (
	"context"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/certs"
)

// Store is where keys and roles stand, as documents; an engine.DB is one.
type Store interface {
	Documents(ctx context.Context, prefix string) ([]query.SavedDocument, error)
	// DocumentsVersion is another number after each change of a document.
	DocumentsVersion() uint64
	Apply(ctx context.Context, b batch.Batch) (batch.Result, error)
	// SnapshotWith fails for a policy that does not fit what the store has.
	SnapshotWith(ctx context.Context, o *query.SnapshotOptions) (query.Snapshot, error)
}

// The names of documents begin with these.
const (
	keyKind  = "key/"
	roleKind = "role/"
)

// Register knows the keys and roles of a store, and who a caller is by them. It is safe for
// concurrent use.
type Register struct {
	store   Store
	clock   func() time.Time
	builtIn map[string]*Role

	read   atomic.Pointer[entries]
	mu     sync.Mutex // one reads, or changes
	tries  tries
	asking questions
}

// entries are what stood in the store at one version.
type entries struct {
	version uint64
	keys    map[string]*Key // nil: it cannot be read, so nobody comes in by it
	roles   map[string]*Role
	broken  map[string]error // roles that cannot be read, and why
	hashes  map[string]batch.DocumentHash
}

// NewRegister returns the register of a store. A nil clock is the machine's.
func NewRegister(store Store, clock func() time.Time) (*Register, error) {
	r := &Register{store: store, clock: clock}
	if clock == nil {
		r.clock = time.Now
	}
	var err error
	r.builtIn, err = BuiltIn()
	return r, err
}

// now returns what stands in the store, and reads it when it has changed.
func (r *Register) now(ctx context.Context) (*entries, error) {
	if e := r.read.Load(); e != nil && e.version == r.store.DocumentsVersion() {
		return e, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.again(ctx)
}

// again reads the store if it has changed; mu is held.
func (r *Register) again(ctx context.Context) (*entries, error) {
	version := r.store.DocumentsVersion() // first: what is read after it is no older
	if e := r.read.Load(); e != nil && e.version == version {
		return e, nil
	}
	keys, err := r.store.Documents(ctx, keyKind)
	if err != nil {
		return nil, err
	}
	roles, err := r.store.Documents(ctx, roleKind)
	if err != nil {
		return nil, err
	}
	e := &entries{version: version, keys: make(map[string]*Key, len(keys)), roles: make(map[string]*Role, len(roles)+len(r.builtIn)),
		broken: map[string]error{}, hashes: make(map[string]batch.DocumentHash, len(keys))}
	for i := range keys {
		id := strings.TrimPrefix(keys[i].Name, keyKind)
		k, err := readKey(id, keys[i].Value)
		if err != nil {
			k = nil
		}
		e.keys[id], e.hashes[id] = k, batch.HashDocument(keys[i].Value)
	}
	for i := range roles {
		name := strings.TrimPrefix(roles[i].Name, roleKind)
		role, err := ParseRole(name, string(roles[i].Value))
		if err != nil {
			e.broken[name] = err
			continue
		}
		e.roles[name] = role
	}
	for name, role := range r.builtIn {
		e.roles[name] = role
	}
	r.read.Store(e)
	return e, nil
}

// Caller is who calls, and what he may do. It never changes.
type Caller struct {
	ID   string // "key ID", "certificate NAME", "process"; "": whoever is on the machine, where nobody is asked
	Name string // of the key or the certificate
	Key  string // the id of the key; "": by none
	Role *Role

	version uint64
	expires time.Time
}

// processID is the ID of who has the store in his hands.
const processID = "process"

// Same reports whether two calls are of the same caller, and whether he may do the same.
func (c *Caller) Same(other *Caller) bool {
	return c.ID == other.ID && c.Role.Name == other.Role.Name && c.Role.Text == other.Role.Text
}

// Owner returns who has the store in his hands: the embedding program. He may do everything.
func (r *Register) Owner() *Caller { return &Caller{ID: processID, Role: r.builtIn["admin"]} }

// Author is the caller as who has written something; zero: nobody, as whoever has the store in
// his hands, or is on the machine where nobody is asked.
func (c *Caller) Author() query.Author {
	if c.ID == processID {
		return query.Author{}
	}
	return query.Author{ID: c.ID, Name: c.Name, Role: c.Role.Name, SharesAll: c.Role.Rights&Access != 0}
}

// unknown is what everybody is told who is not known, whatever the reason: it would tell which
// keys there are.
func unknown() error {
	return &query.Error{Code: query.CodeUnauthenticated, Message: "the server does not know the caller",
		Hint: "show a valid key: KANTA_KEY, or Authorization: Bearer; whoever keeps the server makes one with kanta key create"}
}

// ByKey returns who calls with a key. It fails with [query.CodeUnauthenticated] for every key
// that is not valid, and with [query.CodeLimit] for an address that has shown too many of them.
func (r *Register) ByKey(ctx context.Context, address, key string) (*Caller, error) {
	now := r.clock()
	if wait := r.tries.refused(now, address); wait > 0 {
		return nil, &query.Error{Code: query.CodeLimit, Message: fmt.Sprintf("%d wrong keys in a minute came from this address: it is not listened to", maxTries),
			Hint: "show a valid key, later", RetryAfter: wait}
	}
	e, err := r.now(ctx)
	if err != nil {
		return nil, err
	}
	id, secret, ok := parseKey(key)
	k := e.keys[id]
	if k == nil {
		k, ok = &Key{}, false
	}
	hash := hashOf(secret)
	same := subtle.ConstantTimeCompare(hash[:], k.hash[:]) == 1
	role := e.roles[k.Role]
	if !ok || !same || role == nil || k.Ended(now) {
		r.tries.failed(now, address)
		return nil, unknown()
	}
	return &Caller{ID: "key " + id, Name: k.Name, Key: id, Role: role, version: e.version, expires: k.Expires}, nil
}

// ByCertificate returns who calls with a certificate that has been verified, as it says itself.
func (r *Register) ByCertificate(ctx context.Context, c *x509.Certificate) (*Caller, error) {
	e, err := r.now(ctx)
	if err != nil {
		return nil, err
	}
	id, err := certs.IdentityOf(c)
	if err != nil {
		return nil, err
	}
	role := e.roles[id.Role]
	if role == nil {
		return nil, unknown()
	}
	return &Caller{ID: "certificate " + id.Name, Name: id.Name, Role: role, version: e.version, expires: c.NotAfter}, nil
}

// Anybody returns who calls without showing anything. From the machine itself everything is
// allowed as long as the store has no key, be it one that has ended.
func (r *Register) Anybody(ctx context.Context, fromHere bool) (*Caller, error) {
	e, err := r.now(ctx)
	if err != nil {
		return nil, err
	}
	if !fromHere || len(e.keys) > 0 {
		return nil, unknown()
	}
	return &Caller{Role: r.builtIn["admin"], version: e.version}, nil
}

// Open reports whether the store has no keys.
func (r *Register) Open(ctx context.Context) (bool, error) {
	e, err := r.now(ctx)
	return err == nil && len(e.keys) == 0, err
}

// Still reports whether a caller is still who he was and may do what he might: with
// [query.CodeUnauthenticated] if not, and [query.CodeDenied] if his role has changed. It costs
// no more than two comparisons while no key and no role changes.
func (r *Register) Still(ctx context.Context, c *Caller) error {
	now := r.clock()
	if !c.expires.IsZero() && !now.Before(c.expires) {
		return unknown()
	}
	if c.version == r.store.DocumentsVersion() {
		return nil
	}
	e, err := r.now(ctx)
	if err != nil {
		return err
	}
	switch {
	case c.ID == processID:
		return nil
	case c.Key != "":
		if k := e.keys[c.Key]; k == nil || k.Ended(now) || k.Role != c.Role.Name {
			return unknown()
		}
	case c.ID == "" && len(e.keys) > 0:
		return unknown()
	}
	switch role := e.roles[c.Role.Name]; {
	case role == nil:
		return unknown()
	case role.Text != c.Role.Text:
		return &query.Error{Code: query.CodeDenied, Message: fmt.Sprintf("the role %q has changed since the call began", role.Name), Hint: "call again"}
	}
	return nil
}

// Ask counts a question of a caller, and fails with [query.CodeLimit] if his role has no more of
// them in this minute.
func (r *Register) Ask(c *Caller) error {
	if c.Role.QueriesPerMinute == 0 {
		return nil
	}
	wait := r.asking.ask(r.clock(), c.ID, c.Role.QueriesPerMinute)
	if wait == 0 {
		return nil
	}
	return &query.Error{Code: query.CodeLimit, Message: fmt.Sprintf("the role %q has %d questions a minute", c.Role.Name, c.Role.QueriesPerMinute),
		Hint: "ask again later", RetryAfter: wait}
}

// role returns a role by its name; that of one that cannot be read is its error.
func (e *entries) role(name string) (*Role, error) {
	if role := e.roles[name]; role != nil {
		return role, nil
	}
	if err := e.broken[name]; err != nil {
		return nil, err
	}
	names := make([]string, 0, len(e.roles))
	for name := range e.roles {
		names = append(names, name)
	}
	return nil, &query.Error{Code: query.CodeUnknownName, Message: fmt.Sprintf("there is no role %q", name), Hint: query.DidYouMean(name, names)}
}

// isConflict reports whether somebody else was faster.
func isConflict(err error) bool { return errors.Is(err, &query.Error{Code: query.CodeConflict}) }

package access

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kantadb/kanta/query"
)

// The parts of a key's text.
const (
	keyPrefix   = "kanta_"
	idBytes     = 10 // 16 characters: no two keys of a store have the same
	secretBytes = 32
)

// letters are those of ids and secrets: no two of them look alike, and a double click takes
// all of a key.
//
//tidy:constant
var letters = base32.StdEncoding.WithPadding(base32.NoPadding)

// MaxKeyName bounds the name of a key in bytes.
const MaxKeyName = 128

// Key is what is known of a key: all but its secret.
type Key struct {
	ID      string // unique, and not secret; it begins the key itself
	Name    string
	Role    string
	Created time.Time
	Expires time.Time // zero: never
	Revoked time.Time // zero: it is not
	By      string    // who made it

	hash [sha256.Size]byte
}

// Ended reports whether a key is not valid any more at a time.
func (k *Key) Ended(now time.Time) bool {
	return !k.Revoked.IsZero() || !k.Expires.IsZero() && !now.Before(k.Expires)
}

// newSecret makes the id of a key and its text.
func newSecret() (id, text string) {
	var b [idBytes + secretBytes]byte
	_, _ = rand.Read(b[:]) // it never fails
	id = letters.EncodeToString(b[:idBytes])
	return id, keyPrefix + id + "_" + letters.EncodeToString(b[idBytes:])
}

// parseKey takes the text of a key apart. The secret is its letters: there is one text for
// each key.
func parseKey(text string) (id, secret string, ok bool) {
	rest, ok := strings.CutPrefix(text, keyPrefix)
	if !ok || len(rest) != letters.EncodedLen(idBytes)+1+letters.EncodedLen(secretBytes) {
		return "", "", false
	}
	id, secret, ok = strings.Cut(rest, "_")
	if !ok || len(id) != letters.EncodedLen(idBytes) {
		return "", "", false
	}
	for _, c := range []byte(id + secret) {
		if !(c >= 'A' && c <= 'Z' || c >= '2' && c <= '7') {
			return "", "", false
		}
	}
	return id, secret, true
}

// hashOf is what is stored of a secret. It is random and long, so nobody finds it by trying,
// and a slow hash would only slow down every call.
func hashOf(secret string) [sha256.Size]byte { return sha256.Sum256([]byte(secret)) }

// keyFormat is the version of a key's document.
const keyFormat = 1

// keyDocument is a key as it is stored.
type keyDocument struct {
	Format  int        `json:"format"`
	Name    string     `json:"name"`
	Role    string     `json:"role"`
	SHA256  string     `json:"sha256"`
	Created time.Time  `json:"created"`
	Expires *time.Time `json:"expires,omitempty"`
	Revoked *time.Time `json:"revoked,omitempty"`
	By      string     `json:"by,omitempty"`
}

// some returns a time that is there.
func some(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func (k *Key) document() ([]byte, error) {
	return json.Marshal(&keyDocument{keyFormat, k.Name, k.Role, hex.EncodeToString(k.hash[:]), k.Created.UTC(), some(k.Expires), some(k.Revoked), k.By})
}

// readKey reads the document of a key.
func readKey(id string, document []byte) (*Key, error) {
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(document, &version); err == nil && version.Format > keyFormat {
		return nil, query.Errorf(query.CodeNewerFormat, "the key %s has format %d; this version reads %d", id, version.Format, keyFormat)
	}
	var d keyDocument
	dec := json.NewDecoder(bytes.NewReader(document))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return nil, query.Errorf(query.CodeCorrupt, "the key %s: %v", id, err)
	}
	k := &Key{ID: id, Name: d.Name, Role: d.Role, Created: d.Created, By: d.By}
	hash, err := hex.DecodeString(d.SHA256)
	switch _, more := dec.Token(); {
	case more != io.EOF:
		return nil, query.Errorf(query.CodeCorrupt, "the key %s: more than a key", id)
	case d.Format != keyFormat:
		return nil, query.Errorf(query.CodeCorrupt, "the key %s has format %d", id, d.Format)
	case err != nil || len(hash) != len(k.hash):
		return nil, query.Errorf(query.CodeCorrupt, "the key %s has no hash of 64 digits", id)
	}
	copy(k.hash[:], hash)
	if d.Expires != nil {
		k.Expires = *d.Expires
	}
	if d.Revoked != nil {
		k.Revoked = *d.Revoked
	}
	return k, nil
}

// checkKeyName reports a name that no key may have. It is shown in tables and logs.
func checkKeyName(name string) error {
	if name == "" || len(name) > MaxKeyName || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return &query.Error{Code: query.CodeInvalid, Message: fmt.Sprintf("%.100q cannot be the name of a key", name),
			Hint: fmt.Sprintf("1 to %d bytes of text without control characters, such as who or what will have it", MaxKeyName)}
	}
	return nil
}

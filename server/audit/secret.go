package audit

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/text/unicode/norm"

	"github.com/kantadb/kanta/query"
)

const (
	secretName   = "secret"
	secretMade   = "secret.tmp" // until it is whole
	secretPrefix = "kanta audit secret "
	secretBytes  = 32
)

// castagnoli is the table of CRC32C.
//
//tidy:constant
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// keyed hashes what may not be stored.
type keyed [secretBytes]byte

// Hash returns the keyed hash of a person's key, or of any other value: that of the text in NFC,
// as a store keeps it. It is the same for as long as the store has its secret.
func (k *keyed) Hash(value string) (h Hash) {
	mac := hmac.New(sha256.New, k[:])
	_, _ = io.WriteString(mac, norm.NFC.String(value)) // a hash takes everything
	copy(h[:], mac.Sum(nil))
	return h
}

// newSecret writes a new secret. It is there whole or not at all.
func (d *dir) newSecret() (k keyed, err error) {
	_, _ = rand.Read(k[:]) // it never fails
	path := d.path(secretMade)
	f, err := d.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return k, err
	}
	if d.machine {
		err = os.Chmod(path, 0o600) // before anything is in it
	}
	if err == nil {
		_, err = io.WriteString(f, secretLine(k))
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return k, err
	}
	if err := d.fs.Rename(path, d.path(secretName)); err != nil {
		return k, err
	}
	return k, d.sync()
}

func secretLine(k keyed) string {
	digits := hex.EncodeToString(k[:])
	return fmt.Sprintf("%s%d %s %08x\n", secretPrefix, version, digits, crc32.Checksum([]byte(digits), castagnoli))
}

// secret reads the secret.
func (d *dir) secret() (k keyed, err error) {
	f, err := d.fs.Open(d.path(secretName))
	if err != nil {
		return k, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return k, err
	}
	if d.machine && !windows && info.Mode().Perm()&0o077 != 0 {
		return k, &query.Error{Code: query.CodeIO, Message: d.path(secretName) + " may be read by others than its owner",
			Hint: "whoever read it can find out whose records are whose; if nobody did, chmod 600 it"}
	}
	text, err := io.ReadAll(io.LimitReader(f, 256))
	if err != nil {
		return k, err
	}
	rest, ok := strings.CutPrefix(string(text), secretPrefix)
	v, rest, _ := strings.Cut(rest, " ")
	if ok && v != "" && v != fmt.Sprint(version) && strings.Trim(v, "0123456789") == "" {
		return k, newer(d.path(secretName), v)
	}
	digits, _, _ := strings.Cut(rest, " ")
	if raw, err := hex.DecodeString(digits); err == nil && len(raw) == len(k) {
		copy(k[:], raw)
	}
	if secretLine(k) != string(text) {
		return k, d.damaged(secretName, 0, 0, "it is not what was written")
	}
	return k, nil
}

// newer is the error of a file of a later format.
func newer(path, v string) error {
	return &query.Error{Code: query.CodeNewerFormat, Message: fmt.Sprintf("%s has format %s, and this program knows %d", path, v, version),
		Hint: "use the version of kanta that wrote it"}
}

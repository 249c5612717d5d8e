package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kantadb/kanta/query"
)

const (
	ledgerPrefix = "ledger/"
	ledgerMagic  = "kanta ledger\nformat 1\n"

	// LedgerPiece is the most entries of one piece: with the longest references it has
	// less than 7 MB.
	LedgerPiece = 10_000
)

// LedgerEntry is what a ledger says of a person; package erasure has the bytes of it.
type LedgerEntry struct {
	Name  [16]byte
	Entry []byte
}

// appendLedger writes a piece of a ledger behind dst.
func appendLedger(dst []byte, root string, entries []LedgerEntry) []byte {
	b := bytes.NewBuffer(dst)
	fmt.Fprintf(b, "%sroot %s\n", ledgerMagic, root)
	for _, e := range entries {
		fmt.Fprintf(b, "%x %x\n", e.Name, e.Entry)
	}
	return b.Bytes()
}

// parseLedger is the inverse of appendLedger, for one root.
func parseLedger(text []byte, root string) ([]LedgerEntry, error) {
	damaged := query.Errorf(query.CodeCorrupt, "it is no ledger of these stores")
	rest, ok := strings.CutPrefix(string(text), ledgerMagic+"root "+root+"\n")
	if !ok || rest != "" && !strings.HasSuffix(rest, "\n") {
		return nil, damaged
	}
	var out []LedgerEntry
	for line := range strings.Lines(rest) {
		name, entry, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		var e LedgerEntry
		var err error
		if ok && len(name) == hex.EncodedLen(len(e.Name)) {
			_, err = hex.Decode(e.Name[:], []byte(name))
		}
		if err == nil {
			e.Entry, err = hex.DecodeString(entry)
		}
		if !ok || err != nil || fmt.Sprintf("%x %x\n", e.Name, e.Entry) != line {
			return nil, damaged
		}
		out = append(out, e)
	}
	return out, nil
}

// PutLedger keeps a ledger: entries in an order in which new ones are the last, so that most
// pieces stay as they are. Then it deletes the pieces of which it contains all, as has says.
func (t *Target) PutLedger(ctx context.Context, entries []LedgerEntry, has func(e LedgerEntry) (bool, error)) error {
	before, err := t.ledgerPieces(ctx)
	if err != nil {
		return err
	}
	c, err := newCodec()
	if err != nil {
		return err
	}
	defer c.close()
	for len(entries) > 0 {
		n := min(LedgerPiece, len(entries))
		text := appendLedger(nil, t.Root, entries[:n])
		entries = entries[n:]
		h := Hash(sha256.Sum256(text))
		if _, there := before[h]; there {
			delete(before, h)
			continue
		}
		if err := t.Put(ctx, ledgerPrefix+h.String(), c.encode(text)); err != nil {
			return err
		}
	}
	for h := range before {
		of, err := t.ledgerPiece(ctx, c, h)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, &query.Error{Code: query.CodeCorrupt}) {
			continue // somebody else has deleted it; or a restore must be told of it
		}
		contained := true
		for i := 0; i < len(of) && contained && err == nil; i++ {
			contained, err = has(of[i])
		}
		if err != nil {
			return err
		}
		if contained {
			if err := t.Delete(ctx, ledgerPrefix+h.String()); err != nil {
				return err
			}
		}
	}
	return nil
}

// ledgerPieces lists the pieces.
func (t *Target) ledgerPieces(ctx context.Context) (map[Hash]bool, error) {
	out := map[Hash]bool{}
	err := t.List(ctx, ledgerPrefix, func(name string, _ int64) error {
		if h, ok := parseHash(strings.TrimPrefix(name, ledgerPrefix)); ok {
			out[h] = true
		}
		return nil
	})
	return out, err
}

func (t *Target) ledgerPiece(ctx context.Context, c *codec, h Hash) ([]LedgerEntry, error) {
	object, err := t.Get(ctx, ledgerPrefix+h.String(), maxObject)
	if err != nil {
		return nil, err
	}
	var entries []LedgerEntry
	text, err := c.decodeAny(h, object)
	if err == nil {
		entries, err = parseLedger(text, t.Root)
	}
	var q *query.Error
	if errors.As(err, &q) {
		hint := "delete that, and have the store tell it again: kanta backup create; or, if there is none, restore --without-ledger, which brings the erased back"
		if q.Code == query.CodeNewerFormat {
			hint = q.Hint
		}
		return nil, &query.Error{Code: q.Code, Message: fmt.Sprintf("the ledger of erased people, %s%s: %s", ledgerPrefix, h, q.Message), Hint: hint, Err: err}
	}
	return entries, err
}

// ledgerTries is how often a ledger is read anew because a piece went away: whoever deletes
// one has put another that contains it.
const ledgerTries = 10

// Ledger calls f for all entries that the target has, of a person perhaps several. If it is
// read anew, f gets some twice.
func (t *Target) Ledger(ctx context.Context, f func(e LedgerEntry) error) error {
	c, err := newCodec()
	if err != nil {
		return err
	}
	defer c.close()
	for try := 1; ; try++ {
		err := t.ledger(ctx, c, f)
		if !errors.Is(err, fs.ErrNotExist) || try == ledgerTries {
			return err
		}
	}
}

func (t *Target) ledger(ctx context.Context, c *codec, f func(e LedgerEntry) error) error {
	pieces, err := t.ledgerPieces(ctx)
	if err != nil {
		return err
	}
	for h := range pieces {
		entries, err := t.ledgerPiece(ctx, c, h)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := f(e); err != nil {
				return err
			}
		}
	}
	return nil
}

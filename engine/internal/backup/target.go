package backup

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/kantadb/kanta/query"
)

// Names of a target. They are a format.
const (
	identityName  = "kanta-backups"
	backupsPrefix = "backups/"
	manifestEnd   = ".manifest"
	objectsPrefix = "objects/"
	marksPrefix   = "under-way/"
	targetMagic   = "kanta backups"
	targetFormat  = 1
	maxIdentity   = 4096
)

// maxBackups bounds the backups of a target: one each hour for more than ten years.
const maxBackups = 100_000

func objectName(h Hash) string {
	text := h.String()
	return objectsPrefix + text[:2] + "/" + text
}

func manifestName(backup string) string { return backupsPrefix + backup + manifestEnd }

// Target is a target that is known to hold backups. Safe for concurrent use.
type Target struct {
	query.BackupTarget
	ID   string
	Root string // of the line of stores that it belongs to
}

// Open opens a target that has backups.
func Open(ctx context.Context, t query.BackupTarget) (*Target, error) {
	text, err := t.Get(ctx, identityName, maxIdentity)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &query.Error{Code: query.CodeNotAStore, Message: "there are no backups: the target has no " + identityName, Hint: "make one first, or name another target", Err: err}
	}
	if err != nil {
		return nil, err
	}
	out := &Target{BackupTarget: t}
	format := 0
	if !strings.HasPrefix(string(text), targetMagic+"\n") {
		return nil, query.Errorf(query.CodeNotAStore, "the target's %s begins with something else: it is another thing's", identityName)
	}
	rest := string(text[len(targetMagic)+1:])
	if _, err := fmt.Sscanf(rest, "format %d\n", &format); err == nil && format > targetFormat {
		return nil, &query.Error{Code: query.CodeNewerFormat, Message: fmt.Sprintf("the target is of format %d; this version reads format %d", format, targetFormat), Hint: "use a newer version of Kanta"}
	}
	_, err = fmt.Sscanf(rest, "format %d\nid %32s\nroot %32s\n", &format, &out.ID, &out.Root)
	if err != nil || string(text) != out.identity() || !validID(out.ID) || !validID(out.Root) {
		return nil, query.Errorf(query.CodeCorrupt, "the target's %s is damaged", identityName)
	}
	return out, nil
}

func (t *Target) identity() string {
	text := fmt.Sprintf("%s\nformat %d\nid %s\nroot %s\n", targetMagic, targetFormat, t.ID, t.Root)
	return fmt.Sprintf("%ssha256 %x\n", text, sha256.Sum256([]byte(text)))
}

// OpenFor opens a target for the backups of a line of stores. An empty one becomes that line's.
func OpenFor(ctx context.Context, t query.BackupTarget, root string) (*Target, error) {
	out, err := Open(ctx, t)
	if errors.Is(err, fs.ErrNotExist) {
		other := ""
		err := t.List(ctx, "", func(name string, _ int64) error {
			if !strings.HasPrefix(name, unfinished+"/") {
				other = name
				return fs.SkipAll
			}
			return nil
		})
		if other != "" {
			return nil, &query.Error{Code: query.CodeNotAStore, Message: fmt.Sprintf("the target holds something else, such as %s", other), Hint: "name an empty one"}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		out = &Target{BackupTarget: t, ID: newID(), Root: root}
		return out, t.Put(ctx, identityName, []byte(out.identity()))
	}
	if err != nil {
		return nil, err
	}
	if out.Root != root {
		return nil, &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("the target has the backups of another store, %s", out.Root), Hint: "use one target for each"}
	}
	return out, nil
}

func newID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// Names returns the names of the backups, oldest first.
func (t *Target) Names(ctx context.Context) ([]string, error) {
	var names []string
	err := t.List(ctx, backupsPrefix, func(path string, _ int64) error {
		name, ok := strings.CutSuffix(strings.TrimPrefix(path, backupsPrefix), manifestEnd)
		if _, _, valid := parseName(name); !ok || !valid {
			return nil // not ours
		}
		if len(names) == maxBackups {
			return query.Errorf(query.CodeLimit, "the target has more than %d backups; prune it", maxBackups)
		}
		names = append(names, name)
		return nil
	})
	slices.Sort(names)
	return names, err
}

// Manifest reads the manifest of a backup.
func (t *Target) Manifest(ctx context.Context, name string) (*Manifest, error) {
	if _, _, ok := parseName(name); !ok {
		return nil, &query.Error{Code: query.CodeInvalid, Message: fmt.Sprintf("%q is no name of a backup", name), Hint: "kanta backup list has the names"}
	}
	text, err := t.Get(ctx, manifestName(name), maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &query.Error{Code: query.CodeUnknownName, Message: fmt.Sprintf("there is no backup %s", name), Hint: "kanta backup list has the names", Err: err}
	}
	if err != nil {
		return nil, err
	}
	m, err := ParseManifest(name, text)
	if err == nil && m.Root != t.Root {
		err = query.Errorf(query.CodeCorrupt, "backup %s is of another store than the target", name)
	}
	return m, err
}

// Manifests reads all manifests, oldest first, and passes each to f with its name.
func (t *Target) Manifests(ctx context.Context, f func(name string, m *Manifest, err error) error) error {
	names, err := t.Names(ctx)
	for i := 0; i < len(names) && err == nil; i++ {
		m, failed := t.Manifest(ctx, names[i])
		if err = ctx.Err(); err == nil {
			err = f(names[i], m, failed)
		}
	}
	return err
}

// LastEpoch is the highest epoch that the name of a backup or of a piece of a log has.
func (t *Target) LastEpoch(ctx context.Context) (epoch uint64, err error) {
	names, err := t.Names(ctx)
	for _, name := range names {
		_, at, _ := parseName(name)
		epoch = max(epoch, at.Epoch)
	}
	if err != nil {
		return 0, err
	}
	pieces, err := t.LogPieces(ctx, "")
	for i := range pieces {
		epoch = max(epoch, pieces[i].Epoch)
	}
	return epoch, err
}

// Objects returns the pieces that the target has, with the sizes of their objects.
func (t *Target) Objects(ctx context.Context) (map[Hash]int64, error) {
	out := map[Hash]int64{}
	err := t.List(ctx, objectsPrefix, func(name string, size int64) error {
		if h, ok := parseHash(name[strings.LastIndexByte(name, '/')+1:]); ok && name == objectName(h) {
			out[h] = size
		}
		return nil
	})
	return out, err
}

// What can be under way.
const (
	making  = "make"
	pruning = "prune"
)

// A mark says that something is under way. Pruning must not delete a piece that a backup
// in the making found there and will name. So each puts its mark before it looks at what
// there is, and then looks whether the other has one: at least the later one sees the other,
// and gives up.
type mark struct {
	t    *Target
	name string
}

// markAge is after how long a mark is taken for that of a process that died. A backup that
// takes longer finds its mark gone and fails rather than name what may have been deleted.
const markAge = 24 * time.Hour

// begin puts a mark. Marks of other things that are of age are deleted, and so are those of
// the same owner, who does one thing at a time.
func (t *Target) begin(ctx context.Context, what, owner string, now time.Time) (*mark, error) {
	m := &mark{t, marksPrefix + now.UTC().Format(nameMillis) + "-" + what + "-" + owner}
	if err := t.Put(ctx, m.name, []byte(what+"\n")); err != nil {
		return nil, err
	}
	var stale []string
	var other error
	err := t.List(ctx, marksPrefix, func(name string, _ int64) error {
		stamp, rest, _ := strings.Cut(strings.TrimPrefix(name, marksPrefix), "-")
		did, by, _ := strings.Cut(rest, "-")
		began, err := time.Parse(nameMillis, stamp)
		switch {
		case name == m.name:
		case err != nil || now.Sub(began) > markAge || did == what && by == owner:
			stale = append(stale, name)
		case did != what:
			other = &query.Error{Code: query.CodeConflict, Message: fmt.Sprintf("somebody else is at work at the target: %s since %s", did, began.Format(time.RFC3339)),
				Hint: fmt.Sprintf("wait for its end; if it has died, delete %s", name)}
		}
		return nil
	})
	for _, name := range stale {
		err = errors.Join(err, t.Delete(ctx, name))
	}
	if err = errors.Join(err, other); err != nil {
		return nil, errors.Join(err, m.end(ctx))
	}
	return m, nil
}

// held returns an error if the mark has been deleted.
func (m *mark) held(ctx context.Context) error {
	_, err := m.t.Get(ctx, m.name, maxIdentity)
	if errors.Is(err, fs.ErrNotExist) {
		return &query.Error{Code: query.CodeConflict, Message: "somebody else has begun at the target meanwhile, taking this for dead", Hint: "begin again: what was done stays", Err: err}
	}
	return err
}

// end takes the mark away, even if ctx has ended.
func (m *mark) end(ctx context.Context) error {
	return m.t.Delete(context.WithoutCancel(ctx), m.name)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/cluster"
)

// defaultDir is the store of who names none.
const defaultDir = "./kanta-data"

// app is one run of the command: its streams, and the flags of all commands.
type app struct {
	in          io.Reader
	out, err    io.Writer
	outTerminal bool
	errTerminal bool
	env         func(string) string
	clock       func() time.Time // nil: the machine's
	files       vfs.FS           // nil: the machine's
	tuneMemory  bool             // set the limits of the Go runtime, which are the whole process's

	dir      string // of the store, or kanta://HOST:PORT
	json     bool
	memory   string
	readOnly bool
	repair   bool        // the store is opened to be repaired
	served   *serveFlags // nil: the store is opened for one command
	caller   callerFlags

	completing bool // for the shell

	started bool // the command line was understood
}

// store is what commands ask of a database: an engine.DB, or what stands for one elsewhere.
type store interface {
	query.Asker
	Apply(ctx context.Context, b batch.Batch) (batch.Result, error)
	Submit(ctx context.Context, b batch.Batch) (wait func() (batch.Result, error), err error)
	DryRun(ctx context.Context, b batch.Batch) (batch.Result, error)
	Snapshot(ctx context.Context) (query.Snapshot, error)
	Quarantine(ctx context.Context, after uint64, limit int) ([]query.QuarantinedRow, error)
	Stats(ctx context.Context) (query.Stats, error)
	Digests(ctx context.Context) (query.Digests, error)
	Check(ctx context.Context, progress func(done, total uint64, what string)) (query.CheckReport, error)
	Repair(ctx context.Context, progress func(done, total uint64, what string)) (query.RepairReport, error)
	Export(ctx context.Context, key string, w io.Writer) error
	ExportAll(ctx context.Context, create func(section string) (io.WriteCloser, error), o *query.ExportOptions) (query.Exported, error)
	Compact(ctx context.Context) error
	Erase(ctx context.Context, reference string, keys ...string) (query.Erasure, error)
	Readmit(ctx context.Context, keys ...string) (batch.Result, error)
	Erased(ctx context.Context, f func(query.ErasedPerson) error) error
	Purge(ctx context.Context, progress func(what string)) (*query.Receipt, error)
	Receipts(ctx context.Context) ([]query.Receipt, error)
	BackupLedger(ctx context.Context, target query.BackupTarget) error
	KeepLog(ctx context.Context, on bool) error
	ShipLog(ctx context.Context, target query.BackupTarget, o *query.ShipOptions) (query.ShipReport, error)
	Backup(ctx context.Context, target query.BackupTarget, o *query.BackupOptions) (query.BackupReport, error)
	Close() error
}

// openDir opens a store and makes the runtime keep to its memory budget. The name ""
// is a store in memory, and kanta://HOST:PORT one at a server.
func (a *app) openDir(dir string, create bool) (store, error) {
	if strings.HasPrefix(dir, serverScheme) {
		return a.openServer(dir)
	}
	if a.caller != (callerFlags{}) {
		return nil, usagef("--ca, --cert, --cert-key, --key-file and --consistency are for servers, and --db %s is a directory", dir)
	}
	if id, err := cluster.IdentityOf(dir); dir != "" && err == nil {
		return nil, &query.Error{Code: query.CodeNotAStore, Message: fmt.Sprintf("%s is the directory of the member %s of the cluster %s, and no store by itself", dir, id.ID, id.Cluster),
			Hint: "ask its server: --db " + serverScheme + id.Address}
	}
	o, err := a.options(dir, create)
	if err != nil {
		return nil, err
	}
	db, err := engine.Open(dir, o)
	if err != nil {
		return nil, err
	}
	return db, nil
}

// options returns how a store is opened.
func (a *app) options(dir string, create bool) (*engine.Options, error) {
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		e := query.Errorf(query.CodeNotAStore, "%s is a file; a store is a directory", dir)
		e.Hint = "name another one with --db"
		return nil, e
	}
	o := engine.Options{MustExist: !create, ReadOnly: a.readOnly, Repair: a.repair, Clock: a.clock}
	if dir != "" {
		o.FS = a.files
	}
	var err error
	if o.Memory, err = a.budget(); err != nil {
		return nil, err
	}
	if o.QuestionMemory = math.MaxInt64; a.served != nil { // else nobody is there who would want a part
		o.QuestionMemory = a.served.questionMemory.bytes
	}
	return &o, nil
}

// budget returns the memory budget, 0 for the default, and makes the runtime keep to it.
func (a *app) budget() (n int64, err error) {
	if a.memory != "" {
		if n, err = parseSize(a.memory); err != nil {
			return 0, &usageError{fmt.Errorf("--memory %s: %w", a.memory, err)}
		}
	}
	if a.tuneMemory {
		// The budget is the engine's own; what runs beside it (parsing, decoding, the
		// runtime) has been measured to need less than 200 MiB.
		limit := n
		if limit == 0 {
			limit = engine.DefaultMemory()
		}
		debug.SetMemoryLimit(limit + 200<<20)
		debug.SetGCPercent(50)
	}
	return n, nil
}

// withStore runs do with the store of --db, which must exist, and closes it.
func (a *app) withStore(do func(store) error) error { return a.with(false, do) }

// withDryStore is withStore for commands that create a store where there is none; a dry
// run makes one in memory only.
func (a *app) withDryStore(dry bool, do func(store) error) error {
	if entries, err := os.ReadDir(a.dir); dry && !a.isRemote() && (errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0) {
		dir := a.dir
		a.dir = ""
		defer func() { a.dir = dir }()
	}
	return a.with(true, do)
}

func (a *app) with(create bool, do func(store) error) (err error) {
	s, err := a.openDir(a.dir, create)
	if err != nil {
		return err
	}
	defer func() {
		if closed := s.Close(); err == nil {
			err = closed
		}
	}()
	return do(s)
}

// parseSize reads a number of bytes such as 512MB, 2GiB or 1000000.
func parseSize(text string) (int64, error) {
	units := []struct {
		suffix string
		bytes  float64
	}{{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30}, {"b", 1}, {"", 1}}
	lower := strings.ToLower(strings.TrimSpace(text))
	for _, u := range units {
		number, ok := strings.CutSuffix(lower, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(n > 0) || n*u.bytes > 1<<50 {
			break
		}
		return int64(n * u.bytes), nil
	}
	return 0, fmt.Errorf("that is no size; write 512MB, 2GiB or a number of bytes")
}

// questionFlags are the flags of whatever asks something.
type questionFlags struct{ now filled }

func (f *questionFlags) add(c *cobra.Command) {
	c.Flags().Var(&f.now, "now", "the instant the question is about: RFC 3339, or a date (its start in UTC); default the clock's. Attributes that keep no history are as they are now")
}

func (f *questionFlags) options() (query.Options, error) {
	t, err := parseInstant("--now", string(f.now))
	if err == nil && f.now != "" && t.IsZero() { // in the API that is the clock's
		err = usagef("--now %q: the first instant that can be asked about is 0001-01-01T00:00:00.001Z", f.now)
	}
	return query.Options{Now: t}, err
}

// parseInstant reads the time that a flag gives, the zero time if it is not given.
func parseInstant(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := query.ParseInstant(text)
	if err != nil {
		return t, &usageError{fmt.Errorf("%s: %w", flag, err)}
	}
	return t, nil
}

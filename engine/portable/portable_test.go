package portable_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/klauspost/compress/zstd"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/portable"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

func clock() time.Time { return time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC) }

func open(t *testing.T, fs vfs.FS) *engine.DB {
	t.Helper()
	db, err := engine.Open("store", &engine.Options{FS: fs, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func apply(t *testing.T, db *engine.DB, fill func(b *batch.Builder)) {
	t.Helper()
	b := batch.New()
	b.Strict(true)
	fill(b)
	raw, err := b.Encode()
	if err == nil {
		_, err = db.Apply(t.Context(), raw)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// stream exports a store as one file.
func stream(t *testing.T, db *engine.DB) []byte {
	t.Helper()
	var out bytes.Buffer
	if _, err := db.ExportAll(t.Context(), portable.ToStream(&out), &query.ExportOptions{Quarantine: true}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func importStream(ctx context.Context, s portable.Store, text []byte, o *portable.ImportOptions) (portable.Imported, error) {
	r, err := portable.OpenStream(bytes.NewReader(text))
	if err != nil {
		return portable.Imported{}, err
	}
	in, err := portable.Import(ctx, s, r, o)
	return in, errors.Join(err, r.Close())
}

// example returns the worked example of the package comment.
func example(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ = bytes.Cut(text, []byte("// # Worked example"))
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "//\t"); ok {
			out.WriteString(rest)
		}
	}
	return out.String()
}

// TestWorkedExample imports the example of the package comment, and exports what it is.
func TestWorkedExample(t *testing.T) {
	want := example(t)
	db := open(t, vfs.NewMem())
	if _, err := importStream(t.Context(), db, []byte(want), nil); err != nil {
		t.Fatal(err)
	}
	p, err := db.Profile(t.Context(), "ann", nil)
	if err != nil || fmt.Sprint(p.Values) != "[{age 41} {likes tea}]" || fmt.Sprint(p.Lists) != "[staff]" || len(p.Events) != 1 || p.Events[0].Properties[0].Value.String() != "19.90" {
		t.Fatalf("%+v %v", p, err)
	}
	var out bytes.Buffer
	if _, err := db.ExportAll(t.Context(), portable.ToStream(&out), nil); err != nil {
		t.Fatal(err)
	}
	own := regexp.MustCompile(`"store":"[^"]*","position":"[^"]*"|"export":{"lines":1,"bytes":\d+,"sha256":"[^"]*"}`)
	got, want := own.ReplaceAllString(out.String(), "-"), own.ReplaceAllString(want, "-")
	if got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
}

// hard returns values at the edges of every kind.
func hard(kind schema.Kind) (out []schema.Value) {
	switch kind {
	case schema.Bool:
		return []schema.Value{schema.BoolValue(false), schema.BoolValue(true)}
	case schema.Int:
		return []schema.Value{schema.IntValue(math.MinInt64), schema.IntValue(math.MaxInt64), schema.IntValue(0), schema.IntValue(1<<53 + 1)}
	case schema.Float:
		for _, f := range []float64{0, math.Copysign(0, -1), 0.1, math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, math.Inf(1), math.Inf(-1), 1e21, 1 << 60, -1.5} {
			out = append(out, schema.FloatValue(f))
		}
		return out
	case schema.Decimal:
		for _, n := range []int64{0, 1, -1, 99, -100, math.MaxInt64, math.MinInt64} {
			out = append(out, schema.DecimalValue(n, 2))
		}
		return out
	case schema.Date:
		return []schema.Value{schema.DateValue(schema.MinDate), schema.DateValue(schema.MaxDate), schema.DateValue(0), schema.DateValue(-1)}
	case schema.Timestamp:
		for _, n := range []int64{schema.MinTimestamp, schema.MaxTimestamp, 0, -1, 1, 1_780_000_000_120, 1_780_000_000_100, 1_780_000_000_000} {
			out = append(out, schema.TimestampValue(n))
		}
		return out
	}
	for _, s := range texts() {
		if kind == schema.Set {
			out = append(out, schema.SetValue(s, "other"), schema.SetValue(s))
		} else {
			out = append(out, schema.StringValue(s))
		}
	}
	return out
}

// texts are strings with every character that is special to something.
func texts() []string {
	out := []string{"", " ", "null", `"`, `\`, `\u0041`, "a|b", "a,b", "a\nb\r\n", "\x00", "\t", "\x7f", "\u2028\u2029", "\ufeff", "é", "日本", "😀", "<&>", "{}", "[]", `{"section":"manifest"}`, strings.Repeat("x", schema.MaxStringBytes)}
	all := strings.Builder{}
	for r := rune(0); r < 0x300; r++ {
		all.WriteRune(r)
	}
	return append(out, all.String())
}

// hardStore has people and events with all of these values.
func hardStore(t *testing.T) *engine.DB {
	db := open(t, vfs.NewMem())
	r := rand.New(rand.NewPCG(3, 1))
	apply(t, db, func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddEvent, Event: "act \"1\""})
		b.Change(schema.Change{Op: schema.AddEvent, Event: "look", Retention: 1000})
		for k := schema.Bool; k.Valid(); k++ {
			a := schema.Attribute{Kind: k}
			if k == schema.Decimal {
				a.Scale = 2
			}
			for _, name := range []string{"p." + k.String(), "q\" é\\" + k.String()} {
				a.Storage = schema.Storage(r.IntN(2))
				if k != schema.String {
					a.Storage = schema.StorageDictionary
				}
				a.Name = name
				b.Change(schema.Change{Op: schema.AddAttribute, Name: name, Attribute: a})
				b.Change(schema.Change{Op: schema.AddProperty, Event: "act \"1\"", Name: name, Attribute: a})
				b.Change(schema.Change{Op: schema.AddProperty, Event: "look", Name: name, Attribute: a})
			}
		}
	})
	s, err := db.Schema(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	apply(t, db, func(b *batch.Builder) {
		n := 0
		for i := range s.Attributes {
			for _, v := range hard(s.Attributes[i].Kind) {
				n++
				b.Upsert(fmt.Sprintf("k\"%d\\", n)).Set(s.Attributes[i].Name, v)
			}
		}
		b.Upsert("nothing")
		for i, key := range texts() {
			if key != "" && len(key) <= batch.MaxKeyBytes {
				b.Upsert(key).Set(s.Attributes[2].Name, schema.IntValue(int64(i)))
			}
		}
		b.ListPut("empty \" list")
		b.ListPut("list", "nothing", `k"1\`)
		b.ListNote("list", "from \"somewhere\"\n")
	})
	b := batch.New()
	b.Quarantine("file \" x", batch.BadRow{Line: 3, Reason: batch.ReasonRagged, Detail: "d\n", Raw: "a,\"b\x00"})
	if raw, err := b.Encode(); err != nil {
		t.Fatal(err)
	} else if _, err := db.Apply(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	hardEvents(t, db, s)
	return db
}

// hardEvents adds events with all of the values.
func hardEvents(t *testing.T, db *engine.DB, s *schema.Schema) {
	for i := range s.Events {
		e := &s.Events[i]
		for j := range e.Properties {
			p := &e.Properties[j]
			apply(t, db, func(b *batch.Builder) {
				table := b.Events([]batch.Column{{Name: p.Name, Kind: p.Kind, Scale: p.Scale}})
				for n, v := range hard(p.Kind) {
					for range 1 + n%2 { // twice is two acts
						table.Row([]byte("nothing"), []byte(e.Name), clock().UnixMilli()-int64(n%3))
						switch p.Kind {
						case schema.String:
							table.Str(0, []byte(v.Str()))
						case schema.Set:
							var elements [][]byte
							for _, s := range v.Elements() {
								elements = append(elements, []byte(s))
							}
							table.Elems(0, elements)
						default:
							table.Int(0, v.Ordered())
						}
					}
				}
			})
		}
	}
}

// everything returns all that a store tells of its people.
func everything(t *testing.T, db *engine.DB) string {
	t.Helper()
	var out strings.Builder
	m, err := db.Members(t.Context(), "true", nil)
	if err != nil {
		t.Fatal(err)
	}
	for row, err := range m.Rows {
		if err != nil {
			t.Fatal(err)
		}
		p, err := db.Profile(t.Context(), row.Key, &query.ProfileOptions{Events: 10_000})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%q %q %q %q\n", row.Key, fmt.Sprintf("%#v", p.Values), p.Lists, fmt.Sprintf("%#v", p.Events))
	}
	return out.String()
}

// TestHardValues takes the edges of every kind out and in, by every way there is.
func TestHardValues(t *testing.T) {
	db := hardStore(t)
	want, err := db.Digests(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text := everything(t, db)
	for _, compress := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "out")
		create, err := portable.ToDirectory(dir, compress)
		if err == nil {
			_, err = db.ExportAll(t.Context(), create, &query.ExportOptions{Quarantine: true})
		}
		if err != nil {
			t.Fatal(err)
		}
		r, err := portable.OpenDirectory(dir)
		if err != nil {
			t.Fatal(err)
		}
		other := open(t, vfs.NewMem())
		in, err := portable.Import(t.Context(), other, r, nil)
		if err = errors.Join(err, r.Close()); err != nil || in.Content != want.Content || in.Lines["quarantine"] != 1 {
			t.Fatalf("%+v %v", in, err)
		}
	}
	other := open(t, vfs.NewMem())
	if in, err := importStream(t.Context(), other, stream(t, db), nil); err != nil || in.Content != want.Content {
		t.Fatalf("%+v %v", in, err)
	}
	if got := everything(t, other); got != text {
		t.Fatalf("got\n%.3000s\nwant\n%.3000s", got, text)
	}
	lists, err := other.Lists(t.Context())
	if err != nil || len(lists) != 2 || lists[0].People != 0 || lists[1].People != 2 || lists[1].Note != "from \"somewhere\"\n" {
		t.Fatalf("%+v %v", lists, err)
	}
}

// TestLargePeople has people whose lines go on in others, a list of many, and a batch of
// which the numbers take far more than their texts.
func TestLargePeople(t *testing.T) {
	db := open(t, vfs.NewMem())
	apply(t, db, func(b *batch.Builder) {
		for i := range 30 {
			b.Change(schema.Change{Op: schema.AddAttribute, Name: fmt.Sprint("s", i), Attribute: schema.Attribute{Kind: schema.String, Storage: schema.StorageInline}})
			b.Change(schema.Change{Op: schema.AddAttribute, Name: fmt.Sprint("n", i), Attribute: schema.Attribute{Kind: schema.Int}})
		}
		b.Change(schema.Change{Op: schema.AddAttribute, Name: "set", Attribute: schema.Attribute{Kind: schema.Set}})
	})
	r := rand.New(rand.NewPCG(5, 1))
	text := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte('a' + r.IntN(26))
		}
		return string(b)
	}
	for i := range 3 {
		apply(t, db, func(b *batch.Builder) {
			row := b.Upsert(fmt.Sprint("big", i))
			for j := range 30 {
				row.Set(fmt.Sprint("s", j), schema.StringValue(text(schema.MaxStringBytes)))
			}
		})
		for range 4 {
			apply(t, db, func(b *batch.Builder) {
				var elements []string
				for range 200 {
					elements = append(elements, text(1000))
				}
				b.Upsert(fmt.Sprint("big", i)).Add("set", elements...)
			})
		}
	}
	var keys []string
	apply(t, db, func(b *batch.Builder) {
		for i := range 3000 {
			keys = append(keys, fmt.Sprint("k", i))
			row := b.Upsert(keys[i])
			for j := range 30 {
				row.Set(fmt.Sprint("n", j), schema.IntValue(int64(i%7)<<(60*(i%1500/1499))))
			}
		}
	})
	apply(t, db, func(b *batch.Builder) { b.ListPut("many", keys...) })
	text1 := stream(t, db)
	if n := bytes.Count(text1, []byte(`{"key":"big0"`)); n < 8 {
		t.Errorf("a large person has %d lines: too few to tell", n)
	}
	if n := bytes.Count(text1, []byte(`{"list":`)); n != 3 {
		t.Errorf("the list has %d lines", n)
	}
	other := open(t, vfs.NewMem())
	if _, err := importStream(t.Context(), other, text1, nil); err != nil {
		t.Fatal(err)
	}
	again := stream(t, other)
	if from := bytes.Index(text1, []byte("\n{\"section\":\"history\"}")); !bytes.Equal(again[bytes.Index(again, []byte("\n{\"section\":\"history\"}")):bytes.Index(again, []byte("\n{\"section\":\"manifest\"}"))], text1[from:bytes.Index(text1, []byte("\n{\"section\":\"manifest\"}"))]) {
		t.Error("the export of the import is another")
	}
}

// stopping is a store that stops answering after some calls.
type stopping struct {
	*engine.DB
	left int
}

var errStopped = errors.New("stopped")

func (s *stopping) stop() error {
	if s.left--; s.left < 0 {
		return errStopped
	}
	return nil
}

func (s *stopping) Apply(ctx context.Context, b batch.Batch) (batch.Result, error) {
	if err := s.stop(); err != nil {
		return batch.Result{}, err
	}
	return s.DB.Apply(ctx, b)
}

func (s *stopping) Submit(ctx context.Context, b batch.Batch) (func() (batch.Result, error), error) {
	if err := s.stop(); err != nil {
		return nil, err
	}
	return s.DB.Submit(ctx, b)
}

func (s *stopping) DryRun(ctx context.Context, b batch.Batch) (batch.Result, error) {
	if err := s.stop(); err != nil {
		return batch.Result{}, err
	}
	return s.DB.DryRun(ctx, b)
}

// TestImportStopped ends an import before each of its steps, opens the store again and does
// it again: each time it goes on, and ends with the same content, nothing written twice.
func TestImportStopped(t *testing.T) {
	db := open(t, vfs.NewMem())
	apply(t, db, func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddAttribute, Name: "n", Attribute: schema.Attribute{Kind: schema.Int, History: true}})
		b.Change(schema.Change{Op: schema.AddAttribute, Name: "gone", Attribute: schema.Attribute{Kind: schema.Int}})
		b.Change(schema.Change{Op: schema.AddEvent, Event: "act", Retention: 30})
		b.Change(schema.Change{Op: schema.Drop, Name: "gone"})
		b.Change(schema.Change{Op: schema.AddProperty, Event: "act", Name: "p", Attribute: schema.Attribute{Kind: schema.Int}})
		b.SaveSegment("a", "n > 3")
		b.Change(schema.Change{Op: schema.AddComputed, Name: "c", Text: `in_segment("a")`})
		b.SaveSegment("0", `in_segment("a") && p.c`)
	})
	apply(t, db, func(b *batch.Builder) {
		for i := range 60 {
			b.Upsert(fmt.Sprint("k", i)).Set("n", schema.IntValue(int64(i%9)))
		}
		table := b.Events([]batch.Column{{Name: "p", Kind: schema.Int}})
		for i := range 60 {
			table.Row(fmt.Append(nil, "k", i%50), []byte("act"), clock().UnixMilli()-int64(i%2))
			table.Int(0, int64(i%4))
		}
	})
	text := stream(t, db)
	o := &portable.ImportOptions{WithoutHistory: true}
	portable.SmallChunks(o, 7)
	want := ""
	for steps := 0; ; steps++ {
		fs := vfs.NewMem()
		first := open(t, fs)
		_, err := importStream(t.Context(), &stopping{first, steps}, text, o)
		if err == nil {
			if steps < 25 {
				t.Fatalf("an import of %d steps: too few to tell", steps)
			}
			t.Logf("%d steps", steps)
			return
		}
		if !errors.Is(err, errStopped) {
			t.Fatalf("step %d: %v", steps, err)
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		second := open(t, fs)
		in, err := importStream(t.Context(), second, text, o)
		if err != nil || in.Repeated {
			t.Fatalf("again after step %d: %v, %+v", steps, err, in)
		}
		got := stream(t, second)
		state := string(got[bytes.Index(got, []byte(`{"section":"schema"}`)):bytes.Index(got, []byte(`{"section":"manifest"}`))])
		if want == "" {
			want = state
		}
		if state != want {
			t.Fatalf("after step %d got\n%s\nwant\n%s", steps, state, want)
		}
		if in, err = importStream(t.Context(), second, text, o); err != nil || !in.Repeated {
			t.Fatalf("a third time: %+v %v", in, err)
		}
	}
}

// TestForgotten: of an import of more batches than a store remembers the first are not written again.
func TestForgotten(t *testing.T) {
	db := open(t, vfs.NewMem())
	apply(t, db, func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddEvent, Event: "act"})
		b.Upsert("k0")
		b.Upsert("k1")
		b.Upsert("k2")
		table := b.Events(nil)
		for i := range 1500 {
			table.Row(fmt.Append(nil, "k", i%3), []byte("act"), clock().UnixMilli()-int64(i%2))
		}
	})
	text := stream(t, db)
	o := &portable.ImportOptions{}
	portable.SmallChunks(o, 1)
	second := open(t, vfs.NewMem())
	if _, err := importStream(t.Context(), &stopping{second, 1200}, text, o); !errors.Is(err, errStopped) {
		t.Fatal(err)
	}
	if _, err := importStream(t.Context(), second, text, o); err != nil {
		t.Fatal(err)
	}
	if c, err := second.Count(t.Context(), "act.count() == 500", nil); err != nil || c.Count != 3 {
		t.Fatalf("%d have all of their events (%v)", c.Count, err)
	}
}

// TestDamaged takes lines out of an export, doubles them, exchanges them and flips bits: no
// such export is imported without a word.
func TestDamaged(t *testing.T) {
	text := []byte(example(t))
	fails := func(what string, b []byte) {
		t.Helper()
		db := open(t, vfs.NewMem())
		in, err := importStream(t.Context(), db, b, nil)
		if err == nil {
			t.Errorf("%s: %+v", what, in)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	lines := bytes.SplitAfter(text, []byte{'\n'})
	lines = lines[:len(lines)-1]
	join := func(parts ...[][]byte) (out []byte) {
		for _, p := range parts {
			out = append(out, bytes.Join(p, nil)...)
		}
		return out
	}
	for i := range lines {
		fails(fmt.Sprintf("without line %d", i+1), join(lines[:i], lines[i+1:]))
		fails(fmt.Sprintf("line %d twice", i+1), join(lines[:i+1], lines[i:]))
		fails(fmt.Sprintf("only %d lines", i), join(lines[:i]))
	}
	fails("cut in the last line", text[:len(text)-5])
	fails("nothing", nil)
	step := 5
	if testing.Short() {
		step = 29
	}
	for at := 0; at < len(text); at += step {
		b := bytes.Clone(text)
		b[at] ^= 1 << (at % 8)
		fails(fmt.Sprintf("bit %d of byte %d flipped", at%8, at), b)
	}
	newer := bytes.Replace(text, []byte(`{"kanta_export":1`), []byte(`{"kanta_export":2`), 1)
	if _, err := importStream(t.Context(), open(t, vfs.NewMem()), newer, nil); !errors.Is(err, &query.Error{Code: query.CodeNewerFormat}) {
		t.Errorf("format 2: %v", err)
	}
}

// TestHostileDirectory: only regular files are read, and only what is in the directory.
func TestHostileDirectory(t *testing.T) {
	db := open(t, vfs.NewMem())
	apply(t, db, func(b *batch.Builder) { b.Upsert("ann") })
	write := func() string {
		dir := filepath.Join(t.TempDir(), "out")
		create, err := portable.ToDirectory(dir, false)
		if err == nil {
			_, err = db.ExportAll(t.Context(), create, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		return dir
	}
	read := func(dir string) error {
		r, err := portable.OpenDirectory(dir)
		if err != nil {
			return err
		}
		other := open(t, vfs.NewMem())
		_, err = portable.Import(t.Context(), other, r, nil)
		return errors.Join(err, r.Close())
	}
	if err := read(write()); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(dir, file string) error{
		"a link out": func(dir, file string) error {
			elsewhere := filepath.Join(t.TempDir(), "x")
			return errors.Join(os.Rename(file, elsewhere), os.Symlink(elsewhere, file))
		},
		"a link within": func(dir, file string) error {
			return errors.Join(os.Rename(file, filepath.Join(dir, "x")), os.Symlink("x", file))
		},
		"a directory": func(dir, file string) error { return errors.Join(os.Remove(file), os.Mkdir(file, 0o755)) },
		"nothing":     func(dir, file string) error { return os.Remove(file) },
	} {
		for _, name := range []string{"export.json", "schema.toml", "profiles.ndjson", "manifest.json"} {
			dir := write()
			if err := spoil(dir, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			if err := read(dir); err == nil {
				t.Errorf("%s in place of %s is taken", what, name)
			}
		}
	}
	if err := read(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// failing is a file that cannot take more than so many bytes.
type failing struct{ left int }

func (f *failing) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, io.ErrShortWrite
	}
	return len(b), nil
}

// TestFullTarget: wherever an export fails to be written, it says so.
func TestFullTarget(t *testing.T) {
	db := open(t, vfs.NewMem())
	if _, err := importStream(t.Context(), db, []byte(example(t)), nil); err != nil {
		t.Fatal(err)
	}
	whole := len(stream(t, db))
	for n := 0; n < whole-2; n += 11 {
		if _, err := db.ExportAll(t.Context(), portable.ToStream(&failing{n}), &query.ExportOptions{Quarantine: true}); err == nil {
			t.Errorf("an export of %d bytes in %d", whole, n)
		}
	}
}

// TestBomb: a small file that becomes one line of 256 MiB is refused, and memory does not follow.
func TestBomb(t *testing.T) {
	var bomb bytes.Buffer
	z, err := zstd.NewWriter(&bomb)
	if err == nil {
		_, err = io.WriteString(z, "{\"section\":\"export\"}\n")
	}
	for range 256 {
		if err == nil {
			_, err = z.Write(bytes.Repeat([]byte{' '}, 1<<20))
		}
	}
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	db := open(t, vfs.NewMem())
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = importStream(t.Context(), db, bomb.Bytes(), nil)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 || err == nil || !strings.Contains(err.Error(), "longer than") || bomb.Len() > 1<<20 {
		t.Errorf("%d bytes of %d allocated, %v", n, bomb.Len(), err)
	}
}

// TestRules: who lacks what is required now is imported as is, and so are rules that the old
// data breaks; what cannot be made again is told.
func TestRules(t *testing.T) {
	db := open(t, vfs.NewMem())
	apply(t, db, func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddAttribute, Name: "plan", Attribute: schema.Attribute{Kind: schema.String}})
		b.Change(schema.Change{Op: schema.AddEvent, Event: "act"})
		b.Upsert("ann").Set("plan", schema.StringValue("x"))
		b.Upsert("bo")
		b.Events(nil).Row([]byte("ann"), []byte("act"), clock().UnixMilli())
	})
	apply(t, db, func(b *batch.Builder) {
		b.Change(schema.Change{Op: schema.AddAttribute, Name: "age", Attribute: schema.Attribute{Kind: schema.Int, Required: true, Min: schema.IntValue(1)}})
		b.Change(schema.Change{Op: schema.AddProperty, Event: "act", Name: "of", Attribute: schema.Attribute{Kind: schema.String, Required: true}})
		b.Change(schema.Change{Op: schema.Deprecate, Name: "plan"})
		b.Upsert("cat").Set("age", schema.IntValue(3))
	})
	other := open(t, vfs.NewMem())
	in, err := importStream(t.Context(), other, stream(t, db), nil)
	if err != nil || in.Lines["incomplete"] != 2 || len(in.Left) != 1 || !strings.Contains(in.Left[0], `"of"`) {
		t.Fatalf("%+v %v", in, err)
	}
	s, err := other.Schema(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a := s.Lookup("age"); !a.Required || a.Min.IsAbsent() || !s.Lookup("plan").Deprecated || s.LookupEvent("act").Lookup("of").Required {
		t.Errorf("%+v", s)
	}
	if p, err := other.Profile(t.Context(), "bo", nil); err != nil || len(p.Values) != 0 {
		t.Errorf("%+v %v", p, err)
	}
}

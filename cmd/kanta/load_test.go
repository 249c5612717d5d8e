package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"

	"github.com/kantadb/kanta/bench"
	"github.com/kantadb/kanta/index/schema"
)

// loadResult is what kanta load profiles --json prints.
type loadResult struct {
	Files []loaded `json:"files"`
	Dry   bool     `json:"dry_run"`
}

func (c *cli) load(args ...string) loaded {
	c.t.Helper()
	var r loadResult
	out := c.must(append([]string{"load", "profiles", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &r); err != nil || len(r.Files) != 1 {
		c.t.Fatalf("%v in %s", err, out)
	}
	return r.Files[0]
}

func (c *cli) count(expr string) uint64 {
	c.t.Helper()
	var n countJSON
	if err := json.Unmarshal([]byte(c.must("count", expr, "--json", "--now", "2026-01-01")), &n); err != nil {
		c.t.Fatal(err)
	}
	return n.Count
}

// digest returns the digest of the store's content.
func (c *cli) digest() string {
	c.t.Helper()
	var s statsJSON
	if err := json.Unmarshal([]byte(c.must("stats", "--json")), &s); err != nil {
		c.t.Fatal(err)
	}
	return s.Digests.Content
}

// personRow is a row of a Parquet file of people.
type personRow struct {
	ID   string   `parquet:"id"`
	Name string   `parquet:"name"`
	Age  *int64   `parquet:"age,optional"`
	Tags []string `parquet:"tags,list"`
}

// parquetPeople returns a Parquet file of people.
func parquetPeople(t *testing.T, rows ...personRow) string {
	t.Helper()
	var out bytes.Buffer
	if err := parquet.Write(&out, rows, parquet.Compression(&parquet.Zstd)); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestLoadForms loads the same people in every form; the stores hold the same.
func TestLoadForms(t *testing.T) {
	const table = "id,name,age,tags\n1,Zoë,30,a|b\n2,\"Łucja, M.\",,\n3,李,41,c\n"
	const objects = `{"id":"1","name":"Zoë","age":30,"tags":["a","b"]}` + "\n" + `{"id":"2","name":"Łucja, M.","tags":[]}` + "\n" + `{"id":"3","name":"李","age":41,"tags":["c"]}` + "\n"
	var zipped, squeezed bytes.Buffer
	zw := gzip.NewWriter(&zipped)
	sw, err := zstd.NewWriter(&squeezed)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.WriteCloser{zw, sw} {
		if _, err := io.WriteString(w, table); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	thirty, more := int64(30), int64(41)
	columns := parquetPeople(t, personRow{"1", "Zoë", &thirty, []string{"a", "b"}}, personRow{"2", "Łucja, M.", nil, nil}, personRow{"3", "李", &more, []string{"c"}})
	want := ""
	for name, content := range map[string]string{
		"people.parquet": columns, "any.name": columns,
		"people.csv": table, "people.ndjson": objects, "people.csv.gz": zipped.String(), "people.csv.zst": squeezed.String(),
		"-": table, "mark.csv": "\ufeff" + table, "crlf.csv": strings.ReplaceAll(table, "\n", "\r\n"),
		"semicolon.csv": "id;name;age;tags\n1;Zoë;30;a|b\n2;Łucja, M.;;\n3;李;41;c\n",
	} {
		c := newCLI(t)
		if c.stdin = content; name != "-" {
			name = c.file(name, content)
		}
		if r := c.load(name, "--key", "id"); r.Received != 3 || r.Created != 3 || r.Quarantined != 0 {
			t.Errorf("%s: %+v", name, r)
		}
		if n := c.count(`"b" in tags || age == 41 || name == "Łucja, M."`); n != 3 {
			t.Errorf("%s: %d of 3 people are found", name, n)
		}
		if got := c.digest(); want == "" {
			want = got
		} else if got != want {
			t.Errorf("%s: digest %s, that of the others is %s", name, got, want)
		}
		if r := c.load(name, "--key", "id"); name != "-" && (r.RepeatedRows != 3 || r.Accepted != 0) {
			t.Errorf("%s: loaded again: %+v", name, r)
		}
	}
}

func TestLoadOptions(t *testing.T) {
	c := newCLI(t)
	people := c.file("people.csv", "id,age,seen,tags\n1,30,2025-07-01 12:00,a;b\n2,40,2025-07-01 12:00,\n")
	c.load(people, "--key", "id", "--set-separator", ";", "--zone", "Europe/Helsinki")
	if n := c.count(`seen == timestamp("2025-07-01T09:00:00Z")`); n != 2 {
		t.Errorf("%d of 2 have the time of the zone", n)
	}
	update := c.file("update.csv", "id,age\n1,\n2,41\n")
	c.load(update, "--key", "id")
	if n := c.count("has(p.age)"); n != 2 {
		t.Errorf("an empty cell left %d of 2 ages", n)
	}
	// Another option is another source: it is applied.
	c.load(update, "--key", "id", "--empty", "unset")
	if n := c.count("has(p.age)"); n != 1 {
		t.Errorf("--empty unset left %d of 1 ages", n)
	}
	if r := c.load(update, "--key", "id", "--empty", "unset"); r.RepeatedRows != 2 || r.Accepted != 0 {
		t.Errorf("loaded again: %+v", r)
	}
	if r := c.load(update, "--key", "id", "--empty", "unset", "--again"); r.RepeatedRows != 0 || r.Accepted != 2 || r.Created != 0 {
		t.Errorf("with --again: %+v", r)
	}
	// A column of NDJSON that shows in a later row is inferred too.
	c.load(c.file("late.ndjson", "{\"id\":\"1\",\"age\":31}\n{\"id\":\"2\",\"city\":\"Oslo\"}\n"), "--key", "id")
	if n := c.count(`city == "Oslo"`); n != 1 {
		t.Errorf("%d of 1 in Oslo", n)
	}
	bad := c.file("bad.csv", "id,age\n1,old\n3,50\n")
	stdout, stderr, code := c.run("load", "profiles", bad, "--key", "id", "--strict")
	contains(t, stdout, "quarantined\t1", "not a value of the kind\t1")
	contains(t, stderr, "bad.csv, line 2: not a value of the kind", "age", "rows were quarantined or refused")
	if code != exitRows {
		t.Errorf("--strict ends with %d", code)
	}
}

func TestLoadDryRun(t *testing.T) {
	c := newCLI(t)
	people := c.file("people.csv", "id,age\n1,30\n2,40\n")
	if r := c.load(people, "--key", "id", "--dry-run"); r.Created != 2 {
		t.Errorf("%+v", r)
	}
	if _, err := os.Stat(c.path("db")); err == nil {
		t.Error("a dry run made a store")
	}
	c.load(people, "--key", "id")
	before := c.digest()
	more := c.file("more.csv", "id,age\n2,41\n3,x\n4,5\n")
	if r := c.load(more, "--key", "id", "--dry-run"); r.Accepted != 2 || r.Created != 1 || r.Quarantined != 1 {
		t.Errorf("%+v", r)
	}
	other := c.file("other.csv", "id,city\n2,Oslo\n")
	if r := c.load(other, "--key", "id", "--dry-run"); r.Accepted != 1 {
		t.Errorf("%+v", r)
	}
	if after := c.digest(); after != before {
		t.Errorf("a dry run changed the digest from %s to %s", before, after)
	}
}

// TestBadInput has a case for everything that an input can be but a file of people.
func TestBadInput(t *testing.T) {
	const good = "id,name,age\n1,Ada,36\n"
	columns := parquetPeople(t, personRow{ID: "1", Name: "Ada"}, personRow{ID: "2", Tags: []string{"a|b"}}, personRow{ID: "3", Name: strings.Repeat("x", schema.MaxStringBytes+1)}, personRow{})
	var zipped bytes.Buffer
	zw := gzip.NewWriter(&zipped)
	if _, err := io.WriteString(zw, columns); err != nil || zw.Close() != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, content, flag string
		exit                int
		stdout, stderr      []string
	}{
		{"Parquet", columns, "", exitOK, []string{"received\t4\n", "accepted\t1\n", "quarantined\t3\n"}, []string{`file.csv, row 2: not readable as a row: column "tags": an element has the set separator in it`, "file.csv, row 3: too long", "file.csv, row 4: no key"}},
		{"Parquet that is zipped", zipped.String(), "", exitUsage, nil, []string{"file.csv: a Parquet file, which is not read as a stream or unpacked while it is read: name the unpacked file itself"}},
		{"Parquet that is cut", columns[:len(columns)-9], "", exitUsage, nil, []string{"file.csv: the Parquet file does not end as one does: it is not complete"}},
		{"damaged Parquet", columns[:10] + strings.Repeat("\xff", 20) + columns[30:], "", exitUsage, nil, []string{"file.csv: ", "the Parquet file is damaged"}},
		{"ragged", good + "2,Bo\n3,Cleo,40,x\n", "", exitOK, []string{"accepted\t1\n", "quarantined\t2\n", "wrong number of cells\t2"}, []string{"file.csv, line 3: wrong number of cells: 2 cells, but 3 columns"}},
		{"Latin-1", "id,name\n1,Zo\xeb\n", "", exitUsage, nil, []string{"file.csv: not UTF-8 (line 2)", "--encoding windows-1252"}},
		{"Latin-1 that is named", "id,name\n1,Zo\xeb\n", "--encoding=iso-8859-1", exitOK, []string{"accepted\t1\n"}, nil},
		{"one line that is not UTF-8, later", good + strings.Repeat("2,Bo,3\n", 20000) + "3,Zo\xeb,4\n", "", exitOK, []string{"quarantined\t1\n", "not UTF-8 in normal form\t1"}, []string{"line 20003"}},
		{"huge cell", good + "2," + strings.Repeat("x", schema.MaxStringBytes+1) + ",3\n", "", exitOK, []string{"accepted\t1\n", "quarantined\t1\n", "too long\t1"}, []string{"line 3"}},
		{"unclosed quote", good + "2,\"Bo,3\n4,Dan,5\n", "", exitOK, []string{"accepted\t2\n", "quarantined\t1\n", "not readable as a row\t1"}, []string{"line 3"}},
		{"empty", "", "", exitUsage, nil, []string{"file.csv: "}},
		{"header only", "id,name,age\n", "", exitUsage, nil, []string{"file.csv: there are no rows behind the header"}},
		{"no key column", "ident,name\n1,Ada\n", "", exitUsage, nil, []string{`file.csv: there is no column "id" for the key`}},
		{"column twice", "id,name,name\n1,Ada,B\n", "", exitUsage, nil, []string{"file.csv: ", `"name"`}},
		{"no header", "1,Ada,36\n2,Bo,41\n", "", exitUsage, nil, []string{`file.csv: there is no column "id"`, "1, Ada, 36"}},
		{"empty key", good + ",Bo,3\n", "", exitOK, []string{"accepted\t1\n", "quarantined\t1\n", "no key\t1"}, []string{"line 3"}},
		{"key twice", good + "1,Ada,37\n1,Ada,38\n", "", exitOK, []string{"received\t3\n", "accepted\t3\n", "created\t1\n", "overwritten\t2\n"}, nil},
		{"zero bytes", "i\x00d\x00,\x00", "", exitUsage, nil, []string{"file.csv: ", "zero bytes"}},
		{"a JSON array", `[{"id":"1"}]`, "", exitUsage, nil, []string{"file.csv: ", "one object per line"}},
		{"cut gzip", "\x1f\x8b\x08\x00", "", exitUsage, nil, []string{"file.csv: "}},
		{"unknown encoding", good, "--encoding=ebcdic", exitUsage, nil, []string{`there is no encoding "ebcdic"`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := newCLI(t)
			args := []string{"load", "profiles", c.file("file.csv", test.content), "--key", "id"}
			if test.flag != "" {
				args = append(args, test.flag)
			}
			stdout, stderr, code := c.run(args...)
			if code != test.exit {
				t.Errorf("exit %d, want %d\n%s%s", code, test.exit, stdout, stderr)
			}
			contains(t, stdout, test.stdout...)
			contains(t, stderr, test.stderr...)
		})
	}
}

// TestBadValues loads values that parse but do not fit what the schema says.
func TestBadValues(t *testing.T) {
	c := newCLI(t)
	sch := c.file("schema.toml", `
[[attribute]]
name = "age"
kind = "int"
min = 0
max = 120

[[attribute]]
name = "born"
kind = "date"

[[attribute]]
name = "plan"
kind = "string"
allowed = ["free", "paid"]
`)
	bad := c.file("bad.toml", "[[attribute]\n")
	if _, stderr, code := c.run("load", "profiles", sch, "--key", "id", "--schema", bad); code != exitUsage || !strings.Contains(stderr, "bad.toml: line 1") {
		t.Errorf("a schema that is none: exit %d, %s", code, stderr)
	}
	if _, err := os.Stat(c.path("db")); !os.IsNotExist(err) {
		t.Errorf("a store was made for nothing: %v", err)
	}
	people := c.file("people.csv", "id,age,born,plan,extra\n1,36,1990-02-28,free,x\n2,-1,,,\n3,9223372036854775808,,,\n4,,1990-02-30,,\n5,,,gold,\n6,1e3,,,\n")
	stdout, stderr, code := c.run("load", "profiles", people, "--key", "id", "--schema", sch)
	if code != exitOK {
		t.Fatalf("exit %d\n%s", code, stderr)
	}
	contains(t, stdout, "accepted\t1\n", "quarantined\t5\n")
	contains(t, stderr, "left out: extra", "people.csv, line 3: out of range: age: -1", "line 4: out of range: age", "line 5: not a value of the kind: born", "quarantine list")
	contains(t, c.must("quarantine", "list"), "\tpeople.csv\t6\tnot an allowed value\t", "\tpeople.csv\t7\tnot a value of the kind\t", "6,1e3,,,")
}

// TestLoadRandom loads random people, some of them twice, in random pieces, and compares with a map.
func TestLoadRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 9))
	c := newCLI(t)
	ages := map[string]int{}
	for piece := range 4 {
		var b strings.Builder
		b.WriteString("id,age\n")
		created, overwritten, here := 0, 0, map[string]bool{}
		rows := 1 + rng.IntN(3000)
		for range rows {
			key, age := fmt.Sprintf("k%d", rng.IntN(3000)), rng.IntN(100)
			if _, ok := ages[key]; !ok {
				created++
			}
			if here[key] {
				overwritten++
			}
			here[key], ages[key] = true, age
			fmt.Fprintf(&b, "%s,%d\n", key, age)
		}
		r := c.load(c.file(fmt.Sprintf("piece%d.csv", piece), b.String()), "--key", "id")
		if r.Received != uint64(rows) || r.Accepted != uint64(rows) || r.Created != uint64(created) || r.Overwritten != uint64(overwritten) {
			t.Errorf("seed %d, piece %d: %d rows, %d new, %d overwritten; %+v", seed, piece, rows, created, overwritten, r)
		}
	}
	want := 0
	for _, age := range ages {
		if age < 50 {
			want++
		}
	}
	if n := c.count("age < 50"); n != uint64(want) {
		t.Errorf("seed %d: %d people, want %d", seed, n, want)
	}
	for key, age := range ages {
		if !strings.Contains(c.must("profile", key), fmt.Sprintf("age\t%d\n", age)) {
			t.Errorf("seed %d: %s is not %d", seed, key, age)
		}
		break
	}
}

func (c *cli) loadEvents(args ...string) (r loadResult) {
	c.t.Helper()
	out := c.must(append([]string{"load", "events", "--json", "--profile", "who", "--time", "at", "--event-name", "act"}, args...)...)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		c.t.Fatalf("%v in %s", err, out)
	}
	return r
}

// TestLoadFiles loads several files of events at a time, of which later ones bring more to the
// schema: nothing is counted twice when they are loaded again, together or alone.
func TestLoadFiles(t *testing.T) {
	c := newCLI(t)
	var files []string
	const rows = 3000
	for i := range 7 {
		var text strings.Builder
		if i%2 == 0 {
			fmt.Fprintf(&text, "who,at,p%d,both\n", i)
		}
		for j := range rows {
			if i%2 == 0 {
				fmt.Fprintf(&text, "u%d,2025-01-%02d,%d,%d\n", j%100, 1+j%28, i, j)
			} else {
				fmt.Fprintf(&text, "{\"who\":\"u%d\",\"at\":\"2025-01-%02d\",\"p%d\":%d}\n", j%100, 1+j%28, i, i)
			}
		}
		files = append(files, c.file(fmt.Sprintf("acts%d", i), text.String()))
	}
	total := func(r loadResult) (accepted, repeated uint64) {
		for i := range r.Files {
			accepted, repeated = accepted+r.Files[i].Accepted, repeated+r.Files[i].RepeatedRows
		}
		return accepted, repeated
	}
	r := c.loadEvents(files...)
	if accepted, repeated := total(r); accepted != 7*rows || repeated != 0 || len(r.Files) != 7 {
		t.Fatalf("%d accepted, %d repeated of %d files", accepted, repeated, len(r.Files))
	}
	for i := range r.Files {
		if !strings.HasSuffix(r.Files[i].File, fmt.Sprintf("acts%d", i)) || r.Files[i].Received != rows {
			t.Errorf("file %d: %+v", i, r.Files[i])
		}
	}
	if n := c.count("act.count() == 210 && act.sum(e, e.p6) == 180"); n != 100 {
		t.Errorf("%d of 100 people have all of their acts", n)
	}
	if accepted, repeated := total(c.loadEvents(files...)); accepted != 0 || repeated != 7*rows {
		t.Errorf("again: %d accepted, %d repeated", accepted, repeated)
	}
	// What another load adds to the schema does not matter to a file whose columns are known.
	c.loadEvents(c.file("more.csv", "who,at,other\nu1,2025-01-01,1\n"))
	if accepted, repeated := total(c.loadEvents(files[0], files[2])); accepted != 0 || repeated != 2*rows {
		t.Errorf("after another file: %d accepted, %d repeated", accepted, repeated)
	}
	// A file that is wrong is told before another one is loaded.
	before := c.digest()
	bad := c.file("bad.csv", "who,when\nu1,2025-01-01\n")
	if _, stderr, code := c.run("load", "events", "--profile", "who", "--time", "at", "--event-name", "act", c.file("good.csv", "who,at\nu1,2025-01-01\n"), bad); code != exitUsage || !strings.Contains(stderr, `bad.csv: there is no column "at"`) {
		t.Errorf("a wrong file: exit %d, %s", code, stderr)
	}
	if c.digest() != before {
		t.Error("a load of which one file is wrong has loaded another one")
	}
}

// TestKilledLoad kills a load with signal 9 in the middle and resumes it.
func TestKilledLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it makes and loads 200,000 people, and runs in make test")
	}
	const profiles = 200_000
	c := newCLI(t)
	var table bytes.Buffer
	expected, err := bench.New(bench.Options{Profiles: profiles, Seed: 3, WithAbsent: true}).WriteCSV(context.Background(), &table)
	if err != nil {
		t.Fatal(err)
	}
	people := c.file("people.csv", table.String())
	args := []string{"--db", c.path("db"), "load", "profiles", people, "--key", "key"}
	shown := killAfter(t, "rows/s", args)
	r := c.load(people, "--key", "key")
	t.Logf("killed after %q; then repeated %d rows, applied %d", shown, r.RepeatedRows, r.Accepted)
	if r.RepeatedRows == 0 || r.RepeatedRows == profiles {
		t.Errorf("%d of %d rows had been applied: the load was not killed in the middle", r.RepeatedRows, profiles)
	}
	if r.Received != profiles || r.RepeatedRows+r.Accepted != profiles || r.RepeatedRows+r.Created != profiles {
		t.Errorf("%+v", r)
	}
	if n := c.count("true"); n != profiles {
		t.Errorf("%d people, want %d", n, profiles)
	}
	for _, q := range bench.Questions()[:5] {
		if known, _ := expected.Answer(q.Name); c.count(q.Text) != known.True {
			t.Errorf("%s: %d, want %d", q.Name, c.count(q.Text), known.True)
		}
	}
	c.must("check")
	resumed := c.digest()
	c.must("--db", c.path("whole"), "load", "profiles", people, "--key", "key")
	c.env["KANTA_DB"] = c.path("whole")
	if whole := c.digest(); whole != resumed {
		t.Errorf("digest %s after the kill, %s without one", resumed, whole)
	}
}

// killAfter runs kanta in another process, kills it when its standard error has a text, and returns that.
func killAfter(t *testing.T, text string, args []string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), childVariable+"=1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var seen strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(seen.String(), text) {
		n, err := stderr.Read(buf)
		seen.Write(buf[:n])
		if err != nil {
			t.Fatalf("it ended before it could be killed: %s", seen.String())
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("it ended before it could be killed")
	}
	lines := strings.Split(strings.TrimSpace(seen.String()), "\r")
	return lines[len(lines)-1]
}

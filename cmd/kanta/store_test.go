package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/query"
)

// people loads a few people.
func (c *cli) people() {
	c.t.Helper()
	c.load(c.file("people.csv", "id,country,age\n1,IT,36\n2,FI,41\n3,FI,\n"), "--key", "id")
}

func TestNotAStore(t *testing.T) {
	c := newCLI(t)
	c.file("notes.txt", "hello")
	for _, args := range [][]string{{"count", "true"}, {"load", "profiles", c.path("notes.txt"), "--key", "id"}, {"stats"}, {"check"}} {
		_, stderr, code := c.run(append([]string{"--db", c.dir}, args...)...)
		if code != exitStore {
			t.Errorf("%v: exit %d\n%s", args, code, stderr)
		}
	}
	if entries, err := os.ReadDir(c.dir); err != nil || len(entries) != 1 {
		t.Errorf("something was written into a directory that is no store: %v %v", entries, err)
	}
}

func TestStoreOfAnotherVersion(t *testing.T) {
	c := newCLI(t)
	c.people()
	name := filepath.Join(c.path("db"), "KANTA")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		from, to, word string
		exit           int
	}{
		{"format 1\n", "format 2\n", "newer_format", exitStore},
		{"format 1\n", "format one\n", "corrupt", exitCorrupt},
		{"kanta store\n", "another store\n", "corrupt", exitCorrupt},
		{"kanta store\n", "another program's\n", "not_a_store", exitStore},
	} {
		if test.word == "not_a_store" { // but for its name nothing is ours
			if err := os.Remove(filepath.Join(c.path("db"), "MARK")); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(name, []byte(strings.Replace(string(text), test.from, test.to, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		_, stderr, code := c.run("count", "true", "--json")
		if code != test.exit || !strings.Contains(stderr, `"code":"`+test.word+`"`) {
			t.Errorf("%q: exit %d\n%s", test.to, code, stderr)
		}
	}
}

func TestStoreInUse(t *testing.T) {
	c := newCLI(t)
	c.people()
	db, err := engine.Open(c.path("db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, stderr, code := c.run("count", "true", "--json")
	var e struct{ Error errorJSON }
	if err := json.Unmarshal([]byte(stderr), &e); err != nil || e.Error.Code != "in_use" || code != exitStore {
		t.Errorf("exit %d, %v\n%s", code, err, stderr)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if n := c.count("true"); n != 3 {
		t.Errorf("%d people afterwards", n)
	}
}

func TestReadOnly(t *testing.T) {
	c := newCLI(t)
	c.people()
	before := c.digest()
	if out := c.must("count", "true", "--read-only"); !strings.HasPrefix(out, "count\t3\n") {
		t.Error(out)
	}
	for _, args := range [][]string{{"segment", "save", "a", "true"}, {"list", "put", "a", "1"}} {
		_, stderr, code := c.run(append(args, "--read-only")...)
		if code != exitUsage {
			t.Errorf("%v: exit %d", args, code)
		}
		contains(t, stderr, "the store was opened for reading")
	}
	if after := c.digest(); after != before {
		t.Errorf("digest %s became %s", before, after)
	}
}

// TestCorrupt turns over one byte of stored data.
func TestCorrupt(t *testing.T) {
	c := newCLI(t)
	var table strings.Builder
	table.WriteString("id,country,age\n")
	for i := range 5000 {
		fmt.Fprintf(&table, "k%d,C%d,%d\n", i, i%50, i%90)
	}
	c.load(c.file("people.csv", table.String()), "--key", "id")
	db, err := engine.Open(c.path("db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Compact(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	c.must("check")
	var largest string
	var size int64
	err = filepath.WalkDir(c.path("db"), func(path string, d os.DirEntry, err error) error {
		if info, e := os.Stat(path); err == nil && e == nil && strings.HasSuffix(path, ".sst") && info.Size() > size {
			largest, size = path, info.Size()
		}
		return err
	})
	if err != nil || largest == "" {
		t.Fatalf("no table of the store is found: %v", err)
	}
	data, err := os.ReadFile(largest)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/3] ^= 0x40
	if err := os.WriteFile(largest, data, 0o644); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := c.run("check")
	if code != exitCorrupt {
		t.Errorf("a corrupt byte in %s: exit %d\n%s%s", filepath.Base(largest), code, stdout, stderr)
	}
}

// fullDisk lets a number of writes to the store through and refuses the rest, and
// whatever would make files larger, as a disk without space does.
type fullDisk struct{ left atomic.Int64 }

func (d *fullDisk) String() string { return "a full disk" }

func (d *fullDisk) MaybeError(op errorfs.Op) error {
	switch op.Kind {
	case errorfs.OpFileWrite, errorfs.OpFileWriteAt:
		if d.left.Add(-1) < 0 {
			return syscall.ENOSPC
		}
	}
	return nil
}

// TestFullDisk fills the disk during a load. It ends with a message; what was accepted is
// there when there is space again, and the load goes on.
func TestFullDisk(t *testing.T) {
	c := newCLI(t)
	var table strings.Builder
	table.WriteString("id,country,age\n")
	const people = 150_000
	for i := range people {
		fmt.Fprintf(&table, "k%d,C%d,%d\n", i, i%50, i%90)
	}
	file := c.file("people.csv", table.String())
	c.load(c.file("first.csv", "id,country,age\nk0,C0,0\n"), "--key", "id")
	accepted := uint64(0)
	// How many writes a load makes before its first batch is durable is a matter of timing.
	for writes := int64(0); accepted == 0 && writes < 60; writes += 4 {
		cmd := exec.Command(os.Args[0], "--db", c.path("db"), "load", "profiles", file, "--key", "id", "--json")
		cmd.Env = append(os.Environ(), childVariable+"=1", fmt.Sprintf("%s=%d", writesVariable, writes))
		var stderr strings.Builder
		cmd.Stderr = &stderr
		stdout, err := cmd.Output()
		if code := cmd.ProcessState.ExitCode(); code != exitInternal || !strings.Contains(stderr.String(), "no space left on device") {
			t.Errorf("after %d writes: exit %d, %v\n%s%s", writes, code, err, stdout, stderr.String())
		}
		var r loadResult
		if json.Unmarshal(stdout, &r) == nil && len(r.Files) == 1 {
			accepted += r.Files[0].Accepted
		}
		if n := c.count("true"); n < accepted {
			t.Errorf("after %d writes: %d people of %d that were accepted", writes, n, accepted)
		}
	}
	r := c.load(file, "--key", "id")
	t.Logf("%d accepted on the full disks, %d repeated afterwards", accepted, r.RepeatedRows)
	if n := c.count("true"); n != people || r.RepeatedRows < accepted || accepted == 0 {
		t.Errorf("%d people, want %d; %+v", n, people, r)
	}
	c.must("check")
}

func TestInterrupted(t *testing.T) {
	c := newCLI(t)
	c.people()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, stderr, code := c.runContext(ctx, "count", "true")
	if code != exitInterrupted || !strings.Contains(stderr, "interrupted") {
		t.Errorf("exit %d\n%s", code, stderr)
	}
}

// TestInterrupt sends a real interrupt to a load that waits for its input.
func TestInterrupt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no signals to send")
	}
	c := newCLI(t)
	c.people()
	cmd := exec.Command(os.Args[0], "--db", c.path("db"), "demo", "--profiles", "3000000")
	cmd.Env = append(os.Environ(), childVariable+"=1", "TMPDIR="+c.dir)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	for buf := make([]byte, 4096); err == nil; {
		_, err = stdout.Read(buf)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != exitInterrupted {
		t.Errorf("%v, want exit code %d", err, exitInterrupted)
	}
	left, err := filepath.Glob(c.path("kanta-demo-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("the interrupted demonstration left %v %v", left, err)
	}
}

// TestManyKeys puts more keys into a list than one batch holds.
func TestManyKeys(t *testing.T) {
	c := newCLI(t)
	var table, keys strings.Builder
	table.WriteString("id,age\n")
	const people = 60_000
	for i := range people {
		fmt.Fprintf(&table, "customer-%08d,%d\n", i, i%90)
		if i%2 == 0 {
			fmt.Fprintf(&keys, "customer-%08d\r\n", i)
		}
	}
	keys.WriteString("nobody\n")
	c.load(c.file("people.csv", table.String()), "--key", "id")
	c.must("list", "put", "half", "customer-00000001")
	if keys.Len() < listPart {
		t.Fatalf("%d bytes of keys fit into one batch", keys.Len())
	}
	var r listChanged
	if err := json.Unmarshal([]byte(c.must("list", "put", "half", "--file", c.file("keys.txt", keys.String()), "--json")), &r); err != nil {
		t.Fatal(err)
	}
	if r.Received != people/2+1 || r.Accepted != people/2 || r.Unknown != 1 || len(r.Examples) != 1 || r.Examples[0] != "nobody" {
		t.Errorf("%+v", r)
	}
	if n := c.count(`in_list("half")`); n != people/2 {
		t.Errorf("%d in the list, want %d", n, people/2)
	}
	_, stderr, code := c.run("list", "add", "half", "--file", c.file("long.txt", strings.Repeat("x", 100_000)))
	contains(t, stderr, "long.txt: line 1", "one per line")
	if code != exitUsage {
		t.Errorf("exit %d", code)
	}
}

// TestExport writes members to a file, and leaves none behind when it fails.
func TestExport(t *testing.T) {
	c := newCLI(t)
	c.people()
	c.must("members", "has(p.age)", "--columns", "country", "--format", "csv", "-o", c.path("out.csv"))
	text, err := os.ReadFile(c.path("out.csv"))
	if want := "key,country\n1,IT\n2,FI\n"; err != nil || string(text) != want {
		t.Errorf("%v %q, want %q", err, text, want)
	}
	if _, _, code := c.run("members", "true", "-o", c.path("no/such/folder.csv")); code != exitUsage {
		t.Errorf("exit %d for a folder that is not there", code)
	}
	entries, err := filepath.Glob(c.path(".*"))
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v %v", entries, err)
	}
}

// TestCodes makes sure that every code of the engine has a word and an exit code.
func TestCodes(t *testing.T) {
	if len(codes) != int(query.CodeNotLeader)+1 {
		t.Errorf("the table has %d codes", len(codes))
	}
	for code := query.CodeInternal; int(code) < len(codes); code++ {
		word, exit := classify(fmt.Errorf("doing something: %w", query.Errorf(code, "it failed")))
		if word == "" || exit == exitOK || !strings.Contains(exitTable, fmt.Sprintf("\n  %-4d", exit)) {
			t.Errorf("code %d: %q, exit %d", code, word, exit)
		}
	}
}

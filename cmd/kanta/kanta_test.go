package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// childVariable makes the test binary be kanta, for tests that kill it; with a number in
// writesVariable its disk is full after so many writes.
const (
	childVariable  = "KANTA_TEST_BE_KANTA"
	writesVariable = "KANTA_TEST_WRITES"
)

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		// As on a terminal, progress is shown every 200 ms: the test waits for it.
		a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Getenv, errTerminal: true}
		if writes, err := strconv.ParseInt(os.Getenv(writesVariable), 10, 64); err == nil {
			disk := &fullDisk{}
			disk.left.Store(writes)
			a.files = errorfs.Wrap(vfs.Default, disk)
		}
		os.Exit(run(interruptible(), os.Args[1:], a))
	}
	// Whatever the tests start of this program is kanta, and never these tests again.
	if err := os.Setenv(childVariable, "1"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// cli runs command lines in a temporary directory that holds a store "db".
type cli struct {
	t        *testing.T
	dir      string
	stdin    string
	terminal bool
	env      map[string]string
}

func newCLI(t *testing.T) *cli { return &cli{t: t, dir: t.TempDir(), env: map[string]string{}} }

func (c *cli) path(name string) string { return filepath.Join(c.dir, name) }

func (c *cli) file(name, content string) string {
	c.t.Helper()
	if err := os.WriteFile(c.path(name), []byte(content), 0o644); err != nil {
		c.t.Fatal(err)
	}
	return c.path(name)
}

// run runs a command line against the store.
func (c *cli) run(args ...string) (stdout, stderr string, code int) {
	return c.runContext(context.Background(), args...)
}

func (c *cli) runContext(ctx context.Context, args ...string) (stdout, stderr string, code int) {
	var out, err bytes.Buffer
	env := func(name string) string {
		if v, ok := c.env[name]; ok {
			return v
		}
		if name == "KANTA_DB" {
			return c.path("db")
		}
		return ""
	}
	code = run(ctx, args, &app{in: strings.NewReader(c.stdin), out: &out, err: &err, env: env, outTerminal: c.terminal, clock: testClock})
	// What is shown must not depend on where the test runs.
	short := strings.NewReplacer(c.dir+string(filepath.Separator), "")
	return short.Replace(out.String()), short.Replace(err.String()), code
}

// must runs a command line that has to succeed and returns its output.
func (c *cli) must(args ...string) string {
	c.t.Helper()
	stdout, stderr, code := c.run(args...)
	if code != exitOK {
		c.t.Fatalf("kanta %s: exit %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// testClock is the time of all tests.
func testClock() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// contains fails unless all parts are in the text, in this order.
func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, part := range parts {
		i := strings.Index(rest, part)
		if i < 0 {
			t.Fatalf("%q is missing, or not in this order, in\n%s", part, text)
		}
		rest = rest[i+len(part):]
	}
}

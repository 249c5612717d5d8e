package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serving runs kanta serve over the store of c until the test ends, and makes it what command
// lines are about. stop ends it and returns its exit code.
func serving(c *cli, args ...string) (address string, stop func() int) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		code := run(ctx, append([]string{"serve", "--listen", "127.0.0.1:0", "--db", c.path("db")}, args...),
			&app{out: io.Discard, err: w, env: func(string) string { return "" }, clock: testClock})
		_ = w.Close() // a pipe in memory
		ended <- code
	}()
	lines := bufio.NewReader(r)
	first, err := lines.ReadString('\n')
	if err != nil {
		c.t.Fatalf("kanta serve ended with %d, saying %q", <-ended, first)
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }()
	_, address, _ = strings.Cut(strings.TrimSpace(first), " at ")
	c.env["KANTA_DB"] = address
	stopped, code := false, 0
	stop = func() int {
		if !stopped {
			cancel()
			stopped, code = true, <-ended
		}
		return code
	}
	c.t.Cleanup(func() { stop() })
	return address, stop
}

// notServed are the sessions that are about the directory of a store, or about targets that are
// opened here.
//
//tidy:constant
var notServed = map[string]string{"keys": "callers, who need one of them then", "backup": "targets", "backuplog": "targets", "repair": "files", "errors": "directories", "cluster": "directories"}

// TestSessionsServed replays the sessions against a server: the same output, word for word.
func TestSessionsServed(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatalf("no sessions: %v", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			if why := notServed[strings.TrimSuffix(filepath.Base(name), ".txt")]; why != "" {
				t.Skipf("it is about %s", why)
			}
			t.Parallel()
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.ReplaceAll(string(text), "\r\n", "\n")
			c := newCLI(t)
			serving(c)
			compareLines(t, name, replay(c, want), want)
		})
	}
}

// TestServe asks a server with the command and as curl does, and stops it.
func TestServe(t *testing.T) {
	c := newCLI(t)
	c.people()
	address, stop := serving(c)
	if got := c.must("count", `country == "FI"`); !strings.HasPrefix(got, "count\t2\n") {
		t.Errorf("counted: %s", got)
	}
	if _, stderr, code := c.run("count", "true", "--db", c.path("db")); code != exitStore {
		t.Errorf("the directory of a server: exit %d, %s", code, stderr)
	}
	host := strings.TrimPrefix(address, serverScheme)
	for _, test := range []struct{ call, body, want string }{
		{"Count", `{"expression":"country == \"FI\""}`, `"count":"2"`},
		{"Count", `{"expression":"country == \"XX\""}`, `"count":"0"`},
		{"Profile", `{"key":"1"}`, `"value":{"int":"36"}`},
		{"Count", `{"expression":"cuntry == \"FI\""}`, `"code":"not_found"`},
	} {
		if got := post(t, host, test.call, test.body); !strings.Contains(got, test.want) {
			t.Errorf("%s %s: %s lacks %s", test.call, test.body, got, test.want)
		}
	}
	for _, args := range [][]string{
		{"count", "true", "--read-only"}, {"count", "true", "--memory", "1GB"}, {"check", "--repair", "--accept-loss"}, {"serve"},
		{"serve", "--db", c.path("db2"), "--listen", "0.0.0.0:7700"}, {"serve", "--db", c.path("db2"), "--listen", ":7700"}, {"serve", "--db", c.path("db2"), "--listen", "example.com:7700"},
		{"count", "true", "--db", "kanta://"}, {"count", "true", "--db", "kanta://me:secret@127.0.0.1:1"},
	} {
		_, stderr, code := c.run(args...)
		if code != exitUsage || strings.Contains(stderr, "secret") {
			t.Errorf("%v: exit %d, %s", args, code, stderr)
		}
	}
	if _, stderr, code := c.run("backup", "create", "--target", c.path("backups")); code != exitUsage || !strings.Contains(stderr, "whoever runs it names the targets") {
		t.Errorf("a backup that is not allowed: exit %d, %s", code, stderr)
	}
	if code := stop(); code != exitOK {
		t.Errorf("the server ended with %d", code)
	}
	if _, stderr, code := c.run("count", "true"); code != exitStore {
		t.Errorf("a server that is gone: exit %d, %s", code, stderr)
	}
	delete(c.env, "KANTA_DB")
	if got := c.must("count", "true"); !strings.HasPrefix(got, "count\t3\n") {
		t.Errorf("counted after the server: %s", got)
	}
}

// TestServeQuestionMemory: what one question may take is the operator's setting, and of a store
// that is opened for one command there is no such bound.
func TestServeQuestionMemory(t *testing.T) {
	c := newCLI(t)
	c.people()
	serving(c, "--question-memory", "10KiB")
	_, stderr, code := c.run("count", `country == "FI"`)
	if code != exitInternal || !strings.Contains(stderr, "and one question may take 10 KiB of the memory budget") {
		t.Errorf("a question that may take 10 KiB: exit %d, %s", code, stderr)
	}
	one := newCLI(t)
	one.people()
	opened := &app{out: io.Discard, err: io.Discard, env: func(string) string { return "" }}
	if o, err := opened.options(one.path("db"), false); err != nil || o.QuestionMemory != math.MaxInt64 {
		t.Errorf("a store for one command: %v, %+v", err, o)
	}
	opened.served = &serveFlags{}
	if o, err := opened.options(one.path("db"), false); err != nil || o.QuestionMemory != 0 {
		t.Errorf("a store that is served: %v, %+v", err, o)
	}
}

// TestServedFiles writes members to files through a server: the bytes are those that the store
// itself gives.
func TestServedFiles(t *testing.T) {
	c := newCLI(t)
	c.people()
	write := func(name string) {
		for _, format := range []string{"csv", "ndjson", "parquet"} {
			c.must("members", "true", "--columns", "country,age", "--format", format, "-o", c.path(name+format))
		}
	}
	write("here.")
	serving(c)
	write("there.")
	for _, format := range []string{"csv", "ndjson", "parquet"} {
		here, err := os.ReadFile(c.path("here." + format))
		if err != nil {
			t.Fatal(err)
		}
		there, err := os.ReadFile(c.path("there." + format))
		if err != nil || !bytes.Equal(here, there) || len(here) == 0 {
			t.Errorf("%s: %d bytes here, %d there (%v)", format, len(here), len(there), err)
		}
	}
	if _, stderr, code := c.run("members", "true", "--format", "parquet"); code != exitUsage || !strings.Contains(stderr, "-o") {
		t.Errorf("Parquet without a file: exit %d, %s", code, stderr)
	}
}

// TestServedKeys makes keys at a server, which asks for them from then on.
func TestServedKeys(t *testing.T) {
	c := newCLI(t)
	c.people()
	serving(c)
	contains(t, c.must("__complete", "key", "create", "--role", "a"), "admin\nanalyst\n")
	keyOf := func(text string) string {
		line, _, _ := strings.Cut(text, "\n")
		return strings.TrimPrefix(line, "key\t")
	}
	boss := keyOf(c.must("key", "create", "--role", "admin"))
	if _, stderr, code := c.run("count", "true", "--json"); code != exitStore || !strings.Contains(stderr, `"code":"unauthenticated"`) || !strings.Contains(stderr, "KANTA_KEY") {
		t.Errorf("without a key: exit %d, %s", code, stderr)
	}
	c.env["KANTA_KEY"] = boss
	c.must("role", "save", "finns", c.file("finns.toml", "rights = [\"numbers\"]\nrows = 'country == \"FI\"'\n"))
	contains(t, c.must("__complete", "role", "show", "f"), "finns\n")
	finns := keyOf(c.must("key", "create", "--role", "finns", "--name", "the finns"))
	contains(t, c.must("key", "list"), "\tadmin\tadmin\tvalid\t", "\tthe finns\tfinns\tvalid\t")
	c.env["KANTA_KEY"] = finns
	contains(t, c.must("whoami"), "name\tthe finns\nkey\t", "role\tfinns\nright\tnumbers\n")
	if got := c.must("count", "true"); !strings.HasPrefix(got, "count\t2\n") {
		t.Errorf("counted: %s", got)
	}
	if _, stderr, code := c.run("key", "list"); code != exitQuestion || !strings.Contains(stderr, "the right access") {
		t.Errorf("the keys: exit %d, %s", code, stderr)
	}
	c.env["KANTA_KEY"] = boss
	contains(t, c.must("key", "revoke", "the finns"), "revoked\t")
	c.env["KANTA_KEY"] = finns
	if _, stderr, code := c.run("count", "true"); code != exitStore || strings.Contains(stderr, finns) {
		t.Errorf("with a key that is revoked: exit %d, %s", code, stderr)
	}
}

// TestServedBackups has a server write where it may.
func TestServedBackups(t *testing.T) {
	c := newCLI(t)
	c.people()
	serving(c, "--backups", c.path("backups"))
	c.must("backup", "create", "--target", c.path("backups"))
	contains(t, c.must("erase", "people", "2", "--target", c.path("backups")), "people erased\t1")
	if _, stderr, code := c.run("backup", "create", "--target", c.path("elsewhere")); code != exitUsage || !strings.Contains(stderr, "may not be written to") {
		t.Errorf("a backup elsewhere: exit %d, %s", code, stderr)
	}
	c.must("restore", "--target", c.path("backups"), c.path("restored"))
	if got := c.must("count", "true", "--db", c.path("restored")); !strings.HasPrefix(got, "count\t2\n") {
		t.Errorf("of three people, one erased since, %s are restored", got)
	}
}

func post(t *testing.T, host, call, body string) string {
	t.Helper()
	client := http.Client{Timeout: time.Minute, Transport: &http.Transport{DialContext: (&net.Dialer{}).DialContext, DisableKeepAlives: true}}
	res, err := client.Post("http://"+host+"/kanta.v1.KantaService/"+call, "application/json", bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), `": `, `":`)
}

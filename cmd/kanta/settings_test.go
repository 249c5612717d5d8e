package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestSettings says each setting in the file, in the environment and as a flag: the latter holds
// over the former.
func TestSettings(t *testing.T) {
	c := newCLI(t)
	file := c.file("kanta.toml", "# ours\nlisten = \"127.0.0.1:1\"\nslow = \"2s\"\nbackups = [\"a\", \"b,c\"]\ndb = \"from-file\"\nmemory = \"1GB\"\n")
	get := func(args ...string) map[string][2]string {
		t.Helper()
		var out struct {
			Settings []struct {
				Setting, From string
				Value         any
			}
		}
		if err := json.Unmarshal([]byte(c.must(append([]string{"serve", "--print-config", "--json"}, args...)...)), &out); err != nil {
			t.Fatal(err)
		}
		got := map[string][2]string{}
		for _, s := range out.Settings {
			value, isText := s.Value.(string)
			if !isText {
				raw, _ := json.Marshal(s.Value)
				value = string(raw)
			}
			got[s.Setting] = [2]string{value, s.From}
		}
		return got
	}
	want := func(got map[string][2]string, key, value, from string) {
		t.Helper()
		if got[key] != [2]string{value, from} {
			t.Errorf("%s is %v, want %s of the %s", key, got[key], value, from)
		}
	}
	c.env["KANTA_DB"] = ""
	got := get()
	want(got, "listen", defaultListen, fromDefault)
	want(got, "db", defaultDir, fromDefault)
	want(got, "slow", "1s", fromDefault)
	got = get("--config", file)
	want(got, "listen", "127.0.0.1:1", fromFile)
	want(got, "backups", `["a","b,c"]`, fromFile)
	want(got, "db", "from-file", fromFile)
	want(got, "memory", "1GB", fromFile)
	want(got, "question_memory", "", fromDefault)
	want(get("--question-memory", "64MiB"), "question_memory", "64MiB", fromFlag)
	want(got, "log", "text", fromDefault)
	c.env["KANTA_CONFIG"], c.env["KANTA_LISTEN"], c.env["KANTA_BACKUPS"], c.env["KANTA_DB"] = file, "127.0.0.1:2", "x,y", "from-env"
	got = get()
	want(got, "listen", "127.0.0.1:2", fromEnvironment)
	want(got, "slow", "2s", fromFile)
	want(got, "backups", `["x","y"]`, fromEnvironment)
	want(got, "db", "from-env", fromEnvironment)
	got = get("--listen", "127.0.0.1:3", "--backups", "z", "--db", "from-flag")
	want(got, "listen", "127.0.0.1:3", fromFlag)
	want(got, "backups", `["z"]`, fromFlag)
	want(got, "db", "from-flag", fromFlag)

	// What it prints is such a file.
	again := c.file("again.toml", c.must("serve", "--print-config"))
	for _, key := range []string{"KANTA_CONFIG", "KANTA_LISTEN", "KANTA_BACKUPS", "KANTA_DB"} {
		c.env[key] = ""
	}
	want(get("--config", again), "listen", "127.0.0.1:2", fromFile)
	want(get("--config", again), "backups", `["x","y"]`, fromFile)
}

// TestSettingsWrong reads files that are wrong: the error names the line.
func TestSettingsWrong(t *testing.T) {
	c := newCLI(t)
	for _, test := range []struct{ text, want string }{
		{"\nlisten = \"127.0.0.1:1\"\nliten = \"x\"\n", `:3: there is no setting "liten"; there are db, memory, question_memory, listen`},
		{"listen = 7\n", `:1: listen is to be a text in quotes`},
		{"\n\nbackups = \"a\"\n", `:3: backups is to be a list of texts`},
		{"backups = [1]\n", `:1: backups is to be a list of texts`},
		{"[server]\nlisten = \"x\"\n", `:1: there is no setting "server"`},
		{"listen = \n", `:1: `}, {"listen = \"a\"\nlisten = \"b\"\n", `:2: `},
		{"slow = \"soon\"\n", `file: slow: soon: that is no duration`},
		{"question_memory = \"much\"\n", `file: question-memory: much: that is no size`},
		{"question_memory = \"0\"\n", `that is no size`},
		{"log = \"loud\"\n", `it is text, json or off`},
		{"admin = \"0.0.0.0:1\"\n", `only an address of loopback`},
		{"password = \"hunter2\"\n", `there is no setting "password"`},
		{strings.Repeat("#", maxSettings+1), "larger than 1 MiB"},
	} {
		_, stderr, code := c.run("serve", "--print-config", "--config", c.file("wrong.toml", test.text))
		if code != exitUsage || !strings.Contains(stderr, test.want) || strings.Contains(stderr, "hunter2") {
			t.Errorf("%.60q: exit %d, %s", test.text, code, stderr)
		}
	}
	if _, stderr, code := c.run("serve", "--print-config", "--config", c.path("nowhere.toml")); code != exitUsage {
		t.Errorf("no file: exit %d, %s", code, stderr)
	}
	c.file("most.toml", strings.Repeat("#", maxSettings))
	c.must("serve", "--print-config", "--config", c.path("most.toml"))
}

// FuzzSettings reads any text: settings that there are, or an error with a line.
func FuzzSettings(f *testing.F) {
	for _, text := range []string{"listen = \"127.0.0.1:1\"\nbackups = [\"a\"]\n", "[a.b]\nx = 1\n", "x = '''\na\n'''\n", "\"li\\u0073ten\" = \"a\"\n"} {
		f.Add(text)
	}
	table := new(serveFlags).settingsTable()
	f.Fuzz(func(t *testing.T, text string) {
		said, err := parseSettings([]byte(text), table)
		if err != nil {
			line, _, ok := strings.Cut(err.Error(), ":")
			n, _ := strconv.Atoi(line)
			if !ok || n < 1 || n > strings.Count(text, "\n")+1 {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		for key := range said {
			if !slices.ContainsFunc(table, func(s *setting) bool { return s.key() == key }) {
				t.Fatalf("%q sets %q", text, key)
			}
		}
	})
}

// TestServeAdmin serves what is for who looks after a server, and a log that programs read.
func TestServeAdmin(t *testing.T) {
	c := newCLI(t)
	c.people()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		code := run(ctx, []string{"serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--slow", "0s", "--db", c.path("db")},
			&app{out: io.Discard, err: w, env: func(string) string { return "" }, clock: testClock})
		_ = w.Close() // a pipe in memory
		ended <- code
	}()
	lines := bufio.NewScanner(r)
	until := func(what string) string {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), what) {
				return lines.Text()
			}
		}
		t.Fatalf("nothing of %q is said", what)
		return ""
	}
	_, address, _ := strings.Cut(until(" at kanta://"), " at ")
	_, at, _ := strings.Cut(until("metrics and health at "), " at ")
	until("msg=serving")
	for path, want := range map[string]string{"/metrics": "kanta_store_profiles 3", "/healthz": "ok", "/readyz": `{"ready":true}`, "/debug/pprof/": "goroutine", "/debug/pprof/goroutine?debug=1": "runAdminTest"} {
		if got := runAdminTest(t, at+path); !strings.Contains(got, want) {
			t.Errorf("%s lacks %s: %.300s", path, want, got)
		}
	}
	seen := make(chan string, 1)
	go func() { seen <- until("call=Count") }()
	c.must("count", `country == "FI"`, "--db", address)
	if got := <-seen; !strings.Contains(got, `expression="country == ?"`) || strings.Contains(got, "FI") {
		t.Errorf("the slow question is told as %s", got)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	if got := c.must("running", "--db", address); got != "" {
		t.Errorf("nothing is under way: %s", got)
	}
	if _, stderr, code := c.run("running", "cancel", "123456", "--db", address); code != exitQuestion || !strings.Contains(stderr, "no call 123456") {
		t.Errorf("a call that is not there: exit %d, %s", code, stderr)
	}
	if _, stderr, code := c.run("running", "--db", c.path("other")); code == exitOK {
		t.Errorf("a directory: exit %d, %s", code, stderr)
	}
	cancel()
	if code := <-ended; code != exitOK {
		t.Errorf("it ended with %d", code)
	}
	if res, err := http.Get(at + "/healthz"); err == nil {
		_ = res.Body.Close()
		t.Error("it is still looked after")
	}
}

// runAdminTest gets a page; its name stands among the goroutines of the process.
func runAdminTest(t *testing.T, url string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

package main

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// eachCommand calls do for every command that can be run.
func eachCommand(c *cobra.Command, do func(*cobra.Command)) {
	for _, sub := range c.Commands() {
		eachCommand(sub, do)
	}
	if c.HasParent() && c.Name() != "completion" && c.Name() != "help" && c.Parent().Name() != "completion" {
		do(c)
	}
}

// TestHelp makes sure that every command says what it does and, if it prints data, what its JSON is.
func TestHelp(t *testing.T) {
	silent := " cluster backup log load schema segment list definition quarantine erase demo drop export serve cert key role audit "
	eachCommand(newRoot(&app{env: func(string) string { return "" }}), func(c *cobra.Command) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: %q is no summary", c.CommandPath(), c.Short)
		}
		if !strings.Contains(c.Long, "--json") && !strings.Contains(silent, " "+c.Name()+" ") {
			t.Errorf("%s does not document its JSON", c.CommandPath())
		}
		for line := range strings.Lines(c.Long) {
			if len(line) > 120 {
				t.Errorf("%s: a line of %d bytes: %s", c.CommandPath(), len(line), line)
			}
		}
	})
	c := newCLI(t)
	contains(t, c.must("help"), "Kanta is the database of a company's customers", "Exit codes:", "130  interrupted", "Available Commands:", "breakdown", "quarantine")
	contains(t, c.must("members", "--help"), "--order-by", "--json")
	contains(t, c.must("segment"), "drop", "save")
}

func TestCompletion(t *testing.T) {
	c := newCLI(t)
	c.people()
	c.must("backup", "create", "--target", c.path("backups"))
	c.env["KANTA_BACKUP_TARGET"] = c.path("backups")
	c.must("segment", "save", "finns", `country == "FI"`)
	c.must("list", "put", "friends", "1")
	c.must("schema", "apply", c.file("more.toml", "[[attribute]]\nname = \"visits\"\nkind = \"int\"\nhistory = true\n[[event]]\nname = \"purchase\"\n[[computed]]\nname = \"adult\"\nexpression = \"age >= 18\"\n"))
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		contains(t, c.must("completion", shell), "kanta")
	}
	if _, stderr, code := c.run("completion", "bsh"); code != exitUsage || !strings.Contains(stderr, "did you mean bash") {
		t.Errorf("completion bsh: exit %d, %s", code, stderr)
	}
	for want, args := range map[string][]string{
		"age\n:4\n":               {"values", "a"},
		"age\nadult\n:4\n":        {"breakdown", "true", "--by", "a"},
		"age\n":                   {"members", "true", "--order-by", ""},
		"country\n":               {"breakdown", "true", "--by", "co"},
		"finns\n":                 {"segment", "drop", "f"},
		"friends\n":               {"list", "show", ""},
		"stats\t":                 {"st"},
		"age,country\n":           {"members", "true", "--columns", "age,co"},
		"purchase\n":              {"timeline", "1", "--events", ""},
		"purchase,visits\n":       {"timeline", "1", "--events", "purchase,vi"},
		"ndjson\n":                {"members", "true", "--format", ""},
		"quarantine\n":            {"load", "profiles", "x.csv", "--unknown", ""},
		"20260301T120000.000Z-1.": {"backup", "verify", "2026"},
		"000Z-1.2\n":              {"restore", "x", "--backup", ""},
		"unset\n":                 {"load", "profiles", "x.csv", "--empty", ""},
		"utf-16le\n":              {"load", "events", "x.csv", "--encoding", ""},
	} {
		contains(t, c.must(append([]string{"__complete"}, args...)...), want)
	}
	c.env["KANTA_DB"] = c.path("nothing")
	if out := c.must("__complete", "breakdown", "true", "--by", "co"); strings.Contains(out, "country") {
		t.Error(out)
	}
}

func TestVersion(t *testing.T) {
	c := newCLI(t)
	contains(t, c.must("version"), "version\t", "go\tgo1.")
	contains(t, c.must("version", "--json"), `{"version":"`, `"platform":"`)
}

// TestLicenses makes sure that the notices name every module that is linked on any platform.
func TestLicenses(t *testing.T) {
	contains(t, newCLI(t).must("licenses"), "Go and its standard library", "github.com/cockroachdb/pebble/v2")
	for _, platform := range []string{"linux", "darwin", "windows"} {
		cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}", ".")
		cmd.Env = append(cmd.Environ(), "GOOS="+platform, "CGO_ENABLED=0")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list for %s: %v", platform, err)
		}
		for _, id := range strings.Split(strings.TrimSpace(string(out)), "\n") {
			if id != "" && !strings.Contains(licenseText, "\n"+id+"\n") {
				t.Errorf("%s is linked on %s and not in licenses.txt: run go generate ./cmd/kanta", id, platform)
			}
		}
	}
}

// TestMemory makes sure that a budget is understood and reaches the store.
func TestMemory(t *testing.T) {
	for text, want := range map[string]int64{"512MB": 512e6, "2GiB": 2 << 30, "64 mib": 64 << 20, "1.5g": 3 << 29, "1000000": 1000000, "7B": 7} {
		if n, err := parseSize(text); err != nil || n != want {
			t.Errorf("%s is %d, %v; want %d", text, n, err, want)
		}
	}
	for _, text := range []string{"", "-1", "0", "lots", "1XB", "NaN", "1e99", "MB"} {
		if n, err := parseSize(text); err == nil {
			t.Errorf("%q is %d", text, n)
		}
	}
	c := newCLI(t)
	c.people()
	contains(t, c.must("stats", "--memory", "100MiB"), "memory budget\t104857600\n")
}

func TestDemo(t *testing.T) {
	c := newCLI(t)
	out := c.must("demo", "--profiles", "20000", "--keep", c.path("kept"))
	contains(t, out, "1. Making up 20,000 people", "rows per second", "3. Asking", " 1. country == \"DE\"", "as the generator counted", "12. ((country in",
		"all of them are right", "kanta plan", "Who they are", "people", "The store is kept", "KANTA_REFDATA")
	c.env["KANTA_DB"] = c.path("kept")
	if n := c.count("true"); n != 20000 {
		t.Errorf("%d people are kept", n)
	}
	if _, _, code := c.run("demo", "--keep", c.path("kept")); code != exitUsage {
		t.Errorf("exit %d for a store that is there already", code)
	}
}

func TestBench(t *testing.T) {
	c := newCLI(t)
	out := c.must("bench", "--profiles", "5000", "--runs", "2", "--segments", "10", "--mix", "100ms", "--write", "100ms", "--keep", c.path("kept"))
	contains(t, out, "batches\t5000\t", "csv\t5000\t", "Q1\t", "\tright\n", "Q6\t", "\tright\n", "Q15 keys\t", "Q17\t", "MIX8\t", "questions/s", "disk\t", "largest resident memory\t")
	contains(t, c.must("bench", "--profiles", "2000", "--runs", "1", "--segments", "5", "--mix", "100ms", "--write=-1s", "--events", "0", "--json"), `{"profiles":2000,"seed":0,"loads":[{"how":"batches"`, `"name":"Q3"`, `"checked":true`)
	if _, _, code := c.run("bench", "--keep", c.path("kept")); code != exitUsage {
		t.Errorf("exit %d for a directory that is not empty", code)
	}
}

func TestTables(t *testing.T) {
	for want, in := range map[string]string{"0": "0", "999": "999", "1,000": "1000", "12,345,678": "12345678", "-1,234": "-1234", "-123": "-123"} {
		if got := grouped(in); got != want {
			t.Errorf("grouped(%q) = %q", in, got)
		}
	}
	for in, want := range map[string]string{"plain": "plain", "a\tb\nc": `a\tb\nc`, "\x1b[31mred": `\x1b[31mred`, "Zoë 李": "Zoë 李", "a\u202eb": `a\u202eb`, "x\xffy": "x\ufffdy"} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestProgress(t *testing.T) {
	var out strings.Builder
	p := &progress{w: &out, terminal: true, start: time.Now().Add(-time.Minute)}
	p.show(0.25, "first, a long line")
	p.show(0.5, "too early")
	p.shown = p.start
	p.show(0, "second")
	p.end()
	line := "first, a long line, 25 %, 3m0s left"
	if want := "\r" + line + "\rsecond" + strings.Repeat(" ", len(line)-6) + "\r      \r"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
	out.Reset()
	p = &progress{w: &out, start: time.Now().Add(-time.Minute)}
	p.show(0.5, "in a log")
	p.show(0.6, "too early")
	p.end()
	if want := "in a log, 50 %, 1m0s left\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
	p = &progress{w: &out, quiet: true}
	p.show(0.5, "nothing")
	if strings.Contains(out.String(), "nothing") {
		t.Error("progress is shown with --json")
	}
}

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestAudit serves with an audit, and reads it at the server and in its directory, meanwhile and afterwards.
func TestAudit(t *testing.T) {
	c := newCLI(t)
	c.people()
	_, stop := serving(c, "--audit", c.path("audit"), "--audit-days", "30")
	c.must("count", "true") // is not recorded
	c.must("profile", "1")
	c.must("members", `country == "FI"`, "--columns", "country")
	if _, _, code := c.run("profile", "nobody"); code != exitQuestion {
		t.Errorf("a profile of nobody: exit %d", code)
	}
	c.must("list", "add", "staff", "1", "2")
	hashes := regexp.MustCompile(`#[0-9a-f]{32}`)
	person := regexp.MustCompile(`\t[0-9a-f]{8}( \+\d+)?\t`)
	want := `1	2026-03-01T12:00:00Z		127.0.0.1	Profile	done	1	P	
2	2026-03-01T12:00:00Z		127.0.0.1	Members	done	2		country == #H; names country
3	2026-03-01T12:00:00Z		127.0.0.1	Profile	failed unknown_name	1	P	
4	2026-03-01T12:00:00Z		127.0.0.1	Apply	asked	2	P+	list add 2; names staff
`
	shown := func(text string) string {
		return person.ReplaceAllStringFunc(hashes.ReplaceAllString(text, "#H"), func(p string) string {
			if strings.Contains(p, "+") {
				return "\tP+\t"
			}
			return "\tP\t"
		})
	}
	for _, args := range [][]string{{"audit", "list"}, {"audit", "list", "--dir", c.path("audit"), "--limit", "4"}, {"audit", "list", "--limit", "4"}, {"audit", "list", "--dir", c.path("audit"), "--to", "2026-03-02", "--limit", "4"}} {
		if got := shown(c.must(args...)); got != want {
			t.Errorf("%v:\n%s\nwant\n%s", args, got, want)
		}
	}
	lines := func(args ...string) int { return strings.Count(c.must(args...), "\n") }
	for _, where := range [][]string{nil, {"--dir", c.path("audit")}} {
		list := func(args ...string) int {
			return lines(append(append([]string{"audit", "list"}, args...), where...)...)
		}
		if n := list("--key", "1", "--call", "Profile"); n != 1 {
			t.Errorf("%v: %d looked at person 1", where, n)
		}
		if n := list("--key", "FI"); n < 1 {
			t.Errorf("%v: nobody asked for FI", where)
		}
		if n := list("--outcome", "failed"); n != 1 {
			t.Errorf("%v: %d failed", where, n)
		}
		if n := list("--from", "2026-03-02"); n != 0 {
			t.Errorf("%v: %d of tomorrow", where, n)
		}
		if n := list("--after", "1", "--limit", "2"); n != 2 {
			t.Errorf("%v: %d of 2", where, n)
		}
	}
	contains(t, c.must("audit", "list", "--json", "--limit", "1"), `{"number":1,"time":"2026-03-01T12:00:00Z"`, `"call":"Profile","outcome":"done"`, `"people":["`, `"position":"1.`)
	contains(t, c.must("audit", "verify"), "records 1 to ", "are whole; note the head: ")
	if code := stop(); code != exitOK {
		t.Errorf("the server ended with %d", code)
	}
	auditVerified(t, c)
}

// auditVerified checks an audit of which nobody has the directory open, and damages it.
func auditVerified(t *testing.T, c *cli) {
	t.Helper()
	verified := c.must("audit", "verify", "--dir", c.path("audit"))
	_, head, _ := strings.Cut(strings.TrimSpace(verified), "head: ")
	contains(t, c.must("audit", "verify", "--dir", c.path("audit"), "--noted", head, "--json"), `{"first":1,"hash":"`, `,"last":`)
	number, digits, _ := strings.Cut(head, ":")
	for args, code := range map[string]int{
		"--dir audit --noted " + number + ":" + strings.Repeat("0", len(digits)): exitCorrupt, "--dir audit --noted 999:" + digits: exitCorrupt,
		"--dir audit --noted x": exitUsage, "--dir audit --noted 0:" + digits: exitUsage, "--noted " + head: exitUsage, "": exitUsage, "--dir db": exitStore,
	} {
		words := strings.Fields(strings.NewReplacer("--dir audit", "--dir "+c.path("audit"), "--dir db", "--dir "+c.path("db")).Replace(args))
		delete(c.env, "KANTA_DB")
		if _, stderr, got := c.run(append([]string{"audit", "verify"}, words...)...); got != code {
			t.Errorf("audit verify %s: exit %d, %s", args, got, stderr)
		}
	}
	segments, err := filepath.Glob(c.path("audit/*.seg"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("%v: %v", segments, err)
	}
	b, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	b[150]++
	if err := os.WriteFile(segments[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := c.run("audit", "verify", "--dir", c.path("audit")); code != exitCorrupt || !strings.Contains(stderr, "record 1 at byte 92") {
		t.Errorf("a byte was changed: exit %d, %s", code, stderr)
	}
}

// TestAuditUsage has command lines that are none.
func TestAuditUsage(t *testing.T) {
	c := newCLI(t)
	for _, args := range [][]string{{"audit", "list"}, {"audit", "list", "--dir", c.path("audit"), "--outcome", "gone"}, {"audit", "list", "--dir", c.path("audit"), "--from", "yesterday"},
		{"serve", "--audit-days", "3"}, {"serve", "--audit", c.path("other"), "--audit-days", "99999"}} {
		if _, stderr, code := c.run(args...); code != exitUsage {
			t.Errorf("%v: exit %d, %s", args, code, stderr)
		}
	}
	contains(t, c.must("audit", "list", "--help"), "The records, the oldest first")
}

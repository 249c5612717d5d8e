package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// address is where the server of this test listens: HOST:PORT.
var address string

// people is how many there are.
const people = 3000

func TestMain(m *testing.M) {
	if _, err := exec.LookPath("curl"); err != nil && os.Getenv("CI") != "true" {
		fmt.Println("skipped: curl is missing, which brings the data")
		return
	}
	code, err := withServer(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

// withServer builds the command and runs do while it serves a store that is empty at first.
func withServer(do func() int) (code int, err error) {
	dir, err := os.MkdirTemp("", "kanta-e2e-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	exe := filepath.Join(dir, "kanta")
	build := exec.Command("go", "build", "-C", filepath.Join("..", ".."), "-o", exe, "./cmd/kanta")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%w: %s", err, out)
	}
	serve := exec.Command(exe, "serve", "--db", filepath.Join(dir, "db"), "--listen", "127.0.0.1:0")
	stderr, err := serve.StderrPipe()
	if err != nil {
		return 0, err
	}
	if err := serve.Start(); err != nil {
		return 0, err
	}
	defer func() {
		err = errors.Join(err, serve.Process.Signal(os.Interrupt), serve.Wait())
	}()
	lines := bufio.NewReader(stderr)
	for address == "" {
		line, err := lines.ReadString('\n')
		if err != nil {
			return 0, fmt.Errorf("kanta serve: %q, %w", line, err)
		}
		_, address, _ = strings.Cut(strings.TrimSpace(line), "kanta://")
	}
	go func() { _, _ = io.Copy(os.Stderr, lines) }()
	if err := load(); err != nil {
		return 0, err
	}
	return do(), nil
}

// load has curl load people, and what some of them did.
func load() error {
	var csv strings.Builder
	csv.WriteString("id,country,age\n")
	for i := range people {
		fmt.Fprintf(&csv, "p%04d,%s,%d\n", i, [...]string{"FI", "IT", "NL"}[i%3], 18+i%60)
	}
	for _, c := range []struct{ path, kind, body string }{
		{"/v1/profiles?key=id", "text/csv", csv.String()},
		{"/v1/events?profile=user&event=type&time=at", "application/x-ndjson", `{"user":"p0001","type":"view","at":"2026-01-01T00:00:00Z","item":"a"}` + "\n" + `{"user":"p0001","type":"view","at":"2026-01-02T00:00:00Z","item":"b"}` + "\n"},
	} {
		out, err := curl(c.body, "-H", "Content-Type: "+c.kind, "--data-binary", "@-", "http://"+address+c.path)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		if !bytes.Contains(out, []byte(`"quarantined":0`)) {
			return fmt.Errorf("loaded: %s", out)
		}
	}
	return nil
}

// curl runs curl with a standard input.
func curl(in string, args ...string) ([]byte, error) {
	c := exec.Command("curl", append([]string{"--silent", "--show-error", "--fail-with-body", "--max-time", "60"}, args...)...)
	c.Stdin = strings.NewReader(in)
	var out, stderr bytes.Buffer
	c.Stdout, c.Stderr = &out, &stderr
	if err := c.Run(); err != nil {
		return out.Bytes(), fmt.Errorf("curl: %w: %s", err, stderr.Bytes())
	}
	return out.Bytes(), nil
}

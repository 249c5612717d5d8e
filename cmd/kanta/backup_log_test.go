package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/kantadb/kanta/engine"
)

// told calls do with what is written, each time.
type told struct {
	bytes.Buffer
	do func(written string)
}

func (w *told) Write(b []byte) (int, error) {
	n, err := w.Buffer.Write(b)
	w.do(string(b))
	return n, err
}

// TestShipEvery ships again and again until it is interrupted. In the second round somebody
// else has the store open, and in the third what they have written is shipped.
func TestShipEvery(t *testing.T) {
	c := newCLI(t)
	c.people()
	c.must("backup", "log", "on")
	c.must("backup", "create", "--target", c.path("backups"))
	c.file("more.csv", "id,country\n77,FI\n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	rounds := 0
	var taken *engine.DB
	var failed error
	out, messages := &told{}, &told{}
	opened := make(chan struct{})
	out.do = func(text string) {
		if !strings.HasSuffix(text, "\n") {
			return
		}
		if rounds++; rounds == 1 {
			go func() { // when this round has closed the store
				defer close(opened)
				for taken == nil && ctx.Err() == nil {
					if taken, failed = engine.Open(c.path("db"), &engine.Options{Clock: testClock}); failed != nil {
						taken = nil
					}
				}
			}()
		} else {
			cancel()
		}
	}
	messages.do = func(string) {
		<-opened
		if taken != nil {
			failed, taken = taken.Close(), nil
			c.must("load", "profiles", c.path("more.csv"), "--key", "id")
		}
	}
	code := run(ctx, []string{"backup", "log", "ship", "--every", "1s", "--json", "--db", c.path("db"), "--target", c.path("backups")},
		&app{in: strings.NewReader(""), out: out, err: messages, env: func(string) string { return "" }, clock: testClock})
	var last struct{ Records int }
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || failed != nil {
		t.Fatalf("%v %v\n%s", err, failed, out.String())
	}
	if code != exitInterrupted || len(lines) != 2 || last.Records != 1 || !strings.Contains(messages.String(), "in use") {
		t.Errorf("exit %d\n%s%s", code, out.String(), messages.String())
	}
}

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/server/client"
	"github.com/kantadb/kanta/server/wire"
)

// How much is measured over the wire.
const (
	wireCalls       = 5000 // of each null call, or as many as fit into the time of MIX8
	wireCallers     = 8    // who call at once over one connection
	wireBatches     = 256
	wireBatchRows   = 1000
	wireUnderWay    = 16   // batches of an ingest: as many as a server takes
	idleConnections = 1000 // whose memory is measured
	echoBytes       = 32   // of a round trip of TCP alone: about those of a null call
)

// Served is a store that is served by a process of its own.
type Served struct {
	Address string                // HOST:PORT
	Echo    string                // HOST:PORT where that process runs [Echo]
	Memory  func() (int64, error) // resident bytes of the process; nil: not known here
	Stop    func() error
}

// WireFigure is a call over the wire, beside the same in this process.
type WireFigure struct {
	Name        string
	P50, P99    time.Duration // 0: a rate was measured
	Runs        int
	PerSec      float64       // calls, or rows
	Embedded    time.Duration // median of the same in this process; 0: there is no such thing
	EmbeddedPer float64       // per second
}

// IdleFigure is what connections cost a server that nobody uses.
type IdleFigure struct {
	Connections int
	Bytes       int64 // of resident memory, in all
}

// Echo sends back what comes over each connection of a listener, until that is closed.
func Echo(l net.Listener) error {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			_, _ = io.Copy(onlyWriter{c}, c) // whoever is gone is gone
			_ = c.Close()
		}()
	}
}

// onlyWriter makes io.Copy read and write, and not hand the connections to the kernel.
type onlyWriter struct{ io.Writer }

// wire measures what the way to a server costs. The store is closed, served by another process,
// and opened again; it returns the store that is open in the end, also with an error.
func (r *runner) wire(ctx context.Context, s Store) (_ Store, err error) {
	r.Progress("writing as it is written over the wire")
	batches, err := r.wireBatches()
	if err != nil {
		return s, err
	}
	embedded, err := r.ingest(ctx, s.Submit, batches)
	if err == nil {
		err = s.Compact(ctx)
	}
	if err != nil {
		return s, err
	}
	if err := s.Close(); err != nil {
		return closed{}, err
	}
	r.Progress("serving")
	served, err := r.Serve(ctx, filepath.Join(r.Dir, "csv"))
	if err != nil {
		return closed{}, err
	}
	err = errors.Join(r.served(ctx, &served, batches, embedded), served.Stop())
	again, opened := r.Open(filepath.Join(r.Dir, "csv"))
	if opened != nil {
		return closed{}, errors.Join(err, opened)
	}
	if err == nil {
		err = again.Compact(ctx)
	}
	return again, err
}

// served measures a store that is served.
func (r *runner) served(ctx context.Context, s *Served, batches []batch.Batch, embedded float64) error {
	c, err := client.Open(ctx, "kanta://"+s.Address, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, step := range []func(context.Context, *Served) error{r.echo, r.nullCalls, r.pipelined, r.idle} {
		if err := step(ctx, s); err != nil {
			return err
		}
	}
	a := wireAsker{c}
	texts := map[string]string{}
	for _, q := range Questions() {
		texts[q.Name] = q.Text
	}
	for _, q := range []struct {
		name string
		ask  func(context.Context) error
	}{
		{"Q2", func(ctx context.Context) error { return a.count(ctx, texts["Q2"]) }},
		{"Q15 ids", func(ctx context.Context) error { return a.ids(ctx, texts["Q15"]) }},
	} {
		r.Progress("asking " + q.name + " over the wire")
		for range WarmUps {
			if err := q.ask(ctx); err != nil {
				return err
			}
		}
		f, err := timed(ctx, q.name+", wire", r.Runs, time.Hour, q.ask)
		if err != nil {
			return err
		}
		for _, e := range r.report.Questions {
			if e.Name == q.name {
				f.Embedded = e.P50
			}
		}
		r.report.Wire = append(r.report.Wire, f)
	}
	r.Progress("writing over the wire")
	rate, err := r.ingest(ctx, c.Submit, batches)
	if err != nil {
		return err
	}
	r.report.Wire = append(r.report.Wire, WireFigure{Name: fmt.Sprintf("durable rows, 3 attributes, a stream of batches of %d", wireBatchRows), PerSec: rate, EmbeddedPer: embedded})
	return nil
}

// timed makes calls one after the other, calls of them or as many as fit into the time.
func timed(ctx context.Context, name string, calls int, length time.Duration, call func(context.Context) error) (WireFigure, error) {
	var took []time.Duration
	for start := time.Now(); len(took) < calls && (len(took) == 0 || time.Since(start) < length); {
		from := time.Now()
		if err := call(ctx); err != nil {
			return WireFigure{}, fmt.Errorf("%s: %w", name, err)
		}
		took = append(took, time.Since(from))
	}
	slices.Sort(took)
	return WireFigure{Name: name, P50: took[len(took)/2], P99: took[len(took)*99/100], Runs: len(took)}, nil
}

// echo measures what TCP alone takes.
func (r *runner) echo(ctx context.Context, s *Served) error {
	r.Progress("calls that do nothing")
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Echo)
	if err != nil {
		return err
	}
	defer c.Close()
	buf := make([]byte, echoBytes)
	f, err := timed(ctx, "TCP there and back, nothing else", wireCalls, r.Mix, func(context.Context) error {
		if _, err := c.Write(buf); err != nil {
			return err
		}
		_, err := io.ReadFull(c, buf)
		return err
	})
	r.report.Wire = append(r.report.Wire, f)
	return err
}

// overHTTP2 returns a transport over one connection of HTTP/2, and its end.
func overHTTP2(address string) (connect.Transport, func()) {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	h := &http.Transport{Protocols: protocols}
	return connecthttp.NewTransport(&http.Client{Transport: h}, "http://"+address), h.CloseIdleConnections
}

// ways are the transports that are compared, each over one connection.
func ways(ctx context.Context, s *Served, do func(name string, c *client.Client) error) error {
	one, err := wire.Dial(ctx, "tcp", s.Address, nil, nil)
	if err != nil {
		return err
	}
	defer one.Close()
	h2, end := overHTTP2(s.Address)
	defer end()
	for _, w := range []struct {
		name      string
		transport connect.Transport
	}{{"wire", one}, {"Connect over HTTP/2", h2}} {
		c, err := client.Open(ctx, "", &client.Options{Transport: w.transport})
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		if err := errors.Join(do(w.name, c), c.Close()); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	return nil
}

// nullCalls measures calls that do nothing, one after the other.
func (r *runner) nullCalls(ctx context.Context, s *Served) error {
	return ways(ctx, s, func(name string, c *client.Client) error {
		f, err := timed(ctx, "null call, "+name, wireCalls, r.Mix, func(ctx context.Context) error {
			_, err := c.Ping(ctx)
			return err
		})
		r.report.Wire = append(r.report.Wire, f)
		return err
	})
}

// pipelined measures calls that do nothing by several callers over one connection.
func (r *runner) pipelined(ctx context.Context, s *Served) error {
	return ways(ctx, s, func(name string, c *client.Client) error {
		calls, errs := make([]int, wireCallers), make([]error, wireCallers)
		var wg sync.WaitGroup
		start := time.Now()
		for i := range wireCallers {
			wg.Go(func() {
				for errs[i] == nil && time.Since(start) < r.Mix {
					_, errs[i] = c.Ping(ctx)
					calls[i]++
				}
			})
		}
		wg.Wait()
		took, n := time.Since(start), 0
		for _, c := range calls {
			n += c
		}
		r.report.Wire = append(r.report.Wire, WireFigure{Name: fmt.Sprintf("null calls by %d callers, %s", wireCallers, name), PerSec: float64(n) / took.Seconds(), Runs: n})
		return errors.Join(errs...)
	})
}

// idle measures what connections cost that nobody uses.
func (r *runner) idle(ctx context.Context, s *Served) error {
	if s.Memory == nil {
		return nil
	}
	before, err := s.Memory()
	if err != nil {
		return err
	}
	var open []*wire.Transport
	defer func() {
		for _, t := range open {
			_ = t.Close() // nothing was under way
		}
	}()
	for range idleConnections {
		t, err := wire.Dial(ctx, "tcp", s.Address, nil, nil)
		if err != nil {
			return fmt.Errorf("connection %d: %w", len(open)+1, err)
		}
		open = append(open, t)
	}
	after, err := s.Memory()
	r.report.Idle = IdleFigure{idleConnections, max(0, after-before)}
	return err
}

// wireBatches makes the batches of an ingest: changes of people who are there.
func (r *runner) wireBatches() (out []batch.Batch, err error) {
	random := rand.New(rand.NewPCG(r.Data.Seed, wireBatches))
	b := batch.New()
	add := r.fewAttributes(b, random)
	for range wireBatches {
		b.Reset()
		for range wireBatchRows {
			add()
		}
		encoded, err := b.Encode()
		if err != nil {
			return nil, err
		}
		out = append(out, encoded)
	}
	return out, nil
}

// ingest writes batches, some at a time, for as long as a kind of write goes on, and returns the
// rows per second that were acknowledged as durable.
func (r *runner) ingest(ctx context.Context, submit func(context.Context, batch.Batch) (func() (batch.Result, error), error), batches []batch.Batch) (rate float64, err error) {
	var under []func() (batch.Result, error)
	rows := 0
	settle := func(n int) error {
		for len(under) > n {
			wait := under[0]
			under = under[1:]
			if err := accepted(wait()); err != nil {
				return err
			}
			rows += wireBatchRows
		}
		return nil
	}
	start := time.Now()
	for i := 0; i == 0 || time.Since(start) < r.Write; i++ {
		wait, err := submit(ctx, batches[i%len(batches)])
		if err != nil {
			return 0, err
		}
		under = append(under, wait)
		if err := settle(wireUnderWay - 1); err != nil {
			return 0, err
		}
	}
	if err := settle(0); err != nil {
		return 0, err
	}
	return float64(rows) / time.Since(start).Seconds(), nil
}

// wireAsker asks as [Asker] does, but through a client.
type wireAsker struct{ c *client.Client }

func (a wireAsker) count(ctx context.Context, text string) error {
	o := Asker{}.options()
	_, err := a.c.Count(ctx, text, &o)
	return err
}

// ids goes through the ordinals, as [Asker.IDs] does.
func (a wireAsker) ids(ctx context.Context, text string) error {
	o := Asker{}.options()
	b, err := a.c.Bitmap(ctx, text, &o)
	if err != nil {
		return err
	}
	ids := make([]uint32, 4096)
	for it := b.Ordinals.ManyIterator(); it.NextMany(ids) > 0; {
	}
	return nil
}

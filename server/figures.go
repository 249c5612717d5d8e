package server

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kantadb/kanta/query"
	"github.com/kantadb/kanta/server/access"
	"github.com/kantadb/kanta/server/internal/admission"
)

// figures are the metrics of a server. Labels have few values, all of them known beforehand:
// nothing that somebody sends becomes one.
type figures struct {
	registry *prometheus.Registry
	calls    *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	away     *prometheus.CounterVec
	slowed   *prometheus.CounterVec
	batches  *prometheus.CounterVec
	refusals *prometheus.CounterVec

	connections    atomic.Int64
	received, sent atomic.Int64 // bytes of all connections
}

// callSeconds are the borders of the histogram: from a call that does nothing to an analysis of
// everybody.
var callSeconds = [...]float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// statsTime bounds how long the store is asked for its state: who reads metrics waits 10 s, by
// custom.
const statsTime = 5 * time.Second

func newFigures(s *Server) *figures {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	f := &figures{
		registry: prometheus.NewRegistry(),
		calls:    counter("kanta_calls_total", "Calls that have ended, by how they did.", "call", "code", "door"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "kanta_call_seconds",
			Help: "How long calls took, with waiting for their turn and for the client.", Buckets: callSeconds[:]}, []string{"call"}),
		away:     counter("kanta_calls_turned_away_total", "Calls that found no place, by lane and reason.", "lane", "reason"),
		slowed:   counter("kanta_slow_calls_total", "Calls that were slow, as the log has them.", "call"),
		batches:  counter("kanta_ingested_batches_total", "Batches of streams, by their outcome.", "code"),
		refusals: counter("kanta_connections_refused_total", "Connections that were closed before their first call, by reason.", "reason"),
	}
	f.registry.MustRegister(f.calls, f.seconds, f.away, f.slowed, f.batches, f.refusals, &now{s},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for l := range lanes { // so that they are there before anything has happened
		for r := range admission.Reasons {
			f.away.WithLabelValues(l.String(), admission.Reason(r).String())
		}
	}
	return f
}

// handler answers who reads the metrics, two at a time.
func (f *figures) handler() http.Handler {
	return promhttp.HandlerFor(f.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 2, ErrorHandling: promhttp.ContinueOnError})
}

func (f *figures) call(c *call, code string, took time.Duration) {
	f.calls.WithLabelValues(c.label(), code, c.seen.door).Inc()
	f.seconds.WithLabelValues(c.label()).Observe(took.Seconds())
}

func (f *figures) slow(c *call) { f.slowed.WithLabelValues(c.label()).Inc() }

func (f *figures) refused(l lane, r admission.Reason) {
	f.away.WithLabelValues(l.String(), r.String()).Inc()
}

func (f *figures) batch(err error) { f.batches.WithLabelValues(wordOf(err)).Inc() }

// now collects what is read when somebody asks, not counted when it happens.
type now struct{ s *Server }

// A gauge of the store is one number of its state.
type storeGauge struct {
	name, help string
	of         func(s *query.Stats) float64
}

// storeGauges are what the store says of itself.
//
//tidy:constant
var storeGauges = [...]storeGauge{
	{"kanta_store_profiles", "People who are in the store.", func(s *query.Stats) float64 { return float64(s.Profiles) }},
	{"kanta_store_events", "Events of them.", func(s *query.Stats) float64 { return float64(s.Events) }},
	{"kanta_store_epoch", "The epoch of the store's position.", func(s *query.Stats) float64 { return float64(s.Position.Epoch) }},
	{"kanta_store_applied", "The records of the log that have been applied in this epoch.", func(s *query.Stats) float64 { return float64(s.Position.Applied) }},
	{"kanta_store_quarantined_rows", "Rows that were received and do not fit.", func(s *query.Stats) float64 { return float64(s.Quarantined) }},
	{"kanta_store_head_rows", "Values that have not been folded into the base: what is to be done.", func(s *query.Stats) float64 { return float64(s.HeadRows) }},
	{"kanta_store_head_bytes", "Memory of these.", func(s *query.Stats) float64 { return float64(s.HeadBytes) }},
	{"kanta_store_log_records", "Records of the log that opening the store would read again.", func(s *query.Stats) float64 { return float64(s.LogRecords) }},
	{"kanta_store_log_bytes", "Files of the log.", func(s *query.Stats) float64 { return float64(s.LogBytes) }},
	{"kanta_store_kept_log_bytes", "Log that waits to be shipped to a target of backups.", func(s *query.Stats) float64 { return float64(s.KeptLog.Bytes) }},
	{"kanta_store_disk_bytes", "All files of the store.", func(s *query.Stats) float64 { return float64(s.DiskBytes) }},
	{"kanta_store_cache_bytes", "Decoded values in memory.", func(s *query.Stats) float64 { return float64(s.CacheBytes) }},
	{"kanta_store_memory_used_bytes", "Memory of the budget that is used.", func(s *query.Stats) float64 { return float64(s.MemoryUsed) }},
	{"kanta_store_memory_budget_bytes", "The budget.", func(s *query.Stats) float64 { return float64(s.MemoryBudget) }},
}

// Describe implements [prometheus.Collector]: there is nothing to be said beforehand.
func (n *now) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (n *now) Collect(out chan<- prometheus.Metric) {
	s := n.s
	send := func(kind prometheus.ValueType, name, help string, v float64, labels ...string) {
		var names, values []string
		for i := 0; i < len(labels); i += 2 {
			names, values = append(names, labels[i]), append(values, labels[i+1])
		}
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, names, nil), kind, v, values...)
	}
	gauge, counter := prometheus.GaugeValue, prometheus.CounterValue
	running := make(map[string]int)
	for _, c := range s.watch.calls() {
		running[c.label()]++
	}
	for name := range access.Calls {
		send(gauge, "kanta_calls_running", "Calls under way.", float64(running[name]), "call", name)
	}
	for l, of := range s.gate.lanes {
		state := of.State()
		name := [...]string{"lane", lane(l).String()}
		send(gauge, "kanta_lane_places", "Places for calls of a kind, of ingest in bytes.", float64(state.Places), name[:]...)
		send(gauge, "kanta_lane_taken", "Places that are taken.", float64(state.Taken), name[:]...)
		send(gauge, "kanta_lane_waiting", "Calls that wait for one.", float64(state.Waiting), name[:]...)
	}
	f := s.watch.figures
	send(gauge, "kanta_connections", "Connections that are open.", float64(f.connections.Load()))
	send(counter, "kanta_received_bytes_total", "Bytes that came over connections.", float64(f.received.Load()))
	send(counter, "kanta_sent_bytes_total", "Bytes that went over connections.", float64(f.sent.Load()))
	send(gauge, "kanta_snapshots_open", "Snapshots that clients hold.", float64(s.leases.count()))
	ready := 1.0
	if len(s.unready(context.Background())) > 0 {
		ready = 0
	}
	send(gauge, "kanta_ready", "Whether questions are answered.", ready)
	ctx, cancel := context.WithTimeout(s.stop, statsTime)
	defer cancel()
	if s.opt.Cluster != nil {
		clusterFigures(ctx, s.opt.Cluster, send)
	}
	db := s.store.db()
	if db == nil {
		return
	}
	stats, err := db.Stats(ctx)
	if err != nil {
		return // kanta_ready says it
	}
	for _, g := range storeGauges {
		send(gauge, g.name, g.help, g.of(&stats))
	}
	for kind, bytes := range stats.Written {
		send(counter, "kanta_store_written_bytes_total", "Bytes written since the store was opened.", float64(bytes), "kind", kind)
	}
}

// countedListener counts connections and what goes over them.
type countedListener struct {
	net.Listener
	f *figures
}

// Accept implements [net.Listener].
func (l *countedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.f.connections.Add(1)
	return &countedConn{Conn: c, f: l.f}, nil
}

type countedConn struct {
	net.Conn
	f      *figures
	closed atomic.Bool
}

// Read implements [io.Reader].
func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.f.received.Add(int64(n))
	return n, err
}

// Write implements [io.Writer].
func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.f.sent.Add(int64(n))
	return n, err
}

// Close implements [net.Conn].
func (c *countedConn) Close() error {
	if !c.closed.Swap(true) {
		c.f.connections.Add(-1)
	}
	return c.Conn.Close()
}

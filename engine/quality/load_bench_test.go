//go:build unix

package quality

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/kantadb/kanta/index/schema"
)

// workload writes customers with the 20 attributes, and about the distributions, of package bench.
func workload(n int) ([]byte, *schema.Schema) {
	rnd := rand.New(rand.NewPCG(1, 2))
	skewed := func(n int, power float64) int { return int(float64(n) * math.Pow(rnd.Float64(), power)) }
	maybe := func(absent float64, text string) string {
		if rnd.Float64() < absent {
			return ""
		}
		return text
	}
	names := []string{"country", "city", "gender", "age", "plan", "os", "app_version", "language", "marital_status", "income_band",
		"acquisition_channel", "acquisition_campaign", "has_email", "email_opt_in", "push_opt_in", "interests", "signup_date", "ltv",
		"loyalty_tier", "support_tickets"}
	kinds := map[string]schema.Kind{"age": schema.Int, "has_email": schema.Bool, "email_opt_in": schema.Bool, "push_opt_in": schema.Bool,
		"interests": schema.Set, "signup_date": schema.Date, "ltv": schema.Decimal, "support_tickets": schema.Int}
	var attrs []schema.Attribute
	var out bytes.Buffer
	out.WriteString("key")
	for i, name := range names {
		a := schema.Attribute{ID: schema.FirstUserAttr + schema.AttrID(i), Name: name, Kind: schema.String}
		if k, ok := kinds[name]; ok {
			a.Kind = k
		}
		if name == "ltv" {
			a.Scale = 2
		}
		attrs = append(attrs, a)
		out.WriteString("," + name)
	}
	out.WriteByte('\n')
	for i := range n {
		country := skewed(50, 3)
		fmt.Fprintf(&out, "user-%08d,C%d,C%d-city-%02d,%s,%s,plan%d,os%d,9.%d.0,l%d,%s,%s,channel%02d,campaign-%03d,%t,%t,%t,", i, country, country,
			skewed(40, 3), maybe(0.03, []string{"female", "male", "other"}[skewed(3, 1.5)]), maybe(0.05, fmt.Sprint(18+skewed(73, 1.8))), skewed(4, 3), skewed(3, 2),
			skewed(40, 4), skewed(20, 3), maybe(0.1, []string{"single", "married", "divorced", "widowed"}[skewed(4, 1)]), maybe(0.2, fmt.Sprintf("band%d", skewed(8, 1))),
			skewed(12, 2), skewed(300, 3), rnd.IntN(7) > 0, rnd.IntN(2) > 0, rnd.IntN(3) > 0)
		for j := range rnd.IntN(7) {
			if j > 0 {
				out.WriteByte('|')
			}
			fmt.Fprintf(&out, "i%d", skewed(200, 2))
		}
		fmt.Fprintf(&out, ",20%02d-%02d-%02d,%s,%s,%d\n", 23+rnd.IntN(3), 1+rnd.IntN(12), 1+rnd.IntN(28), maybe(0.02, fmt.Sprintf("%.2f", math.Exp(4+1.2*rnd.NormFloat64()))),
			[]string{"none", "bronze", "silver", "gold"}[skewed(4, 2)], skewed(10, 4))
	}
	return out.Bytes(), schema.New(1, 0, attrs)
}

func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// BenchmarkLoad goes from CSV to encoded batches. cpu-ns/row counts all cores, so that
// it means something on a busy machine too: rows/s on n idle cores are n * 1e9 / cpu-ns/row.
func BenchmarkLoad(b *testing.B) {
	const n = 100_000
	text, s := workload(n)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	cpu, size, batches := cpuSeconds(b), 0, 0
	for b.Loop() {
		rows, _, err := OpenRows(bytes.NewReader(text), nil)
		if err != nil {
			b.Fatal(err)
		}
		size, batches = 0, 0
		report, err := Load(context.Background(), rows, s, LoadOptions{Key: "key", Source: "bench"}, func(l Loaded) error {
			size += len(l.Batch)
			batches++
			return nil
		})
		if err != nil || report.Typed != n {
			b.Fatal(report, err)
		}
		if err := rows.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((cpuSeconds(b)-cpu)*1e9/float64(b.N)/n, "cpu-ns/row")
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(size)/n, "B/row")
	b.ReportMetric(float64(n)/float64(batches), "rows/batch")
}

// BenchmarkLoadRead is the part of BenchmarkLoad that only one goroutine does.
func BenchmarkLoadRead(b *testing.B) {
	const n = 100_000
	text, s := workload(n)
	b.SetBytes(int64(len(text)))
	cpu := cpuSeconds(b)
	for b.Loop() {
		rows, _, err := OpenRows(bytes.NewReader(text), nil)
		if err != nil {
			b.Fatal(err)
		}
		o := LoadOptions{Key: "key", BatchRows: loadRows}
		l := loader{o: o, rows: rows, planner: planner{o: &o, schema: s, taken: map[string]string{}}}
		if l.plan, err = l.planner.extend(nil, rows.Columns()); err != nil {
			b.Fatal(err)
		}
		var c loadChunk
		for more := true; more; {
			if more, err = l.fill(&c); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric((cpuSeconds(b)-cpu)*1e9/float64(b.N)/n, "cpu-ns/row")
}

// eventWorkload writes events, with an id or without, in about the shares of package bench.
func eventWorkload(n int, ids bool) ([]byte, *schema.Schema) {
	rnd := rand.New(rand.NewPCG(1, 3))
	s := schema.New(0, 0, nil)
	var changes []schema.Change
	types := []string{"app_open", "view_item", "purchase", "search"}
	for i, name := range types {
		changes = append(changes, schema.Change{Op: schema.AddEvent, Event: name})
		for j, p := range []schema.Attribute{{Name: "category", Kind: schema.String}, {Name: "item_id", Kind: schema.String}, {Name: "amount", Kind: schema.Decimal, Scale: 2}} {
			if i == 2 || i == 1 && j < 2 {
				changes = append(changes, schema.Change{Op: schema.AddProperty, Event: name, Attribute: p})
			}
		}
	}
	for _, c := range changes {
		var err error
		if s, err = s.Apply(c); err != nil {
			panic(err)
		}
	}
	var out bytes.Buffer
	out.WriteString("key,event,time,category,item_id,amount")
	if ids {
		out.WriteString(",id")
	}
	at := 1_760_000_000_000
	for range n {
		of := []int{0, 0, 0, 1, 1, 2, 3}[rnd.IntN(7)]
		at += rnd.IntN(200)
		fmt.Fprintf(&out, "\nuser-%08d,%s,%s,", int(1e7*math.Pow(rnd.Float64(), 2.5)), types[of], schema.TimestampValue(int64(at)))
		switch of {
		case 1:
			fmt.Fprintf(&out, "c%d,item-%04d,", rnd.IntN(40), rnd.IntN(5000))
		case 2:
			fmt.Fprintf(&out, "c%d,item-%04d,%.2f", rnd.IntN(40), rnd.IntN(5000), math.Exp(3.2+0.9*rnd.NormFloat64()))
		default:
			out.WriteString(",,")
		}
		if ids {
			fmt.Fprintf(&out, ",%016x", rnd.Uint64())
		}
	}
	return out.Bytes(), s
}

// BenchmarkLoadEvents is BenchmarkLoad of events.
func BenchmarkLoadEvents(b *testing.B) {
	const n = 100_000
	for _, id := range []string{"", "id"} {
		b.Run("id="+id, func(b *testing.B) {
			text, s := eventWorkload(n, id != "")
			b.SetBytes(int64(len(text)))
			cpu, size := cpuSeconds(b), 0
			for b.Loop() {
				rows, _, err := OpenRows(bytes.NewReader(text), nil)
				if err != nil {
					b.Fatal(err)
				}
				size = 0
				o := LoadOptions{Key: "key", Source: "bench", Events: &EventColumns{Time: "time", Event: "event", ID: id}}
				report, err := Load(context.Background(), rows, s, o, func(l Loaded) error {
					size += len(l.Batch)
					return nil
				})
				if err != nil || report.Typed != n {
					b.Fatal(report, err)
				}
				if err := rows.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((cpuSeconds(b)-cpu)*1e9/float64(b.N)/n, "cpu-ns/row")
			b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64(size)/n, "B/row")
		})
	}
}

func BenchmarkSourceOf(b *testing.B) {
	text, s := workload(20_000)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := SourceOf(io.LimitReader(bytes.NewReader(text), 1<<40), s, nil, nil, &LoadOptions{Key: "key"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkKeySet(b *testing.B) {
	for _, n := range []int{1 << 20, 10_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			bytes := 0
			for b.Loop() {
				var k keySet
				rnd := rand.New(rand.NewPCG(1, 2))
				for range n {
					k.add(rnd.Uint64())
				}
				bytes = 0
				for i := range k.shards {
					bytes += 8 * cap(k.shards[i].slots)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/key")
			b.ReportMetric(float64(bytes)/float64(n), "B/key")
		})
	}
}

package bench

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kantadb/kanta/index/schema"
)

// TestGolden pins the data: published figures are about these bytes.
func TestGolden(t *testing.T) {
	const second = "user-00000001,GB," +
		"GB-city-02,female,33,free,android,9.6.0,ja,married,10k-20k," +
		"affiliate,campaign-030,true,true,false,i9,2024-10-20,5.31,none,3"
	for _, c := range []struct {
		absent bool
		digest string
		row    string
	}{
		{false, "244227c399f9833b", second},
		{true, "47b5c202f3d9536b", second},
	} {
		var out bytes.Buffer
		g := New(Options{Profiles: 10000, Seed: 1, WithAbsent: c.absent})
		if _, err := g.WriteCSV(context.Background(), &out); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(out.Bytes())
		if got := hex.EncodeToString(sum[:8]); got != c.digest {
			t.Errorf("absent values %v: digest %s, want %s: the workload's data has changed", c.absent, got, c.digest)
		}
		if got := strings.Split(out.String(), "\n")[2]; got != c.row {
			t.Errorf("absent values %v: second profile\n%s, want\n%s", c.absent, got, c.row)
		}
	}
}

// TestShares checks the answers against what the distributions make of them.
func TestShares(t *testing.T) {
	const n = 200000
	for _, seed := range []uint64{1, 2} {
		e, err := New(Options{Profiles: n, Seed: seed}).Count(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]float64{"Q1": 4.44, "Q2": 0.374, "Q3": 2.5, "Q4": 0.25, "Q5": 0.93, "Q6": 0.374} {
			k, ok := e.Answer(name)
			got := 100 * float64(k.True) / n
			if !ok || k.Unknown != 0 || math.Abs(got-want) > 0.12*want {
				t.Errorf("seed %d: %s is true for %.3f %% and unknown for %d, want about %.3f %% and 0", seed, name, got, k.Unknown, want)
			}
		}
	}
}

// TestDistributions checks single attributes against the package comment.
func TestDistributions(t *testing.T) {
	const n = 200000
	g := New(Options{Seed: 7, WithAbsent: true})
	have := map[string]float64{}
	var interests, logLTV, logSquare, ltvs float64
	for i := range uint64(n) {
		var p Profile
		g.Profile(i, &p)
		for a := range NumAttributes {
			v := g.Value(&p, Attribute(a))
			if a != int(LTV) && a != int(Interests) {
				have[g.columns[a].name+"="+v.String()] += 100.0 / n
			}
			if v.IsAbsent() {
				have["no "+g.columns[a].name] += 100.0 / n
			}
		}
		interests += float64(len(g.AppendInterests(nil, &p))) / n
		if cents, ok := p.Int(LTV); ok && p.values[Plan] == 0 {
			l := math.Log(float64(cents) / 100)
			logLTV, logSquare, ltvs = logLTV+l, logSquare+l*l, ltvs+1
		}
	}
	zipfSum := func(n int, s float64) (sum float64) {
		for k := 1; k <= n; k++ {
			sum += math.Pow(float64(k), -s) / 100
		}
		return sum
	}
	signups := func(days float64) float64 { return 100 * (1 - math.Pow((1095-days)/1095, 1.25)) }
	for what, want := range map[string]float64{
		"country=US": 1 / zipfSum(50, 1), "country=SG": 0.02 / zipfSum(50, 1), "city=US-city-00": 100 / zipfSum(50, 1) / zipfSum(40, 1) / 100,
		"gender=female": 49 * .97, "no gender": 3, "age=18": 100 * .95 * math.Pow(1./73, 1/1.8), "no age": 5, "plan=enterprise": 2, "os=web": 15,
		"app_version=9.9.0": 1 / zipfSum(40, 1.3), "language=es": math.Pow(2, -1.1) / zipfSum(20, 1.1), "marital_status=divorced": 8.1,
		"no marital_status": 10, "income_band=over-200k": 1.6, "no income_band": 20, "acquisition_channel=organic": 1 / zipfSum(12, .9),
		"acquisition_campaign=campaign-001": .5 / zipfSum(300, 1), "has_email=true": 85, "email_opt_in=true": 51, "push_opt_in=true": 45,
		"signup_date=2025-12-31": signups(1), "no ltv": 2, "loyalty_tier=platinum": 3, "support_tickets=9": .2, "no country": 0,
	} {
		// Five standard deviations of a count, and half a per mille of slack for rare ones.
		if slack := 5*math.Sqrt(want*(100-want)/n) + 0.0005; math.Abs(have[what]-want) > slack {
			t.Errorf("%s: %.4f %%, want %.4f +- %.4f", what, have[what], want, slack)
		}
	}
	if mean, dev := logLTV/ltvs, math.Sqrt(logSquare/ltvs-logLTV/ltvs*logLTV/ltvs); math.Abs(mean-4) > 0.02 || math.Abs(dev-1.2) > 0.02 {
		t.Errorf("log of ltv on the free plan: mean %.3f and deviation %.3f, want 4 and 1.2", mean, dev)
	}
	if interests < 3.0 || interests > 3.4 {
		t.Errorf("%.3f interests per profile, want about 3.2 (3.36 draws, less the double ones)", interests)
	}
}

// TestCSV reads the CSV back and compares every cell with Value.
func TestCSV(t *testing.T) {
	const n = 20000
	g := New(Options{Profiles: n, Seed: 3, WithAbsent: true, Parallelism: 3})
	var out bytes.Buffer
	e, err := g.WriteCSV(context.Background(), &out)
	if err != nil {
		t.Fatal(err)
	}
	if counted, err := g.Count(context.Background()); err != nil || counted.Profiles != n || !slices.Equal(counted.Answers, e.Answers) ||
		!slices.Equal(counted.Cities, e.Cities) {
		t.Errorf("Count says %v (%v), WriteCSV %v", counted, err, e)
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != n+1 {
		t.Fatalf("%d rows, want %d", len(rows), n+1)
	}
	for a, attribute := range g.Schema() {
		if rows[0][a+1] != attribute.Name {
			t.Fatalf("column %d is %q, want %q", a+1, rows[0][a+1], attribute.Name)
		}
	}
	for i, row := range rows[1:] {
		var p Profile
		g.Profile(uint64(i), &p)
		if row[0] != Key(uint64(i)) {
			t.Fatalf("row %d has the key %q", i, row[0])
		}
		for a := range NumAttributes {
			want, got := g.Value(&p, Attribute(a)).String(), row[a+1]
			if Attribute(a) == Interests && got != "" {
				got = schema.SetValue(strings.Split(got, "|")...).String()
			}
			if got != want {
				t.Fatalf("row %d, %s: %q, want %q", i, rows[0][a+1], got, want)
			}
		}
	}
}

// TestOrder makes profiles in random order and with other parallelism: nothing changes.
func TestOrder(t *testing.T) {
	var one, many bytes.Buffer
	opt := Options{Profiles: 3*blockRows + 17, Seed: 9, WithAbsent: true, Parallelism: 1}
	first, err := New(opt).WriteCSV(context.Background(), &one)
	if err != nil {
		t.Fatal(err)
	}
	opt.Parallelism = 5
	g := New(opt)
	second, err := g.WriteCSV(context.Background(), &many)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.Bytes(), many.Bytes()) || !slices.Equal(first.Answers, second.Answers) {
		t.Error("the data depends on the parallelism")
	}
	lines := bytes.SplitAfter(one.Bytes(), []byte("\n"))
	r := rand.New(rand.NewPCG(1, 2))
	var p Profile // used again and again: nothing of the profile before may remain
	for range 2000 {
		i := r.Uint64N(opt.Profiles)
		g.Profile(i, &p)
		if got := g.AppendCSV(nil, &p); !bytes.Equal(got, lines[i+1]) {
			t.Fatalf("profile %d is %s, in the file %s", i, got, lines[i+1])
		}
	}
}

// TestAbsentDiffersInNothingElse compares the data with and without absent values.
func TestAbsentDiffersInNothingElse(t *testing.T) {
	full, holes := New(Options{Seed: 4}), New(Options{Seed: 4, WithAbsent: true})
	missing := 0
	for i := range uint64(5000) {
		var p, q Profile
		full.Profile(i, &p)
		holes.Profile(i, &q)
		for a := range NumAttributes {
			v, w := full.Value(&p, Attribute(a)), holes.Value(&q, Attribute(a))
			if w.IsAbsent() {
				missing++
			} else if !v.Equal(w) {
				t.Fatalf("profile %d, %s: %v and %v", i, full.columns[a].name, v, w)
			}
			if v.IsAbsent() {
				t.Fatalf("profile %d has no %s", i, full.columns[a].name)
			}
		}
	}
	if missing < 5000*35/100 || missing > 5000*45/100 {
		t.Errorf("%d values are absent, want about 0.4 a profile", missing)
	}
}

type failingWriter struct{ left int }

var errFull = errors.New("no space")

func (w *failingWriter) Write(b []byte) (int, error) {
	if w.left -= len(b); w.left < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestWriteCSVStops(t *testing.T) {
	g := New(Options{Profiles: 1 << 40, Parallelism: 4})
	for _, room := range []int{0, 1000, 5 << 20} {
		if _, err := g.WriteCSV(context.Background(), &failingWriter{left: room}); !errors.Is(err, errFull) {
			t.Errorf("a writer with room for %d bytes: %v", room, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := g.Count(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if e, err := New(Options{}).Count(context.Background()); err != nil || e.Profiles != 0 || len(e.Cities) != 0 {
		t.Errorf("no profiles: %v, %v", e, err)
	}
}

func BenchmarkProfile(b *testing.B) {
	g := New(Options{Seed: 1, WithAbsent: true})
	var p Profile
	for i := range b.N {
		g.Profile(uint64(i), &p)
	}
}

type discard struct{ n int64 }

func (d *discard) Write(b []byte) (int, error) { d.n += int64(len(b)); return len(b), nil }

func BenchmarkWriteCSV(b *testing.B) {
	const rows = 200000
	g := New(Options{Profiles: rows, Seed: 1, WithAbsent: true})
	for range b.N {
		var d discard
		if _, err := g.WriteCSV(context.Background(), &d); err != nil {
			b.Fatal(err)
		}
		b.SetBytes(d.n)
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

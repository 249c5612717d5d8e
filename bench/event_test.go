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
	"time"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
)

// TestEventGolden pins the events: published figures are about these bytes.
func TestEventGolden(t *testing.T) {
	for _, c := range []struct {
		ids    bool
		digest string
		row    string
	}{
		{false, "f4ffef107e23a7b7", "user-00000890,view_item,2025-10-03T00:12:41.655Z,c5,item-0211,,email"},
		{true, "694f8ee1910db32e", "user-00000890,view_item,2025-10-03T00:12:41.655Z,c5,item-0211,,email,52a3c834-c0b2-2cd8-8590-76338d536878"},
	} {
		var out bytes.Buffer
		g := New(Options{Profiles: 1000, Events: 20000, Seed: 1})
		if err := g.WriteEventsCSV(context.Background(), &out, 0, 20000, c.ids); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(out.Bytes())
		if got := hex.EncodeToString(sum[:8]); got != c.digest {
			t.Errorf("ids %v: digest %s, want %s: the workload's events have changed", c.ids, got, c.digest)
		}
		if got := strings.Split(out.String(), "\n")[2]; got != c.row {
			t.Errorf("ids %v: second event\n%s, want\n%s", c.ids, got, c.row)
		}
	}
}

// TestEventOrder makes events in random order, in parts and with other parallelism.
func TestEventOrder(t *testing.T) {
	var one, many bytes.Buffer
	opt := Options{Profiles: 5000, Events: 3*blockRows + 17, Seed: 9, Parallelism: 1}
	if err := New(opt).WriteEventsCSV(context.Background(), &one, 0, opt.Events, true); err != nil {
		t.Fatal(err)
	}
	opt.Parallelism = 5
	g := New(opt)
	for _, part := range [][2]uint64{{0, 1}, {1, blockRows + 2}, {blockRows + 2, opt.Events}} {
		var out bytes.Buffer
		if err := g.WriteEventsCSV(context.Background(), &out, part[0], part[1], true); err != nil {
			t.Fatal(err)
		}
		if part[0] == 0 {
			many.Write(EventHeader(true))
		}
		many.Write(bytes.TrimPrefix(out.Bytes(), EventHeader(true)))
	}
	if !bytes.Equal(one.Bytes(), many.Bytes()) {
		t.Error("the events depend on the parallelism, or on where they are written from")
	}
	lines := bytes.SplitAfter(one.Bytes(), []byte("\n"))
	r := rand.New(rand.NewPCG(1, 2))
	var e Event // used again and again: nothing of the event before may remain
	for range 2000 {
		i := r.Uint64N(opt.Events)
		g.Event(i, &e)
		if got := g.AppendEventCSV(nil, &e, true); !bytes.Equal(got, lines[i+1]) {
			t.Fatalf("event %d is %s, in the file %s", i, got, lines[i+1])
		}
	}
	ids := map[string]bool{}
	last := Now().AddDate(0, 0, -eventDays).UnixMilli()
	for i := range opt.Events {
		g.Event(i, &e)
		if e.Time < last || e.Time >= Now().UnixMilli() || e.Number != i || e.Profile >= opt.Profiles {
			t.Fatalf("event %d, %+v, stands behind one of %d", i, e, last)
		}
		last = e.Time
		ids[string(e.AppendID(nil))] = true
	}
	for i := range uint64(10000) {
		g.LiveEvent(997*i, &e) // nearly three times around
		if at := time.UnixMilli(e.Time); at.Before(Now().Add(-time.Hour)) || !at.Before(Now()) || e.Profile >= opt.Profiles {
			t.Fatalf("live event %d: %+v", i, e)
		}
		ids[string(e.AppendID(nil))] = true
	}
	if len(ids) != int(opt.Events)+10000 {
		t.Errorf("%d different ids of %d events", len(ids), opt.Events+10000)
	}
}

// TestScatter wants permutations, and the most active profiles everywhere.
func TestScatter(t *testing.T) {
	for _, n := range []uint64{1, 2, 3, 7, 64, 1000, 4097} {
		for seed := range uint64(3) {
			g := New(Options{Profiles: n, Seed: seed})
			seen := make([]bool, n)
			for rank := range n {
				p := g.scatter(rank)
				if p >= n || seen[p] {
					t.Fatalf("%d profiles, seed %d: rank %d is profile %d, which is none or taken", n, seed, rank, p)
				}
				seen[p] = true
			}
		}
	}
	const parts, top = 16, 3200
	var chi float64
	var found [parts]float64
	g := New(Options{Profiles: 1_000_000, Seed: 3})
	for rank := range uint64(top) {
		found[g.scatter(rank)*parts/1_000_000]++
	}
	for _, n := range found {
		chi += (n - top/parts) * (n - top/parts) / (top / parts)
	}
	if chi > 45 { // of 15 degrees of freedom, one in 10,000
		t.Errorf("the most active profiles by part of the keys: %v", found)
	}
}

// eventShares counts things of many events, in percent.
func eventShares(g *Generator, n uint64) (have map[string]float64, logs, squares, purchases float64) {
	have = map[string]float64{}
	unit := 100 / float64(n)
	top := map[uint64]float64{} // the shares of ranks below it, by profile
	for rank := range g.opt.Profiles / 10 {
		top[g.scatter(rank)] = 1
		if rank < g.opt.Profiles/100 {
			top[g.scatter(rank)] = 2
		}
	}
	for i := range n {
		var e Event
		g.Event(i, &e)
		at := time.UnixMilli(e.Time).UTC()
		have[g.events.names[e.Type]] += unit
		have["channel "+g.events.words[channelProperty][e.Channel]] += unit
		have["hour "+at.Format("15")] += unit
		if d := at.Weekday(); d == time.Saturday || d == time.Sunday {
			have["weekend"] += unit
		}
		if e.Time < Now().UnixMilli()-(eventDays-7)*day {
			have["first week"] += unit
		} else if e.Time >= Now().UnixMilli()-7*day {
			have["last week"] += unit
		}
		if top[e.Profile] > 0 {
			have["tenth"] += unit
		}
		if top[e.Profile] > 1 {
			have["hundredth"] += unit
		}
		if !e.Type.HasItem() {
			continue
		}
		have["with item"] += unit
		have["c"+g.events.words[categoryProperty][e.Category]] += unit
		have[g.events.words[itemProperty][e.Item]] += unit
		if uint64(e.Category) == newStream(g.opt.Seed, domainFavourite, e.Profile).below(0, categories) {
			have["favourite"] += unit
		}
		if e.Type == Purchase {
			l := math.Log(float64(e.Amount-99) / 100)
			logs, squares, purchases = logs+l, squares+l*l, purchases+1
		}
	}
	return have, logs, squares, purchases
}

// TestEventDistributions checks single properties against the package comment.
func TestEventDistributions(t *testing.T) {
	const n = 300_000
	g := New(Options{Profiles: 100_000, Events: n, Seed: 7})
	have, logs, squares, purchases := eventShares(g, n)
	zipfSum := func(n int, s float64) (sum float64) {
		for k := 1; k <= n; k++ {
			sum += math.Pow(float64(k), -s)
		}
		return sum
	}
	const withItem = 25 + 6 + 3 + 4 + 0.8
	for what, want := range map[string]float64{
		"app_open": 45, "view_item": 25, "search": 8, "add_to_cart": 6, "purchase": 3, "watch": 4, "share": 1.5, "review": 0.8,
		"support_ticket": 0.4, "email_open": 4, "push_click": 2, "uninstall": 0.3, "with item": withItem,
		"channel app": 100 / zipfSum(channels, 1), "channel partner": 20 / zipfSum(channels, 1),
		"item-0000": withItem / zipfSum(items, 0.9), "item-0099": withItem * math.Pow(100, -0.9) / zipfSum(items, 0.9),
		"cc0": withItem * (0.5/categories + 0.5/zipfSum(categories, 0.8)), "favourite": withItem * (0.5 + 0.5/categories),
		"hour 08": 100. / 24 * 0.4, "hour 20": 100. / 24 * 1.6, "hour 14": 100. / 24,
		"weekend": 100 * 26 * 1.3 / (26*1.3 + 64), "tenth": 100 * math.Pow(0.1, 0.4), "hundredth": 100 * math.Pow(0.01, 0.4),
	} {
		// Five standard deviations of a count; 3 % more where the slow growth and the few favourites
		// of the most active are not reckoned with.
		slack := 5*math.Sqrt(want*(100-want)/n) + 0.0005
		if what == "cc0" || what == "weekend" {
			slack += 0.03 * want
		}
		if math.Abs(have[what]-want) > slack {
			t.Errorf("%s: %.4f %%, want %.4f +- %.4f", what, have[what], want, slack)
		}
	}
	if got, want := have["last week"]/have["first week"], (1+0.25*86.5/90)/(1+0.25*3.5/90); math.Abs(got-want) > 0.01 {
		t.Errorf("the last week has %.4f times the events of the first, want %.4f", got, want)
	}
	if mean, dev := logs/purchases, math.Sqrt(squares/purchases-logs/purchases*logs/purchases); math.Abs(mean-3.2) > 0.05 || math.Abs(dev-0.9) > 0.05 {
		t.Errorf("log of the amount: mean %.3f and deviation %.3f, want 3.2 and 0.9", mean, dev)
	}
}

// TestEventShares checks the answers against those of the workload, at ten events a profile.
func TestEventShares(t *testing.T) {
	const n = 150_000
	b := New(Options{Profiles: n, Events: EventsPerProfile * n, Seed: 2}).Behaviour()
	for i, q := range EventQuestions() {
		want := []float64{1.8, 0.15, 0.006, 0.006, 0.063}[i]
		got := 100 * float64(b.Answer(q).True) / n
		if slack := 0.12*want + 4*math.Sqrt(100*want/n); math.Abs(got-want) > slack {
			t.Errorf("%s is true for %.4f %%, want about %.4f %%", q.Name, got, want)
		}
	}
}

// TestEventCSV reads the CSV back and compares every cell.
func TestEventCSV(t *testing.T) {
	const n = 10000
	g := New(Options{Profiles: 2000, Events: n, Seed: 3, Parallelism: 3})
	var out bytes.Buffer
	if err := g.WriteEventsCSV(context.Background(), &out, 0, n, true); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil || len(rows) != n+1 {
		t.Fatalf("%d rows, want %d: %v", len(rows), n+1, err)
	}
	for i, row := range rows[1:] {
		var e Event
		g.Event(uint64(i), &e)
		at, err := time.Parse(time.RFC3339Nano, row[2])
		if err != nil || at.UnixMilli() != e.Time || !strings.HasSuffix(row[2], "Z") {
			t.Fatalf("row %d: the time is %s, want %d: %v", i, row[2], e.Time, err)
		}
		want := []string{Key(e.Profile), g.events.names[e.Type], row[2], "", "", "", g.events.words[channelProperty][e.Channel], string(e.AppendID(nil))}
		if e.Type.HasItem() {
			want[3], want[4] = g.events.words[categoryProperty][e.Category], g.events.words[itemProperty][e.Item]
		}
		if e.Type == Purchase {
			want[5] = schema.DecimalValue(e.Amount, amountScale).String()
		}
		if !slices.Equal(row, want) {
			t.Fatalf("row %d is %q, want %q", i, row, want)
		}
	}
	if err := g.WriteEventsCSV(context.Background(), &failingWriter{left: 1000}, 0, n, false); !errors.Is(err, errFull) {
		t.Errorf("a writer with little room: %v", err)
	}
}

// TestEventFill decodes batches, with and without ids, and compares every cell.
func TestEventFill(t *testing.T) {
	g := New(Options{Profiles: 500, Events: 5000, Seed: 5})
	for _, ids := range []bool{false, true} {
		b := batch.New()
		f := g.NewEventFiller(b, ids)
		number := uint64(0)
		for _, n := range []int{1, 1000, 3000} {
			first := number
			for ; number < first+uint64(n); number++ {
				var e Event
				g.Event(number, &e)
				f.Add(&e)
			}
			encoded, err := b.Encode()
			if err != nil {
				t.Fatal(err)
			}
			b.Reset()
			decoded, err := batch.Decode(encoded)
			if err != nil || len(decoded.Ops) != 1 || decoded.Rows != n || (decoded.Ops[0].Events.IDs != nil) != ids {
				t.Fatalf("%d ops, %d rows: %v", len(decoded.Ops), decoded.Rows, err)
			}
			checkEvents(t, g, decoded.Ops[0].Events, first)
		}
	}
}

// checkEvents compares events in a batch with those from first on.
func checkEvents(t *testing.T, g *Generator, block *batch.EventBlock, first uint64) {
	found := make([]string, block.N)
	for row := range found {
		found[row] = string(block.Keys.At(row)) + " " + string(block.Names.At(int(block.Event[row])))
	}
	for i := range block.Columns {
		c := &block.Columns[i]
		cell := 0
		for row := range found {
			if c.Has(row) {
				found[row] += " " + c.Name + "=" + cellValue(c, cell, nil).String()
				cell++
			}
		}
	}
	for row := range found {
		var e Event
		g.Event(first+uint64(row), &e)
		want := Key(e.Profile) + " " + g.events.names[e.Type]
		if e.Type.HasItem() {
			want += " category=" + g.events.words[categoryProperty][e.Category] + " item_id=" + g.events.words[itemProperty][e.Item]
		}
		if e.Type == Purchase {
			want += " amount=" + schema.DecimalValue(e.Amount, amountScale).String()
		}
		want += " channel=" + g.events.words[channelProperty][e.Channel]
		if found[row] != want || block.Times[row] != e.Time {
			t.Fatalf("event %d is %s at %d, want %s at %d", e.Number, found[row], block.Times[row], want, e.Time)
		}
		if block.IDs != nil && string(block.IDs.Plain.At(row)) != string(e.AppendID(nil)) {
			t.Fatalf("event %d has the id %s", e.Number, block.IDs.Plain.At(row))
		}
	}
}

func BenchmarkEvent(b *testing.B) {
	g := New(Options{Profiles: 10_000_000, Events: 100_000_000})
	var e Event
	for i := range b.N {
		g.Event(uint64(i)%g.opt.Events, &e)
	}
}

func BenchmarkEventFill(b *testing.B) {
	const rows = 4000
	g := New(Options{Profiles: 1_000_000, Events: rows})
	builder := batch.New()
	f := g.NewEventFiller(builder, false)
	var e Event
	for range b.N {
		for i := range uint64(rows) {
			g.Event(i, &e)
			f.Add(&e)
		}
		if _, err := builder.Encode(); err != nil {
			b.Fatal(err)
		}
		builder.Reset()
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// markedPeople is how many people an erasure is of. All that they have is marked, see mark.
const markedPeople = 3

const erasureScene = "erasure"

// erasureScenario has people erased and purged from the files, also by a restore of what was
// backed up before, and one of them return.
func erasureScenario() scenario {
	compact := scene{name: "compact", do: func(p *play) error { return p.db.Compact(context.Background()) }}
	purge := scene{name: "purge", do: (*play).purge}
	keys := append(markedKeys(), "k3")
	return scenario{
		name: "erasure", lower: [3]int{8, 60, 12}, check: (*play).checkErased, reads: 5,
		counts: []string{"objects sent", "events purged", "quarantined rows purged", "strings purged", "refused rows purged", "files looked through", "purges after a crash", "restores without them"},
		scenes: []scene{
			{name: "schema", write: scenarioSchema},
			{name: "load", write: scenarioLoad},
			{name: "events", write: func(b *batch.Builder, i int) { scenarioEvents(b, i, true) }},
			{name: "who will go", times: markedPeople, write: scenarioMarked},
			compact,
			{name: "who will go, again", times: markedPeople, write: func(b *batch.Builder, i int) { scenarioMarked(b, markedPeople+i) }},
			{name: "backup", do: (*play).backup},
			{name: erasureScene, write: func(b *batch.Builder, _ int) { b.Erase("T-1", keys...) }},
			{name: "ledger", do: (*play).ledger},
			{name: "restore beside", do: (*play).restoreWithout},
			purge,
			{name: "a purge is good for what was there", given: true, do: func(p *play) error { p.give("the purge", nil); return nil }},
			{name: "they come again", times: 2, write: func(b *batch.Builder, i int) {
				b.Upsert(fmt.Sprint("k", 20+i))
				scenarioMarked(b, i)
			}},
			purge,
			{name: "one returns", write: func(b *batch.Builder, _ int) {
				b.Readmit("k3")
				b.Upsert("k3").Set("city", schema.StringValue("Oslo"))
			}},
			compact,
		},
	}
}

func markedKeys() (keys []string) {
	for i := range markedPeople {
		keys = append(keys, mark(i, "key"))
	}
	return keys
}

// scenarioMarked writes a marked person, for the first time or once more.
func scenarioMarked(b *batch.Builder, n int) {
	i := n % markedPeople
	v := func(what string) schema.Value { return schema.StringValue(mark(i, fmt.Sprint(what, n))) }
	key := mark(i, "key")
	b.Upsert(key).Set("city", v("city")).Set("plan", v("plan")).Set("email", v("email")).Add("tags", mark(i, fmt.Sprint("tag", n)), "new")
	b.Upsert(key).Set("nothing", v("quarantined"))
	b.ListAdd("vip", key, "k1")
	table := b.Events([]batch.Column{{Name: "price", Kind: schema.Int}, {Name: "shop", Kind: schema.String}})
	for k := range 3 {
		table.Row([]byte(key), []byte("buy"), scenarioStart().UnixMilli()-int64(n+40*k)*scenarioDay)
		table.Int(0, int64(n))
		table.Str(1, []byte(mark(i, fmt.Sprint("shop", n, k))))
		table.ID([]byte(mark(i, fmt.Sprint("id", n, k))))
	}
}

// after is how many batches there are when a scene has ended.
func (k *rehearsed) after(name string) (n int) {
	for i := range k.scenes {
		c := &k.scenes[i]
		if c.write != nil {
			n += max(c.times, 1)
		}
		if c.name == name {
			return n
		}
	}
	panic("no scene " + name)
}

// content is the line of a look that tells the content digest at a batch.
func (k *rehearsed) content(at int) string {
	_, rest, _ := strings.Cut(k.looks[at], "content ")
	out, _, _ := strings.Cut(rest, " ")
	return out
}

// ledger keeps the ledger at the target: from then on nobody is brought back by a restore.
func (p *play) ledger() error {
	if err := p.db.BackupLedger(context.Background(), p.target()); err != nil {
		return err
	}
	p.give("the ledger", func(p *play) error {
		if !p.thorough {
			return nil
		}
		if _, err := p.restore(scenarioRestored, "", true); err != nil {
			return err
		}
		return p.without(scenarioRestored, false)
	})
	return nil
}

// restoreWithout restores what was backed up before the erasure.
func (p *play) restoreWithout() error {
	p.give("the store beside", func(p *play) error { return p.without(scenarioSide, true) })
	r, err := p.restore(scenarioSide, "", false)
	if err != nil {
		return err
	}
	if r.Erased == 0 {
		return errors.New("void: nobody was erased in what was restored")
	}
	p.give("the store beside", func(p *play) error { return p.without(scenarioSide, false) })
	return nil
}

// without checks that a restored store is what the store was after the erasure, or, if that
// is allowed, not there.
func (p *play) without(dir string, missing bool) error {
	o := p.o
	o.MustExist = true
	db, err := engine.Open(dir, &o)
	if missing && errors.Is(err, &query.Error{Code: query.CodeNotAStore}) {
		return nil
	}
	if err != nil {
		return err
	}
	err = nobody(db)
	if err == nil {
		var d query.Digests
		d, err = db.Digests(context.Background())
		if got, want := fmt.Sprintf("%x", d.Content), p.content(p.after(erasureScene)); err == nil && got != want {
			err = fmt.Errorf("its content is %s, that of the store after the erasure %s", got, want)
		}
	}
	p.count("restores without them", 1)
	return errors.Join(err, db.Close())
}

// nobody checks that no marked person is in an answer.
func nobody(db *engine.DB) error {
	ctx := context.Background()
	for _, key := range markedKeys() {
		if _, err := db.Profile(ctx, key, nil); !errors.Is(err, &query.Error{Code: query.CodeUnknownName}) {
			return fmt.Errorf("%s was erased, and is there (%w)", key, err)
		}
	}
	for _, name := range []string{"city", "tags"} {
		values, err := db.Values(ctx, name, "", 1000)
		if err != nil {
			return err
		}
		for _, v := range values {
			if strings.Contains(v.Value, canary) && v.Count > 0 {
				return fmt.Errorf("%s: %q was erased, and %d have it", name, v.Value, v.Count)
			}
		}
	}
	rows, err := db.Quarantine(ctx, 0, 1000)
	for _, row := range rows {
		if strings.Contains(row.Raw+row.Detail, canary) {
			return fmt.Errorf("in the quarantine: %+v", row)
		}
	}
	return err
}

// purge purges. From then on the files have nothing of the marked people.
func (p *play) purge() error {
	r, err := p.db.Purge(context.Background(), nil)
	if err != nil {
		return err
	}
	if r == nil || r.Hits > 0 {
		return fmt.Errorf("void: there was nothing to purge, or something was left: %+v", r)
	}
	p.count("events purged", int(r.Events))
	p.count("quarantined rows purged", int(r.Quarantined))
	p.count("strings purged", int(r.Strings))
	p.count("refused rows purged", int(r.Refused))
	p.count("files looked through", int(r.Files))
	all, err := p.db.Receipts(context.Background())
	if err != nil {
		return err
	}
	p.give("the purge", func(p *play) error { return p.purged(len(all)) })
	return nil
}

// purged checks that so many purges, at least, were done, and that nothing was left.
func (p *play) purged(times int) error {
	all, err := p.db.Receipts(context.Background())
	if err != nil {
		return err
	}
	if len(all) < times {
		return fmt.Errorf("there are %d receipts, there were %d", len(all), times)
	}
	for i := range all {
		if all[i].Hits > 0 {
			return fmt.Errorf("something was left: %+v", all[i])
		}
	}
	found := ""
	err = engine.Contents(context.Background(), p.db, 64, func(file string, b []byte) {
		for form, want := range marks {
			if bytes.Contains(b, want) {
				found = file + ": " + form
			}
		}
	})
	if found != "" {
		err = errors.Join(err, fmt.Errorf("a mark is left in %s", found))
	}
	return err
}

// marks are forms of the mark of erased people.
var marks = forms()

// checkErased checks that nobody is in an answer once the erasure is in the store. To be
// thorough, it purges: after that nothing is left of them.
func (p *play) checkErased(at int, thorough bool) error {
	if at < p.after(erasureScene) {
		return nil
	}
	err := nobody(p.db)
	if err != nil || !thorough {
		return err
	}
	r, err := p.db.Purge(context.Background(), nil)
	if err != nil {
		return fmt.Errorf("purge after a crash: %w", err)
	}
	if r != nil {
		p.count("purges after a crash", 1)
	}
	if err := p.purged(1); err != nil {
		return fmt.Errorf("purge after a crash: %w", err)
	}
	if now, err := p.checkAll(p.db); err != nil || now != at {
		return fmt.Errorf("purge after a crash: at %d: %w", now, err)
	}
	return nil
}

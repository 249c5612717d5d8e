package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/query"
)

// repairScenario damages what is derived, and repairs it.
func repairScenario() scenario {
	compact := scene{name: "compact", do: func(p *play) error { return p.db.Compact(context.Background()) }}
	return scenario{
		name: "repair", lower: [3]int{8, 60, 12}, again: (*play).repairAgain,
		counts: []string{"values damaged", "things mended", "repairs after a crash"},
		scenes: []scene{
			{name: "whole so far", given: true, do: func(p *play) error { p.give("what is derived", unmended); return nil }},
			{name: "schema", write: scenarioSchema},
			{name: "load", times: 4, write: scenarioLoad},
			{name: "events with ids", times: 4, write: func(b *batch.Builder, i int) { scenarioEvents(b, i, true) }},
			{name: "upserts", times: 4, write: scenarioUpserts},
			compact,
			{name: "lists", times: 2, write: scenarioLists},
			{name: "damage", given: true, do: (*play).damage},
			{name: "repair", do: (*play).repair},
			{name: "more upserts", times: 4, write: scenarioUpserts},
			{name: "more events", times: 2, write: func(b *batch.Builder, i int) { scenarioEvents(b, 3+i, true) }},
			compact,
		},
	}
}

// unmended says that a store was opened without mending anything.
func unmended(p *play) error {
	if p.mended {
		return errors.New("it had to be mended, and nothing should have been wrong with it")
	}
	return nil
}

// damage breaks some values of each kind that derives from others.
func (p *play) damage() error {
	p.give("what is derived", nil)
	if err := p.close(); err != nil {
		return err
	}
	s, err := kv.Open(scenarioStore, kv.Config{FS: p.o.FS, Cache: 1 << 20, MemTable: 4 << 20})
	if err != nil {
		return err
	}
	b, of := s.NewBatch(), map[string]int{}
	kinds := derivedKinds()
	err = s.Scan(context.Background(), keys.Span{Start: []byte{0}, End: []byte{0xff}}, func(k, v []byte) (bool, error) {
		if kind := derivedKind(k); kind != "" && kinds[kind].opens && of[kind] < 2 {
			of[kind]++
			v = bytes.Clone(v)
			v[len(v)/2] ^= 4
			b.Set(bytes.Clone(k), v)
		}
		return true, nil
	})
	for _, kind := range []string{"fragment", "index", "day", "facts"} {
		if of[kind] == 0 {
			err = errors.Join(err, fmt.Errorf("void: there is no %s to be damaged: %v", kind, of))
		}
		p.count("values damaged", of[kind])
	}
	if err == nil {
		err = b.Commit(true)
	}
	if err = errors.Join(err, b.Close(), s.Close()); err != nil {
		return err
	}
	p.broken = true
	return p.open()
}

// repair repairs the store. From then on it is whole.
func (p *play) repair() error {
	r, err := p.db.Repair(context.Background(), nil)
	if err != nil {
		return err
	}
	if told := strings.Join(r.Beyond, "; "); strings.Contains(told, syscall.EIO.Error()) { // what cannot be read is in the report
		return kv.Coded(fmt.Errorf("%s: %w", told, syscall.EIO), "the disk")
	}
	if len(r.Mended) == 0 || len(r.Beyond) > 0 {
		return fmt.Errorf("repair: %+v", r)
	}
	p.count("things mended", len(r.Mended))
	p.broken = false
	p.give("what is derived", unmended)
	return nil
}

// repairAgain opens what a crash has left and repairs it, from the beginning or what was
// left to be done.
func (p *play) repairAgain() error {
	p.broken = true
	if err := p.open(); err != nil {
		return err
	}
	r, err := p.db.Repair(context.Background(), nil)
	if err != nil || len(r.Beyond) > 0 {
		return fmt.Errorf("repair after a crash: %q cannot be mended: %w", r.Beyond, err)
	}
	p.broken = false
	if len(r.Mended) > 0 {
		p.mended = true
		p.count("repairs after a crash", 1)
	}
	return nil
}

// markScenario has a store of before there was a file MARK, which gets one: it is what a
// store is made of this version, and all that such a change has been so far.
func markScenario() scenario {
	compact := scene{name: "compact", do: func(p *play) error { return p.db.Compact(context.Background()) }}
	return scenario{
		name: "a store without a mark", lower: [3]int{8, 60, 12}, again: (*play).acceptAgain,
		counts: []string{"marks made", "marks made after a crash"},
		scenes: []scene{
			{name: "marked so far", given: true, do: func(p *play) error { p.give("the mark", unmended); return nil }},
			{name: "schema", write: scenarioSchema},
			{name: "load", times: 3, write: scenarioLoad},
			compact,
			{name: "upserts", times: 3, write: scenarioUpserts},
			{name: "a mark is made", do: (*play).markAnew},
			{name: "more upserts", times: 4, write: scenarioUpserts},
			compact,
		},
	}
}

// markAnew takes the mark away and has the store begin a new epoch with another.
func (p *play) markAnew() error {
	p.give("the mark", nil)
	if err := p.close(); err != nil {
		return err
	}
	if err := errors.Join(p.o.FS.Remove(p.o.FS.PathJoin(scenarioStore, "MARK")), kv.SyncDir(p.o.FS, scenarioStore)); err != nil {
		return err
	}
	loss, err := engine.AcceptLoss(scenarioStore, &p.o)
	if err != nil {
		return coded(err)
	}
	if !loss.Unknown || loss.Now.Epoch < 2 || int(loss.Now.Applied) != p.next {
		return fmt.Errorf("%+v, %d batches were sent", loss, p.next)
	}
	if err := p.open(); err != nil {
		return err
	}
	p.count("marks made", 1)
	p.give("the mark", func(p *play) error {
		if st, err := p.db.Stats(context.Background()); err != nil || st.Position.Epoch < 2 {
			return fmt.Errorf("it is at %s (%w)", st.Position, err)
		}
		return unmended(p)
	})
	return nil
}

// acceptAgain opens what a crash has left: if that is without a mark, by accepting that
// nobody knows what is lost. What is lost is found then.
func (p *play) acceptAgain() error {
	err := p.open()
	if !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) || !strings.Contains(err.Error(), "MARK cannot be used: it is missing") {
		return err
	}
	if _, err := engine.AcceptLoss(scenarioStore, &p.o); err != nil {
		return fmt.Errorf("accept the loss: %w", err)
	}
	p.mended = true
	p.count("marks made after a crash", 1)
	return p.open()
}

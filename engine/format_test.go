package engine

import (
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/engine/internal/backup"
	"github.com/kantadb/kanta/engine/internal/keys"
	"github.com/kantadb/kanta/engine/internal/kv"
	"github.com/kantadb/kanta/query"
)

func formatStore(t testing.TB) *kv.Store {
	t.Helper()
	s, err := kv.Open("store", kv.Config{FS: vfs.NewMem(), Cache: 1 << 20, MemTable: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// written commits what fill writes and returns the payload of a key.
func written(t *testing.T, s *kv.Store, key []byte, fill func(b *kv.Batch)) string {
	t.Helper()
	b := s.NewBatch()
	fill(b)
	if err := errors.Join(b.Commit(false), b.Close()); err != nil {
		t.Fatal(err)
	}
	v, err := s.GetSealed(key)
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(v)
}

func formatWriter() *writer {
	w := &writer{db: &DB{}}
	w.end, w.pos, w.received, w.badRows = 70000, query.Position{Epoch: 1, Applied: 300}, 1_780_000_000_000, quarantineRange{5, 9}
	w.db.opt.limits.ensureDefaults()
	w.chain[0], w.chain[15] = 0xAA, 0xBB
	return w
}

// TestStateFormat pins the state record: version, then epoch 1, applied 300, end 70,000,
// received, the quarantine's 5 and 9, the chain hash.
func TestStateFormat(t *testing.T) {
	w := formatWriter()
	got := written(t, formatStore(t), keys.Meta(metaState), w.writeState)
	const want = "01" + "01" + "ac02" + "f0a204" + "80909282e733" + "05" + "09" + "aa0000000000000000000000000000bb"
	if got != want {
		t.Fatalf("state %s, want %s", got, want)
	}
	b, err := hex.DecodeString(want)
	if err != nil {
		t.Fatal(err)
	}
	r := &writer{db: &DB{}}
	if err := r.readState(b); err != nil || r.pos != w.pos || r.end != w.end || r.received != w.received || r.badRows != w.badRows || r.chain != w.chain {
		t.Fatalf("%v %+v", err, r)
	}
	for n := range b {
		if err := r.readState(b[:n]); !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	b[0]++
	if err := r.readState(b); !errors.Is(err, &query.Error{Code: query.CodeNewerFormat}) {
		t.Errorf("version 2: %v", err)
	}
}

// TestNamesFormat pins segments and lists.
func TestNamesFormat(t *testing.T) {
	s := &segment{text: "age > 3", saved: query.Position{Epoch: 1, Applied: 300}, uses: []string{"a", "bc"}}
	b := appendSegment(nil, s)
	if got := hex.EncodeToString(b); got != "01ac02"+"02"+"0161"+"026263"+hex.EncodeToString([]byte("age > 3")) {
		t.Errorf("segment %s", got)
	}
	if again, err := readSegment(b); err != nil || !reflect.DeepEqual(again, s) {
		t.Errorf("%+v %v", again, err)
	}
	s.shared = true
	if b = appendSegment(nil, s); !strings.HasPrefix(hex.EncodeToString(b), "0001"+"01ac02"+"02") {
		t.Errorf("shared segment %x", b)
	}
	if again, err := readSegment(b); err != nil || !reflect.DeepEqual(again, s) {
		t.Errorf("%+v %v", again, err)
	}
	s.owner = query.Author{ID: "key 1", Name: "a", Role: "maker"}
	if b = appendSegment(nil, s); !strings.HasPrefix(hex.EncodeToString(b), "0003"+"056b65792031"+"0161"+"056d616b6572"+"01ac02"+"02") {
		t.Errorf("shared segment with an owner %x", b)
	}
	if again, err := readSegment(b); err != nil || !reflect.DeepEqual(again, s) {
		t.Errorf("%+v %v", again, err)
	}
	s.shared = false
	if again, err := readSegment(appendSegment(nil, s)); err != nil || !reflect.DeepEqual(again, s) {
		t.Errorf("%+v %v", again, err)
	}
	b[1] = 4
	if _, err := readSegment(b); !errors.Is(err, &query.Error{Code: query.CodeNewerFormat}) {
		t.Errorf("another flag: %v", err)
	}
	w, l := formatWriter(), &list{code: 7, saved: query.Position{Epoch: 1, Applied: 300}}
	got := written(t, formatStore(t), keys.List("staff"), func(b *kv.Batch) {
		w.persistMeta(&metaChanges{lists: map[string]*list{"staff": l}}, b)
	})
	if got != "01ac02"+"07" {
		t.Errorf("list %s", got)
	}
	if again, err := readList([]byte{1, 0xac, 2, 7}); err != nil || *again != *l {
		t.Errorf("%+v %v", again, err)
	}
}

// TestQuarantineFormat pins a quarantined row.
func TestQuarantineFormat(t *testing.T) {
	w := formatWriter()
	d := &decision{bad: []badRow{{batch.BadRow{Line: 3, Reason: batch.ReasonKind, Detail: "d", Raw: "raw"}, "crm"}}}
	got := written(t, formatStore(t), keys.Quarantine(9), func(b *kv.Batch) { w.persistQuarantine(d, b) })
	const want = "80909282e733" + "03" + "0a" + "0363726d" + "0164" + "03726177"
	if got != want || w.badRows.next != 10 {
		t.Fatalf("quarantined row %s, want %s", got, want)
	}
	b, _ := hex.DecodeString(want)
	row, received, err := readQuarantined(9, b)
	if err != nil || received != w.received || row.Line != 3 || row.Source != "crm" || row.Raw != "raw" || row.Reason != batch.ReasonKind.String() {
		t.Fatalf("%+v %d %v", row, received, err)
	}
}

// TestRememberedFormat pins the outcome of a batch that is remembered.
func TestRememberedFormat(t *testing.T) {
	result := batch.Result{Position: query.Position{Epoch: 1, Applied: 300}, Received: 10, Accepted: 6, Quarantined: 2, Duplicates: 1, Refused: 1, Created: 5}
	b := appendRemembered("crm", &result, 1_780_000_000_000)
	if got := hex.EncodeToString(b); got != "0363726d"+"80909282e733"+"01ac02"+"0a0602010105" {
		t.Fatalf("remembered %s", got)
	}
	r := &repeats{sources: map[string]*source{}}
	if err := r.load(11, 7, 1, b); err != nil {
		t.Fatal(err)
	}
	if got, err := r.seen(&batch.Decoded{Source: "crm", Run: 7, Sequence: 1}); err != nil || !reflect.DeepEqual(*got, result) {
		t.Fatalf("%+v %v", got, err)
	}
}

// TestIndexManifestFormat reads an index's manifest: pages 256, folded 300, 5 entries.
func TestIndexManifestFormat(t *testing.T) {
	b, _ := hex.DecodeString("01" + "8002" + "ac02" + "05")
	pages, folded, entries, err := readTable(7, kv.Seal(nil, b))
	if err != nil || pages != 256 || folded != 300 || entries != 5 {
		t.Fatal(pages, folded, entries, err)
	}
	b[0]++
	if _, _, _, err := readTable(7, kv.Seal(nil, b)); !errors.Is(err, &query.Error{Code: query.CodeNewerFormat}) {
		t.Errorf("version 2: %v", err)
	}
	for _, bad := range [][]byte{nil, kv.Seal(nil, nil), kv.Seal(nil, []byte{1}), kv.Seal(nil, []byte{1, 0x80})} {
		if _, _, _, err := readTable(7, bad); !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) || !strings.HasPrefix(err.Error(), "the manifest of the index of attribute 7") {
			t.Errorf("%x: %v", bad, err)
		}
	}
}

// TestDocumentFormat pins a document: epoch 1, applied 300, the value.
func TestDocumentFormat(t *testing.T) {
	x := &document{value: []byte("abc"), saved: query.Position{Epoch: 1, Applied: 300}}
	got := written(t, formatStore(t), keys.Document("role/a"), func(b *kv.Batch) {
		(&metaChanges{documents: map[string]*document{"role/a": x}}).persistDocuments(b)
	})
	if got != "01ac02"+"616263" {
		t.Errorf("document %s", got)
	}
	if again, err := readDocument([]byte("\x01\xac\x02abc")); err != nil || !reflect.DeepEqual(again, x) {
		t.Errorf("%+v %v", again, err)
	}
	if _, err := readDocument([]byte{1, 0x80}); !errors.Is(err, &query.Error{Code: query.CodeCorrupt}) {
		t.Error(err)
	}
}

// FuzzStored reads anything as each of the values that the engine stores itself.
func FuzzStored(f *testing.F) {
	f.Add([]byte{1, 1, 0xac, 2, 0, 0, 0, 0})
	f.Add(appendSegment(nil, &segment{text: "x", saved: query.Position{Epoch: 1}, uses: []string{"y"}}))
	f.Add(appendSegment(nil, &segment{text: "x", saved: query.Position{Epoch: 2}, shared: true}))
	f.Add(appendSegment(nil, &segment{text: "x", saved: query.Position{Epoch: 2}, owner: query.Author{ID: "key 1"}}))
	f.Add(appendRemembered("crm", &batch.Result{}, 5))
	f.Add(appendDefinition(nil, &definition{Definition: batch.Definition{Who: "vip", Arguments: query.Arguments{"event": {"buy"}, "bins": {"3"}}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = (&writer{db: &DB{}}).readState(b)
		_, _ = readList(b)
		_, _ = readDocument(b)
		_, _, _ = readQuarantined(1, b)
		_ = (&repeats{sources: map[string]*source{}}).load(1, 2, 3, b)
		_, _, _, _ = readTable(7, kv.Seal(nil, b))
		if d, err := readDefinition("rfm", "orders", b); err == nil {
			if again, err := readDefinition("rfm", "orders", appendDefinition(nil, d)); err != nil || !reflect.DeepEqual(again.args, d.args) {
				t.Fatalf("%+v %+v %v", d.args, again, err)
			}
		}
		s, err := readSegment(b)
		if err != nil {
			return
		}
		if again, err := readSegment(appendSegment(nil, s)); err != nil || !reflect.DeepEqual(s, again) {
			t.Fatalf("%+v %+v %v", s, again, err)
		}
	})
}

// TestKeepingFormat pins what is known of the log that is kept: version, on and based, target, why it
// is broken, epoch, two parts with first position and bytes, their chain hashes.
func TestKeepingFormat(t *testing.T) {
	k := keeping{on: true, based: true, target: "t1", broken: "limit", epoch: 2, older: []keptPart{{first: 7, bytes: 300}}, newest: keptPart{first: 9, bytes: 0}}
	k.older[0].before[0], k.newest.before[15] = 0xAA, 0xBB
	sealed := k.append()
	payload, err := kv.Unseal(sealed)
	if err != nil {
		t.Fatal(err)
	}
	const want = "01" + "03" + "027431" + "056c696d6974" + "02" + "02" + "07ac02" + "0900" + "aa000000000000000000000000000000" + "000000000000000000000000000000bb"
	if got := hex.EncodeToString(payload); got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	if got, err := readKeeping(sealed); err != nil || !reflect.DeepEqual(got, k) {
		t.Fatalf("%+v %v", got, err)
	}
	for n := 1; n < len(payload); n++ {
		if got, err := readKeeping(kv.Seal(nil, payload[:n])); err == nil {
			t.Fatalf("%d bytes are %+v", n, got)
		}
	}
	payload[0] = 2
	if _, err := readKeeping(kv.Seal(nil, payload)); !errors.Is(err, &query.Error{Code: query.CodeNewerFormat}) {
		t.Fatal(err)
	}
}

// TestKeepingParts keeps records, ships some, and reaches the limit: bytes and positions are
// those of the records that there are.
func TestKeepingParts(t *testing.T) {
	w, s := formatWriter(), formatStore(t)
	w.db.opt.limits.keptBytes = 160
	w.keep.on = true
	w.keep.begin(w.pos, w.chain, backup.BrokenOff)
	size := func(at uint64) int { return int(1 + at%7) }
	kb := s.NewBatch()
	defer kb.Close()
	limited := 0
	for round := range 400 {
		before := w.chain
		w.pos.Applied++
		w.chain[0]++
		w.keepRecord(make([]byte, size(w.pos.Applied)), before, kb)
		if round%71 == 70 {
			if w.keep.broken == backup.BrokenLimit {
				limited++
			}
			first := w.keep.oldest().first
			p := &shipped{First: first, Last: first + uint64(round)%(w.pos.Applied-first+1)}
			var sizes []int
			for at := p.First; at <= p.Last; at++ {
				sizes = append(sizes, size(at))
			}
			w.keep.shipped(p, sizes)
		}
		sum := 0
		first := w.keep.oldest().first
		for at := first; at <= w.pos.Applied; at++ {
			sum += size(at)
		}
		if got := w.keep.bytes(); got != uint64(sum) || sum > 160 || len(w.keep.older) > 2*keptParts {
			t.Fatalf("round %d: %d bytes, there are %d from %d on", round, got, sum, first)
		}
	}
	if limited < 3 {
		t.Fatalf("the limit was reached %d times", limited)
	}
}

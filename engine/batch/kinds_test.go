package batch

import (
	"slices"
	"testing"

	"github.com/kantadb/kanta/query"
)

// TestKinds looks at the examples of the package comment, at random batches and at damage: it
// says what Decode says.
func TestKinds(t *testing.T) {
	for _, example := range []func(testing.TB) (Batch, plainBatch){example, exampleEvents, exampleDefinition, exampleErasure, exampleDocuments} {
		enc, want := example(t)
		var codes []OpCode
		for _, op := range want.ops {
			if !slices.Contains(codes, op.code) {
				codes = append(codes, op.code)
			}
		}
		if got, err := Kinds(enc); err != nil || !slices.Equal(got, codes) {
			t.Errorf("%v, %v, not %v", got, err, codes)
		}
		for i := range enc {
			bad := slices.Clone(enc)
			bad[i]++
			if _, err := Kinds(bad); code(err) != query.CodeCorrupt && code(err) != query.CodeNewerFormat {
				t.Errorf("byte %d changed: %v", i, err)
			}
			if _, err := Kinds(enc[:i]); code(err) != query.CodeCorrupt {
				t.Errorf("cut at %d: %v", i, err)
			}
		}
	}
	b := New()
	b.appendOp(200, nil, 0)
	newer, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Kinds(newer); err != nil || !slices.Equal(got, []OpCode{200}) {
		t.Errorf("an op of a later version: %v, %v", got, err)
	}
	if got, err := Kinds(payload(0, 0, 0, 9)); code(err) != query.CodeCorrupt {
		t.Errorf("nine ops of nothing: %v, %v", got, err)
	}
}

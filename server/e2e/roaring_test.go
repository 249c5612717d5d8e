package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// script prints the numbers in a bitmap that stands in a file.
const script = `
const roaring = require(process.argv[1]);
const load = roaring.roaringLibraryInitialize ? roaring.roaringLibraryInitialize() : Promise.resolve();
load.then(() => {
  const b = roaring.RoaringBitmap32.deserialize("portable", require("fs").readFileSync(process.argv[2]));
  console.log(JSON.stringify(Array.from(b.toUint32Array())));
});`

// TestRoaring has CRoaring read bitmaps: arrays, dense ones, runs, everybody and nobody.
func TestRoaring(t *testing.T) {
	library, err := filepath.Abs(filepath.Join("..", "..", ".build", "roaring", "package", "index.js"))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("./fetch.sh").CombinedOutput(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%v: %s", err, out)
		}
		t.Skipf("no other implementation of roaring bitmaps: %s", out)
	}
	l := learn(t)
	for _, expression := range []string{`"country == \"FI\""`, `"age == 20"`, `"true"`, `"age < 0"`, `"age >= 30 && age < 50"`} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		method, in, out := l.call(t, "Bitmap", `{"expression":`+expression+`}`)
		var raw []byte
		l.stream(t, ctx, method, in, out, func() { raw = append(raw, field(field(out, "members").Message(), "roaring").Bytes()...) })
		cancel()
		file := filepath.Join(t.TempDir(), "bitmap")
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		text, err := exec.Command("node", "-e", script, library, file).Output()
		if err != nil {
			t.Fatal(err)
		}
		var got []uint32
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if want, _ := l.members(t, expression); !slices.Equal(got, want) {
			t.Errorf("%s: %d ordinals in the bitmap, %d in the listing", expression, len(got), len(want))
		}
	}
}

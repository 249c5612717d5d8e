package quality

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// TestBombs reads small files that become 64 MiB of one line, of nothing, and of another
// packed file: memory does not follow.
func TestBombs(t *testing.T) {
	const size = 64 << 20
	gz := func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }
	zs := func(w io.Writer) io.WriteCloser {
		z, err := zstd.NewWriter(w)
		if err != nil {
			t.Fatal(err)
		}
		return z
	}
	pack := func(packer func(io.Writer) io.WriteCloser, start string, fill byte) []byte {
		var out bytes.Buffer
		w := packer(&out)
		_, err := io.WriteString(w, start)
		for i := 0; i < size && err == nil; i += 1 << 20 {
			_, err = w.Write(bytes.Repeat([]byte{fill}, 1<<20))
		}
		if err = errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	twice := func(b []byte) []byte {
		var out bytes.Buffer
		w := gz(&out)
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	for name, bomb := range map[string][]byte{
		"gzip of a line": pack(gz, "id,name\n1,", 'x'), "zstd of a line": pack(zs, "id,name\n1,", 'x'), "gzip of JSON": pack(gz, "{\"id\":1}\n{\"id\":\"", 'x'),
		"zstd of line ends": pack(zs, "id,name\n1,x\n", '\n'), "gzip of gzip": twice(pack(gz, "", 'x')),
	} {
		if len(bomb) > size/900 {
			t.Fatalf("%s has %d bytes: it is no bomb", name, len(bomb))
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		rows, _, err := OpenRows(bytes.NewReader(bomb), nil)
		good, bad := 0, 0
		for err == nil {
			var row *RowError
			if _, _, err = rows.Next(); errors.As(err, &row) {
				bad, err = bad+1, nil
			} else if err == nil {
				good++
			}
		}
		if rows != nil {
			if err := rows.Close(); err != nil {
				t.Fatal(err)
			}
		}
		runtime.ReadMemStats(&after)
		t.Logf("%s: %d bytes, %d good and %d bad rows, %v, %d MiB allocated", name, len(bomb), good, bad, err, (after.TotalAlloc-before.TotalAlloc)>>20)
		if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 || good > 1 || good+bad == 0 && err == io.EOF {
			t.Errorf("%s: %d bytes allocated, %d good and %d bad rows, %v", name, n, good, bad, err)
		}
	}
}

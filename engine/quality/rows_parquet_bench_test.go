//go:build unix

package quality

import (
	"bytes"
	"context"
	"encoding/csv"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/kantadb/kanta/index/schema"
)

// parquetWorkload is workload as a Parquet file.
func parquetWorkload(b *testing.B, n int) ([]byte, *schema.Schema) {
	table, s := workload(n)
	all, err := csv.NewReader(bytes.NewReader(table)).ReadAll()
	if err != nil {
		b.Fatal(err)
	}
	columns := make([]parquetColumn, len(all[0]))
	for i, name := range all[0] {
		c := parquetColumn{name: name, node: parquet.String()}
		a := s.Lookup(name)
		switch {
		case a == nil:
		case a.Kind == schema.Int:
			c.node = parquet.Int(64)
		case a.Kind == schema.Decimal:
			c.node = parquet.Decimal(2, 18, parquet.Int64Type)
		case a.Kind == schema.Date:
			c.node = parquet.Date()
		case a.Kind == schema.Bool:
			c.node = parquet.Leaf(parquet.BooleanType)
		case a.Kind == schema.Set:
			c.node = parquet.List(parquet.String())
		}
		c.node = parquet.Optional(c.node)
		for _, row := range all[1:] {
			c.rows = append(c.rows, parquetCellOf(b, a, row[i]))
		}
		columns[i] = c
	}
	return writeParquet(b, columns, parquet.Compression(&parquet.Snappy)), s
}

func parquetCellOf(b *testing.B, a *schema.Attribute, cell string) []parquet.Value {
	switch {
	case cell == "":
		return null()
	case a != nil && a.Kind == schema.Set:
		var elements []parquet.Value
		for element := range strings.SplitSeq(cell, "|") {
			elements = append(elements, text(element))
		}
		return listOf(elements...)
	case a == nil || a.Kind == schema.String:
		return some(text(cell))
	}
	n, err := schema.ParseOrdered(a.Kind, a.Scale, []byte(cell), nil)
	switch {
	case err != nil:
		b.Fatal(err)
	case a.Kind == schema.Bool:
		return some(parquet.BooleanValue(n != 0))
	case a.Kind == schema.Date:
		return some(parquet.Int32Value(int32(n)))
	}
	return some(parquet.Int64Value(n))
}

// BenchmarkLoadParquet is BenchmarkLoad from a Parquet file.
func BenchmarkLoadParquet(b *testing.B) {
	const n = 100_000
	file, s := parquetWorkload(b, n)
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuSeconds(b)
	for b.Loop() {
		rows, err := OpenParquet(bytes.NewReader(file), int64(len(file)), nil)
		if err != nil {
			b.Fatal(err)
		}
		report, err := Load(context.Background(), rows, s, LoadOptions{Key: "key", Source: "bench"}, func(Loaded) error { return nil })
		if err != nil || report.Typed != n {
			b.Fatal(report, err)
		}
		if err := rows.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((cpuSeconds(b)-cpu)*1e9/float64(b.N)/n, "cpu-ns/row")
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "rows/s")
}

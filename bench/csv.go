package bench

import (
	"context"
	"io"
	"math/bits"
	"strconv"
	"sync"

	"github.com/kantadb/kanta/index/schema"
)

// blockRows is how many rows a goroutine makes at a time, some 600 kB of CSV: enough
// that handing over costs nothing, little enough to stay in the cache.
const blockRows = 4096

// Header returns the first line of the CSV form: the key, then the attributes.
func (g *Generator) Header() []byte {
	line := []byte("key")
	for a := range g.columns {
		line = append(line, ',')
		line = append(line, g.columns[a].name...)
	}
	return append(line, '\n')
}

// AppendCSV appends a profile as a line of CSV to dst: dates ISO, bools true or false,
// sets joined by "|", an absent value or an empty set as an empty cell. No cell needs
// quotes.
func (g *Generator) AppendCSV(dst []byte, p *Profile) []byte {
	dst = AppendKey(dst, p.Number)
	for a := range g.columns {
		dst = append(dst, ',')
		if p.absent>>a&1 == 1 {
			continue
		}
		switch c, n := &g.columns[a], p.values[a]; c.kind {
		case schema.String:
			dst = append(dst, c.words[n]...)
		case schema.Date:
			dst = append(dst, c.words[n-c.base]...)
		case schema.Bool:
			dst = strconv.AppendBool(dst, n != 0)
		case schema.Decimal:
			dst = appendCents(dst, n)
		case schema.Set:
			dst = g.appendSet(dst, p)
		default:
			dst = strconv.AppendInt(dst, n, 10)
		}
	}
	return append(dst, '\n')
}

// appendCents appends an amount of money, which is not negative.
func appendCents(dst []byte, n int64) []byte {
	return append(strconv.AppendInt(dst, n/100, 10), '.', byte('0'+n/10%10), byte('0'+n%10))
}

func (g *Generator) appendSet(dst []byte, p *Profile) []byte {
	start := len(dst)
	for w, word := range p.interests {
		for ; word != 0; word &= word - 1 {
			if len(dst) > start {
				dst = append(dst, '|')
			}
			dst = append(dst, g.columns[Interests].words[w*64+bits.TrailingZeros64(word)]...)
		}
	}
	return dst
}

// WriteCSV writes the header and all profiles in order of their numbers, and returns
// the answers to the questions about them. The bytes do not depend on
// Options.Parallelism. An error is one of w or of ctx.
func (g *Generator) WriteCSV(ctx context.Context, w io.Writer) (Expected, error) {
	if _, err := w.Write(g.Header()); err != nil {
		return Expected{}, err
	}
	tally, err := g.generate(ctx, g.AppendCSV, func(block []byte) error {
		_, err := w.Write(block)
		return err
	})
	if err != nil {
		return Expected{}, err
	}
	return tally.Expected(), nil
}

// Count makes all profiles only to count them.
func (g *Generator) Count(ctx context.Context) (Expected, error) {
	tally, err := g.generate(ctx, func(dst []byte, _ *Profile) []byte { return dst }, func([]byte) error { return nil })
	if err != nil {
		return Expected{}, err
	}
	return tally.Expected(), nil
}

// generate makes all profiles and gives emit what appendRow made of each block, in order.
func (g *Generator) generate(ctx context.Context, appendRow func([]byte, *Profile) []byte, emit func([]byte) error) (*Tally, error) {
	tallies := make([]*Tally, g.opt.Parallelism)
	for k := range tallies {
		tallies[k] = g.NewTally()
	}
	err := g.inOrder(ctx, 0, g.opt.Profiles, func(k int, dst []byte, from, to uint64) []byte {
		var p Profile
		for number := from; number < to; number++ {
			g.Profile(number, &p)
			tallies[k].Add(&p)
			dst = appendRow(dst, &p)
		}
		return dst
	}, emit)
	if err != nil {
		return nil, err
	}
	for _, t := range tallies[1:] {
		tallies[0].Merge(t)
	}
	return tallies[0], nil
}

// inOrder has blocks of numbers of [first, end) turned into bytes by several goroutines,
// each with its own k, and gives emit those of each block, in order, on the caller's
// goroutine. Goroutine k of n makes the blocks k, k+n, ...: no block waits for another's
// writer.
func (g *Generator) inOrder(ctx context.Context, first, end uint64, makeBlock func(k int, dst []byte, from, to uint64) []byte, emit func([]byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n := uint64(g.opt.Parallelism)
	made := make([]chan []byte, n)
	used := make([]chan []byte, n) // blocks that were emitted, to be filled again
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for k := range n {
		made[k], used[k] = make(chan []byte, 2), make(chan []byte, 2)
		used[k] <- nil
		used[k] <- nil
		wg.Go(func() {
			for from := first + k*blockRows; from < end; from += n * blockRows {
				var block []byte
				select {
				case block = <-used[k]:
				case <-ctx.Done():
					return
				}
				made[k] <- makeBlock(int(k), block[:0], from, min(from+blockRows, end)) // never waits: there are two blocks in all
			}
		})
	}
	for from := first; from < end; from += blockRows {
		k := (from - first) / blockRows % n
		select {
		case block := <-made[k]:
			if err := emit(block); err != nil {
				return err
			}
			used[k] <- block
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

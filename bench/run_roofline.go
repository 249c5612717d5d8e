package bench

import (
	"sync"
	"time"
)

// bandwidthBytes is how much is streamed: several times any processor's cache.
const bandwidthBytes = 256 << 20

// bandwidthRuns is how often; the best counts, for others use the machine too.
const bandwidthRuns = 5

// bandwidth returns how many bytes per second so many goroutines together read from
// memory.
func bandwidth(goroutines, bytes int) float64 {
	words := make([]uint64, bytes/8)
	for i := range words { // a page that was never written to is not in memory
		words[i] = uint64(i)
	}
	best := time.Duration(0)
	for range bandwidthRuns {
		start := time.Now()
		streamed(words, goroutines)
		if took := max(time.Since(start), 1); best == 0 || took < best {
			best = took
		}
	}
	return float64(8*len(words)) / best.Seconds()
}

// streamed reads all words on several goroutines and returns their sum.
func streamed(words []uint64, goroutines int) (total uint64) {
	sums := make([]uint64, goroutines)
	var wg sync.WaitGroup
	for k := range goroutines {
		wg.Go(func() { sums[k] = sum(words[len(words)*k/goroutines : len(words)*(k+1)/goroutines]) })
	}
	wg.Wait()
	for _, s := range sums {
		total += s
	}
	return total
}

// sum adds words up in eight chains, so that none waits for the addition before it.
func sum(words []uint64) uint64 {
	var s [8]uint64
	for ; len(words) >= 8; words = words[8:] {
		s[0] += words[0]
		s[1] += words[1]
		s[2] += words[2]
		s[3] += words[3]
		s[4] += words[4]
		s[5] += words[5]
		s[6] += words[6]
		s[7] += words[7]
	}
	for _, w := range words {
		s[0] += w
	}
	return s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7]
}

package admission

import (
	"sync"
	"time"
)

// risen is how slowly what a question takes goes up, by one of so many of the difference.
const risen = 64

// Costs knows how long questions took that were asked before, by a number that stands for all
// of the same shape. It is safe for concurrent use.
type Costs struct {
	most int

	mu   sync.Mutex
	took map[uint64]time.Duration
}

// NewCosts returns one that knows at most so many.
func NewCosts(most int) *Costs { return &Costs{most: most, took: make(map[uint64]time.Duration)} }

// Of returns what a question is expected to take; false: nobody has asked it.
func (c *Costs) Of(question uint64) (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	took, ok := c.took[question]
	return took, ok
}

// Learn is told what a question took. What it takes is the least of lately, for when there is much
// to do everything takes longer, and would count as long just then. When there are too many
// questions any one is forgotten.
func (c *Costs) Learn(question uint64, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old, ok := c.took[question]
	if ok && took > old {
		took = old + (took-old)/risen
	}
	if !ok && len(c.took) >= c.most {
		for other := range c.took {
			delete(c.took, other)
			break
		}
	}
	c.took[question] = took
}

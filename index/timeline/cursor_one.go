package timeline

import "sort"

// one makes a batch of the events of the one profile looked for. Of the others only the
// gaps before them are read: no time, and no value.
func (c *Cursor) one(timed bool) (bool, error) {
	c.Hits, c.Counts = nil, nil
	from, to, err := c.run(uint32(c.scan.Profile))
	if err == nil && timed && from < to {
		from, to, err = c.between(from, to)
	}
	if err != nil || from >= to {
		return false, err
	}
	c.From, c.To = from, to
	mem := &c.memory
	mem.profiles[0], mem.starts[0], mem.starts[1] = c.scan.Profile, uint16(from), uint16(to)
	c.Profiles, c.Starts, c.Ends = mem.profiles[:1], mem.starts[:1], mem.starts[1:2]
	if c.scan.Where == nil {
		return true, nil
	}
	if err := c.scan.Where(&c.Block, &c.yes, &c.no); err != nil {
		return false, err
	}
	c.hits.fill(from, to)
	for i, w := range c.hits {
		c.no[i] = w &^ (c.yes[i] | c.no[i])
		c.hits[i] = w & c.yes[i]
	}
	c.Stats.Unknown += c.no.Count()
	n := c.hits.Count()
	c.Hits, c.Counts, c.counts[0] = &c.hits, c.counts[:1], uint16(n)
	if n > 0 {
		mem.starts[0], mem.starts[1] = uint16(c.hits.nth(from, 0)), uint16(c.hits.nth(from, n-1)+1)
	}
	return n > 0, nil
}

// gapsAtOnce is how many gaps are added up before they are looked at one by one.
const gapsAtOnce = 128

// run returns the events, out of From to To-1, of a profile of the chunk: from to to-1.
func (b *Block) run(profile uint32) (from, to int, err error) {
	runs, first, next, p, packed, err := b.begins()
	if err != nil {
		return 0, 0, err
	}
	mem := b.mem
	for at := 0; at < runs && next <= profile; at += gapsAtOnce {
		gaps := mem.gaps[:min(gapsAtOnce, runs-at)]
		unpack(gaps, packed, first+at, int(p.width))
		sum := uint32(len(gaps))
		for _, gap := range gaps {
			sum += uint32(gap)
		}
		if next+sum <= profile {
			next += sum
			continue
		}
		for i, gap := range gaps {
			if next += uint32(gap); next < profile {
				next++
				continue
			}
			if next > profile {
				return 0, 0, nil
			}
			from, to = mem.begins.nth(b.From, at+i), b.To
			if at+i+1 < runs {
				to = mem.begins.nth(from+1, 0)
			}
			return from, to, nil
		}
	}
	return 0, 0, nil
}

// between returns those of a run's events from to to-1 that the scan's window holds.
func (c *Cursor) between(from, to int) (int, int, error) {
	p, packed, err := c.piece(timeColumn)
	if err != nil {
		return 0, 0, err
	}
	since := func(t int64) int {
		return from + sort.Search(to-from, func(i int) bool { return p.min+int64(number(packed, from+i, int(p.width))*p.unit) >= t })
	}
	return since(c.scan.From), since(c.scan.To), nil
}

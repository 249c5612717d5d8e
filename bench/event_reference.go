package bench

// Behaviour is all events by profile, in plain slices: the slow, obvious reference for the
// questions about events. An event takes some 60 bytes, so it is for small workloads.
type Behaviour struct {
	g     *Generator
	acts  []Event  // by profile, then in order of time
	first []uint64 // by number of the profile: where its events begin in acts; and where they all end
}

// Behaviour makes all events, twice: to count them and to keep them.
func (g *Generator) Behaviour() *Behaviour {
	b := &Behaviour{g: g, acts: make([]Event, g.opt.Events), first: make([]uint64, g.opt.Profiles+1)}
	var e Event
	for number := range g.opt.Events {
		g.Event(number, &e)
		b.first[e.Profile+1]++
	}
	for p := range g.opt.Profiles {
		b.first[p+1] += b.first[p]
	}
	next := append([]uint64(nil), b.first...)
	for number := range g.opt.Events {
		g.Event(number, &e)
		b.acts[next[e.Profile]] = e
		next[e.Profile]++
	}
	return b
}

// Of returns the events of a profile, in order of time.
func (b *Behaviour) Of(profile uint64) []Event { return b.acts[b.first[profile]:b.first[profile+1]] }

// Answer returns the right answer to a question.
func (b *Behaviour) Answer(q EventQuestion) Known {
	k := Known{Name: q.Name}
	for profile := range b.g.opt.Profiles {
		if q.is(b.g, profile, b.Of(profile)) {
			k.True++
		}
	}
	return k
}

// Answers returns the right answers to EventQuestions, in order.
func (b *Behaviour) Answers() (out []Known) {
	for _, q := range EventQuestions() {
		out = append(out, b.Answer(q))
	}
	return out
}

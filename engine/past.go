package engine

import (
	"fmt"
	"slices"
	"sync"

	"github.com/kantadb/kanta/engine/internal/view"
	"github.com/kantadb/kanta/index/schema"
	"github.com/kantadb/kanta/query"
)

// maxPasts bounds the instants whose values a snapshot keeps: a question that compares
// two or three asks them again and again.
const maxPasts = 16

// pasts are a snapshot's states at instants before its last record.
type pasts struct {
	mu sync.Mutex
	at map[int64]*view.State
}

// get returns the state as it is read at an instant. Beyond maxPasts the others are
// dropped; what their readers still make of them is the cache's to take out.
func (p *pasts) get(n *snapshot, now int64) *view.State {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.at[now]; s != nil {
		return s
	}
	if len(p.at) >= maxPasts {
		p.drop()
	}
	if p.at == nil {
		p.at = map[int64]*view.State{}
	}
	s := n.stored().At(now, n.db.cache) // also of what is only shown
	s.Schema = n.s.Schema
	p.at[now] = s
	return s
}

func (p *pasts) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop()
}

func (p *pasts) drop() {
	for _, s := range p.at {
		s.Past.Forget()
	}
	clear(p.at)
}

// past reports whether a question is about an instant before the last record: only one
// that names its instant can be, for the clock may be behind that of who wrote the record.
func (n *snapshot) past(o *query.Options) bool {
	return o != nil && !o.Now.IsZero() && n.db.now(o).UnixMilli() < n.s.Received
}

// view returns what a question reads.
func (n *snapshot) view(o *query.Options) view.View {
	if !n.past(o) || !n.storedSchema().KeepsHistory() {
		return view.View{S: &n.s.State}
	}
	return view.View{S: n.pasts.get(n, n.db.now(o).UnixMilli())}
}

// plain returns what a question reads that is about what there is, whenever it is asked about.
func (n *snapshot) plain(o *query.Options) view.View {
	memory := int64(0)
	if o != nil {
		memory = o.Memory
	}
	return view.View{S: &n.s.State, Memory: n.db.cache.Question(memory)}
}

// current names what a question about the past reads as it is now: attributes without
// history, and lists.
func (n *snapshot) current(o *query.Options, used query.Uses) (names []string) {
	if !n.past(o) {
		return nil
	}
	for _, id := range used.Attributes {
		if a := n.storedSchema().ByID(id); a != nil && !a.History && id < schema.FirstLent { // what is lent is of then
			names = append(names, a.Name)
		}
	}
	for _, list := range used.Lists {
		names = append(names, fmt.Sprintf("in_list(%q)", list))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// currentOf is current of all that a profile shows.
func (n *snapshot) currentOf(o *query.Options, p *query.Profile) []string {
	used := query.Uses{Lists: p.Lists}
	for i := range p.Values {
		if a := n.storedSchema().Lookup(p.Values[i].Name); a != nil {
			used.Attributes = append(used.Attributes, a.ID)
		}
	}
	return n.current(o, used)
}

package path

import (
	"context"

	"github.com/kantadb/kanta/query"
)

// trie counts paths by their beginnings.
type trie struct {
	nodes []node   // of each beginning; a longer one stands behind
	slots []uint32 // of nodes by parent and label, hashed; 0: free
}

// node is a beginning of paths: another one, and a step.
type node struct {
	parent, label uint32
	ends          uint64 // paths that are this and no more
}

func newTrie() *trie { return &trie{nodes: make([]node, 1), slots: make([]uint32, 1<<8)} }

// add counts a path.
func (t *trie) add(path []uint32) {
	at := uint32(0)
	for _, label := range path {
		at = t.child(at, label)
	}
	t.nodes[at].ends++
}

// child returns the node of a beginning with one more step.
func (t *trie) child(parent, label uint32) uint32 {
	for i := t.slot(parent, label); ; i = (i + 1) & (len(t.slots) - 1) {
		at := t.slots[i]
		if at == 0 {
			break
		}
		if n := &t.nodes[at]; n.parent == parent && n.label == label {
			return at
		}
	}
	if 2*len(t.nodes) > len(t.slots) {
		t.grow()
	}
	at := uint32(len(t.nodes))
	t.nodes = append(t.nodes, node{parent: parent, label: label})
	t.put(at)
	return at
}

// slot returns where to look first.
func (t *trie) slot(parent, label uint32) int {
	const golden = 0x9E3779B97F4A7C15
	return int((uint64(parent)<<32|uint64(label))*golden>>32) & (len(t.slots) - 1)
}

func (t *trie) put(at uint32) {
	i := t.slot(t.nodes[at].parent, t.nodes[at].label)
	for t.slots[i] != 0 {
		i = (i + 1) & (len(t.slots) - 1)
	}
	t.slots[i] = at
}

func (t *trie) grow() {
	t.slots = make([]uint32, 2*len(t.slots))
	for at := 1; at < len(t.nodes); at++ {
		t.put(uint32(at))
	}
}

// nodeBytes is what a beginning takes: itself and the room that lists grow by, its slots while
// they grow, both again where all are put together, and there its number, count and length.
const nodeBytes = 2*(2*16+6*4) + 16

// keeper takes memory for what is kept beyond chunks.
type keeper struct {
	bytes int64 // that have not been taken yet
	nodes int   // of which it has
}

func (v *visitor) keep(c *query.StudyChunk) error {
	if v.trie != nil {
		v.kept.bytes += int64(len(v.trie.nodes)-v.kept.nodes) * nodeBytes
		v.kept.nodes = len(v.trie.nodes)
	}
	bytes := v.kept.bytes
	v.kept.bytes = 0
	return c.Keep(bytes)
}

// counts are all paths by their beginnings.
type counts struct {
	*trie
	labels labels
	n      []uint64 // by node: paths
	length []uint8  // by node: its steps
}

// merge puts together what the workers have counted.
func merge(ctx context.Context, p *paths, s *query.Study, all []*visitor) (*counts, error) {
	if len(all) == 0 {
		v := newVisitor(p, s)
		v.trie = newTrie()
		all = append(all, v)
	}
	t := &counts{trie: all[0].trie, labels: all[0].labels}
	for _, v := range all[1:] {
		to := make([]uint32, len(v.trie.nodes)) // by node
		for i, n := range v.trie.nodes {
			if i%(checkEach<<8) == 0 && ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if i > 0 {
				label := n.label
				if label != none {
					label = t.labels.of(v.labels.texts[label])
				}
				to[i] = t.child(to[n.parent], label)
			}
			t.nodes[to[i]].ends += n.ends
		}
	}
	t.n, t.length = make([]uint64, len(t.nodes)), make([]uint8, len(t.nodes))
	for i, n := range t.nodes[1:] {
		t.length[i+1] = t.length[n.parent] + 1
	}
	for i := len(t.nodes) - 1; i >= 0; i-- {
		t.n[i] += t.nodes[i].ends
		if i > 0 {
			t.n[t.nodes[i].parent] += t.n[i]
		}
	}
	return t, ctx.Err()
}

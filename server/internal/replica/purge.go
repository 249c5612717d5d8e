package replica

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/batch"
	"github.com/kantadb/kanta/query"
)

const (
	purgeDocument = "cluster/purge" // up to which position every member is to have purged
	purgedFile    = "PURGED"        // in the directory of a member: up to which it has
	purgedMagic   = "kanta purged"
	purgedVersion = "1"
	maxPurgedFile = 256 // bytes
)

const (
	purgeEvery  = time.Second            // how often a member looks whether it is to purge
	purgeAgain  = 10 * time.Second       // after a purge that could not be done
	purgePoll   = 100 * time.Millisecond // for what it waits for meanwhile: files to go, and other members
	purgeSilent = 10                     // times Timing.Heartbeat: who has been silent for longer is not waited for
	// purgeYields is how long a member leaves the log as it is while another one needs it, behind a snapshot that it
	// is sent: cut, it would have to be sent another one. It bounds how long who was erased stays in the log.
	purgeYields = 15 * time.Minute
	// purgeWaits is how long the leader waits for members who answer and do not say that they have purged: one whose
	// disk fails, or whose store still has something, never does.
	purgeWaits = 2 * purgeYields
)

// purging is what this member has purged: its store, its snapshots and its log have nothing of those any more who
// were erased up to a position.
type purging struct {
	mu   sync.Mutex
	done query.Position
	hits string // what the last purge of the store has found left over; "": nothing

	look    atomic.Bool // the leader compares what it has purged with what it has asked for
	cutting sync.Mutex  // held while a snapshot is made: how much of the log is kept is said before
}

func (p *purging) upTo() query.Position {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

func (p *purging) found(hits string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hits = hits
}

func (p *purging) problem() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hits
}

// later reports whether a position is behind another one.
func later(a, b query.Position) bool {
	return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Applied, b.Applied)) > 0
}

// purgeWish is the value of the document.
type purgeWish struct {
	Position string `json:"position"`
}

// purgeWanted returns up to where everybody is to have purged, as the store of this member says; zero: nobody asked.
func purgeWanted(ctx context.Context, db *engine.DB) (query.Position, error) {
	d, err := db.Document(ctx, purgeDocument)
	if errors.Is(err, &query.Error{Code: query.CodeUnknownName}) {
		return query.Position{}, nil
	}
	var wish purgeWish
	if err != nil || json.Unmarshal(d.Value, &wish) != nil { // somebody may have written anything there
		return query.Position{}, err
	}
	p, _ := query.ParsePosition(wish.Position)
	return p, nil
}

// lastReceipt returns the receipt of the last purge of a store, nil without one.
func lastReceipt(ctx context.Context, db *engine.DB) (*query.Receipt, error) {
	all, err := db.Receipts(ctx)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[len(all)-1], nil
}

// askPurge has every member purge what the store of this one, which leads, has purged. Its own purge may have been
// one that was due, and the leader that began it may be another one by now; so it goes by the receipts.
func (n *Node) askPurge(ctx context.Context, db *engine.DB) (query.Position, error) {
	want, err := purgeWanted(ctx, db)
	if err != nil {
		return want, err
	}
	last, err := lastReceipt(ctx, db)
	if err != nil || last == nil || !later(last.Position, want) {
		return want, err
	}
	value, err := json.Marshal(purgeWish{last.Position.String()})
	if err != nil {
		return want, err
	}
	b := batch.New()
	b.PutDocument(purgeDocument, value)
	raw, err := b.Encode()
	if err == nil {
		_, err = db.Apply(ctx, raw)
	}
	return last.Position, err
}

// Purge has every member remove from its files what they hold of people who were erased: from its store, its
// snapshots and its log. It returns when all those have that answer; who does not is in the receipt's Missing, and
// does it when it is back, without being asked again, and so is who has not come to it in half an hour. The receipt is that of this member's store, nil if there
// was nothing to purge anywhere. It fails with [query.CodeNotLeader] where another leads.
func (n *Node) Purge(ctx context.Context, progress func(what string)) (*query.Receipt, error) {
	if _, err := n.leading(ctx); err != nil {
		return nil, err
	}
	db := n.db.Load()
	if db == nil {
		return nil, errNoStore()
	}
	if progress == nil {
		progress = func(string) {}
	}
	receipt, err := db.Purge(ctx, progress)
	if err != nil {
		return nil, err
	}
	if receipt != nil && receipt.Hits == 0 {
		n.purging.found("") // what an earlier one has found is gone
	}
	want, err := n.askPurge(ctx, db)
	if err != nil || want == (query.Position{}) {
		return receipt, err
	}
	missing, err := n.awaitPurged(ctx, want, progress)
	if err != nil {
		return nil, err
	}
	if receipt == nil && len(missing) > 0 {
		if receipt, err = lastReceipt(ctx, db); err != nil || receipt == nil {
			receipt = &query.Receipt{Position: want}
		}
	}
	if receipt != nil {
		receipt.Missing = missing
	}
	return receipt, err
}

// awaitPurged waits for the members to have purged up to a position, and returns those who do not answer.
func (n *Node) awaitPurged(ctx context.Context, want query.Position, progress func(what string)) ([]string, error) {
	began := time.Now()
	poll := time.NewTicker(purgePoll)
	defer poll.Stop()
	for {
		var silent, busy []string
		for _, s := range n.servers() {
			id, _ := memberOf(s.ID)
			c := n.wire.contact(s.ID)
			heard := c.at
			if s.ID == n.id.server() {
				c.purged, heard = n.purging.upTo(), time.Now()
			}
			if heard.Before(began) {
				heard = began
			}
			switch {
			case !later(want, c.purged):
			case time.Since(heard) > purgeSilent*n.cfg.Timing.Heartbeat:
				silent = append(silent, id)
			default:
				busy = append(busy, id)
			}
		}
		switch {
		case n.failure() != nil:
			return nil, stopped(n.failure())
		case !n.IsLeader():
			return nil, n.notLeader() // whoever leads goes on with it
		case len(busy) == 0:
			return silent, nil
		case n.purging.problem() != "", time.Since(began) > purgeWaits:
			return append(silent, busy...), nil // this one's receipt says why, or the status of the others
		}
		progress("waiting for the log and the snapshots of " + strings.Join(busy, ", "))
		select {
		case <-poll.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// keepPurged has this member purge whenever it is asked to, as long as ctx lasts: by a document of the store, so
// that who was away hears of it when he is back.
func (n *Node) keepPurged(ctx context.Context) {
	t := time.NewTicker(purgeEvery)
	defer t.Stop()
	var not time.Time // before
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		case <-n.stopped:
			return
		}
		if time.Now().Before(not) {
			continue
		}
		if err := n.purgeIfDue(ctx); err != nil && ctx.Err() == nil && n.failure() == nil {
			n.cfg.Log.Warn("what is left of people who were erased is not purged yet", "error", err)
			not = time.Now().Add(purgeAgain)
		}
	}
}

func (n *Node) purgeIfDue(ctx context.Context) error {
	db := n.db.Load()
	if db == nil {
		return nil
	}
	if n.lead.Load() != nil && n.purging.look.Swap(false) {
		if _, err := n.askPurge(ctx, db); err != nil {
			n.purging.look.Store(true)
			return err
		}
	}
	want, err := purgeWanted(ctx, db)
	if err != nil || !later(want, n.purging.upTo()) {
		return err
	}
	return n.purge(ctx, db, want)
}

// purge removes from this member's files what they have of people who were erased up to a position, and notes that it has.
func (n *Node) purge(ctx context.Context, db *engine.DB, want query.Position) error {
	restored := n.swap.restored.Load()
	index, _ := db.AppliedEntry() // behind the wish, so behind all that it is about
	if _, err := db.Purge(ctx, nil); err != nil {
		return err
	}
	last, err := lastReceipt(ctx, db)
	if err != nil {
		return err
	}
	hits := ""
	if last != nil && last.Hits > 0 {
		hits = fmt.Sprintf("its store still has something of people who were erased, in %d places: kanta erase receipts", last.Hits)
	}
	n.purging.found(hits)
	if hits != "" {
		return query.Errorf(query.CodeCorrupt, "%s", hits)
	}
	if err := n.purgeLog(ctx, index); err != nil {
		return err
	}
	return n.purged(want, restored)
}

// purgeLog makes a snapshot of the store as it is now, deletes the older ones, and removes the entries up to an index
// from the files of the log.
func (n *Node) purgeLog(ctx context.Context, index uint64) error {
	yields := time.Now().Add(purgeYields)
	if err := waitUntil(ctx, func() bool { return !n.needsLog(index) || time.Now().After(yields) }); err != nil {
		return err
	}
	err := n.snapshot(index)
	if errors.Is(err, raft.ErrNothingNewToSnapshot) {
		err = n.snapshotAnew(index)
	}
	if err != nil {
		return err
	}
	alone := func() bool { // an older one may be on its way to another member; and a newer one may come meanwhile
		_, id := n.snaps.Newest()
		return n.snaps.Alone(id)
	}
	if err := waitUntil(ctx, alone); err != nil {
		return err
	}
	return n.logs.Purge(ctx, index+1)
}

// snapshotAnew makes a snapshot that stands for what the newest one does, and cuts the log behind it up to an index. Raft
// makes none as long as nothing was given to the state machine since the start; the store may have been purged since
// that one was made, or not: who was killed does not know.
func (n *Node) snapshotAnew(index uint64) error {
	m, _ := n.snaps.Newest()
	if m == nil || m.Index < index {
		return raft.ErrNothingNewToSnapshot // Raft will give what is between
	}
	s, err := machine{n}.Snapshot()
	if err != nil {
		return err
	}
	sink, err := n.snaps.Create(raft.SnapshotVersionMax, m.Index, m.Term, m.Configuration, m.ConfigurationIndex, nil)
	if err != nil {
		return err
	}
	if err := s.Persist(sink); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	if first, _ := n.logs.FirstIndex(); first > 0 && first <= index {
		return n.logs.DeleteRange(first, index)
	}
	return nil
}

// needsLog reports whether somebody who answers would have to be sent a snapshot if the log were cut behind an index.
func (n *Node) needsLog(index uint64) bool {
	if n.snaps.LogNeeded() {
		return true
	}
	if !n.IsLeader() {
		return false
	}
	for _, s := range n.servers() {
		if s.ID != n.id.server() && n.answers(s.ID) && n.wire.contact(s.ID).log < index {
			return true
		}
	}
	return false
}

// waitUntil asks until something is so.
func waitUntil(ctx context.Context, is func() bool) error {
	if is() {
		return nil
	}
	poll := time.NewTicker(purgePoll)
	defer poll.Stop()
	for {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if is() {
			return nil
		}
	}
}

// purged notes up to where this member has purged, unless a snapshot has come since it began: that has what the leader
// had, who may not have been done.
func (n *Node) purged(upTo query.Position, restored uint64) error {
	n.swap.mu.Lock()
	defer n.swap.mu.Unlock()
	if n.swap.restored.Load() != restored {
		return errors.New("a snapshot came meanwhile")
	}
	if err := writeFile(n.cfg.FS, n.cfg.Dir, purgedFile, purgedText(upTo)); err != nil {
		return err
	}
	n.setPurged(upTo)
	n.cfg.Log.Info("the store, the snapshot and the log have nothing of people any more who were erased", "position", upTo.String())
	return nil
}

// unpurged forgets what was noted. n.swap is held.
func (n *Node) unpurged() error {
	n.setPurged(query.Position{})
	if err := n.cfg.FS.Remove(n.cfg.FS.PathJoin(n.cfg.Dir, purgedFile)); err != nil && !isNotExist(err) {
		return diskError("delete "+purgedFile, err)
	}
	return syncDir(n.cfg.FS, n.cfg.Dir)
}

func (n *Node) setPurged(upTo query.Position) {
	n.purging.mu.Lock()
	n.purging.done = upTo
	n.purging.mu.Unlock()
	if n.wire != nil {
		n.wire.tellPurged(upTo)
	}
}

func purgedText(upTo query.Position) string {
	text := fmt.Sprintf("%s %s\nposition %s\n", purgedMagic, purgedVersion, upTo)
	return text + fmt.Sprintf("sum %08x\n", crc32.Checksum([]byte(text), castagnoli))
}

// parsePurged reads the PURGED file. What is not one, or a newer version's, says nothing: the member purges again.
func parsePurged(text string) (upTo query.Position) {
	lines := strings.Split(text, "\n")
	if len(lines) < 2 {
		return upTo
	}
	p, _ := query.ParsePosition(strings.TrimPrefix(lines[1], "position "))
	if purgedText(p) != text {
		return upTo
	}
	return p
}

// readPurged returns up to where a member has purged, zero if nobody knows.
func readPurged(files vfs.FS, dir string) (query.Position, error) {
	f, err := files.Open(files.PathJoin(dir, purgedFile))
	if isNotExist(err) {
		return query.Position{}, nil
	}
	if err != nil {
		return query.Position{}, diskError("open "+purgedFile, err)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxPurgedFile))
	if err = errors.Join(err, f.Close()); err != nil {
		return query.Position{}, diskError("read "+purgedFile, err)
	}
	return parsePurged(string(text)), nil
}

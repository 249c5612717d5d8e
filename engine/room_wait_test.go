package engine

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/kantadb/kanta/engine/internal/faultfs"
	"github.com/kantadb/kanta/query"
)

// TestNoRoomEndsWaiting: whoever waits for the head to be folded is refused when the disk
// has no room for that any more.
func TestNoRoomEndsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := faultfs.New()
		db := &DB{opt: Options{FS: files, Memory: 64 << 20}}
		db.opt.limits.ensureDefaults()
		db.current.Store(&state{})
		c := newCompactor(db)
		db.compactor = c
		c.throttle.set(db.opt.limits.hardValues+1, 0)
		ended := make(chan error)
		go func() { ended <- c.waitForRoom(t.Context(), 1) }()
		synctest.Wait()
		files.Limit(1 << 20)
		if err := c.round(t.Context(), false); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, &query.Error{Code: query.CodeIO}) {
			t.Error(err)
		}
	})
}
